"""Muon: orthogonal steps for kernels, Adam for scalars, the same again after a state round trip."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from fnetcli.training.optimizers import ROOT_MEAN_SQUARE, Muon


def kernel(*shape: int, seed: int = 0) -> nn.Parameter:
    torch.manual_seed(seed)
    parameter = nn.Parameter(torch.randn(*shape))
    parameter.grad = torch.randn(*shape)
    return parameter


@pytest.mark.parametrize("shape", [(16, 1, 5, 5), (1, 16, 5, 5), (16, 2, 5, 5), (2, 16, 5, 5)])
def test_first_step_is_orthogonal_and_of_the_stated_size(shape: tuple[int, ...]) -> None:
    parameter = kernel(*shape)
    before = parameter.detach().clone()
    Muon([parameter], lr=0.1).step()
    step = (parameter.detach() - before) / 0.1
    atoms_first = step if shape[0] == 16 else step.transpose(0, 1)
    values = torch.linalg.svdvals(atoms_first.flatten(1))
    assert values.max() / values.min() < 3  # of a random matrix: above 5
    assert step.square().mean().sqrt().item() == pytest.approx(ROOT_MEAN_SQUARE, rel=0.3)
    assert parameter.grad is not None
    assert (step * parameter.grad).sum() < 0


def test_one_strong_direction_does_not_rule_the_step() -> None:
    parameter = kernel(16, 1, 5, 5)
    assert parameter.grad is not None
    parameter.grad += 1000 * torch.ones_like(parameter)
    before = parameter.detach().clone()
    Muon([parameter], lr=0.1).step()
    step = (parameter.detach() - before).flatten(1)
    values = torch.linalg.svdvals(step)
    assert values[0] < 5 * values[1]  # of the gradient: 2000 times


def test_scalars_follow_adam() -> None:
    ours, theirs = (nn.Parameter(torch.tensor([0.5])) for _ in range(2))
    muon, adam = Muon([ours], lr=1e-2), torch.optim.Adam([theirs], lr=1e-2)
    for gradient in (1.0, -0.3, 2.0, 0.1):
        ours.grad, theirs.grad = torch.tensor([gradient]), torch.tensor([gradient])
        muon.step()
        adam.step()
    torch.testing.assert_close(ours, theirs)


def test_state_round_trip_gives_the_same_steps() -> None:
    first, scalar = kernel(8, 1, 3, 3), nn.Parameter(torch.ones(1))
    scalar.grad = torch.ones(1)
    muon = Muon([first, scalar])
    muon.step()
    copies = [copy.deepcopy(first), copy.deepcopy(scalar)]
    for parameter, original in zip(copies, (first, scalar), strict=True):
        parameter.grad = original.grad
    again = Muon(copies)
    again.load_state_dict(copy.deepcopy(muon.state_dict()))
    muon.step()
    again.step()
    assert torch.equal(first, copies[0])
    assert torch.equal(scalar, copies[1])


def test_parameters_without_gradient_stay() -> None:
    parameter = nn.Parameter(torch.ones(4, 1, 3, 3))
    Muon([parameter]).step()
    assert torch.equal(parameter, torch.ones(4, 1, 3, 3))
