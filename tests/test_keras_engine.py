"""What is Keras's alone: its files of weights, model.keras, and how its optimisers and losses equal PyTorch's."""

from __future__ import annotations

import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import coloured
from numpy.typing import NDArray

if find_spec("keras") is None:
    pytest.skip("needs the 'keras' extra", allow_module_level=True)

from whatsit.augmentation import Augmentation
from whatsit.errors import DataError, OptionError, WeightsError
from whatsit.evaluation.calibration import softmax
from whatsit.preprocess import SCALINGS, Preprocess, scaling_named
from whatsit.recipe import Facts, Recipe, choose
from whatsit.training import course
from whatsit.training.engine import Head
from whatsit.training.keras_engine import KerasEngine, batches, checkpoint, export, loop, networks, optim
from whatsit.wishes import Wishes

import keras  # isort: skip

SIZE = 32
STILL = Augmentation(mirror=False, translate=0, rotate=0, zoom=0, light=0)


def recipe_for(**changes: Any) -> Recipe:
    recipe, _ = choose(
        Wishes(epochs=2, batch_size=16, framework="keras"), Facts(48, 1.0, SIZE, SIZE, False), None, "cpu"
    )
    return replace(recipe, **changes)


def published(path: Path, **changes: Any) -> Recipe:
    values = {"model": "MobileNetV2", "network_args": {"alpha": 0.35}, "frozen_statistics": True, **changes}
    return recipe_for(weights=str(path), **values)


def quietly(action: Callable[[], Any]) -> Any:
    """Keras warns that it does not know NumPy's newest ways."""
    with warnings.catch_warnings(action="ignore"):
        return action()


def mobilenet(**arguments: Any) -> Any:
    arguments = {"alpha": 0.35, "input_shape": (SIZE, SIZE, 3), **arguments}
    return keras.applications.MobileNetV2(weights=None, **arguments)


def pixels(n: int = 4, size: int = SIZE) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


# ---- files of weights


@pytest.mark.parametrize("name", ["w.weights.h5", "w.h5", "w.keras"])
def test_every_kind_of_file_gives_keras_own_answers(tmp_path: Path, name: str) -> None:
    model = mobilenet(classes=7)
    save = model.save if name.endswith(".keras") else model.save_weights
    if name == "w.h5":
        older_file(model, tmp_path / name)
    else:
        quietly(lambda: save(tmp_path / name))
    fitted = KerasEngine().pretrained(published(tmp_path / name, scaling="-1..1"), 7)
    theirs = quietly(lambda: model.predict(pixels() / np.float32(127.5) - 1, verbose=0))
    assert np.abs(softmax(fitted.logits(pixels())) - theirs).max() < 1e-5
    assert fitted.embed(pixels()).shape == (4, 1280)
    assert fitted.network.total_parameters == model.count_params()


def older_file(model: Any, path: Path) -> None:
    """The layout of the applications' published weights, as Keras 2 wrote it."""
    import h5py

    layers = [layer for layer in model.layers if layer.weights]
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        for layer in layers:
            group = file.create_group(layer.name)
            variables = layer.trainable_weights + layer.non_trainable_weights
            group.attrs["weight_names"] = [f"{layer.name}/{v.name}:0".encode() for v in variables]
            for variable in variables:
                group[f"{layer.name}/{variable.name}:0"] = quietly(lambda v=variable: np.array(v.value))


@pytest.mark.parametrize("older", [False, True])
def test_weights_saved_without_top_can_be_trained_on_but_not_used_as_they_are(tmp_path: Path, older: bool) -> None:
    model = mobilenet(include_top=False, pooling="avg")
    path = tmp_path / ("w.h5" if older else "w.weights.h5")
    quietly(lambda: older_file(model, path) if older else model.save_weights(path))
    fitted = KerasEngine().with_head(published(path, scaling="-1..1"), 3)
    theirs = quietly(lambda: model.predict(pixels() / np.float32(127.5) - 1, verbose=0))
    assert np.abs(fitted.embed(pixels()) - theirs).max() < 1e-4
    with pytest.raises(WeightsError, match=r"2 of 262 tensors missing, 0 of another shape, the first: predictions"):
        KerasEngine().pretrained(published(path), 1000)


