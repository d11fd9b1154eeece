"""Networks: our own, and every timm network by name.

Each gives `embed(x)`, the vector before the last layer `[N, D]`, and `classify(embedding)`, the logits `[N, K]`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from whatsit.errors import OptionError, WeightsError, did_you_mean
from whatsit.events import NetworkBuilt
from whatsit.recipe import COMPACT, OWN, SMALL, TUTORIAL_CNN, Recipe
from whatsit.training.engine import Head
from whatsit.training.torch_engine.network import Network
from whatsit.training.torch_engine.own_networks import (
    Averaged,
    CompactNetwork,
    SmallNetwork,
    TutorialCNN,
    start_as_keras,
)

# What timm.create_model takes besides the network's own arguments.
_NOT_THE_NETWORKS = {
    "cache_dir",
    "checkpoint_path",
    "exportable",
    "no_jit",
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "scriptable",
}


class TimmNetwork(Network):
    """A timm network behind the same three methods."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def embed(self, x: Tensor) -> Tensor:
        model = cast(Any, self.model)
        return cast(Tensor, model.forward_head(model.forward_features(x), pre_logits=True).flatten(1))

    def classify(self, embedding: Tensor) -> Tensor:
        return cast(Tensor, self.last_layer()(embedding))

    def last_layer(self) -> nn.Module:
        return cast(nn.Module, cast(Any, self.model).get_classifier())


class TutorialNetwork(Network):
    """A network's feature maps, flattened, and the tutorial's head: dense 1,024, ReLU, dropout, dense."""

    def __init__(self, model: nn.Module, n_classes: int, size: tuple[int, int], dropout: float) -> None:
        super().__init__()
        self.features = cast(nn.Module, model.features)
        self.features.eval()  # pictures of zeros would spoil the statistics of batch norm
        with torch.no_grad():
            maps = self.features(torch.zeros(1, 3, *size))
        self.features.train()
        self.flatten = nn.Flatten()
        self.dense = nn.Linear(maps[0].numel(), 1024)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(1024, n_classes)

    def embed(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.relu(self.dense(self.flatten(self.features(x)))))

    def classify(self, embedding: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.dropout(embedding)))

    def last_layer(self) -> nn.Module:
        return self.head

    def backbone(self) -> nn.Module:
        return self.features


def build(recipe: Recipe, n_classes: int, head: Head | None = None) -> Network:
    """The recipe's network: pretrained weights loaded, the last layer fresh (or `head`), what is not to learn frozen.

    Raises OptionError and WeightsError.
    """
    network = _with_weights(recipe, n_classes)
    if head is not None:
        set_head(network, head)
    _freeze(network, recipe.finetune)
    return network


def _with_weights(recipe: Recipe, n_classes: int) -> Network:
    if recipe.model in OWN:
        return _own(recipe, n_classes)
    model = _create(recipe, n_classes)
    if recipe.weights:
        load_weights(model, Path(recipe.weights), with_head=False)
    if recipe.last_layers == "tutorial":
        return _tutorial(model, recipe, n_classes)
    network = TimmNetwork(model)
    if recipe.weights:
        for parameter in network.last_layer().parameters():
            # A random last layer on large features starts with large errors, which then run through the network.
            nn.init.zeros_(parameter)
    return network


def _own(recipe: Recipe, n_classes: int) -> Network:
    if recipe.weights:
        raise WeightsError(
            f"cannot load pretrained weights into the network '{recipe.model}'",
            value=recipe.weights,
            accepted="weights of a timm network",
            hint="Name the network with --model, or leave --weights out.",
        )
    if recipe.model == SMALL:
        return SmallNetwork(n_classes, max(recipe.preprocess.size), recipe.dropout)
    if recipe.model == TUTORIAL_CNN:
        network = TutorialNetwork(TutorialCNN(), n_classes, recipe.preprocess.size, recipe.dropout)
        network.apply(start_as_keras)
        return network
    try:
        return CompactNetwork(n_classes, **recipe.network_args)
    except (TypeError, ValueError, RuntimeError) as error:
        raise OptionError(
            f"cannot build the network '{COMPACT}'",
            value=" ".join(str(error).split())[:160],
            accepted="widths, a list of whole numbers such as [64,256,256], and depth, 2 or 3",
            hint="Check the spelling of --network-arg NAME=VALUE.",
        ) from None


