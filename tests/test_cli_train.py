"""`whatsit train` and `whatsit demo` as processes: output, Ctrl-C, kill -9, bad input."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the 'train' extra")

ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": "default"}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "whatsit", *map(str, arguments)]


def whatsit_(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, cwd=cwd, timeout=1200, env=ENVIRONMENT)


def test_train_prints_the_accuracy_and_one_json_line(make_photos: Callable[..., Path], tmp_path: Path) -> None:
    photos = make_photos(red=20, green=20)
    done = whatsit_("train", photos, "--epochs", 2, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert 0 <= result["interval"][0] <= result["test_accuracy"] <= result["interval"][1] <= 1
    assert result["seconds"] > 0
    assert (tmp_path / "runs" / "photos" / "model.onnx").exists()
    assert "Test accuracy" in done.stdout
    assert "epoch 2/2" in done.stderr
    assert "head" in done.stderr  # the table of layers
    assert "\x1b" not in done.stdout + done.stderr
    assert "Warning" not in done.stderr


def test_a_budget_sets_the_epochs_and_is_kept(make_photos: Callable[..., Path], tmp_path: Path) -> None:
    done = whatsit_("train", make_photos(red=20, green=20), "--budget", "3s", "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    assert "at most 60 epochs" in done.stderr
    assert "--epochs or --budget changes it" not in done.stderr
    with (tmp_path / "out" / "history.csv").open(newline="") as file:
        *seconds, _ = [float(row["seconds"]) for row in csv.DictReader(file)]
    assert sum(seconds) <= 3


@pytest.mark.parametrize("absent", ["torch", "tomli_w", "matplotlib", "sklearn"])
def test_a_light_installation_says_what_to_install(absent: str, tmp_path: Path) -> None:
    code = f"""
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

