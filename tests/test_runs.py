"""A run folder: names, what is kept, what is refused."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("tensorboard", reason="needs the 'train' extra")

from whatsit.dataset import Dataset, Sample
from whatsit.errors import DataError, OptionError, OutputError
from whatsit.events import EpochEnded
from whatsit.recipe import Facts, Recipe, choose
from whatsit.runs import Origin, Recorder, RunFolder
from whatsit.wishes import Wishes

RECIPE: Recipe = choose(Wishes(epochs=4, model="small"), Facts(100, 1.0, 32, 32, False), None, "cpu")[0]
ORIGIN = Origin("photos", "", ("a", "b"), "f" * 64, "0.1.0", (("4 epochs", "because"),))
SAMPLES = Dataset("photos", (Sample("a/1.png", Path("a/1.png"), "a", "train", content="c" * 64),), ("a", "b"))
EPOCH = EpochEnded(1, 4, 0.5, 0.8, 0.6, 0.7, 0.001, 1.5, True)


def test_runs_of_one_name_get_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = [RunFolder.create(None, "photos").path.as_posix() for _ in range(3)]
    assert made == ["runs/photos", "runs/photos-2", "runs/photos-3"]


def test_a_used_folder_is_refused_and_an_empty_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    RunFolder.create(tmp_path / "empty", "x")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        RunFolder.create(tmp_path / "used", "x")


def test_a_recipe_is_read_back(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", "x")
    assert not run.has_recipe()
    run.write_start(ORIGIN, RECIPE, SAMPLES)
    assert run.read_recipe() == (ORIGIN, RECIPE)
    assert list(csv.reader(run.split.read_text().splitlines()))[1] == ["a/1.png", "a", "train", "c" * 64]


@pytest.mark.parametrize("text", [None, "not toml [", "[run]\n", "[recipe]\nmodel = 'small'\n"])
def test_a_folder_without_a_readable_recipe_is_no_run(text: str | None, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    if text is not None:
        run.recipe.write_text(text)
    with pytest.raises(DataError, match="cannot resume"):
        run.read_recipe()


def test_a_resumed_run_keeps_its_recipe(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.refuse_other_wishes(RECIPE, None)
    run.refuse_other_wishes(RECIPE, Wishes(epochs=4))
    for wishes in (
        Wishes(epochs=5),
        Wishes(model="resnet18"),
        Wishes(seed=9),
        Wishes(image_size=99),
        Wishes(mirror=False),
    ):
        with pytest.raises(OptionError, match="cannot resume"):
            run.refuse_other_wishes(RECIPE, wishes)


def test_the_same_command_resumes_a_run_whose_budget_has_set_its_epochs(tmp_path: Path) -> None:
    recipe = replace(RECIPE, budget=60.0, epochs=3, model="resnet18")
    RunFolder(tmp_path).refuse_other_wishes(recipe, Wishes(epochs=100, budget=60.0, model="timm:resnet18"))


@pytest.mark.parametrize(
    "wishes", [Wishes(budget=5.0), Wishes(network_args={"a": 1}), Wishes(weights=Path("other.safetensors"))]
)
def test_no_wish_is_silently_ignored_on_resuming(wishes: Wishes, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot resume"):
        RunFolder(tmp_path).refuse_other_wishes(RECIPE, wishes)


def test_a_discarded_run_takes_nothing_of_others_along(tmp_path: Path) -> None:
    run, other = (RunFolder.create(tmp_path / name, "x") for name in ("run", "other"))
    for each in (run, other):
        each.write_start(ORIGIN, RECIPE, SAMPLES)
    (other.path / "notes.txt").write_text("mine")
    run.discard()
    other.discard()
    assert not run.path.exists()
    assert [path.name for path in other.path.iterdir()] == ["notes.txt"]


def test_curves_are_written_while_the_run_goes_on_and_anew_when_it_resumes(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", "x")
    for _ in range(2):
        recorder = Recorder(run)
        recorder(EPOCH)
        recorder(replace(EPOCH, epoch=2))
        assert [row["epoch"] for row in csv.DictReader(run.history.read_text().splitlines())] == ["1", "2"]
        recorder.close()
    assert len(list((run.tensorboard / "train").iterdir())) == 1


def test_curves_stay_until_a_resumed_run_has_new_ones(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", "x")
    first = Recorder(run)
    first(EPOCH)
    first.close()
    written = {path: path.read_bytes() for path in run.tensorboard.rglob("events*")}
    Recorder(run).close()  # broken off while pictures were read
    assert written
    assert {path: path.read_bytes() for path in run.tensorboard.rglob("events*")} == written


def test_the_curves_are_a_picture_when_the_run_ends_and_a_new_one_when_it_resumes(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", "x")
    pictures = []
    for epochs in (1, 3):
        recorder = Recorder(run)
        for number in range(1, epochs + 1):
            recorder(replace(EPOCH, epoch=number))
        recorder.close()
        with Image.open(run.curves) as picture:
            assert picture.format == "PNG"
            pictures.append(picture.tobytes())
    assert pictures[0] != pictures[1]
    assert not list(run.path.glob(".*.part"))


def test_without_epochs_there_is_no_picture_and_an_earlier_one_stays(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", "x")
    Recorder(run).close()
    assert not run.curves.exists()
    run.history.write_text("epoch\n1\n")
    run.curves.write_bytes(b"of the first epochs")
    Recorder(run).close()  # a resumed run, broken off before its engine had said anything
    assert run.curves.read_bytes() == b"of the first epochs"


def test_a_run_that_was_discarded_does_not_come_back_as_a_picture(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", "x")
    run.curves.write_bytes(b"of an attempt before")
    recorder = Recorder(run)
    recorder(EPOCH)
    run.discard()
    recorder.close()
    assert not run.path.exists()


def test_a_false_start_makes_room_but_nothing_of_the_users_is_touched(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", "x")
    (run.path / ".recipe.toml.abc.part").write_text("half")
    run.split.write_text("path\n")
    run.clear_false_start()
    RunFolder.refuse_used(run.path)
    run.recipe.write_text("")
    run.split.write_text("path\n")
    run.clear_false_start()
    assert run.split.exists()