def with_views(network: Network, recipe: Recipe) -> Network:
    """The network that looks at every picture as often as the recipe says."""
    return network if recipe.views == 1 else Averaged(network)


def _tutorial(model: nn.Module, recipe: Recipe, n_classes: int) -> TutorialNetwork:
    if not isinstance(getattr(model, "features", None), nn.Sequential):
        raise OptionError(
            f"cannot put the tutorial's head on '{recipe.model}'",
            value="a network without a plain stack of features",
            accepted="VGG networks, such as vgg16",
            hint="Leave --model out.",
        )
    return TutorialNetwork(model, n_classes, recipe.preprocess.size, recipe.dropout)


def as_it_came(recipe: Recipe, n_classes: int) -> Network:
    """The network with every weight of its file, the last layer's included. Raises OptionError and WeightsError."""
    model = _create(recipe, n_classes)
    load_weights(model, Path(str(recipe.weights)), with_head=True)
    return TimmNetwork(model)


def set_head(network: Network, head: Head) -> None:
    layer = cast(Any, network.last_layer())
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(head.weight.T))
        layer.bias.copy_(torch.from_numpy(head.bias))


def _freeze(network: Network, finetune: str) -> None:
    """Leave `finetune` layers of the backbone to learn, counted from the end, and every layer after it."""
    if finetune == "all":
        return
    layers = weight_layers(network)
    learning = {"no": 0, "last": math.ceil(len(layers) / 4)}.get(finetune)
    learning = int(finetune) if learning is None else learning
    for layer in layers[: max(0, len(layers) - learning)]:
        for parameter in layer:
            parameter.requires_grad_(False)


def weight_layers(network: Network) -> list[list[nn.Parameter]]:
    """The parameters of each backbone layer with weights, in order; a normalisation belongs to the layer before it."""
    last = {id(parameter) for parameter in network.last_layer().parameters()}
    layers: list[list[nn.Parameter]] = []
    for module in network.backbone().modules():
        own = [parameter for parameter in module.parameters(recurse=False) if id(parameter) not in last]
        if own and (not layers or any(parameter.ndim > 1 for parameter in own)):
            layers.append(own)
        elif own:
            layers[-1] += own
    return layers


def check_name(name: str) -> None:
    """Raise OptionError, with a suggestion, for a network that neither we nor timm have."""
    if name in OWN:
        return
    import timm

    known = timm.list_models()
    if name.split(".")[0] not in known:
        raise OptionError(
            f"cannot find a network called '{name}'",
            value=repr(name),
            accepted=f"{', '.join(OWN)} or one of timm's {len(known):,} networks",
            hint=did_you_mean(name, [*OWN, *known]) or "For instance: --model mobilenetv2_100",
        )


def check_arguments(name: str, arguments: Mapping[str, Any]) -> None:
    """Raise OptionError for what is not the network's own: timm would read or write files that nobody checked."""
    strange = sorted(_NOT_THE_NETWORKS & arguments.keys())
    if strange:
        raise OptionError(
            f"cannot build the network '{name}'",
            value=f"the argument '{strange[0]}'",
            accepted="arguments of the network itself",
            hint="Leave it out; weights are given with --weights.",
        )