def test_weights_with_other_arguments_are_refused(tmp_path: Path) -> None:
    quietly(lambda: mobilenet().save_weights(tmp_path / "w.weights.h5"))
    with pytest.raises(WeightsError, match=r"cannot load 'w.weights.h5'.*of another shape.*block_1_project"):
        KerasEngine().check_recipe(published(tmp_path / "w.weights.h5", network_args={"alpha": 0.5}), 3)


def test_a_model_with_a_lambda_layer_is_refused_unrun(tmp_path: Path) -> None:
    ran = str(tmp_path / "ran")  # a string: the function is saved with it
    pictures = keras.Input((SIZE, SIZE, 3))
    evil = keras.layers.Lambda(lambda x: (open(ran, "w").close(), x)[1], output_shape=(SIZE, SIZE, 3))(pictures)
    model = keras.Model(pictures, keras.layers.Dense(3)(keras.layers.Flatten()(evil)))
    quietly(lambda: model.save(tmp_path / "w.keras"))
    Path(ran).unlink(missing_ok=True)
    with pytest.raises(WeightsError, match="without code"):
        KerasEngine().check_recipe(published(tmp_path / "w.keras"), 3)
    assert not Path(ran).exists()


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(50_000_000))
    with pytest.raises(WeightsError, match=r"50,000,000 bytes when unpacked"):
        KerasEngine().check_recipe(published(tmp_path / "w.keras"), 3)


def test_a_checkpoint_that_runs_code_is_refused_unrun(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "ran").touch, ())

    with (tmp_path / "last.pt").open("wb") as file:
        np.savez(file, state=np.array([Bomb()], object))
    with pytest.raises(DataError, match="cannot resume"):
        checkpoint.load(tmp_path / "last.pt")
    assert not (tmp_path / "ran").exists()


def test_nothing_is_downloaded_whatever_the_arguments_say() -> None:
    for name, value in (("weights", "imagenet"), ("include_top", True), ("classes", 5)):
        recipe = recipe_for(model="MobileNetV2", network_args={name: value, "alpha": 0.35})
        if name == "include_top":
            recipe = replace(recipe, last_layers="tutorial")
        with pytest.raises(OptionError, match=f"cannot build the network 'MobileNetV2'.*{name}"):
            KerasEngine().check_recipe(recipe, 3)


def test_a_size_that_the_network_does_not_take_is_refused() -> None:
    recipe = recipe_for(model="Xception", preprocess=Preprocess("squash", (40, 40)))
    with pytest.raises(OptionError, match="an image size it takes"):
        KerasEngine().check_recipe(recipe, 3)


def test_everyone_elses_spelling_is_understood() -> None:
    for name, meant in (("mobilenet_v2", "MobileNetV2"), ("resnet-50", "ResNet50"), ("vgg_16", "VGG16")):
        with pytest.raises(OptionError, match=f"Did you mean '{meant}'"):
            KerasEngine().check_model(name)


def test_pretrained_statistics_stay_as_they_were_and_layers_that_do_not_learn_keep_theirs() -> None:
    for frozen, finetune, expected in ((True, "all", []), (False, "all", range(8)), (False, "1", [7])):
        recipe = recipe_for(frozen_statistics=frozen, finetune=finetune)
        network = networks.build(recipe, 3)
        norms = [layer for layer in network.backbone.layers if isinstance(layer, keras.layers.BatchNormalization)]
        networks.Learning(network, frozen)(pixels().astype(np.float32), training=True)
        moved = [n for n, norm in enumerate(norms) if keras.ops.max(keras.ops.abs(norm.moving_mean)) > 0]
        assert moved == list(expected)


# ---- scaling


@pytest.mark.parametrize("name", SCALINGS)
def test_scaling_is_what_its_definition_says(name: str) -> None:
    recipe = recipe_for(scaling=name)
    pictures = keras.Input((SIZE, SIZE, 3))
    ours = keras.Model(pictures, networks._scaled(pictures, recipe)).predict_on_batch(pixels().astype(np.float32))
    scaling = scaling_named(name)
    expected = (pixels() / 255 - np.array(scaling.mean)) / np.array(scaling.std)
    assert np.allclose(ours, expected[..., ::-1] if scaling.bgr else expected, atol=1e-3)


