"""Weights of timm's smallest network, drawn at random, as a file with its description."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

NETWORK = "test_resnet.r160_in1k"


def write_tiny_weights(folder: Path, name: str = "tiny", suffix: str = ".safetensors", **facts: Any) -> Path:
    """Write FILE and FILE.json into the folder and return FILE; `facts` replace what the description says."""
    import timm
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    network = timm.create_model(NETWORK, pretrained=False)
    torch.nn.init.normal_(network.get_classifier().weight)  # larger than usual, so that it has opinions
    path = folder / f"{name}{suffix}"
    if suffix == ".safetensors":
        save_file(network.state_dict(), path)
    else:
        torch.save(network.state_dict(), path)
    description = {
        "name": name,
        "framework": "torch",
        "network": f"timm:{NETWORK}",
        "arguments": {},
        "classes": "imagenet-1k",
        "input_size": [64, 64],
        "preprocess": "imagenet",
        "fit": "crop",
        "resize_shorter": 72,
        "interpolation": "bilinear",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "licence": "CC0-1.0",
        "source": "drawn at random",
        **facts,
    }
    path.with_name(f"{path.name}.json").write_text(json.dumps(description))
    return path
