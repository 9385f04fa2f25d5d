"""The parts of the losses that are ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import hflow
from hflow.errors import InputError
from hflow.nets.blocks import between
from hflow.nets.logistic import logistic_bits
from hflow.train.losses import (
    EarlyVGG,
    Weighed,
    common_error,
    degrade_pair,
    draw_harm,
    draw_views,
    knots,
    load_lpips,
    lpips_loss,
    unit_distance,
    view,
)

METRICS = Path(hflow.__file__).parents[2] / "shared" / "metrics"
needs_metrics = pytest.mark.skipif(not METRICS.is_dir(), reason="the perceptual networks are not here")


def naive(a: Tensor, b: Tensor, w: Tensor) -> Tensor:
    """LPIPS's formula as published."""
    a, b = (x / (x.square().sum(1, keepdim=True) + 1e-10).sqrt() for x in (a, b))
    return ((a - b).square() * w.view(1, -1, 1, 1)).sum(1).mean((1, 2))


def test_unit_distance_is_the_published_formula() -> None:
    a, b, w = torch.randn(3, 17, 6, 5).relu(), torch.randn(3, 17, 6, 5).relu(), torch.rand(17)
    assert torch.allclose(unit_distance(a, b, w), naive(a, b, w), atol=1e-6)
    assert torch.allclose(unit_distance(a, a + 1e-3 * b, w), naive(a, a + 1e-3 * b, w), atol=1e-6)
    assert unit_distance(a, a, w).abs().max() < 1e-6
    assert torch.allclose(unit_distance(a, 5 * b, w), unit_distance(a, b, w), atol=1e-6)  # length says nothing


def test_unit_distance_where_features_are_zero() -> None:
    a, b, w = torch.rand(2, 8, 4, 4), torch.rand(2, 8, 4, 4), torch.rand(8)
    a[:, :, 0], b[:, :, :, 1] = 0, 0
    b.requires_grad_()
    d = unit_distance(a, b, w)
    assert torch.allclose(d, naive(a, b, w), atol=1e-6)
    d.sum().backward()
    assert b.grad is not None
    assert torch.isfinite(b.grad).all()


def test_unit_distance_has_the_gradient_of_the_formula() -> None:
    a, w = torch.rand(2, 8, 4, 4) + 0.1, torch.rand(8)
    b = torch.rand(2, 8, 4, 4) + 0.1
    grads = []
    for f in (unit_distance, naive):
        x = b.clone().requires_grad_()
        f(a, x, w).sum().backward()
        assert x.grad is not None
        grads.append(x.grad)
    assert torch.allclose(*grads, atol=1e-6)


def test_both_pictures_are_degraded_alike() -> None:
    x, other = torch.rand(2, 3, 48, 40), torch.rand(2, 3, 48, 40)
    kinds = set()
    for seed in range(30):
        a, b = degrade_pair(x, x, *draw_harm(np.random.default_rng(seed), 0.8))
        assert torch.equal(a, b)
        c, d = degrade_pair(other, x, *draw_harm(np.random.default_rng(seed), 0.8))
        assert torch.allclose(d, a, atol=1e-6)  # what is done does not depend on the other picture
        assert c.shape == d.shape
        assert a.min() + 1e-5 >= 0
        assert a.max() <= 1 + 1e-5
        kinds.add("plain" if torch.equal(a, x) else "smaller" if a.shape[2] < 42 else "blurred")
        if a.shape != x.shape:
            assert 20 <= a.shape[2] <= 46
    assert kinds == {"plain", "smaller", "blurred"}


def test_degrading_keeps_a_plain_colour_and_passes_gradients() -> None:
    flat = torch.full((1, 3, 40, 40), 0.3, requires_grad=True)
    for seed in range(12):
        a, b = degrade_pair(flat, torch.full((1, 3, 40, 40), 0.7), *draw_harm(np.random.default_rng(seed), 0.8))
        assert torch.allclose(a, torch.tensor(0.3), atol=1e-5)
        assert torch.allclose(b, torch.tensor(0.7), atol=1e-5)
        (grad,) = torch.autograd.grad(a.sum(), flat)
        assert grad[:, :, 10:30, 10:30].min() > 0


def test_logistic_bits_are_those_of_a_distribution() -> None:
    x = torch.arange(-400, 401).float()
    for mean, scale in ((0.0, 0.3), (0.4, 1.0), (-3.7, 5.0)):
        bits = logistic_bits(x, torch.tensor(mean), torch.tensor(scale).log())
        p = 2**-bits
        assert p[bits < 19].sum() == pytest.approx(1, abs=2e-3)
        assert x[bits.argmin()] == round(mean)
    far = logistic_bits(torch.tensor(1e4), torch.tensor(0.0), torch.tensor(0.0))
    assert torch.isfinite(far)


