"""Distances of feature maps say what plain torch says, and so do their gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hflow.nets import distances


def maps(count: int) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, 6, 5, 4) for _ in range(count)]


def same(found: Tensor, plain: Tensor, inputs: list[Tensor]) -> None:
    """Both scalars, and their gradients, three times as steep."""
    assert float(found.detach()) == pytest.approx(float(plain.detach()), rel=1e-5)
    for a, b in zip(*(torch.autograd.grad(3 * v, inputs) for v in (found, plain)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_squared() -> None:
    a, b = (v.requires_grad_(True) for v in maps(2))
    same(distances.squared(a, b), (a - b).square().sum(1).mean(), [a, b])


def test_squared_where_one_side_alone_can_move() -> None:
    a, b = maps(2)
    a.requires_grad_(True)
    same(distances.squared(a, b), (a - b).square().sum(1).mean(), [a])


def test_spread_even_where_there_is_next_to_nothing() -> None:
    h, own = maps(2)
    h[:, :, :2] *= 1e-5  # shorter than what they are divided by
    h.requires_grad_(True)
    own, by = distances.unit(own), 0.1 + torch.rand(1, 6, 1, 1)
    same(distances.spread(h, own, by), ((F.normalize(h, dim=1, eps=distances.EPS) - own) / by).square().mean(), [h])


def test_what_is_the_same_is_at_no_distance_and_pulls_nowhere() -> None:
    h = maps(1)[0].requires_grad_(True)
    apart = distances.spread(h, distances.unit(h.detach()), torch.ones(1, 6, 1, 1)) + distances.squared(h, h.detach())
    assert float(apart.detach()) == pytest.approx(0, abs=1e-12)
    assert float(torch.autograd.grad(apart, h)[0].abs().max()) < 1e-6
