"""What events look like in a pipe and on a terminal, and that neither touches stdout."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from whatsit.apps.cli import terminal
from whatsit.apps.cli.terminal import Lines, Terminal, duration, reporter
from whatsit.apps.text import printable
from whatsit.events import Decision, EpochEnded, Event, Finished, NetworkBuilt, Notice, Progress

EPOCH = EpochEnded(3, 10, 1.25, 0.5, 1.5, 0.4375, 1e-3, 2.04, True)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Notice("3 broken", ("a", "b")), ["3 broken", "  a", "  b"]),
        (Notice("7 broken", tuple("abcdefg")), ["7 broken", *[f"  {c}" for c in "abcde"], "  and 2 more"]),
        (Decision("5 epochs", "it is enough"), ["5 epochs: it is enough"]),
        (NetworkBuilt("l1\nl2", 1234, 34), ["l1", "l2", "1,234 parameters, 34 of them trained"]),
        (Finished("done"), ["done"]),
        (Progress("x", 1, 2), []),
    ],
)
def test_lines(event: Event, expected: list[str]) -> None:
    assert terminal.lines(event) == expected


def test_the_table_of_layers_can_be_left_out() -> None:
    assert terminal.lines(NetworkBuilt("l1\nl2", 10, 10), verbose=False) == ["10 parameters, 10 of them trained"]


def test_an_epoch_is_one_line_with_its_numbers() -> None:
    (line,) = terminal.lines(EPOCH)
    for part in ("epoch  3/10", "1.250", "50.0%", "1.500", "43.8%", "2.0 s", "best"):
        assert part in line


def test_in_a_pipe_progress_is_said_now_and_then(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    with Lines() as report:
        for done in range(1, 41):
            clock[0] += 1
            report(Progress("reading", done, 40))
    captured = capsys.readouterr()
    assert captured.out == ""
    said = captured.err.splitlines()
    assert said[0] == "reading: 12 of 40, about 28 s left"
    assert len(said) == 3


def test_a_quick_stage_says_nothing(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    with Lines() as report:
        for stage in ("reading", "judging"):
            for done in range(1, 10):
                clock[0] += 0.9
                report(Progress(stage, done, 10))
    assert capsys.readouterr().err == ""


def test_nothing_done_yet_divides_by_nothing(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    report = Lines()
    for _ in range(3):
        report(Progress("reading", 0, 10))
        clock[0] += 60
    assert capsys.readouterr().err == ""


def test_the_same_stage_again_starts_its_own_clock(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    report = Lines()
    report(Progress("reading", 10, 10))
    clock[0] += 1000
    report(Progress("reading", 1, 10))
    clock[0] += 20
    report(Progress("reading", 2, 10))
    assert capsys.readouterr().err.splitlines() == ["reading: 2 of 10, about 3 min left"]


def test_what_an_earlier_run_has_done_makes_this_one_no_faster(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    report = Lines()
    report(Progress("training", 500, 1000))
    clock[0] += 60
    report(Progress("training", 510, 1000))
    assert capsys.readouterr().err.splitlines() == ["training: 510 of 1,000, about 49 min left"]


def test_a_terminal_is_chosen_only_where_a_person_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(reporter()) is Lines
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert type(reporter()) is Terminal


def on_a_terminal(script: str) -> tuple[str, str]:
    """Run Python code whose stderr is a terminal; what it wrote to stdout, and what to the terminal."""
    ours, theirs = pty.openpty()
    source = Path(__file__).parents[1] / "src"
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(source), "COLUMNS": "100"}
    environment.pop("NO_COLOR", None)
    code = "from whatsit.apps.cli import terminal\nfrom whatsit.events import *\nimport sys\n" + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs, env=environment, check=True, text=True
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65_536):
            shown += part
    except OSError:  # Linux says so at the end
        pass
    os.close(ours)
    return done.stdout, shown.decode()


def test_quick_work_draws_no_bar_and_loads_no_rich() -> None:
    out, shown = on_a_terminal(
        """
        with terminal.reporter() as report:
            report(Progress("reading", 1, 2))
            report(Progress("reading", 2, 2))
            report(Notice("said"))
        print(type(report).__name__, "rich" in sys.modules)
        """
    )
    assert out == "Terminal False\n"
    assert shown == "said\r\n"


def test_longer_work_draws_a_bar_and_leaves_stdout_to_the_answers() -> None:
    out, shown = on_a_terminal(
        """
        terminal._PATIENCE = 0
        with terminal.reporter() as report:
            report(Progress("reading", 1, 3))
            print("an answer")
            report(Notice("a [bold]name[/bold]"))
            report(Progress("judging", 2, 3))
            report(Progress("judging", 3, 3))
        """
    )
    assert out == "an answer\n"
    assert "an answer" not in shown
    assert "\x1b" in shown
    for part in ("reading", "judging", "a [bold]name[/bold]"):
        assert part in shown


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (8.4, "8 s"), (89, "89 s"), (90, "2 min"), (600, "10 min"), (9000, "2.5 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain name.jpg", "plain name.jpg"),
        ("Käse 猫 🍺.png", "Käse 猫 🍺.png"),
        ("two\nlines\t", "two\\nlines\\t"),
        ("\x1b[31mred", "\\x1b[31mred"),
        (os.fsdecode(b"caf\xe9.jpg"), "caf\\udce9.jpg"),
        ("", ""),
    ],
)
def test_names_of_any_bytes_are_one_harmless_line(name: str, shown: str) -> None:
    assert printable(name) == shown
