"""What networks of the `transformers` library are called in timm, and their tensors."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whatsit.importers.unusable import unusable

if TYPE_CHECKING:
    from torch import Tensor

State = dict[str, "Tensor"]


def as_timm(
    path: Path, config: dict[str, Any], state: State, concatenate: Callable[[list[Tensor]], Tensor]
) -> tuple[str, dict[str, Any], State]:
    """timm's name of the network, its arguments and the tensors under timm's names. Raises ModelFileError.

    `concatenate` puts tensors below each other.
    """
    names = config.get("architectures") or ["?"]
    try:
        if names[0] == "ViTForImageClassification":
            return _vit(config, state, concatenate)
        if names[0] == "ResNetForImageClassification":
            return _resnet(config, state)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise unusable(path, f"a {names[0]} without {error}", "whole weights of that network") from None
    raise unusable(
        path,
        f"the architecture '{names[0]}'",
        "networks of timm, ViTForImageClassification, ResNetForImageClassification, or model.onnx",
        f"Export it with: optimum-cli export onnx --model {path} OUT, then import OUT/model.onnx.",
    )


def _vit(
    config: dict[str, Any], state: State, concatenate: Callable[[list[Tensor]], Tensor]
) -> tuple[str, dict[str, Any], State]:
    arguments = {
        "img_size": config.get("image_size", 224),
        "patch_size": config.get("patch_size", 16),
        "embed_dim": config.get("hidden_size", 768),
        "depth": config.get("num_hidden_layers", 12),
        "num_heads": config.get("num_attention_heads", 12),
        "mlp_ratio": config.get("intermediate_size", 3072) / config.get("hidden_size", 768),
        "qkv_bias": config.get("qkv_bias", True),
    }
    if config.get("hidden_act", "gelu") != "gelu":
        raise ValueError("the activation 'gelu'")
    found = {name.removeprefix("vit."): value for name, value in state.items() if not name.startswith("vit.pooler.")}
    named: State = {
        "cls_token": found.pop("embeddings.cls_token"),
        "pos_embed": found.pop("embeddings.position_embeddings"),
    }
    for layer in range(arguments["depth"]):
        for part in ("weight", "bias") if arguments["qkv_bias"] else ("weight",):
            before = f"encoder.layer.{layer}.attention.attention"
            rows = [found.pop(f"{before}.{which}.{part}") for which in ("query", "key", "value")]
            named[f"blocks.{layer}.attn.qkv.{part}"] = concatenate(rows)
    named |= {_renamed(_VIT, name): value for name, value in found.items()}
    return "vit_base_patch16_224", arguments, named


_VIT = (
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"blocks.\1.attn.proj."),
    (r"^encoder\.layer\.(\d+)\.intermediate\.dense\.", r"blocks.\1.mlp.fc1."),
    (r"^encoder\.layer\.(\d+)\.output\.dense\.", r"blocks.\1.mlp.fc2."),
    (r"^encoder\.layer\.(\d+)\.layernorm_before\.", r"blocks.\1.norm1."),
    (r"^encoder\.layer\.(\d+)\.layernorm_after\.", r"blocks.\1.norm2."),
    (r"^layernorm\.", "norm."),
    (r"^classifier\.", "head."),
)
_RESNET = (
    (r"^embedder\.embedder\.convolution\.", "conv1."),
    (r"^embedder\.embedder\.normalization\.", "bn1."),
    (r"^encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.convolution\.", r"layer<\1>.\2.downsample.0."),
    (r"^encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.normalization\.", r"layer<\1>.\2.downsample.1."),
    (r"^encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)\.convolution\.", r"layer<\1>.\2.conv<\3>."),
    (r"^encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)\.normalization\.", r"layer<\1>.\2.bn<\3>."),
    (r"^classifier\.1\.", "fc."),
)
_DEPTHS = {
    ("basic", (2, 2, 2, 2)): "resnet18",
    ("basic", (3, 4, 6, 3)): "resnet34",
    ("bottleneck", (3, 4, 6, 3)): "resnet50",
    ("bottleneck", (3, 4, 23, 3)): "resnet101",
    ("bottleneck", (3, 8, 36, 3)): "resnet152",
}


def _resnet(config: dict[str, Any], state: State) -> tuple[str, dict[str, Any], State]:
    name = _DEPTHS[config.get("layer_type", "bottleneck"), tuple(config["depths"])]
    if config.get("downsample_in_first_stage") or config.get("downsample_in_bottleneck"):
        raise ValueError("the usual downsampling")
    if config.get("hidden_act", "relu") != "relu":
        raise ValueError("the activation 'relu'")
    found = {key.removeprefix("resnet."): value for key, value in state.items()}
    return name, {}, {_renamed(_RESNET, key): value for key, value in found.items()}


def _renamed(rules: tuple[tuple[str, str], ...], name: str) -> str:
    for pattern, new in rules:
        name, changed = re.subn(pattern, new, name)
        if changed:
            break
    return re.sub(r"<(\d+)>", lambda match: str(int(match[1]) + 1), name)  # timm counts from 1
