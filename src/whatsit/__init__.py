"""whatsit: from folders of pictures to one file that answers "which of these is it?".

    import whatsit

    trained = whatsit.train("photos/")
    clf = whatsit.load(trained.model)
    print(clf.predict("new.jpg"))

Each public name is loaded on first use, so `import whatsit` is quick and light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from whatsit.version import __version__

if TYPE_CHECKING:
    from whatsit.apps.serving import serve
    from whatsit.dataset import Dataset
    from whatsit.errors import ImageError, WhatsitError
    from whatsit.estimator import Classifier, load, train
    from whatsit.evaluation import Report
    from whatsit.runtime.prediction import Prediction
    from whatsit.split_folders import split

_HOMES = {
    "Classifier": "whatsit.estimator",
    "Dataset": "whatsit.dataset",
    "ImageError": "whatsit.errors",
    "Prediction": "whatsit.runtime.prediction",
    "Report": "whatsit.evaluation",
    "WhatsitError": "whatsit.errors",
    "load": "whatsit.estimator",
    "serve": "whatsit.apps.serving",
    "split": "whatsit.split_folders",
    "train": "whatsit.estimator",
}

__all__ = [
    "Classifier",
    "Dataset",
    "ImageError",
    "Prediction",
    "Report",
    "WhatsitError",
    "__version__",
    "load",
    "serve",
    "split",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'whatsit' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
