"""Right labels from people who saw a wrong answer, in a folder that `whatsit train` reads.

    DIR/cat/1f0e6c9a2b7d4c38.jpg   the picture as it came, named after its content
    DIR/journal.jsonl              who said what and when, one JSON object a line, only ever added to

A picture lies under the label of the last giving that nobody has undone.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from whatsit import images, storage
from whatsit.apps.folder_names import reason_against, refusal
from whatsit.apps.presenter import listed
from whatsit.dataset.layouts import SPLIT_NAMES, visible_folders
from whatsit.errors import OptionError, OutputError, did_you_mean

JOURNAL = "journal.jsonl"
_HINT = "choose another place with --feedback"


@dataclass(frozen=True)
class Answered:
    """What a model said about the picture; `fingerprint` is the SHA-256 of the model file."""

    model: str
    fingerprint: str
    label: str | None
    score: float | None


@dataclass(frozen=True)
class Entry:
    """One giving. `file` is relative to the folder, with slashes."""

    id: str
    label: str
    file: str


class Feedback:
    """The folder and its journal. Safe to share between threads, and with other processes."""

    def __init__(self, folder: Path, labels: Iterable[str], new_labels: bool = False) -> None:
        """`labels` may be given, and those with a folder already; any other one only with `new_labels`.

        Makes the folder. Raises OutputError where nothing can be written, OptionError for a folder of another layout.
        """
        self.folder = folder
        self.new_labels = new_labels
        self._labels = tuple(dict.fromkeys(labels))
        self._lock = threading.Lock()
        with storage.elsewhere(_HINT):
            storage.make_folder(folder)
            storage.check_writable(folder, _HINT)
        self._refuse_split_folders()

    @property
    def labels(self) -> list[str]:
        """What may be given without making a new label: the models' labels, then those of folders made since."""
        made = [folder.name for folder in visible_folders(self.folder) if not reason_against(folder.name)]
        return list(dict.fromkeys((*self._labels, *made)))

    def give(self, picture: Path, label: str, *, who: str, answers: Sequence[Answered] = ()) -> Entry:
        """Keep the picture's bytes under its right label; the same picture under another label moves there.

        Raises OptionError for a label that is not allowed or no name for a folder, OutputError for a full disk.
        """
        self._refuse_label(label)
        data = _bytes_of(picture)
        content = hashlib.sha256(data).hexdigest()[:16]
        entry = Entry(secrets.token_hex(8), label, f"{label}/{content}{_suffix(picture)}")
        with self._lock, storage.elsewhere(_HINT):
            before = self._place_of(content)
            if before is None:
                self._write(entry.file, data)
            else:
                self._move(before, entry.file)
            try:
                self._note("given", entry, who, before=before, answers=[asdict(answer) for answer in answers])
            except OutputError:
                self._move(entry.file, before)
                raise
        return entry

    def undo(self, entry_id: str, *, who: str) -> Entry:
        """Take back a giving: the picture goes where the last giving before it put it, or away.

        One that a person has moved or deleted since is left as it is. Raises OptionError for a giving that never was,
        or is undone already, OutputError where that cannot be written down: then it stands as before.
        """
        with self._lock, storage.elsewhere(_HINT):
            standing = self._standing()
            if entry_id not in standing:
                raise OptionError(
                    "cannot undo this",
                    value=f"'{entry_id}', which was not given, or is undone already",
                    accepted="what was given",
                    hint=f"The journal tells what was: {self.folder / JOURNAL}",
                )
            entry = standing[entry_id]
            same = [other for other in standing.values() if _content(other.file) == _content(entry.file)]
            left = [other for other in same if other is not entry]
            place = self._place_of(_content(entry.file))
            now = place
            if place == same[-1].file:
                now = left[-1].file if left else None
            self._take_back(entry, who, place, now)
        return entry

    def _take_back(self, entry: Entry, who: str, place: str | None, now: str | None) -> None:
        if place is not None and now is not None:
            self._move(place, now)
        try:
            self._note("undone", entry, who, now=now)
        except OutputError:
            if place is not None and now is not None:
                self._move(now, place)
            raise
        if place is not None and now is None:  # last, as it cannot be brought back
            self._move(place, None)

    # ---- the folder

    def _place_of(self, content: str) -> str | None:
        found = sorted(self.folder.glob(f"*/{content}.*"))
        return found[0].relative_to(self.folder).as_posix() if found else None

    def _write(self, file: str, data: bytes) -> None:
        self._make_class_folder(file)
        storage.write_whole(self.folder / file, data)

    def _move(self, before: str, now: str | None) -> None:
        """`now` is None where the picture has no place any more. A class folder that is left empty goes as well."""
        if before == now:
            return
        if now is None:
            try:
                (self.folder / before).unlink(missing_ok=True)
            except OSError as error:
                raise storage.cannot_write(self.folder / before, error, _HINT) from None
        else:
            self._make_class_folder(now)
            try:
                os.replace(self.folder / before, self.folder / now)
            except OSError as error:
                raise storage.cannot_write(self.folder / now, error, _HINT) from None
        with contextlib.suppress(OSError):  # it holds something
            (self.folder / before).parent.rmdir()

    def _make_class_folder(self, file: str) -> None:
        """Raises OptionError where the system makes it another one: an alike name, or a link to somewhere else."""
        folder = (self.folder / file).parent
        storage.make_folder(folder)
        elsewhere = folder.resolve() != self.folder.resolve() / folder.name
        if elsewhere or folder.name not in os.listdir(self.folder):
            raise refusal(folder.name, "a folder that is there under another name, or elsewhere")

    def _refuse_split_folders(self) -> None:
        parts = [f.name for f in visible_folders(self.folder) if f.name.lower() in SPLIT_NAMES and visible_folders(f)]
        if parts:
            raise OptionError(
                f"cannot keep feedback in '{self.folder}'",
                value=f"the folder{'s' if len(parts) > 1 else ''} {', '.join(parts)} with class folders inside",
                accepted="a new folder, or one with a folder for each class",
                hint="Name a folder of its own, and add its pictures to the training part later.",
            )

    # ---- the label

    def _refuse_label(self, label: str) -> None:
        reason = "the journal's name" if label.lower() == JOURNAL else reason_against(label)
        if reason:
            raise refusal(label, reason)
        known = self.labels
        if label not in known and not self.new_labels:
            raise OptionError(
                f"cannot give the label {label!r}",
                value="a label that is not known here",
                accepted=listed(known, 12),
                hint=did_you_mean(label, known) or "The page takes new labels when it is started with --new-labels.",
            )

    # ---- the journal

    def _note(self, action: str, entry: Entry, who: str, **more: Any) -> None:
        row = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "who": who,
            "action": action,
            **asdict(entry),
            **more,
        }
        path = self.folder / JOURNAL
        try:
            line = f"{_missing_end(path)}{json.dumps(row)}\n".encode()
            # One write at the end: lines of several processes stand one after the other.
            handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                if os.write(handle, line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(handle)
        except OSError as error:
            raise storage.cannot_write(path, error, _HINT) from None

    def _standing(self) -> dict[str, Entry]:
        """What was given and not undone, by its id, the oldest first."""
        standing: dict[str, Entry] = {}
        for row in self.journal():
            if row["action"] == "given":
                standing[row["id"]] = Entry(row["id"], row["label"], row["file"])
            else:
                standing.pop(row["id"], None)
        return standing

    def journal(self) -> list[dict[str, Any]]:
        """Every line, the oldest first. One that a full disk cut off is left out."""
        path = self.folder / JOURNAL
        rows = []
        for line in path.read_bytes().splitlines() if path.exists() else ():
            with contextlib.suppress(ValueError):
                rows.append(json.loads(line))
        return rows


def _missing_end(path: Path) -> str:
    """A full disk may have cut off the last line: the next one must not be glued to it.

    A line that another process is writing may look cut off too; then an empty line comes of it, which `journal` skips.
    """
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return "" if file.read(1) == b"\n" else "\n"
    return ""


def _content(file: str) -> str:
    return PurePosixPath(file).stem


def _bytes_of(picture: Path) -> bytes:
    try:
        return picture.read_bytes()
    except OSError as error:
        raise OptionError(
            "cannot keep this picture",
            value=(error.strerror or str(error)).lower(),
            accepted="a picture that is still there",
            hint="Drop it again.",
        ) from None


def _suffix(picture: Path) -> str:
    """Its own where that is one of pictures: `whatsit train` goes by it. Readers go by what is inside."""
    suffix = picture.suffix.lower()
    return suffix if suffix in images.PICTURE_SUFFIXES else ".png"