def test_caffes_scaling_is_that_of_keras_for_vgg16() -> None:
    pictures = keras.Input((SIZE, SIZE, 3))
    model = keras.Model(pictures, networks._scaled(pictures, recipe_for(scaling="vgg16")))
    theirs = keras.applications.vgg16.preprocess_input(pixels().astype(np.float32))
    assert np.allclose(model.predict_on_batch(pixels().astype(np.float32)), theirs, atol=1e-3)


# ---- batches


def test_augmentation_by_nothing_changes_nothing() -> None:
    x = pixels().astype(np.float32)
    assert np.array_equal(batches.augment(x, STILL, np.random.default_rng(0)), x)
    hardly = replace(STILL, rotate=1e-6)
    assert np.allclose(batches.augment(x, hardly, np.random.default_rng(0)), x, atol=0.05)


def test_augmentation_stays_in_range_and_follows_its_generator() -> None:
    x, how = pixels().astype(np.float32), Augmentation(True, 0.1, 10, 0.3, 0.2)
    one, same, other = (batches.augment(x, how, batches.draws_of(0, epoch)) for epoch in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert one.min() >= 0
    assert one.max() <= 255


def test_a_mirrored_picture_is_the_picture_mirrored() -> None:
    x = pixels(32).astype(np.float32)
    out = batches.augment(x, replace(STILL, mirror=True), np.random.default_rng(0))
    kept = [np.allclose(a, b, atol=0.1) for a, b in zip(x, out, strict=True)]
    turned = [np.allclose(a[:, ::-1], b, atol=0.1) for a, b in zip(x, out, strict=True)]
    assert all(k != t for k, t in zip(kept, turned, strict=True))
    assert 4 < sum(turned) < 28


def test_a_shift_is_a_share_of_the_side() -> None:
    x = np.zeros((64, SIZE, SIZE, 3), np.float32)
    x[:, 16, 16] = 255
    out = batches.augment(x, replace(STILL, translate=0.25), np.random.default_rng(0))
    places = np.array([np.unravel_index(picture[..., 0].argmax(), (SIZE, SIZE)) for picture in out]) - 16
    assert 7 <= np.abs(places).max() <= 8


def test_mixup_blends_pictures_by_the_share_it_tells() -> None:
    x = pixels(8).astype(np.float32)
    mixed, others, share = batches.mix(x, 0.4, np.random.default_rng(1))
    assert 0 < share < 1
    assert sorted(others) == list(range(8))
    assert np.allclose(mixed, share * x + (1 - share) * x[others], atol=1e-3)


# ---- loss and optimisers, as in PyTorch


def test_the_loss_is_that_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    targets, logits = np.array([0] * 9 + [1] * 4 + [2]), rng.normal(size=(14, 3)).astype(np.float32)
    for smoothing, weighted in ((0.0, False), (0.1, False), (0.1, True)):
        recipe = recipe_for(label_smoothing=smoothing, class_weights=weighted)
        loss = optim.Loss(recipe, targets, 3)
        ours = optim.cross_entropy(loss.with_labels(loss.aims(targets), targets), keras.ops.convert_to_tensor(logits))
        weight = torch.tensor(loss.weight, dtype=torch.float32)
        theirs = torch.nn.CrossEntropyLoss(weight, label_smoothing=smoothing)
        assert float(keras.ops.mean(ours)) == pytest.approx(
            float(theirs(torch.tensor(logits), torch.tensor(targets))), rel=1e-5
        )
        right = optim.accuracy(loss.with_labels(loss.aims(targets), targets), keras.ops.convert_to_tensor(logits))
        assert float(keras.ops.mean(right)) == pytest.approx((logits.argmax(1) == targets).mean())


def test_rare_classes_weigh_more_and_the_mean_weight_is_one() -> None:
    targets = np.array([0] * 90 + [1] * 10)
    weight = optim.Loss(recipe_for(class_weights=True), targets, 2).weight
    assert weight[1] / weight[0] == pytest.approx(3.0)
    assert weight[targets].mean() == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["adamw", "sgd", "rmsprop"])
