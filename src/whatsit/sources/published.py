"""The published data sets: their files, where these come from, and the samples in them.

Nothing is unpacked to disk: the files stay as they were published and are read in memory. What somebody has unpacked
by hand is read as well.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from whatsit import storage
from whatsit.dataset import Dataset, Sample, Split
from whatsit.errors import DataError
from whatsit.events import OnEvent
from whatsit.sources import files, formats
from whatsit.sources.files import Archive, Content
from whatsit.sources.formats import DamagedError, Labelled

T = TypeVar("T")
_SHARE = 0.04  # of the train part, for validation: 2,000 or 2,400 pictures are plenty


@dataclass(frozen=True)
class Part:
    """Pictures that lie together: in one file of records, or in an IDX file of pictures and one of labels."""

    name: str  # in the names of its samples
    split: Split
    files: tuple[str, ...]
    pictures: int


@dataclass(frozen=True)
class Published:
    """A data set as its authors publish it.

    homes    addresses of folders on the web that hold the archives, tried in this order
    folder   where the files lie inside the archive, and where they are looked for besides
    layout   "records": a label and a picture; "fine records": a coarse label before them; "idx": MNIST's two files
    classes  in the order of the labels in the files
    """

    title: str
    homes: tuple[str, ...]
    archives: tuple[Archive, ...]
    folder: str
    layout: Literal["records", "fine records", "idx"]
    parts: tuple[Part, ...]
    classes: tuple[str, ...]


def load(name: str, data_dir: Path | None, offline: bool, on_event: OnEvent) -> Dataset:
    """The data set of that name in PUBLISHED, from `data_dir`, or else from its own folder, fetched if need be.

    Raises DataError for files that are missing, damaged or cannot be fetched, OutputError where they cannot be kept.
    """
    described, folder = PUBLISHED[name], data_dir or own_folder(name)
    places = (folder, folder / described.folder)
    lacking = [archive for archive in described.archives if not files.is_there(archive, places)]
    if lacking:
        from whatsit import downloads  # here, so that those who fetch nothing load nothing of the network's

        if data_dir is not None or not downloads.may_connect(offline):
            raise _not_there(described, lacking, folder, may_be_fetched=data_dir is None)
        _fetch(described, lacking, folder, on_event)
    hint = _again(described, may_be_fetched=data_dir is None)
    contents = {file: content for archive in described.archives for file, content in files.read(archive, places, hint)}
    samples = tuple(
        Sample(f"{name}/{part.name}/{number:04d}", picture, described.classes[label], part.split)
        for part in described.parts
        for number, (label, picture) in enumerate(_pictures(described, part, contents, hint))
    )
    return Dataset(name, samples, described.classes, given_splits=frozenset({"train", "test"}), share=_SHARE)


def own_folder(name: str) -> Path:
    """Where the files of a published data set are kept: WHATSIT_DATA/NAME, or the cache's data/NAME."""
    chosen = os.environ.get("WHATSIT_DATA")
    return (Path(chosen) if chosen else storage.cache_folder() / "data") / name


def _fetch(described: Published, lacking: list[Archive], folder: Path, on_event: OnEvent) -> None:
    """From one home after the other; the hash of each file tells whether it is the authors', whoever sent it."""
    failure: DataError | None = None
    waiting = list(lacking)
    for home in described.homes:
        try:
            while waiting:
                files.fetch(home, waiting[0], folder, on_event, _without_network(described, folder))
                del waiting[0]
        except DataError as error:
            failure = error
        if not waiting:
            return
    raise failure or AssertionError("a published data set has a home")


def _pictures(
    described: Published, part: Part, contents: dict[str, Content], hint: str
) -> Iterator[tuple[int, formats.Pixels]]:
    """Each picture of a part with the number of its class; the bytes of its files are let go of."""
    held = [contents.pop(file) for file in part.files]
    accepted = f"{part.pictures:,} pictures of {len(described.classes)} classes in {' and '.join(part.files)}"
    labels, pictures = _labelled(described, held, accepted, hint)
    for content, found, what in ((held[0], pictures, "pictures"), (held[-1], labels, "labels")):
        if len(found) != part.pictures:
            raise files.unusable(content.path, f"{len(found):,} {what}", accepted, hint)
    if labels.max(initial=0) >= len(described.classes):
        raise files.unusable(held[-1].path, f"the label {labels.max()}", accepted, hint)
    yield from zip(labels.tolist(), pictures, strict=True)


