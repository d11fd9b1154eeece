"""From a name to a model file: found or fetched, answering as its network does, and all that can fail.

The Hugging Face hub and Keras's storage are played by a server on this machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import coloured
from file_server import Behaviour, FileServer, serving
from PIL import Image
from tiny_weights import NETWORK, write_tiny_weights

import whatsit
from whatsit import catalogue, downloads, weights
from whatsit.errors import OptionError, OutputError, WeightsError
from whatsit.events import Event, Progress
from whatsit.modelfile import verify
from whatsit.runtime import OpenModel
from whatsit.weights import Wanted

pretrained = pytest.importorskip("whatsit.pretrained")
pytest.importorskip("timm")

NAME = f"timm:{NETWORK}"
FILE = f"{NETWORK}.safetensors"
ON_THE_HUB = f"/timm/{NETWORK}/resolve/main/model.safetensors"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no weights of the user's."""
    monkeypatch.delenv("WHATSIT_WEIGHTS", raising=False)
    monkeypatch.delenv("WHATSIT_OFFLINE", raising=False)
    monkeypatch.setenv("WHATSIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "PAUSE", 0.0)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def hub(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with serving({ON_THE_HUB: tiny.read_bytes()}) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        yield running


def test_a_cache_that_cannot_be_written_to_says_which_variable_moves_it(
    hub: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WHATSIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError) as caught:
        pretrained.model_file(Wanted(NAME))
    assert caught.value.hint == "Free some space, or set WHATSIT_CACHE to a folder with room."
    with pytest.raises(OutputError) as caught:
        pretrained.prepare(Wanted(NAME), tmp_path / "file")
    assert caught.value.hint == "Free some space, or choose another folder with --to."


def kept(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def test_weights_are_fetched_from_the_hub_once_and_described(hub: FileServer, cache: Path, tiny: Path) -> None:
    told: list[Event] = []
    found = pretrained.locate(NAME, on_event=told.append)
    assert found.path == cache / "weights" / FILE
    assert found.path.read_bytes() == tiny.read_bytes()
    assert kept(cache) == [FILE, f"{FILE}.json"]
    description = json.loads((cache / "weights" / f"{FILE}.json").read_text())
    assert description == {
        "name": NAME,
        "framework": "torch",
        "network": NAME,
        "arguments": {},
        "classes": "imagenet-1k",
        "input_size": [160, 160],
        "preprocess": "-1..1",
        "fit": "crop",
        "resize_shorter": 168,
        "interpolation": "bilinear",
        "sha256": hashlib.sha256(tiny.read_bytes()).hexdigest(),
        "licence": "apache-2.0",
        "source": f"timm/{NETWORK}",
    }
    assert any(isinstance(event, Progress) and event.done == event.total for event in told)
    asked = len(hub.seen)
    for name in (NAME, NETWORK):
        assert pretrained.locate(name, offline=True) == found
    assert len(hub.seen) == asked


@pytest.mark.parametrize(
    ("asked", "given", "value"),
    [
        ("404", "well", "HTTP 404"),
        ("429", "well", "HTTP 429"),
        ("500", "well", "HTTP 500"),
        ("well", "404", "HTTP 404"),
        ("well", "429", "HTTP 429"),
        ("well", "breaks off", "it broke off after"),
        ("well", "corrupt", "SHA256"),
    ],
)
def test_a_hub_that_fails_poisons_nothing(
    hub: FileServer, cache: Path, asked: Behaviour, given: Behaviour, value: str
) -> None:
    hub.asked, hub.behaviours = [asked], [given]
    with pytest.raises(WeightsError) as caught:
        pretrained.locate(NAME)
    assert str(caught.value.value).startswith(value)
    assert f"whatsit fetch {NAME} --to DIR" in caught.value.hint
    assert "--model small" in caught.value.hint
    assert kept(cache) == []
    hub.asked, hub.behaviours = ["well"], ["well"]
    assert pretrained.locate(NAME).path.exists()


def test_a_hub_that_wants_a_day_is_not_slept_through(hub: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    hub.retry_after, hub.asked = "86400", ["429", "well"]
    assert pretrained.locate(NAME).path.exists()
    assert downloads.LONGEST_PAUSE in slept
    assert max(slept) == downloads.LONGEST_PAUSE


def test_a_busy_hub_is_asked_again(hub: FileServer, cache: Path) -> None:
    hub.asked, hub.behaviours = ["429", "well"], ["429", "breaks off", "well"]
    assert pretrained.locate(NAME).path.exists()


def test_nobody_listening_is_said_with_a_way_out(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"connection refused.*WHATSIT_WEIGHTS.*whatsit fetch resnet18 --to DIR"):
        pretrained.model_file(Wanted("resnet18"))
    assert kept(cache) == []


@pytest.mark.parametrize("name", ["dinov2", "timm:vit_small_patch14_dinov2.lvd142m"])
def test_what_cannot_classify_is_refused_before_it_is_fetched(hub: FileServer, cache: Path, name: str) -> None:
    with pytest.raises(WeightsError, match=r"without labels.*whatsit train PHOTOS/"):
        pretrained.model_file(Wanted(name))
    assert hub.seen == []
    assert kept(cache) == []


def test_what_cannot_be_prepared_leaves_nothing_in_the_folder(tmp_path: Path) -> None:
    given = write_tiny_weights(tmp_path / "given")
    given.with_name(given.name + ".json").unlink()
    with pytest.raises(OptionError):
        pretrained.prepare(Wanted("timm:no_such_network", weights=given), tmp_path / "to")
    assert list((tmp_path / "to").iterdir()) == []


def test_a_variable_that_says_no_means_no(hub: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHATSIT_OFFLINE", "false")
    assert pretrained.locate(NAME).path.exists()


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline_asks_nobody(hub: FileServer, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    if how == "environment":
        monkeypatch.setenv("WHATSIT_OFFLINE", "1")
    with pytest.raises(WeightsError, match="none on this machine, and --offline"):
        pretrained.locate(NAME, offline=how == "argument")
    assert hub.seen == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda photos: whatsit.train(photos, offline=True),
        lambda photos: whatsit.train(photos, model=NAME, offline=True),
        lambda photos: whatsit.load(NAME, offline=True),
    ],
    ids=["train", "train on a name", "load"],
)
def test_offline_is_passed_on(hub: FileServer, tmp_path: Path, ask: Callable[[Path], object]) -> None:
    for label in ("red", "green"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for n in range(12):
            Image.fromarray(coloured(label, n, 80)).save(tmp_path / "photos" / label / f"{n}.png")
    hub.asked = ["404"]
    with pytest.raises(WeightsError, match="none on this machine, and --offline"):
        ask(tmp_path / "photos")
    assert hub.seen == []


def test_the_users_token_stays_here(hub: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pretrained.locate(NAME)
    assert [line.partition(" ")[0] for line in hub.seen] == ["HEAD", "GET"]
    assert not any("hf_secret" in value for headers in hub.headers for value in headers.values())


@pytest.mark.parametrize(
    "use",
    [lambda folder: pretrained.model_file(Wanted("tiny")), lambda folder: pretrained.prepare(Wanted("tiny"), folder)],
    ids=["model_file", "prepare"],
)
def test_weights_damaged_in_the_cache_are_not_used(cache: Path, tmp_path: Path, use: Callable[[Path], object]) -> None:
    path = write_tiny_weights(cache / "weights")
    *rest, last = path.read_bytes()
    path.write_bytes(bytes([*rest, last ^ 1]))
    with pytest.raises(WeightsError, match="cannot trust"):
        use(tmp_path / "usb")


def test_a_folder_is_prepared_for_another_machine(
    hub: FileServer, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pretrained.prepare(Wanted(NAME), tmp_path / "usb")
    assert path == tmp_path / "usb" / FILE
    assert kept(cache) == []  # straight to where it is wanted
    monkeypatch.setenv("WHATSIT_WEIGHTS", str(tmp_path / "usb"))
    assert pretrained.locate(NAME, offline=True).path == path
    again = pretrained.prepare(Wanted(NAME), tmp_path / "second", offline=True)
    assert again.read_bytes() == path.read_bytes()
    assert weights.describe(again) == replace(weights.describe(path), path=again)
    assert pretrained.prepare(Wanted(NAME), tmp_path / "usb", offline=True) == path


@pytest.fixture(scope="module")
def made(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model file of the tiny weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WHATSIT_WEIGHTS", str(tiny.parent))
        patch.setenv("WHATSIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        path = pretrained.model_file(Wanted("tiny"), offline=True)
        assert pretrained.model_file(Wanted("tiny"), offline=True) == path
        return Path(path)


def test_the_model_file_answers_as_the_network_in_its_own_framework(made: Path, tiny: Path) -> None:
    import timm
    import torch
    from safetensors.torch import load_file

    network = timm.create_model(NETWORK, pretrained=False).eval()
    network.load_state_dict(load_file(tiny))
    model = OpenModel(made)
    picture = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    small = Image.fromarray(picture).resize((96, 72), Image.Resampling.BILINEAR).crop((16, 4, 80, 68))
    prepared = model.prepare(picture)
    assert np.abs(prepared.astype(int) - np.asarray(small)).max() <= 2
    x = (torch.tensor(prepared) / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = network(x.permute(2, 0, 1)[None]).softmax(1)[0].numpy()
    assert np.abs(model.predict_proba(picture)[0] - expected).max() < 1e-4
    assert expected.max() > 0.01  # far from alike for all labels


def test_the_model_file_says_what_it_is(made: Path, tiny: Path) -> None:
    manifest = OpenModel(made).manifest
    assert manifest.labels == catalogue.imagenet_labels()
    assert (manifest.preprocess.size, manifest.preprocess.fit, manifest.preprocess.resize_shorter) == (
        (64, 64),
        "crop",
        72,
    )
    assert manifest.weights["pretrained"] == tiny.name
    assert manifest.weights["licence"] == "CC0-1.0"
    assert manifest.weights["sha256"] == hashlib.sha256(tiny.read_bytes()).hexdigest()
    assert manifest.weights["parameters"] == 469_688
    assert manifest.recipe["model"] == NETWORK
    assert str(tiny.parent) not in str(manifest.recipe)
    assert manifest.measured == {}
    assert len(manifest.golden) == 10
    assert verify(manifest, OpenModel(made).answers) < 1e-6


def test_golden_pictures_of_ones_own_are_kept_instead(
    tiny: Path, make_photos: Callable[..., Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHATSIT_WEIGHTS", str(tiny.parent))
    own = make_photos(red=2)
    path = pretrained.model_file(Wanted("tiny"), offline=True, golden=own)
    assert [Path(golden.name).name for golden in OpenModel(path).manifest.golden] == ["000.png", "001.png"]


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"classes": None}, "cannot classify with 'tiny'"),
        ({"network": "timm:test_vit.r160_in1k"}, "cannot load"),
        ({"arguments": {"num_classes": 10}}, "cannot"),
    ],
)
def test_weights_that_cannot_classify_leave_nothing(
    facts: dict[str, object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setenv("WHATSIT_WEIGHTS", str(write_tiny_weights(tmp_path / "w", **facts).parent))
    with pytest.raises((WeightsError, OptionError), match=message):
        pretrained.model_file(Wanted("tiny"), offline=True)
    assert kept(cache) == []


def test_a_head_of_another_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = write_tiny_weights(tmp_path / "w")
    state = load_file(path)
    head = next(name for name, value in state.items() if value.shape == (1000,))
    state[head], state[head.replace("bias", "weight")] = (
        state[name][:10].clone() for name in (head, head.replace("bias", "weight"))
    )
    save_file(state, path)
    description = json.loads(path.with_name(f"{path.name}.json").read_text())
    path.with_name(f"{path.name}.json").write_text(json.dumps({**description, "sha256": None}))
    monkeypatch.setenv("WHATSIT_WEIGHTS", str(path.parent))
    with pytest.raises(WeightsError):
        pretrained.model_file(Wanted("tiny"), offline=True)
    assert kept(cache) == []


def test_weights_by_hand_take_from_the_name_what_no_description_says(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"weights")
    found = pretrained.locate("resnet18", weights=path)
    assert (found.path, found.network, found.framework) == (path, "resnet18.tv_in1k", "torch")
    assert (found.preprocess, found.input_size, found.resize_shorter) == ("imagenet", (224, 224), 256)
    assert found.interpolation == "bilinear"


def test_weights_by_hand_of_another_network_are_refused(tiny: Path) -> None:
    with pytest.raises(WeightsError, match=f"weights of the network '{NETWORK}'.*accepted: weights of 'resnet18"):
        pretrained.locate("resnet18", weights=tiny)


def test_what_is_said_by_hand_wins(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Wanted("tiny", weights=tiny, preprocess="mobilenet_v2", arguments={"drop_rate": 0.5})
    complete = pretrained._complete(weights.describe(tiny), wanted)
    assert (complete.preprocess, complete.arguments) == ("-1..1", {"drop_rate": 0.5})
    assert complete.input_size == (64, 64)


def test_a_legacy_file_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    import pickle

    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "exploded",)

    path = tmp_path / "w.pth"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(WeightsError, match="cannot read the weights"):
        pretrained.model_file(Wanted(NAME, weights=path), offline=True)
    assert not (tmp_path / "exploded").exists()


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(OptionError, match="Did you mean 'resnet18'"):
        pretrained.locate("ressnet18")


KERAS = "/tensorflow/keras-applications"
MOBILENET = f"{KERAS}/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"
CONVNEXT = f"{KERAS}/convnext/convnext_tiny.h5"
HASHED = f"{KERAS}/mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float.h5"


@pytest.fixture
def keras_storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    pytest.importorskip("keras")
    with serving(dict.fromkeys((MOBILENET, HASHED, CONVNEXT), b"weights")) as running:
        monkeypatch.setenv("WHATSIT_KERAS_STORAGE", running.address + "/")
        yield running


def test_kerass_weights_come_from_its_storage(keras_storage: FileServer, cache: Path) -> None:
    found = pretrained.locate("mobilenet_v2", "keras")
    assert (found.path.parent, found.path.read_bytes()) == (cache / "weights", b"weights")
    assert (found.name, found.framework, found.network) == ("keras:MobileNetV2", "keras", "MobileNetV2")
    assert (found.preprocess, found.input_size) == ("-1..1", (224, 224))
    assert keras_storage.seen == [f"GET {MOBILENET}"]
    assert pretrained.locate("keras:MobileNetV2", offline=True) == found


@pytest.mark.parametrize(
    ("behaviour", "value"),
    [("404", "HTTP 404"), ("429", "HTTP 429"), ("breaks off", "it broke off"), ("well", "MD5 ")],
)
def test_a_storage_that_fails_poisons_nothing(
    keras_storage: FileServer, cache: Path, behaviour: Behaviour, value: str
) -> None:
    keras_storage.behaviours = [behaviour]
    with pytest.raises(WeightsError) as caught:
        pretrained.locate("keras:MobileNetV3Small")  # Keras knows its hash, and these bytes have another
    assert str(caught.value.value).startswith(value)
    assert "whatsit fetch keras:MobileNetV3Small --to DIR" in caught.value.hint
    assert kept(cache) == []


def test_a_sha256_that_keras_knows_is_checked_too(keras_storage: FileServer, cache: Path) -> None:
    with pytest.raises(WeightsError, match="SHA256 "):
        pretrained.locate("keras:ConvNeXtTiny")
    assert kept(cache) == []


@pytest.mark.slow
def test_both_frameworks_name_what_is_in_the_photos_and_agree_on_clothes(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Done-when: every photo's label among the first five, and the same first label for 95 % of the test photos."""
    pytest.importorskip("keras")
    monkeypatch.setenv("WHATSIT_WEIGHTS", str(shared / "weights"))
    models = [
        OpenModel(pretrained.model_file(Wanted(name), offline=True)) for name in ("mobilenet_v2", "keras:MobileNetV2")
    ]
    photos = shared / "data" / "photos"
    expected = {
        "lion.jpg": "lion",
        "cheetah1.jpg": "cheetah",
        "n01440764_tench.JPEG": "tench",
        "n02123045_tabby.JPEG": "tabby",
        "n07753592_banana.JPEG": "banana",
        "n02814533_beach_wagon.JPEG": "beach wagon",
    }
    for model in models:
        for file, label in expected.items():
            assert label in [name for name, _ in model.predict(photos / file).top], (model.path.name, file)
    clothes = sorted((shared / "data" / "clothing" / "test").rglob("*.jpg"))
    assert len(clothes) > 100
    first, second = ([prediction.label for prediction in model.predict(clothes)] for model in models)
    assert np.mean([a == b for a, b in zip(first, second, strict=True)]) >= 0.95