import importlib.util
known = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == {absent!r} else known(name, package)
sys.meta_path.insert(0, Absent())
from whatsit.apps.cli.main import main
sys.exit(main(["train", "digits"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert f"no module named '{absent}'" in done.stderr
    assert "pip install 'whatsit[train]'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_gets_a_folder_of_its_own(make_photos: Callable[..., Path], tmp_path: Path) -> None:
    photos = make_photos(red=8, green=8)
    (tmp_path / "runs" / "photos").mkdir(parents=True)
    assert whatsit_("train", photos, "--epochs", 1, cwd=tmp_path).returncode == 0
    assert (tmp_path / "runs" / "photos-2" / "model.onnx").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_with_a_saved_and_judged_model(
    number: signal.Signals, make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    photos = make_photos(red=20, green=20)
    process = start("train", photos, "--recipe", "fast", "--epochs", 5000, "--out", tmp_path / "out", "--json")
    wait_for("epoch    2/5000", process)
    process.send_signal(number)
    out, err = process.communicate(timeout=1200)
    assert process.returncode == 0, err
    result = json.loads(out.splitlines()[-1])
    assert result["stopped"] == "interrupted"
    assert 2 <= result["epochs"] < 5000
    assert (tmp_path / "out" / "model.onnx").exists()
    assert (tmp_path / "out" / "report.html").exists()


def test_ctrl_c_before_there_is_anything_says_so_and_leaves_nothing(
    make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    photos = make_photos(red=60, green=60)
    process = start("train", photos, "--epochs", 50, "--image-size", 512, "--out", tmp_path / "out")
    wait_for("of them trained", process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=1200)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "stopped" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_kill_9_at_five_random_moments_and_resume_gives_the_undisturbed_result(
    make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    """Promise: whenever it is killed, either the last whole checkpoint or nothing is left, and --resume goes on."""
    import torch

    photos = make_photos(red=60, green=60, blue=60)
    options = ("--recipe", "fast", "--epochs", 12, "--image-size", 64, "--seed", 3)
    whole = start("train", photos, *options, "--out", tmp_path / "whole")
    wait_for("of them trained", whole)
    began = time.monotonic()
    whole.communicate(timeout=1200)
    duration = time.monotonic() - began  # of training, export and judging, without the imports
    assert whole.returncode == 0

    seed = random.randrange(10**6)
    moments = random.Random(seed)
    out = tmp_path / "killed"
    epochs_at_kill = []
    for _ in range(5):
        process = start("train", photos, *options, "--out", out, "--resume")
        wait_for("of them trained", process)
        time.sleep(moments.uniform(0, 0.8 * duration))
        process.kill()
        process.communicate()
        last = out / "checkpoint" / "last.pt"
        state = torch.load(last, weights_only=True) if last.exists() else {"history": []}
        epochs_at_kill.append(len(state["history"]))
        model = out / "model.onnx"
        assert not model.exists() or whatsit_("verify", model).returncode == 0

    done = whatsit_("train", photos, *options, "--out", out, "--resume", "--json")
    assert done.returncode == 0, (seed, done.stderr)
    states = [torch.load(r / "checkpoint" / "last.pt", weights_only=True) for r in (tmp_path / "whole", out)]
    print(f"killed with {epochs_at_kill} of 12 epochs done (moments drawn with seed {seed})")
    assert epochs_at_kill == sorted(epochs_at_kill)
    for name in ("network", "best"):
        assert all(torch.equal(value, states[1][name][key]) for key, value in states[0][name].items()), seed
    assert not [path for path in out.rglob("*") if path.name.endswith(".part")]
    import whatsit

    one, two = (whatsit.load(r / "model.onnx") for r in (tmp_path / "whole", out))
    pictures = sorted(photos.rglob("*.png"))[:20]
    assert np.array_equal(one.predict_proba(pictures), two.predict_proba(pictures))


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["train", "{tmp}/nowhere"], 2, "no such file or folder"),
        (["train", "{tmp}/empty"], 2, "no pictures"),
        (["train", "{tmp}/file.txt"], 2, "a single file"),
        (["train", "{tmp}/photos", "--model", "mobilenetv2_10"], 2, "mobilenetv2_100"),
        (["train", "{tmp}/photos", "--epoch", "3"], 2, "--epochs"),
        (["train", "{tmp}/photos", "--epochs", "many"], 2, "not a valid integer"),
        (["train", "{tmp}/photos", "--budget", "soon"], 2, "90s, 5m"),
        (["train", "{tmp}/photos", "--classes", "red,gren"], 2, "green"),
        (["train", "{tmp}/photos", "--out", "{tmp}/file.txt"], 2, "a file"),
        (["train", "{tmp}/photos", "--out", "/proc/nowhere/run"], 2, "cannot write"),
        (["train", "--resume", "{tmp}/nothing"], 2, "cannot resume"),
        (["train"], 2, "without data"),
        (["trian", "{tmp}/photos"], 2, "'train'"),
    ],
)
def test_bad_input_gets_one_clear_line(
    arguments: list[str],
    code: int,
    complaint: str,
    make_photos: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from whatsit.apps.cli.main import main

    make_photos(red=6, green=6)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("hello")
    before = sorted(tmp_path.rglob("*"))
    assert main([argument.format(tmp=tmp_path) for argument in arguments]) == code
    error = capsys.readouterr().err.strip().splitlines()
    assert complaint in error[-1]
    assert error[-1].startswith("error: ")
    assert "accepted:" in error[-1]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_missed_target_is_said_with_its_distance_and_the_model_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = whatsit_("train", "digits", "--target", "0.999", "--epochs", 1, "--out", out, "--json")
    assert done.returncode == 3, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["target"] == 0.999
    points = 100 * (0.999 - result["test_accuracy"])
    assert done.stderr.splitlines()[-1].startswith("error: the target was not reached: got a test accuracy of ")
    assert f"{points:.2f} points below it; accepted: at least 99.90%. The model is kept." in done.stderr
    assert whatsit_("verify", out / "model.onnx").returncode == 0


def test_a_target_alone_chooses_the_length_and_is_missed_or_not(
    make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    for first, part in enumerate(("train", "val", "test")):
        colour = make_photos(f"photos/{part}", 100 * first, red=24) / "red"
        (photos / part / "green").mkdir()
        for picture in sorted(colour.iterdir())[::2]:  # nobody can tell these apart
            picture.replace(photos / part / "green" / picture.name)
    done = whatsit_("train", photos, "--recipe", "fast", "--target", "0.999", "--out", photos.parent / "out", "--json")
    assert done.returncode == 3, done.stderr
    assert "longest; whether it reaches 99.9% will be seen" in done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["epochs"] == 60


@pytest.mark.parametrize(
    ("stopped", "epochs", "hint"),
    [
        ("interrupted", 2, "whatsit train --resume runs/x"),
        ("target", 2, "ask for a little more than you need"),
        (None, 0, "--finetune all"),
        (None, 3, "--epochs 6, without --budget"),
        ("budget", 3, "a longer training"),
        ("early stopping", 3, "More pictures"),
    ],
)
def test_a_missed_target_says_what_may_help(stopped: str | None, epochs: int, hint: str) -> None:
    from whatsit.apps.cli.training import _refuse_missed_target
    from whatsit.errors import TargetMissedError

    report = SimpleNamespace(accuracy=0.85)
    missed = {"report": report, "target": 0.9, "missed_by": 0.05, "folder": Path("runs/x")}
    with pytest.raises(TargetMissedError) as caught:
        _refuse_missed_target(cast(Any, SimpleNamespace(stopped=stopped, epochs=epochs, **missed)))
    assert caught.value.hint.startswith("The model is kept. ")
    assert hint in caught.value.hint


def test_a_reached_target_is_a_success(make_photos: Callable[..., Path], tmp_path: Path) -> None:
    done = whatsit_("train", make_photos(red=30, green=30), "--target", "0.6", "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["stopped"] == "target"
    assert "with the target reached on validation" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_demo_without_the_page_reaches_its_accuracy(tmp_path: Path) -> None:
    done = whatsit_("demo", "--no-page", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("Test accuracy"))
    assert float(line.split()[2].rstrip("%")) >= 98.5


def start(*arguments: object) -> subprocess.Popen[str]:
    """A process that heeds Ctrl-C, also where the tests themselves run in the background and do not."""
    return subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_for(text: str, process: subprocess.Popen[str]) -> None:
    """Read the process's stderr up to a line with this text."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if text in line:
            return
    raise AssertionError("".join(seen))
