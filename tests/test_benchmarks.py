"""The comparisons of benchmarks/cifar10_speed.py: what they run in turn, and what they make of it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

FILE = Path(__file__).parents[1] / "benchmarks" / "cifar10_speed.py"
TRAINED = {"interval": [0.9, 0.95], "epochs": 14, "training": 500.0, "seconds": 600.0}
ANSWERS: dict[str, dict[str, Any]] = {
    "keras-speed": {"pictures_per_second": 600},
    "whatsit-speed": {"pictures_per_second": 1_050},
    "keras": {"curve": [(40.0, 0.5), (80.0, 0.81), (120.0, 0.81)]},
    "tutorial": {**TRAINED, "test_accuracy": 0.81},
    "soonest": {**TRAINED, "test_accuracy": 0.82, "training": 8.0},
    "target": {**TRAINED, "test_accuracy": 0.942},
}


@pytest.fixture
def script() -> Any:
    spec = importlib.util.spec_from_file_location("cifar10_speed", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def compare(
    script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[list[str], str]]:
    """compare("fast") gives the sides it ran, in their order, and what it printed; the sides themselves are canned."""
    ran: list[str] = []

    def run(options: object, what: str, seed: int = 0, epochs: int | None = None) -> dict[str, Any]:
        assert what in script.SIDES
        ran.append(f"{what} {seed}")
        answer = ANSWERS[what]
        return {"curve": answer["curve"][:epochs]} if what == "keras" else answer

    monkeypatch.setattr(script, "_run", run)

    def start(*arguments: str) -> tuple[list[str], str]:
        monkeypatch.setattr(sys, "argv", ["cifar10_speed.py", "there", *arguments])
        script.main()
        return ran, capsys.readouterr().out

    return start


def test_speed_is_compared_in_turn(compare: Callable[..., tuple[list[str], str]]) -> None:
    ran, said = compare("speed", "--rounds", "2")
    assert ran == ["keras-speed 0", "whatsit-speed 0"] * 2
    assert (
        said.splitlines()[-1]
        == "Keras 600 (600 to 600), whatsit 1050 (1050 to 1050) pictures/s: 1.75 (1.75 to 1.75) times"
    )


def test_time_is_compared_with_when_keras_first_had_its_final_accuracy(
    compare: Callable[..., tuple[list[str], str]],
) -> None:
    ran, said = compare("accuracy")
    assert ran == ["keras 0", "tutorial 0", "soonest 0"]
    assert "Keras has 0.806 after 80 s, its final accuracy first after 80 s" in said
    assert "8 s, 10.0 times sooner than Keras's final accuracy" in said


def test_every_seed_of_fast_is_run_beside_an_epoch_of_keras(compare: Callable[..., tuple[list[str], str]]) -> None:
    ran, said = compare("fast")
    assert ran == ["keras 0", "target 0", "keras 1", "target 1", "keras 2", "target 2"]
    assert "an epoch in 40 s, so 30 in 1200 s" in said
    assert "mean test accuracy 0.9420, standard deviation 0.0000, n 3" in said
    assert said.splitlines()[-1] == "whole command 600 (600 to 600) s, 0.50 (0.50 to 0.50) of Keras's time"


def test_what_keras_does_after_an_epoch_is_not_counted(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("keras")
    now = 100.0
    monkeypatch.setattr(script, "time", SimpleNamespace(perf_counter=lambda: now))

    class Model:
        def fit(self, *_: object, callbacks: list[Any], **__: object) -> None:
            nonlocal now
            callbacks[0].on_epoch_begin(0)
            now += 2
            callbacks[0].on_epoch_end(0)
            now += 60

    nothing = np.zeros(0)
    assert script._keras_epoch(Model(), nothing, nothing) == 2
