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


def test_tensors_of_vit_and_resnet_find_their_places(tmp_path: Path) -> None:
    """The names of the `transformers` library, from its models; that the answers agree was checked with it."""
    blocks = {
        f"vit.encoder.layer.{layer}.{name}": torch.zeros(shape)
        for layer in range(2)
        for name, shape in {
            **{f"attention.attention.{which}.weight": (24, 24) for which in ("query", "key", "value")},
            **{f"attention.attention.{which}.bias": (24,) for which in ("query", "key", "value")},
            "attention.output.dense.weight": (24, 24),
            "attention.output.dense.bias": (24,),
            "intermediate.dense.weight": (48, 24),
            "intermediate.dense.bias": (48,),
            "output.dense.weight": (24, 48),
            "output.dense.bias": (24,),
            "layernorm_before.weight": (24,),
            "layernorm_before.bias": (24,),
            "layernorm_after.weight": (24,),
            "layernorm_after.bias": (24,),
        }.items()
    }
    state = {
        "vit.embeddings.cls_token": torch.zeros(1, 1, 24),
        "vit.embeddings.position_embeddings": torch.zeros(1, 5, 24),
        "vit.embeddings.patch_embeddings.projection.weight": torch.zeros(24, 3, 16, 16),
        "vit.embeddings.patch_embeddings.projection.bias": torch.zeros(24),
        "vit.layernorm.weight": torch.zeros(24),
        "vit.layernorm.bias": torch.zeros(24),
        "classifier.weight": torch.zeros(3, 24),
        "classifier.bias": torch.zeros(3),
        **blocks,
    }
    config = {"architectures": ["ViTForImageClassification"], "image_size": 32, "hidden_size": 24}
    config |= {"num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48}
    name, arguments, named = as_timm(tmp_path, config, state, torch.cat)
    own = timm.create_model(name, num_classes=3, **arguments).state_dict()
    assert {key: value.shape for key, value in named.items()} == {key: value.shape for key, value in own.items()}
    with pytest.raises(ModelFileError, match="cls_token"):
        as_timm(tmp_path, config, blocks, torch.cat)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"architectures": ["SwinForImageClassification"]}, "the architecture 'SwinForImageClassification'"),
        ({"id2label": {"0": "a", "2": "b"}}, "does not count from 0"),
        ([], "without names and values"),
        ({"architectures": ["ResNetForImageClassification"], "depths": [1, 1, 1, 1]}, "ResNetForImageClassification"),
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
