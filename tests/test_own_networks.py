"""The networks of our own: what they are made of, and what they start with."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="needs the 'train' extra")

from whatsit.recipe import Facts, choose  # noqa: E402
from whatsit.training.torch_engine.networks import TutorialNetwork, build  # noqa: E402
from whatsit.training.torch_engine.own_networks import Averaged, CompactNetwork, TutorialCNN  # noqa: E402
from whatsit.wishes import Wishes  # noqa: E402


def pictures(n: int = 6, size: int = 32) -> torch.Tensor:
    """Smooth random pictures: neighbouring pixels go together, as in photos."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(n, 3, 8, 8, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")


@pytest.mark.parametrize("size", [16, 24, 32, 64])
@pytest.mark.parametrize("depth", [2, 3])
def test_the_compact_network_takes_small_pictures_of_any_size(size: int, depth: int) -> None:
    network = CompactNetwork(5, (8, 12, 12), depth).eval()
    x = torch.zeros(2, 3, size, size)
    assert network(x).shape == (2, 5)
    assert network.embed(x).shape == (2, 12)


def test_the_compact_network_has_the_parameters_its_description_says() -> None:
    def millions(network: torch.nn.Module) -> float:
        return round(sum(p.numel() for p in network.parameters()) / 1e6, 1)

    assert millions(CompactNetwork(10)) == 2.0
    assert millions(CompactNetwork(10, (128, 384, 448), 3)) == 8.6


@pytest.mark.parametrize(("widths", "depth"), [((), 2), ((8,), 1), ((8,), 4), ((0,), 2)])
def test_other_shapes_of_it_are_refused(widths: tuple[int, ...], depth: int) -> None:
    with pytest.raises(ValueError, match="widths"):
        CompactNetwork(3, widths, depth)


def test_its_first_layer_whitens_patches_and_does_not_learn() -> None:
    network = CompactNetwork(3, (8, 8, 8))
    x = pictures(40)
    network.prepare(x.split(50))
    seen = network.whiten(x).movedim(1, 3).reshape(-1, 24)
    assert torch.allclose(seen[:, :12], -seen[:, 12:])
    seen = seen[:, :12].detach()
    second = seen.T @ seen / len(seen)
    variances = second.diagonal()
    assert (second - variances.diag()).abs().max() < 1e-4
    assert 0.99 < variances.max() < 1.01
    assert variances.min() > 0.5  # the faintest are left a little fainter, so that noise is not blown up
    assert not network.whiten.weight.requires_grad


def test_no_filter_looks_for_colours_that_the_training_pictures_lack() -> None:
    network = CompactNetwork(3, (8, 8, 8))
    grey = pictures(40)[:, :1].repeat(1, 3, 1, 1)
    network.prepare([grey])
    assert network.whiten(grey).var(dim=(0, 2, 3)).min() > 0.1  # batch norm explodes on channels that never vary
    assert (
        len({tuple(row) for row in network.whiten.weight.flatten(1).tolist()}) == 8
    )  # 4 directions and their negatives


def test_its_filters_start_by_handing_on_what_they_get() -> None:
    network = CompactNetwork(3, (32, 32, 32))
    conv = network.blocks[0].first
    x = torch.randn(1, 24, 5, 5)
    assert torch.allclose(conv(x)[:, :24], x, atol=1e-6)


def test_looking_again_gives_the_mean_of_the_logits_of_all_views() -> None:
    torch.manual_seed(0)
    network = CompactNetwork(4, (8, 8, 8)).eval()
    x = pictures()
    wide = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
    shifted = [wide[..., :32, :32], wide[..., 2:, 2:]]

    def both(view: torch.Tensor) -> torch.Tensor:
        return (network(view) + network(view.flip(-1))) / 2

    with torch.no_grad():
        expected = both(x) / 2 + (both(shifted[0]) + both(shifted[1])) / 4
        assert torch.allclose(Averaged(network)(x), expected, atol=1e-5)
        assert not torch.allclose(network(x), both(x), atol=1e-3)


def test_the_tutorials_head_leaves_the_statistics_of_the_network_below_alone() -> None:
    below = TutorialCNN()
    below.features.append(torch.nn.BatchNorm2d(128))
    before = {name: value.clone() for name, value in below.state_dict().items()}
    network = TutorialNetwork(below, 10, (32, 32), 0.5)
    assert network.features.training
    assert all(torch.equal(value, before[f"features.{name}"]) for name, value in network.features.state_dict().items())


def test_the_tutorials_network_starts_as_keras_would_start_it() -> None:
    torch.manual_seed(0)
    recipe, _ = choose(Wishes(recipe="tutorial"), Facts(48, 1.0, 32, 32, False), None, "cpu")
    network = build(recipe, 10)
    layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(layers) == 8
    for layer in layers:
        area = layer.weight[0][0].numel()
        bound = math.sqrt(6 / ((layer.weight.shape[0] + layer.weight.shape[1]) * area))
        assert 0.95 * bound < layer.weight.abs().max() <= bound
        assert layer.bias is None or not layer.bias.any()


def test_the_tutorials_network_is_the_one_of_the_tutorial() -> None:
    network = TutorialNetwork(TutorialCNN(), 10, (32, 32), 0.5)
    assert sum(p.numel() for p in network.parameters()) == 2_395_434  # as Keras counts its layers
    kinds = [type(layer).__name__ for layer in network.features]
    assert kinds == ["Conv2d", "ReLU", "Conv2d", "ReLU", "MaxPool2d", "Dropout"] * 3
    widths = [layer.out_channels for layer in network.features if isinstance(layer, torch.nn.Conv2d)]
    assert widths == [32, 32, 64, 64, 128, 128]
    assert [layer.p for layer in network.features if isinstance(layer, torch.nn.Dropout)] == [0.25] * 3
    assert (network.dense.in_features, network.dense.out_features, network.dropout.p) == (2048, 1024, 0.5)
