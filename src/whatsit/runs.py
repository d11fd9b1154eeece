"""A run folder: the only module that knows the paths inside it.

runs/<name>/
  model.onnx      the classifier
  report.html     what was measured, with pictures
  recipe.toml     every choice of the run
  history.csv     one row an epoch
  curves.png      the same as a picture: loss, accuracy and learning rate
  rate_test.png   the loss at each learning rate tested, with --lr auto
  model.keras     the same network for Keras, where Keras trained it
  split.csv       which picture was in which part
  tensorboard/    the same curves for TensorBoard
  checkpoint/     what --resume goes on from
"""

from __future__ import annotations

import contextlib
import csv
import io
import shutil
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any

from whatsit import catalogue, storage
from whatsit.catalogue import Framework
from whatsit.dataset import Dataset
from whatsit.errors import DataError, MissingExtraError, OptionError, OutputError, ServerError
from whatsit.evaluation import plots
from whatsit.events import EpochEnded, Event
from whatsit.preprocess import scaling_called
from whatsit.recipe import OWN, Recipe
from whatsit.wishes import Wishes


@dataclass(frozen=True)
class Origin:
    """What a run was started on, enough to start it again; `decisions` are (what, why), made for the user."""

    data: str
    data_dir: str  # where the files of a named data set are, or empty
    classes: tuple[str, ...]
    fingerprint: str
    whatsit: str
    decisions: tuple[tuple[str, str], ...] = ()