def test_each_layer_learns_at_its_own_rate_as_in_pytorch(name: Any) -> None:
    torch = pytest.importorskip("torch")
    recipe = recipe_for(
        optimizer=name, learning_rate=0.01, backbone_rate=0.5, layer_decay=0.8, weight_decay=0.1, finetune="3"
    )
    network = networks.build(recipe, 3)
    learning = networks.Learning(network, recipe.frozen_statistics).trainable_weights
    optimizer = optim.optimizer_for(network, learning, recipe)
    assert len(learning) == 3 * 3 + 2  # kernel and normalisation of three layers, and the head
    assert optimizer.scales == pytest.approx([0.5 * 0.64] * 3 + [0.5 * 0.8] * 3 + [0.5] * 3 + [1.0] * 2)
    with loop._settled(0, "cpu"):
        theirs = [torch.nn.Parameter(torch.tensor(value)) for value in loop._copies(learning)]
        groups = [
            {"params": [p], "lr": 0.01 * scale, "weight_decay": 0.1 if p.ndim > 1 else 0.0}
            for p, scale in zip(theirs, optimizer.scales, strict=True)
        ]
        other = {
            "adamw": lambda: torch.optim.AdamW(groups),
            "sgd": lambda: torch.optim.SGD(groups, momentum=0.9, nesterov=True),
            "rmsprop": lambda: torch.optim.RMSprop(groups, alpha=0.9, eps=1e-7),
        }[name]()
        for step in range(3):
            rng = np.random.default_rng(step)
            # Not near 0, where it matters that Keras adds its epsilons elsewhere.
            gradients = [np.sign(rng.normal(size=p.shape)) * rng.uniform(0.5, 1.5, p.shape) for p in theirs]
            optimizer.apply([keras.ops.convert_to_tensor(g, "float32") for g in gradients], learning)
            for parameter, gradient in zip(theirs, gradients, strict=True):
                parameter.grad = torch.tensor(gradient, dtype=torch.float32)
            other.step()
        for mine, theirs_now in zip(loop._copies(learning), theirs, strict=True):
            assert np.allclose(mine, theirs_now.detach().numpy(), atol=2e-5)


def test_the_rate_warms_up_and_ends_at_zero_or_stays() -> None:
    recipe = recipe_for(learning_rate=1.0, warmup=0.1)
    rates = [course.rate_at(step, 100, recipe) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001
    assert {course.rate_at(step, 100, replace(recipe, schedule="constant")) for step in range(100)} == {1.0}


def test_the_average_follows_the_weights() -> None:
    (late,) = optim.averaged([np.array([1.0])], [np.array([2.0])], step=10_000, decay=0.9)
    (early,) = optim.averaged([np.array([1.0])], [np.array([2.0])], step=0, decay=0.9)
    assert late == pytest.approx(1.1)
    assert early == pytest.approx(1.9)


# ---- files that it writes


def test_model_keras_opens_in_plain_keras_and_gives_probabilities(tmp_path: Path) -> None:
    head = Head(np.random.default_rng(0).normal(size=(128, 3)).astype(np.float32), np.zeros(3, np.float32))
    fitted = KerasEngine().with_head(recipe_for(scaling="caffe"), 3, head)
    path = fitted.write_native(tmp_path)
    assert path == tmp_path / "model.keras"
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]
    code = (
        "import sys, numpy as np, keras\n"
        "model = keras.saving.load_model(sys.argv[1])\n"
        "np.save(sys.argv[2], model.predict(np.load(sys.argv[3]), verbose=0))"
    )
    np.save(tmp_path / "pictures.npy", pixels())
    files = [tmp_path / name for name in ("model.keras", "answers.npy", "pictures.npy")]
    subprocess.run([sys.executable, "-c", code, *map(str, files)], check=True, capture_output=True, timeout=120)
    assert np.abs(np.load(files[1]) - softmax(fitted.logits(pixels()))).max() < 1e-5


def test_a_backend_without_export_is_named_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(OptionError, match=r"from this backend of Keras: got jax; accepted: tensorflow or torch"):
        export.check_backend()


def test_kerass_settings_are_put_back() -> None:
    keras.config.set_image_data_format("channels_first")
    try:
        assert KerasEngine().with_head(recipe_for(), 3).logits(pixels()).shape == (4, 3)
        assert keras.config.image_data_format() == "channels_first"
    finally:
        keras.config.set_image_data_format("channels_last")