def _labelled(described: Published, held: list[Content], accepted: str, hint: str) -> Labelled:
    def parsed(content: Content, parse: Callable[[bytes, int], T], detail: int) -> T:
        try:
            return parse(content.data, detail)
        except DamagedError as error:
            raise files.unusable(content.path, str(error), accepted, hint) from None

    if described.layout == "idx":
        return parsed(held[1], formats.idx, 1), parsed(held[0], formats.idx, 3)
    return parsed(held[0], formats.records, 2 if described.layout == "fine records" else 1)


# ---- what is said when something is wrong


def _not_there(described: Published, lacking: list[Archive], folder: Path, may_be_fetched: bool) -> DataError:
    places = (folder, folder / described.folder)
    unpacked = [file for archive in lacking for file in files.not_unpacked(archive, places)]
    archives = ", ".join(archive.name for archive in lacking)
    members = ", ".join(file for archive in lacking for file in archive.members)
    if may_be_fetched:
        hint = f"Without --offline or WHATSIT_OFFLINE it is fetched. {_without_network(described, folder)}"
    else:
        hint = f"Fetch {archives} from {described.homes[-1]} and put it there, or leave --data-dir out."
    return DataError(
        f"cannot find {described.title} in '{folder}'",
        value=f"no {unpacked[0]}" + (f", nor {len(unpacked) - 1} others" if len(unpacked) > 1 else ""),
        accepted=f"{archives}; or, unpacked from that, {members}",
        hint=hint,
    )


def _without_network(described: Published, folder: Path) -> str:
    archives = ", ".join(archive.name for archive in described.archives)
    return (
        f"On a connected machine, fetch {archives} from {described.homes[-1]}; put it into '{folder}', or into a "
        "folder that you name with --data-dir."
    )


def _again(described: Published, may_be_fetched: bool) -> str:
    if may_be_fetched:
        return "Delete it, and it is fetched again."
    return f"Copy it again; the authors' files are at {described.homes[-1]}"


# ---- the table


def _idx_archives(*md5s: str) -> tuple[Archive, ...]:
    """The four files of MNIST and of those that took its form; each holds one IDX file."""
    members = [file for part in _IDX_PARTS for file in part.files]
    return tuple(Archive(f"{member}.gz", md5, {member: ""}) for member, md5 in zip(members, md5s, strict=True))


_IDX_PARTS = (
    Part("train", "train", ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"), 60_000),
    Part("test", "test", ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"), 10_000),
)
_TORONTO = ("https://www.cs.toronto.edu/~kriz/",)
_CIFAR10_FILES = {
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
_CIFAR100_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""

PUBLISHED = {
    # A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009; of cifar100, the hundred fine classes
    "cifar10": Published(
        title="CIFAR-10",
        homes=_TORONTO,
        archives=(Archive("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", _CIFAR10_FILES),),
        folder="cifar-10-batches-bin",
        layout="records",
        parts=tuple(
            Part(Path(file).stem, "test" if file == "test_batch.bin" else "train", (file,), 10_000)
            for file in _CIFAR10_FILES
        ),
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
    "cifar100": Published(
        title="CIFAR-100",
        homes=_TORONTO,
        archives=(
            Archive("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8", {"train.bin": "", "test.bin": ""}),
        ),
        folder="cifar-100-binary",
        layout="fine records",
        parts=(Part("train", "train", ("train.bin",), 50_000), Part("test", "test", ("test.bin",), 10_000)),
        classes=tuple(_CIFAR100_CLASSES.split()),
    ),
    # Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, 1998
    "mnist": Published(
        title="MNIST",
        # The authors' own, and PyTorch's copy.
        homes=("http://yann.lecun.com/exdb/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/"),
        archives=_idx_archives(
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
        folder="",
        layout="idx",
        parts=_IDX_PARTS,
        classes=tuple("0123456789"),
    ),
    # H. Xiao, K. Rasul and R. Vollgraf, arXiv 1708.07747
    "fashion_mnist": Published(
        title="Fashion-MNIST",
        homes=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        archives=_idx_archives(
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
        folder="",
        layout="idx",
        parts=_IDX_PARTS,
        # The authors write "T-shirt/top"; a class with a slash could not name a folder.
        classes=(
            *("T-shirt or top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
    ),
}
