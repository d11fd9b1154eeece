"""What all tests share: where the shared data is, and pictures made on the spot."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

SHARED = Path(os.environ.get("WHATSIT_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data; the test is skipped where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the shared data folder is absent")
    return SHARED


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tests neither read nor fill the cache of the person who runs them, and need no proxy."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WHATSIT_CACHE", str(folder))
        patch.delenv("WHATSIT_WEIGHTS", raising=False)
        for name in ("no_proxy", "NO_PROXY"):  # the servers of the tests are on this machine
            patch.setenv(name, "127.0.0.1,localhost")
        yield folder


def coloured(label: str, number: int, size: int = 24) -> NDArray[np.uint8]:
    """A picture whose mean colour tells its class ("red", "green" or "blue"), with noise that tells it from others."""
    rng = np.random.default_rng((number, *label.encode()))
    picture = rng.integers(0, 120, (size, size, 3))
    picture[..., ("red", "green", "blue").index(label)] += 130
    return picture.astype(np.uint8)


@pytest.fixture
def make_photos(tmp_path: Path) -> Callable[..., Path]:
    """make_photos(red=12, green=12) writes photos/red/000.png and so on, and returns the folder."""

    def make(root: str = "photos", first: int = 0, **counts: int) -> Path:
        for label, n in counts.items():
            folder = tmp_path / root / label
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(first, first + n):
                Image.fromarray(coloured(label, number)).save(folder / f"{number:03d}.png")
        return tmp_path / root

    return make


@pytest.fixture
def small_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CIFAR-10's six files with 40 pictures each, whose class is a brightness, in place of the authors' 10,000."""
    from whatsit.sources.published import PUBLISHED

    folder = tmp_path / "published"
    folder.mkdir()
    random = np.random.default_rng(0)
    known = PUBLISHED["cifar10"]
    for part in known.parts:
        records = [
            bytes([n % 10]) + random.integers(20 * (n % 10), 20 * (n % 10) + 60, 3072, np.uint8).tobytes()
            for n in range(40)
        ]
        (folder / part.files[0]).write_bytes(b"".join(records))
    archives = tuple(replace(archive, members=dict.fromkeys(archive.members, "")) for archive in known.archives)
    parts = tuple(replace(part, pictures=40) for part in known.parts)
    monkeypatch.setitem(PUBLISHED, "cifar10", replace(known, archives=archives, parts=parts))
    return folder


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder of a user whom permissions bind, also where the tests run as root, whom they do not."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    nobody = 65534
    with tempfile.TemporaryDirectory() as folder:
        if root:
            os.chown(folder, nobody, nobody)
            os.setresuid(nobody, nobody, 0)
        try:
            yield Path(folder)
        finally:
            if root:
                os.setresuid(0, 0, 0)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where everything is provided (.ci/run), a test that skips is a test that did not run. GPU tests may skip."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("WHATSIT_NO_SKIPS") or reporter is None:
        return
    skipped = [report for report in reporter.stats.get("skipped", []) if "gpu" not in report.keywords]
    if skipped:
        reporter.write_line(f"{len(skipped)} tests skipped although WHATSIT_NO_SKIPS is set", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