def test_training_prints_nothing_and_a_missing_backend_is_said_plainly(tmp_path: Path) -> None:
    np.save(tmp_path / "pictures.npy", np.stack([coloured(c, n, 16) for c in ("red", "blue") for n in range(4)]))
    code = """
import sys, numpy as np
from pathlib import Path
from whatsit.errors import MissingExtraError
from whatsit.events import ignore
from whatsit.recipe import Facts, choose
from whatsit.training.engine import TrainingData
from whatsit.wishes import Wishes
try:
    from whatsit.training.keras_engine import KerasEngine
except MissingExtraError as error:
    sys.exit(str(error))
pictures, targets = np.load(sys.argv[1]), np.repeat([0, 1], 4)
recipe, _ = choose(Wishes(epochs=1, framework="keras"), Facts(8, 1.0, 16, 16, False), None, "cpu")
data = TrainingData(pictures, targets, pictures, targets, ("red", "blue"))
KerasEngine().fit(data, recipe, None, Path(sys.argv[2]), ignore).onnx(1.0)
"""
    arguments = [sys.executable, "-c", code, str(tmp_path / "pictures.npy"), str(tmp_path / "last.pt")]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=1200, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    hidden = code.replace("try:", "sys.modules['keras'] = None\ntry:", 1)
    arguments[2] = hidden
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=1200, check=False)
    assert "pip install 'whatsit[keras]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_tutorials_dropout_works_inside_its_convolutions_too() -> None:
    recipe, _ = choose(Wishes(recipe="tutorial", framework="keras"), Facts(48, 1.0, 16, 16, False), None, "cpu")
    network = networks.build(recipe, 3)
    model = networks.Learning(network, recipe.frozen_statistics)
    x = np.full((2, 16, 16, 3), 200, np.float32)
    learning, again, still, same = (np.asarray(model.body([x], training=mode)) for mode in (True, True, False, False))
    assert not np.array_equal(learning, again)
    assert np.array_equal(still, same)
    first, second = (np.asarray(model(x, training=True)) for _ in range(2))
    assert not np.array_equal(first, second)
    assert not recipe.frozen_statistics
    assert network.logits.count_params() == 3 * 32 * 9 + 32 + 32 * 32 * 9 + 32 + 32 * 64 * 9 + 64 + 64 * 64 * 9 + 64 + (
        64 * 128 * 9 + 128 + 128 * 128 * 9 + 128 + 2 * 2 * 128 * 1024 + 1024 + 1024 * 3 + 3
    )


def test_the_tutorials_network_is_pytorchs_layer_by_layer() -> None:
    """The same weights give the same answers, and between the convolutions lies what the tutorial has there."""
    torch = pytest.importorskip("torch", reason="needs the 'train' extra")
    from whatsit.training.torch_engine import networks as of_torch

    recipe, _ = choose(Wishes(recipe="tutorial", framework="keras"), Facts(48, 1.0, 16, 16, False), None, "cpu")
    ours = networks.build(recipe, 3)
    inner = [(type(layer).__name__, getattr(layer, "rate", None)) for layer in ours.backbone.layers[1:]]
    assert inner == [("Conv2D", None), ("Conv2D", None), ("MaxPooling2D", None), ("Dropout", 0.25)] * 3
    assert {layer.rate for layer in ours.logits.layers if isinstance(layer, keras.layers.Dropout)} == {0.5}
    theirs = of_torch.build(choose(Wishes(recipe="tutorial"), Facts(48, 1.0, 16, 16, False), None, "cpu")[0], 3).eval()
    convolutions = [layer for layer in ours.backbone.layers if isinstance(layer, keras.layers.Conv2D)]
    dense = [ours.logits.get_layer("dense"), ours.last]
    for (name, weight), layer in zip(
        [(n, p) for n, p in theirs.named_parameters() if n.endswith("weight")], [*convolutions, *dense], strict=True
    ):
        kernel = weight.detach().numpy()
        if kernel.ndim == 4:
            kernel = kernel.transpose(2, 3, 1, 0)
        elif layer is dense[0]:  # what is flattened lies as [C, h, w] there, as [h, w, C] here
            kernel = kernel.reshape(1024, 128, 2, 2).transpose(2, 3, 1, 0).reshape(-1, 1024)
        else:
            kernel = kernel.T
        layer.set_weights([kernel, theirs.get_parameter(name.replace("weight", "bias")).detach().numpy()])
    x = pixels(size=16)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x.transpose(0, 3, 1, 2) / np.float32(255))).numpy()
    assert np.abs(expected).max() > 0.01
    assert np.allclose(ours.logits(x.astype(np.float32), training=False), expected, atol=1e-5)