class RunFolder:
    """The paths of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = path / "model.onnx"
        self.report = path / "report.html"
        self.recipe = path / "recipe.toml"
        self.history = path / "history.csv"
        self.curves = path / "curves.png"
        self.rate_test = path / "rate_test.png"
        self.split = path / "split.csv"
        self.tensorboard = path / "tensorboard"
        self.checkpoint = path / "checkpoint" / "last.pt"
        self.candidate = path / "checkpoint" / "candidate.onnx"

    @classmethod
    def create(cls, out: Path | None, name: str) -> RunFolder:
        """A new folder: `out`, or runs/NAME, runs/NAME-2, ... Raises OutputError if `out` already holds something."""
        path = out if out is not None else _first_free(Path("runs"), name)
        cls.refuse_used(path)
        storage.make_folder(path / "checkpoint")
        return cls(path)

    @staticmethod
    def refuse_used(path: Path) -> None:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise OutputError(
                f"cannot start a run in '{path}'",
                value="a file" if path.is_file() else "a folder that is not empty",
                accepted="a new or empty folder",
                hint=f"Choose another --out, or go on with that run: whatsit train --resume {path}",
            )
        storage.check_writable(path)

    def has_recipe(self) -> bool:
        return self.recipe.exists()

    def write_start(self, origin: Origin, recipe: Recipe, samples: Dataset) -> None:
        """The split, then the recipe: where there is a recipe, there is a run to resume."""
        import tomli_w

        rows = [(s.name, s.label, s.split or "", s.content) for s in samples.samples]
        storage.write_whole(self.split, _csv(("path", "label", "split", "sha256"), rows))
        storage.write_whole(self.recipe, tomli_w.dumps({"run": asdict(origin), "recipe": recipe.to_dict()}))

    def refuse_other_classes(self, origin: Origin, classes: Sequence[str] | None) -> None:
        if classes is not None and tuple(classes) != origin.classes:
            raise OptionError(
                f"cannot resume the run '{self.path}' with other classes",
                value=", ".join(classes),
                accepted=f"{', '.join(origin.classes)}, as it was started",
                hint="Leave --classes out, or train again in a new folder.",
            )

    def refuse_other_wishes(self, recipe: Recipe, wishes: Wishes | None) -> None:
        """A resumed run keeps its recipe; asking for another one is a mistake worth saying."""
        if wishes is None:
            return
        network_args = {**recipe.network_args, **wishes.network_args}
        now: dict[str, tuple[object, object]] = {
            "recipe": (wishes.recipe, recipe.name),
            "framework": (wishes.framework, recipe.framework),
            "model": (wishes.model and _network(wishes.model, recipe.framework), recipe.model.split(".")[0]),
            "network-arg": (network_args, recipe.network_args),
            "weights": (_weights(wishes), recipe.weights or "none"),
            "augment": (wishes.augment, recipe.augment),
            "device": (wishes.device if wishes.device != "auto" else None, recipe.device),
            "budget": (wishes.budget, recipe.budget),
            "target": (wishes.target, recipe.target),
            "promise": (wishes.promise, recipe.promise),
            "golden": (wishes.golden, recipe.golden),
            # With a budget, the recipe holds the epochs that fit into it, not those asked for.
            "finetune": (wishes.finetune, recipe.finetune),
            "mixup": (wishes.mixup, recipe.mixup),
            "ema": (wishes.ema, recipe.ema),
            "epochs": (wishes.epochs if recipe.budget is None else None, recipe.epochs),
            "batch-size": (wishes.batch_size, recipe.batch_size),
            "image-size": (wishes.image_size, recipe.preprocess.size[0]),
            "seed": (wishes.seed, recipe.seed),
            "lr": (wishes.learning_rate if wishes.learning_rate != "auto" else None, recipe.learning_rate),
            "optimizer": (wishes.optimizer, recipe.optimizer),
            "fit": (wishes.fit, recipe.preprocess.fit),
            "preprocess": (wishes.preprocess and scaling_called(wishes.preprocess), recipe.scaling),
            "mirror": (wishes.mirror, recipe.augmentation.mirror),
        }
        for option, (asked, was) in now.items():
            if asked is not None and asked != was:
                raise OptionError(
                    f"cannot resume the run '{self.path}' with another {option}",
                    value=asked,
                    accepted=f"{'none' if was is None else was}, as it was started",
                    hint=f"Leave --{option} out, or train again in a new folder.",
                )

    def read_recipe(self) -> tuple[Origin, Recipe]:
        """Raises DataError if the folder holds no run of ours."""
        try:
            data = tomllib.loads(self.recipe.read_text("utf-8"))
            decisions = tuple((what, why) for what, why in data["run"]["decisions"])
            origin = Origin(**{**data["run"], "classes": tuple(data["run"]["classes"]), "decisions": decisions})
            return origin, Recipe.from_dict(data["recipe"])
        except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"cannot resume the run '{self.path}'",
                value="no recipe.toml"
                if isinstance(error, OSError)
                else f"a recipe.toml that cannot be read ({error})",
                accepted="the folder of a run, for instance runs/digits",
                hint="List the runs with: ls runs",
            ) from None

    def write_history(self, history: Sequence[EpochEnded]) -> None:
        names = [spec.name for spec in fields(EpochEnded)]
        storage.write_whole(self.history, _csv(names, [[getattr(e, name) for name in names] for e in history]))

    def write_curves(self, history: Sequence[EpochEnded]) -> None:
        with storage.beside(self.curves) as part:
            plots.learning_curves_png(history, part)

    def write_rate_test(self, rates: Sequence[float], losses: Sequence[float], chosen: float) -> None:
        with storage.beside(self.rate_test) as part:
            plots.rate_test_png(rates, losses, chosen, part)

    def tidy(self) -> None:
        """Remove what only the way there needed, and what a killed process left half-written. The checkpoint stays."""
        self.candidate.unlink(missing_ok=True)
        for folder in (self.path, self.checkpoint.parent):
            for part in folder.glob(".*.part"):
                part.unlink(missing_ok=True)

    def clear_false_start(self) -> None:
        """Make room where a run was killed before it had written its recipe, so before there was anything to keep."""
        if self.path.is_dir() and not self.has_recipe():
            self.tidy()
            self.split.unlink(missing_ok=True)
            if self.checkpoint.parent.is_dir() and not any(self.checkpoint.parent.iterdir()):
                self.checkpoint.parent.rmdir()

    def discard(self) -> None:
        """Remove the run, and its folder too unless somebody has put something else there."""
        for folder in (self.checkpoint.parent, self.tensorboard):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.recipe, self.split, self.history, self.curves, self.rate_test):
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()


class Recorder:
    """An event listener that keeps history.csv and TensorBoard's curves up to date while the run goes on.

    The engine tells the epochs of a resumed run again from the first, so both are written anew each time. Drawing
    curves.png takes longer than some epochs do, so that is done once, at the end, however training ended.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.history: list[EpochEnded] = []
        self._board = _Board(run.tensorboard)

    def __call__(self, event: Event) -> None:
        if isinstance(event, EpochEnded):
            self.history.append(event)
            self.run.write_history(self.history)
            self._board.write(event)

    def close(self) -> None:
        self._board.close()
        if self.history and self.run.history.exists():  # not in a run that was discarded
            self.run.write_curves(self.history)


