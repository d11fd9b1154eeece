"""Folders as the Hugging Face hub holds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the 'train' extra")
timm = pytest.importorskip("timm", reason="needs the 'train' extra")

from foreign_graphs import save  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from whatsit.errors import ModelFileError, OptionError  # noqa: E402
from whatsit.importers import finish  # noqa: E402
from whatsit.importers.choosing import bring  # noqa: E402
from whatsit.importers.hugging_face import _transformers_input  # noqa: E402
from whatsit.importers.said import Said  # noqa: E402
from whatsit.importers.transformers_names import as_timm  # noqa: E402
from whatsit.preprocess import SCALINGS, Preprocess  # noqa: E402
from whatsit.runtime import OpenModel  # noqa: E402

LABELS = {"0": "a", "1": "b", "2": "c"}
TINY_VIT = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 2, "num_heads": 3, "mlp_ratio": 2.0}


def folder(tmp_path: Path, config: Any, preprocessor: Any = None, state: Any = None) -> Path:
    path = tmp_path / "net"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    if preprocessor is not None:
        (path / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    if state is not None:
        save_file({name: value.contiguous() for name, value in state.items()}, path / "model.safetensors")
    return path


def test_a_timm_folder_brings_labels_geometry_and_scaling(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", num_classes=3, **TINY_VIT).eval()
    known = {
        "input_size": [3, 32, 32],
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
        "crop_pct": 0.8,
        "interpolation": "bicubic",
    }
    config = {
        "architecture": "vit_tiny_patch16_224",
        "architectures": ["TimmWrapperForImageClassification"],
        "model_args": TINY_VIT,
        "id2label": LABELS,
        "license": "mit",
        "pretrained_cfg": known,
    }
    state = {f"timm_model.{name}": value for name, value in network.state_dict().items()}
    brought = bring(folder(tmp_path, config, state=state), Said())
    model = OpenModel(finish.write(brought, tmp_path / "out.onnx"))
    assert model.labels == ("a", "b", "c")
    assert model.manifest.preprocess == Preprocess("crop", (32, 32), "bicubic", 40)
    assert model.manifest.recipe["scaling"] == "-1..1"
    assert model.manifest.weights["pretrained"] == "net/model.safetensors"
    assert model.manifest.weights["licence"] == "mit"
    picture = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    with torch.no_grad():
        scores = network(torch.tensor(picture.transpose(0, 3, 1, 2) / 127.5 - 1, dtype=torch.float32))
    assert np.allclose(model.answers(picture), scores.softmax(1).numpy(), atol=1e-4)


def test_a_folder_cannot_have_other_files_loaded(tmp_path: Path) -> None:
    weights = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=3, **TINY_VIT).state_dict()
    torch.save(weights, tmp_path / "other.pth")
    config = {
        "architecture": "vit_tiny_patch16_224",
        "model_args": {**TINY_VIT, "checkpoint_path": str(tmp_path / "other.pth")},
        "id2label": LABELS,
        "pretrained_cfg": {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.5] * 3},
    }
    with pytest.raises(OptionError, match="the argument 'checkpoint_path'"):
        bring(folder(tmp_path, config, state=weights), Said())


def test_a_folder_with_an_onnx_file_is_read_with_its_configurations(tmp_path: Path) -> None:
    path = folder(tmp_path, {"id2label": LABELS}, {"size": 8, "image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    save(path / "model.onnx")
    brought = bring(path, Said())
    assert brought.labels == ("a", "b", "c")
    assert brought.preprocess == Preprocess("squash", (8, 8), "bilinear")
    assert brought.recipe["scaling"] == "-1..1"


@pytest.mark.parametrize(
    ("said", "geometry", "scaling"),
    [
        (
            {"size": {"height": 224, "width": 224}, "resample": 2, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
            Preprocess("squash", (224, 224), "bilinear"),
            SCALINGS["-1..1"],
        ),
        (
            {
                "size": {"shortest_edge": 256},
                "do_center_crop": True,
                "crop_size": {"height": 224, "width": 224},
                "resample": 3,
                "do_normalize": False,
            },
            Preprocess("crop", (224, 224), "bicubic", 256),
            SCALINGS["0..1"],
        ),
        (
            {"size": {"shortest_edge": 224}, "crop_pct": 0.875, "do_rescale": False, "do_normalize": False},
            Preprocess("crop", (224, 224), "bilinear", 256),
            SCALINGS["0..255"],
        ),
        (
            {"size": {"shortest_edge": 384}, "do_normalize": False},
            Preprocess("squash", (384, 384), "bilinear"),
            SCALINGS["0..1"],
        ),
    ],
)
def test_a_preprocessor_configuration_is_understood(
    tmp_path: Path, said: dict[str, Any], geometry: Preprocess, scaling: Any
) -> None:
    assert _transformers_input(folder(tmp_path, {}, said)) == (geometry, scaling)


VIT = {
    "cls_token": ["vit.embeddings.cls_token"],
    "pos_embed": ["vit.embeddings.position_embeddings"],
    "patch_embed.proj": ["vit.embeddings.patch_embeddings.projection"],
    "norm": ["vit.layernorm"],
    "head": ["classifier"],
} | {
    f"blocks.{block}.{timms}": [f"vit.encoder.layer.{block}.{name}" for name in theirs]
    for block in range(2)
    for timms, theirs in {
        "norm1": ["layernorm_before"],
        "attn.qkv": [f"attention.attention.{which}" for which in ("query", "key", "value")],
        "attn.proj": ["attention.output.dense"],
        "norm2": ["layernorm_after"],
        "mlp.fc1": ["intermediate.dense"],
        "mlp.fc2": ["output.dense"],
    }.items()
}
RESNET18 = {
    "conv1": ["resnet.embedder.embedder.convolution"],
    "bn1": ["resnet.embedder.embedder.normalization"],
    "fc": ["classifier.1"],
} | {
    f"layer{stage + 1}.{block}.{timms}": [f"resnet.encoder.stages.{stage}.layers.{block}.{theirs}"]
    for stage in range(4)
    for block in range(2)
    for timms, theirs in {
        "conv1": "layer.0.convolution",
        "bn1": "layer.0.normalization",
        "conv2": "layer.1.convolution",
        "bn2": "layer.1.normalization",
        "downsample.0": "shortcut.convolution",
        "downsample.1": "shortcut.normalization",
    }.items()
}
VIT_CONFIG = {"architectures": ["ViTForImageClassification"], "image_size": 32, "hidden_size": 24}
VIT_CONFIG |= {"num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48}
RESNET18_CONFIG = {"architectures": ["ResNetForImageClassification"], "layer_type": "basic", "depths": [2, 2, 2, 2]}


@pytest.mark.parametrize(
    ("timms", "config", "theirs"),
    [
        (("vit_base_patch16_224", {**TINY_VIT, "qkv_bias": True}), VIT_CONFIG, VIT),
        (("resnet18", {}), RESNET18_CONFIG, RESNET18),
    ],
    ids=["vit", "resnet"],
)
def test_tensors_of_vit_and_resnet_find_their_places(
    tmp_path: Path, timms: tuple[str, dict[str, Any]], config: dict[str, Any], theirs: dict[str, list[str]]
) -> None:
    """The names of the `transformers` library, from its models; that the answers agree was checked with it."""
    own = timm.create_model(timms[0], num_classes=3, **timms[1]).state_dict()
    expected = {key: torch.rand(value.shape or 1) for key, value in own.items()}
    state = {}
    for key, value in expected.items():
        place = next(place for place in theirs if f"{key}.".startswith(f"{place}."))
        parts = value.chunk(len(theirs[place]))
        state |= {name + key.removeprefix(place): part for name, part in zip(theirs[place], parts, strict=True)}
    name, arguments, named = as_timm(tmp_path, config, state, torch.cat)
    assert (name, arguments) == timms
    assert named.keys() == expected.keys()
    assert [key for key in named if not torch.equal(named[key], expected[key])] == []


def test_a_vit_without_one_of_its_tensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="cls_token"):
        as_timm(tmp_path, VIT_CONFIG, {"vit.layernorm.weight": torch.zeros(24)}, torch.cat)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"architectures": ["SwinForImageClassification"]}, "the architecture 'SwinForImageClassification'"),
        ({"id2label": {"0": "a", "2": "b"}}, "does not count from 0"),
        ([], "without names and values"),
        ({"architectures": ["ResNetForImageClassification"], "depths": [1, 1, 1, 1]}, "ResNetForImageClassification"),
        ({**VIT_CONFIG, "hidden_act": "quick_gelu"}, "without the activation 'gelu'"),
        ({**RESNET18_CONFIG, "hidden_act": "gelu"}, "without the activation 'relu'"),
        ({**RESNET18_CONFIG, "downsample_in_bottleneck": True}, "without the usual downsampling"),
        ({**RESNET18_CONFIG, "downsample_in_first_stage": True}, "without the usual downsampling"),
    ],
)
def test_folders_that_cannot_be_read_without_code_say_what_to_do(tmp_path: Path, config: Any, reason: str) -> None:
    path = folder(tmp_path, config, state={"classifier.weight": torch.zeros(2, 3)})
    with pytest.raises(ModelFileError) as caught:
        bring(path, Said())
    assert reason in str(caught.value.value)


def test_a_folder_without_configuration_or_weights_or_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"a folder without config.json"):
        bring(tmp_path, Said())
    path = folder(tmp_path, {"architecture": "resnet18"})
    with pytest.raises(ModelFileError, match="no weights in the folder"):
        bring(path, Said())
    save(path / "model.onnx")
    with pytest.raises(OptionError, match="--labels"):
        bring(path, Said(preprocess="imagenet"))
