"""The Python front door: scikit-learn's verbs on folders, paths, PIL images or arrays."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from whatsit import named_models, sources
from whatsit.catalogue import Framework
from whatsit.dataset import Dataset, from_pairs
from whatsit.errors import DataError, ModelFileError, OptionError, did_you_mean
from whatsit.evaluation import Judged, Report
from whatsit.evaluation.report import percent
from whatsit.events import OnEvent, ignore
from whatsit.preprocess import Fit
from whatsit.runtime.judging import evaluate, part_to_judge
from whatsit.runtime.open_model import OpenModel
from whatsit.weights import Wanted
from whatsit.wishes import Augment, Kept, Optimizer, Preset, Wishes, seconds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from whatsit.evaluation.plots import Shown
    from whatsit.pipeline import Trained

Data = str | os.PathLike[str] | Dataset


class Classifier(OpenModel):
    """A classifier that can be trained (`fit`) or opened (`whatsit.load`), and then used.

    The keyword arguments are those of `whatsit.train` but for the data; an unknown one raises TypeError.

        clf = whatsit.Classifier(model="small", epochs=5).fit("photos/")
        clf.predict("cat.jpg")
    """

    def __init__(self, **options: Any) -> None:
        _refuse_unknown_options(options)
        self._options = options
        self.report_: Report | None = None

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, threads: int | None = None, offline: bool = False) -> Self:
        classifier = cls(offline=offline)
        OpenModel.__init__(classifier, path, threads=threads)
        return classifier

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self._options.items())
        if "manifest" not in vars(self):
            return f"Classifier({options})  # not trained yet"
        height, width = self.manifest.preprocess.size
        shown = ", ".join(self.labels[:5]) + (", ..." if len(self.labels) > 5 else "")
        return f"<Classifier '{self.path}': {len(self.labels)} labels ({shown}), sees {height}x{width} pixels>"

    def fit(self, data: Any, y: Sequence[Any] | None = None) -> Self:
        """Train on a folder, CSV or named set, or on pictures and their labels `y`. Returns itself.

        Needs the 'train' extra. The report on the test pictures is in `report_`, the file in `path`.
        """
        if y is not None:
            data = from_pairs(list(data), _listed(y))
        elif data is not None:  # a resumed run knows its data
            _refuse_unlabelled(data)
        trained = train(data, **self._options)
        OpenModel.__init__(self, trained.model)
        self.report_ = trained.report
        return self

    def score(self, data: Any, y: Sequence[Any] | None = None) -> float:
        """The accuracy on labelled pictures: X and y, or a folder, CSV or named set (its test part, if any)."""
        return self._judge(data, y).accuracy

    def evaluate(self, data: Any, y: Sequence[Any] | None = None) -> Report:
        """Every number `whatsit evaluate` prints, on the same pictures."""
        return self._judge(data, y)

    def top_losses(self, data: Any, k: int = 9, y: Sequence[Any] | None = None) -> list[Judged]:
        """The k pictures the model was most wrong about, the worst first."""
        return sorted(self._judge(data, y).pictures, key=lambda picture: -picture.loss)[:k]

    def most_confused(self, data: Any, least: int = 1, y: Sequence[Any] | None = None) -> list[tuple[str, str, int]]:
        """(actual, predicted, count), the most frequent confusion first."""
        return self._judge(data, y).most_confused(least)

    def plot(self, data: Any, k: int = 12, y: Sequence[Any] | None = None, seed: int = 0) -> Figure:
        """k pictures drawn at random with what the model says of them, as a matplotlib figure (needs 'train').

        `data` is pictures, or labelled data as for `score`; with labels, what is right is green and what is wrong red.
        """
        from whatsit.evaluation import plots

        if y is None and not isinstance(data, str | os.PathLike | Dataset):
            pairs: list[tuple[Any, str | None]] = [(picture, None) for picture in data]
        else:
            labelled = part_to_judge(self, self._dataset(data, y), None)
            pairs = [(sample.source, sample.label) for sample in labelled.samples]
        if k < 1 or not pairs:
            raise OptionError(
                "cannot draw pictures",
                value=f"k={k}, of {len(pairs)} pictures",
                accepted="at least one of at least one",
                hint="Pass pictures, and k=12 for instance.",
            )
        drawn = np.random.default_rng(seed).permutation(len(pairs))[:k]
        return plots.picture_grid([self._shown(*pairs[place]) for place in drawn])

    def _shown(self, source: Any, label: str | None) -> Shown:
        from whatsit import images
        from whatsit.evaluation import plots
        from whatsit.evaluation.plots import Shown

        prediction = self.predict(source)
        picture = np.zeros((1, 1, 3), np.uint8) if prediction.error else images.load(source)
        if prediction.label is None or prediction.score is None:
            return Shown(picture, str(prediction.error), None if label is None else False)
        if label is None:
            return Shown(picture, f"{prediction.label} ({percent(prediction.score, 0)})")
        return plots.answered(picture, prediction.label, prediction.score, label)

    def _judge(self, data: Any, y: Sequence[Any] | None) -> Report:
        """Warns of pictures that cannot be read, at the line of the user who called one of the four above."""
        evaluation = evaluate(self, self._dataset(data, y))
        if left_out := evaluation.unreadable:
            names = ", ".join(f"{picture.name} ({picture.reason})" for picture in left_out[:3])
            more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
            warnings.warn(f"left out, because they cannot be read: {names}{more}", stacklevel=3)
        return evaluation.report

    def _dataset(self, data: Any, y: Sequence[Any] | None) -> Dataset:
        if y is not None:
            return from_pairs(list(data), _listed(y))
        _refuse_unlabelled(data)
        if isinstance(data, Dataset):
            return data
        named = data if isinstance(data, str) else Path(data)
        data_dir = self._options.get("data_dir") if str(named) in sources.NAMED else None
        offline = bool(self._options.get("offline"))
        return sources.open_data(named, data_dir=Path(data_dir) if data_dir else None, offline=offline)

    def __getattr__(self, name: str) -> Any:
        if name in ("manifest", "engine", "path"):
            raise ModelFileError(
                "cannot classify with this Classifier",
                value="one that is not trained",
                accepted="a trained or opened one",
                hint="Call .fit(DATA) first, or open a file with whatsit.load(PATH).",
            )
        raise AttributeError(f"'{type(self).__name__}' object has no attribute {name!r}")


def load(
    model: str | os.PathLike[str] | None = None, *, threads: int | None = None, offline: bool = False
) -> Classifier:
    """Open a model file, a pretrained network by its name, such as "resnet18" (`whatsit models` lists them), or without
    either the built-in model, "everyday".

    A network that is named for the first time is fetched and turned into a file, in a process of its own. `threads`
    limits the cores one picture may use. Raises ModelFileError, WeightsError.
    """
    if model is None:
        model = named_models.BUILTIN_FILE
    elif isinstance(model, str):
        model = named_models.file_called(model) or named_models.path_of(Wanted(model), offline, quiet=True)
    return Classifier.open(model, threads=threads, offline=offline)


def train(
    data: Data | None = None,
    *,
    recipe: Preset | None = None,
    framework: Framework | None = None,
    model: str | None = None,
    network_args: dict[str, Any] | None = None,
    weights: str | os.PathLike[str] | None = None,
    preprocess: str | None = None,
    fit: Fit | None = None,
    image_size: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    optimizer: Optimizer | None = None,
    lr: float | Literal["auto"] | None = None,
    finetune: str | int | None = None,
    augment: Augment | None = None,
    mirror: bool | None = None,
    mixup: float | None = None,
    ema: float | None = None,
    budget: str | float | None = None,
    target: float | None = None,
    seed: int | None = None,
    device: str | None = None,
    offline: bool = False,
    golden: Kept | None = None,
    promise: float | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    classes: Sequence[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool | str | os.PathLike[str] = False,
    on_event: OnEvent = ignore,
    started: float | None = None,
) -> Trained:
    """`whatsit train` as a function, with the same options; see `whatsit train --help`.

    `weights` is a file, or "none" to learn from scratch; without it a named `model` comes with its published weights.
    `resume` is the folder of a run that was broken off, or True for the one in `out`.
    """
    if not isinstance(resume, bool):
        out, resume = resume, True
    wishes = Wishes(
        recipe=recipe,
        framework=framework,
        model=model,
        network_args=network_args or {},
        weights=Path(weights) if weights not in (None, "none") else None,
        random_weights=weights == "none",
        preprocess=preprocess,
        fit=fit,
        image_size=image_size,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        learning_rate=_rate(lr),
        finetune=str(finetune) if finetune is not None else None,
        augment=augment,
        mirror=mirror,
        mixup=mixup,
        ema=ema,
        budget=seconds(str(budget)) if budget is not None else None,
        target=target,
        seed=seed,
        device=device,
        offline=offline,
        golden=golden,
        promise=promise,
    )
    from whatsit import pipeline  # on first use: opening a model file must not load what training needs

    return pipeline.train(
        Path(data) if isinstance(data, os.PathLike) else data,
        wishes,
        classes=classes,
        data_dir=Path(data_dir) if data_dir is not None else None,
        out=Path(out) if out is not None else None,
        resume=resume,
        on_event=on_event,
        started=started,
    )


def _rate(lr: object) -> float | Literal["auto"] | None:
    if lr is None or lr == "auto":
        return lr
    try:
        return float(lr)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise OptionError(
            "cannot use this learning rate", value=repr(lr), accepted="a number, or 'auto'", hint="Try 0.001."
        ) from None


def _refuse_unknown_options(options: dict[str, Any]) -> None:
    """Before the data is read: a typing error must not cost a training."""
    accepted = [name for name in inspect.signature(train).parameters if name not in ("data", "started")]
    for name in options:
        if name not in accepted:
            advice = did_you_mean(name, accepted) or f"Accepted: {', '.join(accepted)}."
            raise TypeError(f"Classifier() got an unexpected keyword argument {name!r}. {advice}")


def _listed(y: Any) -> list[Any]:
    """Labels as plain values: an array's or a column's 3 is '3', not 'np.int64(3)'."""
    return list(np.asarray(y).tolist())


def _refuse_unlabelled(data: Any) -> None:
    if not isinstance(data, str | os.PathLike | Dataset):
        raise DataError(
            "cannot use pictures without their labels",
            value=f"{type(data).__name__} and no y",
            accepted="pictures and their labels y, or a folder, a CSV or a named data set",
            hint="Pass the labels too, for instance: score(X, y)",
        )