class _Board:
    """TensorBoard's event files, written with its own library and no training framework.

    Those of an earlier start make room once there is an epoch to write.
    """

    def __init__(self, folder: Path) -> None:
        _leave_tensorflow_out()
        try:
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError:
            raise MissingExtraError("write TensorBoard curves", module="tensorboard", extra="train") from None
        self._record_writer, self._folder = RecordWriter, folder
        self._writers: dict[str, RecordWriter] = {}

    def write(self, epoch: EpochEnded) -> None:
        """The two parts as two runs of the same tags, so that TensorBoard draws them into one chart.

        Raises OutputError.
        """
        values: dict[str, dict[str, float]] = {
            "train": {"loss": epoch.train_loss, "accuracy": epoch.train_accuracy, "learning_rate": epoch.learning_rate},
            "validation": {"loss": epoch.validation_loss, "accuracy": epoch.validation_accuracy},
        }
        try:
            if not self._writers:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._writers = {part: self._new_writer(self._folder / part) for part in values}
            for part, scalars in values.items():
                self._writers[part].write(_scalars(scalars, epoch.epoch))
                self._writers[part].flush()
        except OSError as error:
            raise storage.cannot_write(self._folder, error) from None

    def close(self) -> None:
        for writer in self._writers.values():
            with contextlib.suppress(OSError):  # what a full disk did not take has been said
                writer.close()

    def _new_writer(self, folder: Path) -> Any:
        """TensorBoard's own writer of event files does the same in a thread, which prints a traceback when it fails."""
        from tensorboard.compat.proto.event_pb2 import Event as BoardEvent

        folder.mkdir(parents=True)
        writer = self._record_writer((folder / f"events.out.tfevents.{time.time():.0f}").open("wb"))
        writer.write(BoardEvent(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        return writer


def serve_curves(folder: Path, host: str, port: int) -> str:
    """Start TensorBoard on the curves of all runs in `folder`, in a thread of this process, and return its address.

    It looks for new epochs and new runs every few seconds. Port 0 takes any free one. Raises DataError if there are no
    curves, MissingExtraError, and ServerError if nothing can listen there.
    """
    _refuse_no_curves(folder)
    _leave_tensorflow_out()
    try:
        from tensorboard import default, program
    except ImportError:
        raise MissingExtraError("show TensorBoard curves", module="tensorboard", extra="train") from None
    # Its own plugins only: others that happen to be installed may load TensorFlow or fetch something.
    board = program.TensorBoard(default.get_static_plugins())
    # The "fast" reader is a second process, which would outlive this one if it were killed.
    board.configure(logdir=str(folder), host=host, port=port, load_fast="false")
    try:
        return str(board.launch())
    except program.TensorBoardServerException as error:
        raise ServerError(
            f"cannot listen on {host}:{port}",
            value=error.msg,
            accepted="a free port and an address of this machine",
            hint="Name another port, or --port 0 for any free one.",
        ) from None


def _refuse_no_curves(folder: Path) -> None:
    if next(folder.rglob("*.tfevents.*"), None) is None:
        raise DataError(
            f"cannot find curves in '{folder}'",
            value="a folder without any" if folder.is_dir() else "a file" if folder.exists() else "no such folder",
            accepted="a run folder, or a folder that holds some, such as runs",
            hint="Train first: whatsit train DATA. A run writes its curves from its first epoch on.",
        )


def _leave_tensorflow_out() -> None:
    """Where this module can be imported, TensorBoard takes its own stand-in instead of loading all of TensorFlow."""
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))


def _scalars(values: dict[str, float], step: int) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event as BoardEvent
    from tensorboard.compat.proto.summary_pb2 import Summary

    rows = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
    event = BoardEvent(wall_time=time.time(), step=step, summary=Summary(value=rows))
    return bytes(event.SerializeToString())


def _weights(wishes: Wishes) -> str | None:
    return "none" if wishes.random_weights else str(wishes.weights.resolve()) if wishes.weights else None


def _network(name: str, framework: Framework) -> str:
    """The framework's name, without a tag, for a network as people ask for it."""
    if name in OWN:
        return name
    spec = catalogue.find(name, framework)
    return (spec.network if spec else name.partition(":")[2] or name).split(".")[0]


def _first_free(parent: Path, name: str) -> Path:
    path, number = parent / name, 1
    while path.exists():
        number += 1
        path = parent / f"{name}-{number}"
    return path


def _csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
