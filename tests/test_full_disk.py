"""A disk that takes no more, in earnest: the system refuses to let a file grow beyond a limit."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from file_server import serving
from test_cli_train import ENVIRONMENT, start, wait_for, whatsit_

from whatsit import downloads
from whatsit.errors import DataError, OutputError
from whatsit.events import ignore

if sys.platform != "linux":
    pytest.skip("limits of a running process are Linux's", allow_module_level=True)

import resource

DATA = bytes(range(256)) * 4_000  # a megabyte
LIMIT = 100_000  # bytes


@contextmanager
def limited() -> Iterator[None]:
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def test_a_download_that_does_not_fit_is_said_leaves_nothing_and_arrives_when_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    with serving({"/file.bin": DATA}) as server:

        def fetch() -> Path:
            return downloads.fetch_on(
                f"{server.address}/file.bin",
                path,
                md5=hashlib.md5(DATA).hexdigest(),
                on_event=ignore,
                error=DataError,
                hint="Try again.",
                elsewhere="go elsewhere",
            )

        with limited(), pytest.raises(OutputError, match="file too large") as caught:
            fetch()
        assert caught.value.hint == "Free some space, or go elsewhere."
        assert list(tmp_path.iterdir()) == []
        assert fetch().read_bytes() == DATA


@pytest.mark.train
def test_a_training_that_cannot_keep_its_first_epoch_leaves_nothing(
    make_photos: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "WHATSIT_CACHE", str(tmp_path / "cache"))
    photos = make_photos(red=20, green=20)
    with limited():  # the process inherits it
        process = start("train", photos, "--epochs", 3, "--out", tmp_path / "out")
    _, err = process.communicate(timeout=1200)
    assert process.returncode == 2
    assert err.splitlines()[-1].startswith(f"error: cannot write '{tmp_path / 'out' / 'checkpoint' / 'last.pt'}': got ")
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


@pytest.mark.train
def test_a_training_whose_disk_fills_up_goes_on_later_to_the_same_result(
    make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    photos, out = make_photos(red=20, green=20), tmp_path / "out"
    options = ("--epochs", 40, "--seed", 3)
    process = start("train", photos, *options, "--out", out)
    wait_for("epoch  2/40", process)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
    _, err = process.communicate(timeout=1200)
    assert process.returncode == 2
    last = err.splitlines()[-1]
    assert last.startswith(f"error: cannot write '{out / 'checkpoint' / 'last.pt'}': got file too large; ")
    assert last.endswith(f"Free some space, then go on: whatsit train --resume {out}")
    assert "Traceback" not in err
    done = whatsit_("train", "--resume", out)
    assert done.returncode == 0, done.stderr
    assert "epoch  2/40" in done.stderr
    assert not list(out.rglob("*.part"))
    assert whatsit_("verify", out / "model.onnx").returncode == 0
