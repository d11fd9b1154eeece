"""Keras and TensorFlow Lite files, and Teachable Machine's zips of them."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from whatsit.importers.quiet import before_tensorflow, quiet

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
before_tensorflow()
keras = pytest.importorskip("keras", reason="needs the 'keras' extra")
pytest.importorskip("tensorflow", reason="needs the 'keras' extra")
pytest.importorskip("onnx", reason="needs the 'train' extra")
h5py = pytest.importorskip("h5py", reason="needs the 'keras' extra")

from whatsit.errors import ModelFileError, OptionError, WeightsError, WhatsitError  # noqa: E402
from whatsit.importers import finish  # noqa: E402
from whatsit.importers.choosing import bring  # noqa: E402
from whatsit.importers.said import Said  # noqa: E402
from whatsit.runtime import OpenModel  # noqa: E402

LABELS = ("a", "b", "c")
SAID = Said(labels=LABELS, preprocess="-1..1")


def network(first: Any = None, last: str | None = "softmax", size: int | None = 12) -> Any:
    keras.utils.set_random_seed(1)
    layers = [keras.layers.DepthwiseConv2D(3), keras.layers.GlobalAveragePooling2D()]
    layers += [keras.layers.Dense(3, activation=last)]
    return keras.Sequential([keras.Input((size, size, 3)), *([first] if first else []), *layers])


@pytest.fixture(scope="module")
def plain() -> Any:
    with quiet():
        return network()


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (4, 12, 12, 3), np.uint8)


def saved(model: Any, path: Path) -> Path:
    with quiet():
        model.save(path)
    return path


def as_keras_2_wrote(path: Path) -> None:
    """Put in what Keras 3 no longer writes, nor reads by itself."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            layer.pop("module", None)
            layer.pop("registered_name", None)
            if layer["class_name"] == "DepthwiseConv2D":
                layer["config"]["groups"] = 1
        file.attrs["model_config"] = json.dumps(config)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_keras_file_answers_as_keras_does(
    suffix: str, plain: Any, pictures: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = saved(plain, tmp_path / f"net{suffix}")
    if suffix == ".h5":
        as_keras_2_wrote(path)
    model = OpenModel(finish.write(bring(path, SAID), tmp_path / "out.onnx"))
    answers = plain(pictures / 127.5 - 1.0).numpy()
    assert np.allclose(model.answers(pictures), answers, atol=1e-4)
    assert model.embed(list(pictures)).shape == (4, 3)
    assert model.manifest.recipe == {"model": "net", "scaling": "-1..1", "format": "keras"}


def test_a_network_that_scales_by_itself_needs_no_preprocess(pictures: NDArray[np.uint8], tmp_path: Path) -> None:
    with quiet():
        model = network(keras.layers.Rescaling(1 / 255), last=None, size=None)
    path = saved(model, tmp_path / "net.keras")
    with pytest.raises(OptionError, match="--image-size"):
        bring(path, Said(labels=LABELS))
    brought = bring(path, Said(labels=LABELS, image_size=12))
    out = OpenModel(finish.write(brought, tmp_path / "out.onnx"))
    logits = model(pictures.astype(np.float32)).numpy()
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    assert np.allclose(out.answers(pictures), powers / powers.sum(axis=1, keepdims=True), atol=1e-4)


@pytest.mark.parametrize(
    ("layer", "options", "known"),
    [
        ("Rescaling", {"scale": 1 / 127.5, "offset": -1}, True),
        ("Rescaling", {"scale": [1 / 58.4, 1 / 57.1, 1 / 57.4]}, True),
        ("Rescaling", {"scale": 2, "offset": -1}, False),
        ("Normalization", {"mean": [123.7, 116.3, 103.5], "variance": [3400, 3200, 3300]}, True),
        ("Normalization", {"mean": [0.485, 0.456, 0.406], "variance": [0.05, 0.05, 0.05]}, False),
        ("Normalization", {}, False),
    ],
)
def test_a_layer_scales_pixels_only_if_it_makes_them_small(
    layer: str, options: dict[str, Any], known: bool, tmp_path: Path
) -> None:
    with quiet():
        path = saved(network(getattr(keras.layers, layer)(**options)), tmp_path / "net.keras")
    if known:
        assert bring(path, Said(labels=LABELS)).recipe["scaling"] == "0..255"
        return
    with pytest.raises(OptionError, match="--preprocess"):
        bring(path, Said(labels=LABELS))
    described(path, preprocess="0..1")
    assert bring(path, Said(labels=LABELS)).recipe["scaling"] == "0..1"


def described(path: Path, **known: Any) -> None:
    path.with_name(f"{path.name}.json").write_text(json.dumps({"framework": "keras", **known}))


def test_the_size_in_the_description_is_taken(tmp_path: Path) -> None:
    with quiet():
        path = saved(network(size=None), tmp_path / "net.keras")
    described(path, preprocess="-1..1", input_size=[16, 12], fit="pad")
    brought = bring(path, Said(labels=LABELS))
    assert (brought.preprocess.size, brought.preprocess.fit) == ((16, 12), "pad")
    assert bring(path, Said(labels=LABELS, image_size=14)).preprocess.size == (14, 14)


def test_an_application_is_built_for_the_size_in_its_description(tmp_path: Path) -> None:
    path = tmp_path / "net.weights.h5"
    with quiet():
        arguments = {"alpha": 0.35, "classes": 3}
        keras.applications.MobileNetV2(weights=None, input_shape=(32, 64, 3), **arguments).save_weights(path)
    described(path, network="MobileNetV2", arguments=arguments, preprocess="-1..1", input_size=[32, 64])
    assert bring(path, Said(labels=LABELS)).preprocess.size == (32, 64)


def test_what_is_missing_is_asked_for(plain: Any, tmp_path: Path) -> None:
    path = saved(plain, tmp_path / "net.keras")
    with pytest.raises(OptionError, match="--preprocess"):
        bring(path, Said(labels=LABELS))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_lambda_layer_is_refused_and_not_run(suffix: str, tmp_path: Path) -> None:
    target = tmp_path / "it-ran"

    def bomb(x: Any) -> Any:
        target.mkdir(exist_ok=True)
        return x

    with quiet():
        model = network(keras.layers.Lambda(bomb))
    path = saved(model, tmp_path / f"net{suffix}")
    target.rmdir()
    with pytest.raises(ModelFileError) as caught:
        bring(path, SAID)
    assert caught.value.value == "a Lambda layer, which holds Python code"
    assert not target.exists()


def test_classes_and_functions_of_other_packages_are_refused(plain: Any, tmp_path: Path) -> None:
    path = saved(plain, tmp_path / "net.keras")
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    config["config"]["layers"][1] |= {"module": "os", "class_name": "mkdir", "registered_name": None}
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(ModelFileError, match="'mkdir' of os"):
        bring(path, SAID)


def _cut_off(plain: Any, path: Path) -> None:
    saved(plain, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _harmful_arrays(path: Path, change: Callable[[Any], None]) -> None:
    """A `.keras` file whose weights inside were changed."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    content = io.BytesIO(parts["model.weights.h5"])
    with h5py.File(content, "r+") as file:
        change(file)
    parts["model.weights.h5"] = content.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


def _link(file: Any) -> None:
    file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/x")


def _soft_link(file: Any) -> None:
    file["elsewhere"] = h5py.SoftLink("/layers")


def _outside(file: Any) -> None:
    file.create_dataset("x", (4,), "u1", external=[("/etc/hostname", 0, 4)])


def _huge(file: Any) -> None:
    file.create_dataset("x", (100_000, 100_000), "f4", chunks=(10, 10), compression="gzip")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_link, "a link to elsewhere, 'elsewhere'"),
        (_soft_link, "a link to elsewhere, 'elsewhere'"),
        (_outside, "an array in another file, 'x'"),
        (_huge, "bytes of arrays"),
    ],
)
def test_the_arrays_inside_a_keras_file_are_looked_over_too(
    change: Callable[[Any], None], reason: str, plain: Any, tmp_path: Path
) -> None:
    path = saved(plain, tmp_path / "net.keras")
    _harmful_arrays(path, change)
    with pytest.raises(ModelFileError) as caught:
        bring(path, SAID)
    assert reason in str(caught.value.value)


def test_groups_that_hold_each_other_are_looked_over_once(plain: Any, tmp_path: Path) -> None:
    path = saved(plain, tmp_path / "net.h5")
    with h5py.File(path, "r+") as file:
        file["model_weights/again"] = file["/"]
    assert bring(path, SAID).labels == LABELS


def _text(plain: Any, path: Path) -> None:
    path.write_text("no model")


def _linked(plain: Any, path: Path) -> None:
    saved(plain, path)
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/x")
    else:
        path.write_bytes(b"PK")


def _endless(plain: Any, path: Path) -> None:
    saved(plain, path)
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.create_dataset("x", (100_000, 100_000), "f4", chunks=(10, 10), compression="gzip")
    else:
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x", bytes(150_000_000))


def _grey(plain: Any, path: Path) -> None:
    with quiet():
        model = keras.Sequential([keras.Input((12, 12, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    saved(model, path)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("make", [_cut_off, _text, _linked, _endless, _grey])
def test_what_is_no_whole_keras_model_of_colour_pictures_is_refused(
    make: Callable[[Any, Path], None], suffix: str, plain: Any, tmp_path: Path
) -> None:
    path = tmp_path / f"net{suffix}"
    make(plain, path)
    with pytest.raises(WhatsitError) as caught:
        bring(path, SAID)
    assert caught.value.exit_code == 2


def test_weights_alone_want_the_networks_name_and_must_fit_it(plain: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.weights.h5"
    with quiet():
        plain.save_weights(path)
    with pytest.raises(OptionError, match="--network"):
        bring(path, SAID)
    with pytest.raises(OptionError, match="Did you mean 'MobileNetV2'"):
        bring(path, Said(labels=LABELS, preprocess="-1..1", network="keras:MobileNetv2"))
    with pytest.raises(WeightsError, match=r"into the network 'MobileNetV2' with 3 classes"):
        bring(path, Said(labels=LABELS, preprocess="-1..1", network="MobileNetV2", image_size=32))


# ---- TensorFlow Lite


@pytest.fixture(scope="module")
def lite(plain: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tensorflow = pytest.importorskip("tensorflow")
    path = tmp_path_factory.mktemp("lite") / "model_unquant.tflite"
    with quiet():
        path.write_bytes(tensorflow.lite.TFLiteConverter.from_keras_model(plain).convert())
    return path


def test_a_tflite_file_answers_as_litert_does(
    lite: Path, plain: Any, pictures: NDArray[np.uint8], tmp_path: Path
) -> None:
    pytest.importorskip("tf2onnx", reason="needs the 'import' extra")
    brought = bring(lite, SAID)
    assert brought.quantised is None
    model = OpenModel(finish.write(brought, tmp_path / "out.onnx"))
    assert np.allclose(model.answers(pictures), plain(pictures / 127.5 - 1.0).numpy(), atol=1e-4)
    with pytest.raises(OptionError, match="--preprocess"):
        bring(lite, Said(labels=LABELS))


def test_a_cut_off_or_foreign_tflite_file_is_refused(lite: Path, tmp_path: Path) -> None:
    content = lite.read_bytes()
    for number, broken in enumerate((content[:-100], content[: len(content) // 2], b"no model", b"")):
        path = tmp_path / f"{number}.tflite"
        path.write_bytes(broken)
        with pytest.raises(ModelFileError, match=r"TensorFlow Lite"):
            bring(path, SAID)


def test_the_real_quantised_files_answer_as_they_did(shared: Path, tmp_path: Path) -> None:
    from whatsit import images
    from whatsit.importers.labels import read_labels

    folder = shared / "models_to_import"
    labels = read_labels(folder / "imagenet_labels_1001.txt")
    photos = sorted((shared / "data" / "clothing" / "test").rglob("*.jpg"))[::12]
    for name in ("mobilenet_v2_1.0_224_quant.tflite", "tf2_mobilenet_v2_1.0_224_ptq.tflite"):
        brought = bring(folder / name, Said(labels=labels))
        model = OpenModel(finish.write(brought, tmp_path / "out.onnx"))
        assert model.predict(shared / "data" / "photos" / "lion.jpg").label == "lion, king of beasts, Panthera leo"
        prepared = np.stack([brought.preprocess.apply(images.load(photo)) for photo in photos])
        ours, theirs = model.answers(prepared), brought.original(prepared)
        ranked = np.sort(theirs, axis=1)
        decided = ranked[:, -1] - ranked[:, -2] > 12 / 256
        assert decided.sum() > 20
        assert (ours.argmax(axis=1) == theirs.argmax(axis=1))[decided].all()
    with pytest.raises(ModelFileError, match=r"--preprocess 0\.\.1"):
        bring(folder / name, Said(labels=labels, preprocess="0..1"))


def test_the_real_cifar10_network_is_right_about_its_pictures(shared: Path, tmp_path: Path) -> None:
    from PIL import Image

    labels = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    path = shared / "models_to_import" / "keras_resnet_cifar10.h5"
    brought = bring(path, Said(labels=labels, preprocess="0..255"))
    model = OpenModel(finish.write(brought, tmp_path / "out.onnx"))
    sheet = np.asarray(Image.open(shared / "data" / "cifar10" / "test_batch_0.webp").convert("RGB"))
    pictures = sheet.reshape(25, 32, 40, 32, 3).transpose(0, 2, 1, 3, 4).reshape(1000, 32, 32, 3)
    targets = np.fromfile(shared / "data" / "cifar10" / "test_batch.labels", np.uint8)[:1000]
    ours = model.answers(pictures).argmax(axis=1)
    assert (ours == targets).mean() > 0.85
    assert (ours == brought.original(pictures).argmax(axis=1)).mean() >= 0.995


# ---- Teachable Machine


def zipped(path: Path, labels: str | None, **files: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in files.items():
            archive.write(file, f"converted/{name}.{file.suffix[1:]}")
        if labels is not None:
            archive.writestr("converted/labels.txt", labels)
    return path


@pytest.mark.parametrize("kind", ["keras_model", "model_unquant"])
def test_a_teachable_machine_zip_brings_labels_and_scaling(
    kind: str, plain: Any, lite: Path, pictures: NDArray[np.uint8], tmp_path: Path
) -> None:
    file = lite
    if kind == "keras_model":
        file = saved(plain, tmp_path / "keras_model.h5")
        as_keras_2_wrote(file)
    path = zipped(tmp_path / "converted.zip", "0 Red Fox\n1 2 Dogs\n2 None\n", **{kind: file})
    brought = bring(path, Said())
    assert brought.labels == ("Red Fox", "2 Dogs", "None")
    assert brought.preprocess.fit == "crop"
    assert brought.weights["pretrained"] == "converted.zip"
    model = OpenModel(finish.write(brought, tmp_path / "out.onnx"))
    assert np.allclose(model.answers(pictures), plain(pictures / 127.5 - 1.0).numpy(), atol=1e-4)
    assert str(tmp_path).encode() not in model.path.read_bytes()


def test_a_zip_that_is_no_export_of_teachable_machine_is_refused(plain: Any, lite: Path, tmp_path: Path) -> None:
    for path in (
        zipped(tmp_path / "no-labels.zip", None, model_unquant=lite),
        zipped(tmp_path / "no-model.zip", "0 a\n"),
    ):
        with pytest.raises(ModelFileError, match="Teachable Machine"):
            bring(path, Said())
    with pytest.raises(OptionError, match="got 2 labels; accepted: 3 labels"):
        bring(zipped(tmp_path / "two.zip", "0 a\n1 b\n", model_unquant=lite), Said())
    broken = tmp_path / "model.tflite"
    broken.write_bytes(b"no model")
    with pytest.raises(ModelFileError, match=r"broken.zip: model.tflite"):
        bring(zipped(tmp_path / "broken.zip", "0 a\n1 b\n", model=broken), Said())
