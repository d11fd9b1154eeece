"""Every error has four parts on one line, its exit code, and survives the way home from a worker process."""

from __future__ import annotations

import copy
import pickle

import pytest

from whatsit import errors
from whatsit.errors import ImageError, MissingExtraError, WhatsitError, did_you_mean

KINDS = sorted(
    (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, WhatsitError)),
    key=lambda kind: kind.__name__,
)


def made(kind: type[WhatsitError]) -> WhatsitError:
    if kind is MissingExtraError:
        return MissingExtraError("fly", module="wings", extra="air")
    return kind("cannot do it", value=3, accepted="4 or 5", hint="Pass 4.")


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_says_its_four_parts(kind: type[WhatsitError]) -> None:
    error = made(kind)
    for part in (error.what, str(error.value), error.accepted, error.hint):
        assert part in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_pickling_as_what_it_is(kind: type[WhatsitError], protocol: int) -> None:
    error = made(kind)
    back = pickle.loads(pickle.dumps(error, protocol))
    assert type(back) is kind
    assert str(back) == str(error)
    assert back.args == error.args
    assert back.exit_code == error.exit_code
    assert str(copy.copy(error)) == str(error)


def test_the_value_stays_what_it_was_and_the_hint_may_be_bettered() -> None:
    error = made(ImageError)
    error.hint = "Or pass 5."
    assert pickle.loads(pickle.dumps(error)).value == 3
    assert str(pickle.loads(pickle.dumps(error))).endswith("Or pass 5.")


def test_exit_codes_are_those_of_the_tree_drawn_above_it() -> None:
    drawn = {}
    for line in (errors.__doc__ or "").splitlines():
        words = line.replace("├──", "").replace("└──", "").split()
        if words and words[0].endswith("Error"):
            drawn[words[0]] = int(line[line.rindex("(") + 1 : -1]) if line.endswith(")") else 2
    assert drawn == {kind.__name__: kind.exit_code for kind in KINDS}
    assert all(code for code in drawn.values())


def test_a_missing_extra_says_what_to_install() -> None:
    error = MissingExtraError("open the page", module="gradio", extra="web")
    assert error.hint == "Run: pip install 'whatsit[web]'"
    assert "'gradio'" in str(error)


@pytest.mark.parametrize(
    ("name", "known", "advice"),
    [
        ("predcit", ["predict", "train"], "Did you mean 'predict'?"),
        ("shirts", ["shirt", "skirt", "shorts"], "Did you mean 'shirt' or 'shorts' or 'skirt'?"),
        ("zzz", ["predict"], ""),
        ("anything", [], ""),
        ("", ["a"], ""),
    ],
)
def test_suggestions(name: str, known: list[str], advice: str) -> None:
    assert did_you_mean(name, iter(known)) == advice