def test_missing_networks_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="perceptual networks"):
        load_lpips(tmp_path, "squeeze")


def test_a_weight_that_goes_with_the_rate() -> None:
    rate = torch.tensor([0.0, 0.25, 0.5, 0.8, 1.0])
    assert between(knots(3.0, "cpu"), rate).tolist() == [3.0] * 5
    assert between(knots([4, 2, 12], "cpu"), rate).tolist() == pytest.approx([4, 3, 2, 8, 12])


def test_the_last_weights_hold_beyond_rate_1(tmp_path: Path) -> None:
    """Rate levels above 63: a falling list must not turn a loss round."""
    weights = {"mse": [9, 3, 1], "squeeze": [1.0, 0.1], "half": 0.0, "vgg": 0.0}
    weighed = Weighed(weights, torch.nn.Identity(), tmp_path, 32, 32, "cpu")
    terms = {"mse": torch.ones(2), "squeeze": torch.ones(2)}
    at = [float(weighed.total(terms, torch.full((2,), r))) for r in (1.0, 1.1, 79 / 63)]
    assert at == pytest.approx([1.1, 1.1, 1.1])


@needs_metrics
@pytest.mark.parametrize("name", ["squeeze", "alex"])
def test_the_training_loss_is_lpips(name: str) -> None:
    exact = load_lpips(METRICS, name)
    x, y = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    y.requires_grad_()
    d = lpips_loss(exact, x, y)
    assert torch.allclose(d, exact(x * 2 - 1, y * 2 - 1).flatten(), atol=1e-4)
    d.sum().backward()
    assert y.grad is not None
    assert y.grad.any()


@needs_metrics
def test_early_features_tell_pictures_apart() -> None:
    vgg, x = EarlyVGG(METRICS), torch.rand(2, 3, 32, 32)
    assert vgg(x, x).abs().max() < 1e-5
    near, far = vgg(x, (x + 0.02 * torch.randn_like(x)).clamp(0, 1)), vgg(x, torch.rand_like(x))
    assert (near > 0).all()
    assert (near < far).all()


def turned(x: Tensor) -> list[Tensor]:
    """The eight ways to lay a square picture (3, S, S)."""
    return [m for k in range(4) for t in [torch.rot90(x, k, (1, 2))] for m in (t, t.flip(2))]


def test_a_view_is_a_window_turned_or_mirrored_with_colours_exchanged() -> None:
    n, size = 1000, 8
    x = torch.rand(n, 3, 11, 14)
    seen = view(x, draw_views(n, 11, 14, size, np.random.default_rng(0)), size)
    ways: set[tuple[int, tuple[int, ...]]] = set()
    corners: set[tuple[int, ...]] = set()
    for picture, got in zip(x, seen, strict=True):
        colours = tuple(int((picture == got[k, 0, 0]).flatten(1).any(1).nonzero()[0, 0]) for k in range(3))
        found = [
            (way, top, left)
            for way, laid in enumerate(turned(got))
            for top in range(4)
            for left in range(7)
            if torch.equal(laid, picture[list(colours), top : top + size, left : left + size])
        ]
        assert len(found) == 1
        ways.add((found[0][0], colours))
        corners.add(found[0][1:])
    assert len(ways) == 48
    assert len(corners) == 28


def test_views_often_reach_the_borders() -> None:
    first = draw_views(4000, 192, 192, 160, np.random.default_rng(0))
    corner = first[:, 0] + 159 * first[:, 1:3].clamp(max=0).sum(1)
    for place in (corner // 192, corner % 192):
        assert place.min() == 0
        assert place.max() == 32
        assert 0.2 < (place == 0).float().mean() < 0.3
        assert 0.2 < (place == 32).float().mean() < 0.3


def test_views_pass_gradients_to_the_places_seen() -> None:
    x = torch.rand(3, 3, 9, 9, requires_grad=True)
    views = draw_views(3, 9, 9, 5, np.random.default_rng(1))
    (grad,) = torch.autograd.grad(view(x, views, 5).sum(), x)
    assert grad.sum() == 3 * 3 * 25
    assert set(grad.unique().tolist()) == {0.0, 1.0}


def test_common_error_is_what_all_blocks_share() -> None:
    x, mark = torch.rand(2, 3, 128, 96), torch.rand(3, 32, 32)
    stamped = x + 0.1 * mark.tile(1, 4, 3)
    assert torch.allclose(common_error(x, stamped), 0.01 * mark.square().mean().expand(2), rtol=1e-4)
    apart = x + 0.1 * torch.randn(2, 3, 128, 96)
    assert (common_error(x, apart) < 0.2 * (apart - x).square().mean()).all()
