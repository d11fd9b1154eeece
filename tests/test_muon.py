"""Muon: even steps for filters, SGD for the rest."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the 'train' extra")

from whatsit.training.torch_engine.muon import Muon, orthogonal  # noqa: E402


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (12, 12)])
def test_all_directions_come_out_about_as_strong(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    singular = torch.linalg.svdvals(orthogonal(matrix))
    assert singular.min() > 0.5
    assert singular.max() < 1.35
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    assert torch.nn.functional.cosine_similarity(orthogonal(matrix).flatten(), (left @ right).flatten(), dim=0) > 0.97


def test_a_gradient_of_nothing_moves_nothing() -> None:
    assert torch.equal(orthogonal(torch.zeros(3, 5)), torch.zeros(3, 5))


def test_filters_keep_their_length_and_turn_by_the_rate() -> None:
    torch.manual_seed(0)
    filters = torch.nn.Parameter(torch.randn(16, 4, 3, 3).contiguous(memory_format=torch.channels_last))
    optimizer = Muon([{"params": [filters], "filters": True, "lr": 0.05}])
    for _ in range(5):
        before = filters.detach() * 4 / filters.detach().norm()
        filters.grad = torch.randn(filters.shape)
        optimizer.step()
        assert (filters.detach() - before).norm() / 4 == pytest.approx(0.05, rel=0.25)
        assert filters.detach().norm() == pytest.approx(4, rel=0.1)
    assert filters.is_contiguous(memory_format=torch.channels_last)


def test_everything_else_goes_as_with_nesterovs_momentum() -> None:
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.ones(7)) for _ in range(2))
    one = Muon([{"params": [ours], "lr": 0.1}])
    other = torch.optim.SGD([theirs], lr=0.1, momentum=0.85, nesterov=True)
    for _ in range(4):
        ours.grad = torch.randn(7)
        theirs.grad = ours.grad.clone()
        one.step()
        other.step()
    assert torch.allclose(ours, theirs)


def test_its_state_survives_saving() -> None:
    torch.manual_seed(0)
    gradients = [torch.randn(4, 2, 3, 3) for _ in range(4)]

    def steps(parameter: torch.nn.Parameter, optimizer: Muon, some: list[torch.Tensor]) -> None:
        for gradient in some:
            parameter.grad = gradient.clone()
            optimizer.step()

    def fresh(start: torch.Tensor) -> tuple[torch.nn.Parameter, Muon]:
        parameter = torch.nn.Parameter(start.clone())
        return parameter, Muon([{"params": [parameter], "filters": True, "lr": 0.1}])

    start = torch.randn(4, 2, 3, 3)
    whole, optimizer = fresh(start)
    steps(whole, optimizer, gradients)
    first, before = fresh(start)
    steps(first, before, gradients[:2])
    second, after = fresh(first.detach())
    after.load_state_dict(before.state_dict())
    steps(second, after, gradients[2:])
    assert torch.equal(whole, second)
