"""A network by name with every weight of a file that was made elsewhere, its last layer included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from whatsit.errors import OptionError, WeightsError, did_you_mean
from whatsit.training.torch_engine import cifar_resnets
from whatsit.training.torch_engine.networks import check_arguments

State = dict[str, Tensor]


@dataclass(frozen=True)
class BroughtNetwork:
    """float [N, 3, h, w], already scaled -> logits [N, K], in evaluation mode; `size` is what it is usually given."""

    network: nn.Module
    size: tuple[int, int]


def build(name: str, arguments: dict[str, Any], state: State, file: str) -> BroughtNetwork:
    """The network called `name` ("timm:NAME", a timm name, or one of CIFAR_RESNETS) with the weights `state`.

    The number of classes is what the weights say. Raises OptionError for an unknown name or arguments and WeightsError
    for weights of another network.
    """
    name = name.removeprefix("timm:")
    if name in cifar_resnets.CIFAR_RESNETS:
        _refuse_arguments(name, arguments)
        network: nn.Module = cifar_resnets.build(name, _classes(state, "linear", name, file))
        size = (cifar_resnets.SIZE, cifar_resnets.SIZE)
    else:
        network, size = _timm(name, arguments, state, file)
    _load(network, state, name, file)
    return BroughtNetwork(network.eval().requires_grad_(False), size)


def _timm(name: str, arguments: dict[str, Any], state: State, file: str) -> tuple[nn.Module, tuple[int, int]]:
    import timm

    known = timm.list_models()
    if name.split(".")[0] not in known:
        ours = list(cifar_resnets.CIFAR_RESNETS)
        raise OptionError(
            f"cannot find a network called '{name}'",
            value=repr(name),
            accepted=f"{', '.join(ours)}, or one of timm's {len(known):,} networks",
            hint=did_you_mean(name, [*ours, *known]) or "For instance: --network resnet18",
        )
    check_arguments(name, arguments)
    try:
        bare = timm.create_model(name, pretrained=False, **arguments)
        head = next(key for key, module in bare.named_modules() if module is bare.get_classifier())
        n_classes = _classes(state, head, name, file)
        network = bare if bare.num_classes == n_classes else _with_classes(name, arguments, n_classes)
        size = arguments.get("img_size", network.default_cfg["input_size"][1:])
        height, width = (size, size) if isinstance(size, int) else size
        return cast(nn.Module, network), (int(height), int(width))
    except (TypeError, ValueError, RuntimeError, AssertionError, AttributeError, KeyError, StopIteration) as error:
        raise OptionError(
            f"cannot build the network '{name}'",
            value=" ".join(str(error).split())[:160] or "a network without one linear head",
            accepted="arguments of that timm network, and networks with one linear head",
            hint="Check the spelling of --network-arg NAME=VALUE, or choose another --network.",
        ) from None


def _with_classes(name: str, arguments: dict[str, Any], n_classes: int) -> Any:
    import timm

    return timm.create_model(name, pretrained=False, num_classes=n_classes, **arguments)


def _classes(state: State, head: str, name: str, file: str) -> int:
    """How many classes the weights answer with: the rows of the last layer."""
    weight = state.get(f"{head}.weight")
    if weight is None or weight.ndim < 2:
        raise _misfit(name, file, f"no last layer '{head}.weight'")
    return int(weight.shape[0])


def _load(network: nn.Module, state: State, name: str, file: str) -> None:
    own = network.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    strange = [key for key in state if key not in own]
    misfit = [key for key in own if key in state and state[key].shape != own[key].shape]
    for found, what in ((missing, "missing"), (strange, "of another network"), (misfit, "of another shape")):
        if found:
            raise _misfit(name, file, f"{len(found)} of {len(own)} tensors {what}, the first: {found[0]}")
    network.load_state_dict(state, strict=False)


def _misfit(name: str, file: str, value: str) -> WeightsError:
    return WeightsError(
        f"cannot load '{file}' into the network '{name}'",
        value=value,
        accepted="weights saved from the same network with the same arguments",
        hint="Check --network and --network-arg.",
    )


def _refuse_arguments(name: str, arguments: dict[str, Any]) -> None:
    if arguments:
        raise OptionError(
            f"cannot build the network '{name}'",
            value=f"--network-arg {next(iter(arguments))}",
            accepted="no arguments",
            hint="Leave --network-arg out.",
        )