def _create(recipe: Recipe, n_classes: int) -> nn.Module:
    import timm

    check_name(recipe.model)
    check_arguments(recipe.model, recipe.network_args)
    arguments = {"drop_rate": recipe.dropout, **recipe.network_args}
    try:
        model = timm.create_model(recipe.model, pretrained=False, num_classes=n_classes, **arguments)
        if not isinstance(model.get_classifier(), nn.Linear):  # distilled networks have two heads, some none
            raise ValueError(f"a head of type {type(model.get_classifier()).__name__}")
        return cast(nn.Module, model)
    except (TypeError, ValueError, RuntimeError, AssertionError, AttributeError, KeyError) as error:
        raise OptionError(
            f"cannot build the network '{recipe.model}'",
            value=" ".join(str(error).split())[:160],
            accepted="arguments of that timm network, and networks with one linear head",
            hint="Check the spelling of --network-arg NAME=VALUE, or choose another --model.",
        ) from None


def load_weights(model: nn.Module, path: Path, with_head: bool) -> None:
    """Load a state dict; without its head, the last layer stays fresh. Nothing in the file is ever executed."""
    state = read_state(path)
    own = model.state_dict()
    layer = cast(Any, model).get_classifier()
    head = next(name for name, module in model.named_modules() if module is layer)
    wanted = {name: value for name, value in own.items() if with_head or not name.startswith(f"{head}.")}
    missing = [name for name in wanted if name not in state and not name.endswith("num_batches_tracked")]
    misfit = [name for name in wanted if name in state and state[name].shape != own[name].shape]
    if missing or misfit:
        name = (missing or misfit)[0]
        raise WeightsError(
            f"cannot load '{path.name}' into this network",
            value=f"{len(missing)} of {len(wanted)} tensors missing, {len(misfit)} of another shape, the first: {name}",
            accepted="weights saved from the same network with the same arguments",
            hint="Check --model and --network-arg.",
        )
    model.load_state_dict({name: state[name] for name in wanted if name in state}, strict=False)


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or a PyTorch state dict, read without executing anything in it."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        state = loaded.get("state_dict", loaded)
        return {name.removeprefix("module."): value for name, value in state.items() if isinstance(value, Tensor)}
    except Exception as error:  # each reader has exceptions of its own, and pickle any at all
        raise WeightsError(
            f"cannot read the weights '{path}'",
            value=" ".join(str(error).split())[:120],
            accepted="a whole safetensors file, or a PyTorch state dict without code",
            hint="Copy or download the file again.",
        ) from None


def summary(network: nn.Module, size: tuple[int, int]) -> NetworkBuilt:
    """A table of the layers with their output shapes and parameters, for one picture of `size`."""
    rows: list[tuple[str, str, str, int]] = []

    def note(name: str, kind: str, own: int) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            shape = "x".join(str(n) for n in output.shape[1:]) if isinstance(output, Tensor) else "-"
            rows.append((name, kind, shape, own))

        return hook

    leaves = [(name, module) for name, module in network.named_modules() if not any(module.children())]
    hooks = [
        module.register_forward_hook(note(name, type(module).__name__, sum(p.numel() for p in module.parameters())))
        for name, module in leaves
    ]
    was_training = network.training
    parameter = next(network.parameters())
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, *size, device=parameter.device))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise OptionError(
            f"cannot show this network pictures of {size[0]}x{size[1]} pixels",
            value=" ".join(str(error).split())[:160],
            accepted="the size it was made for",
            hint="Leave --image-size out, or try a larger one; some timm networks want --network-arg img_size=160 too",
        ) from None
    finally:
        for hook in hooks:
            hook.remove()
    network.train(was_training)
    total = sum(p.numel() for p in network.parameters())
    trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return NetworkBuilt(_table(rows), total, trainable)


def _table(rows: list[tuple[str, str, str, int]]) -> str:
    cells = [("layer", "kind", "output", "parameters"), *((n, k, s, f"{p:,}") for n, k, s, p in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    return "\n".join(f"{n:<{widths[0]}}  {k:<{widths[1]}}  {s:>{widths[2]}}  {p:>{widths[3]}}" for n, k, s, p in cells)
