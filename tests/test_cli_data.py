"""whatsit check and whatsit split, as they are typed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from whatsit.apps.cli.main import main

Photos = Callable[..., Path]


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "whatsit", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=1200, encoding="utf-8"
    )


class TestCheck:
    def test_good_data(self, make_photos: Photos, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["check", str(make_photos(red=25, green=26))]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[:2] == ["green: 26 pictures", "red: 25 pictures"]
        assert len(lines) == 3
        assert lines[2].startswith("fingerprint ")
        assert len(lines[2].split()[1]) == 64

    def test_what_is_wrong_is_named_and_the_code_is_one(
        self, make_photos: Photos, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = make_photos(red=25, green=25)
        (folder / "red" / "bad.jpg").write_text("no picture")
        (folder / "loose.png").touch()
        (folder / "blue").mkdir()
        assert main(["check", str(folder)]) == 1
        out = capsys.readouterr().out
        assert "warning: 1 picture cannot be read and is left out." in out
        assert "    red/bad.jpg: not a picture" in out
        assert "warning: 1 picture outside class folders left out." in out
        assert "warning: 1 folder without pictures left out: blue." in out

    def test_a_named_set_is_looked_for_where_it_is_said_to_be(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("WHATSIT_DATA", str(tmp_path / "empty"))
        assert main(["check", "cifar10", "--data-dir", str(tmp_path)]) == 2
        assert f"cannot find CIFAR-10 in '{tmp_path}'" in capsys.readouterr().err
        assert main(["check", "cifar10", "--offline"]) == 2
        assert "Without --offline or WHATSIT_OFFLINE it is fetched" in capsys.readouterr().err

    def test_notes_alone_are_code_zero(self, make_photos: Photos, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["check", str(make_photos(red=3, green=3))]) == 0
        assert "note: few pictures of green (3), red (3)." in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("counts", "said"), [({"red": 9}, "one class only"), ({"red": 9, "green": 2}, "too small")]
    )
    def test_what_training_would_refuse_is_a_warning(
        self, make_photos: Photos, capsys: pytest.CaptureFixture[str], counts: dict[str, int], said: str
    ) -> None:
        assert main(["check", str(make_photos(**counts))]) == 1
        assert said in capsys.readouterr().out

    def test_it_says_what_will_move_as_training_does(
        self, make_photos: Photos, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = make_photos(red=30, green=30)
        rows = [f"{label}/{n:03d}.png,{label},{label}{n // 10}" for label in ("red", "green") for n in range(30)]
        (folder / "x.csv").write_text("\n".join(["path,label,group", *rows]))
        main(["check", str(folder / "x.csv")])
        assert "moved to another part than their own hash says" in capsys.readouterr().out

    def test_copies_between_given_parts(self, make_photos: Photos, capsys: pytest.CaptureFixture[str]) -> None:
        folder = make_photos("data/train", red=20, green=20).parent
        make_photos("data/test", first=19, red=20, green=20)  # number 19 is in both
        assert main(["check", str(folder)]) == 1
        out = capsys.readouterr().out
        assert "warning: 2 pictures in test with a copy in train" in out
        assert "    test/red/019.png = train/red/019.png" in out

    def test_long_lists_are_cut_unless_verbose(self, make_photos: Photos, capsys: pytest.CaptureFixture[str]) -> None:
        folder = make_photos(red=20, green=20)
        for number in range(8):
            (folder / "red" / f"bad{number}.jpg").touch()
        main(["check", str(folder)])
        assert "    and 3 more (whatsit check --verbose names them)" in capsys.readouterr().out
        main(["check", "--verbose", str(folder)])
        out = capsys.readouterr().out
        assert "bad7.jpg" in out
        assert "more" not in out

    def test_data_to_judge_a_model_on(self, make_photos: Photos, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["check", str(make_photos("data/test", red=25, green=25).parent)]) == 0

    def test_digits(self, capsys: pytest.CaptureFixture[str]) -> None:
        pytest.importorskip("sklearn")
        assert main(["check", "digits"]) == 0
        assert "0: 178 pictures" in capsys.readouterr().out

    def test_as_a_process(self, make_photos: Photos) -> None:
        folder = make_photos(red=25, green=25)
        (folder / "red").rename(folder / "caf\u00e9")
        (folder / "caf\u00e9" / "na\u00efve.jpg").touch()
        done = run("check", folder, PYTHONUTF8="1")
        assert done.returncode == 1
        assert "caf\u00e9: 25 pictures" in done.stdout
        assert "caf\u00e9/na\u00efve.jpg: there is nothing in it: 0 bytes" in done.stdout
        assert done.stderr == ""


class TestSplit:
    def test_counts(self, make_photos: Photos, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "out"
        assert main(["split", str(make_photos(red=20, green=20)), str(out), "--val", "6", "--test", "6"]) == 0
        said = capsys.readouterr()
        assert said.out.splitlines() == [
            "train: 16 pictures (green: 8, red: 8)",
            "validation: 12 pictures (green: 6, red: 6)",
            "test: 12 pictures (green: 6, red: 6)",
            f"Train on it: whatsit train {out}",
        ]
        assert said.err == ""
        assert len(list((out / "val" / "red").iterdir())) == 6

    def test_what_is_left_out_or_moved_is_said(
        self, make_photos: Photos, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = make_photos(red=40, green=3)
        (folder / "red" / "bad.jpg").touch()
        (folder / "loose.png").touch()
        assert main(["split", str(folder), str(tmp_path / "out"), "--link"]) == 0
        err = capsys.readouterr().err
        assert "    red/bad.jpg: there is nothing in it: 0 bytes" in err
        assert "outside class folders" in err
        assert "so that its class has a picture for" in err

    @pytest.mark.parametrize(
        "arguments",
        [
            ["photos", "out", "--val", "6"],
            ["photos", "out", "--val", "x"],
            ["photos", "photos/out"],
            ["photos", "file"],
            ["none", "out"],
            ["photos"],
            ["photos", "out", "--vall", "6"],
        ],
    )
    def test_mistakes_are_one_line_and_leave_nothing(
        self,
        make_photos: Photos,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        arguments: list[str],
    ) -> None:
        root = make_photos(red=5, green=5).parent
        (root / "file").touch()
        monkeypatch.chdir(root)
        before = sorted(root.rglob("*"))
        assert main(["split", *arguments]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("error: ")
        assert said.err.count("\n") == 1
        assert sorted(root.rglob("*")) == before

    def test_ctrl_c_leaves_nothing_and_says_stopped(
        self,
        make_photos: Photos,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("whatsit.split_folders._place", interrupt)
        assert main(["split", str(make_photos(red=5, green=5)), str(tmp_path / "out")]) == 130
        assert [path.name for path in tmp_path.iterdir()] == ["photos"]
        assert "stopped" in capsys.readouterr().err

    def test_as_a_process(self, make_photos: Photos, tmp_path: Path) -> None:
        done = run("split", make_photos(red=6, green=6), tmp_path / "out", "--val", "1", "--test", "1")
        assert (done.returncode, done.stderr) == (0, "note: few pictures of green (6), red (6). " + FEW)
        assert "train: 8 pictures (green: 4, red: 4)" in done.stdout
        again = run("split", tmp_path / "photos", tmp_path / "out")
        assert again.returncode == 2
        assert "not empty" in again.stderr


FEW = "Aim for 20 or more of each class; the interval shows what it costs.\n    green (6)\n    red (6)\n"
