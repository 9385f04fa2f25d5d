"""The distance that refinement lowers."""

from __future__ import annotations

import pytest
import torch
from tiny_bundle import picture

from hflow.codec.likeness import LARGE, WAYS, Likeness, turned
from hflow.nets.bundle import Model
from hflow.nets.perceptual import Perceptual, load_perceptual


@pytest.fixture(params=[False, True], ids=["alone", "with the perceptual network"])
def perceptual(tiny: Model, request: pytest.FixtureRequest) -> Perceptual | None:
    if not request.param:
        return load_perceptual(tiny)  # a bundle can do without
    torch.manual_seed(0)
    return Perceptual(tiny.cfg).eval().requires_grad_(False)


@pytest.mark.parametrize("side", [32, 64, LARGE, 160])
def test_it_grows_with_what_is_wrong(tiny: Model, perceptual: Perceptual | None, side: int) -> None:
    torch.manual_seed(0)
    own = torch.from_numpy(picture(side, side, 3)).permute(2, 0, 1)[None].float() / 255
    likeness = Likeness(tiny.nets.analysis, perceptual, own)
    noise = torch.randn_like(own)
    near, far = (float(likeness.distance((own + k * noise).clamp(0, 1))) for k in (0.02, 0.2))
    assert float(likeness.distance(own)) == 0
    assert 0 < near < far < 1e6


def test_it_can_be_followed_downhill(tiny: Model, perceptual: Perceptual | None) -> None:
    own = torch.from_numpy(picture(LARGE, LARGE, 3)).permute(2, 0, 1)[None].float() / 255
    likeness = Likeness(tiny.nets.analysis, perceptual, own)
    x = (0.5 * own + 0.25).requires_grad_(True)
    start = likeness.distance(x)
    (down,) = torch.autograd.grad(start, x)
    assert likeness.distance(x - 1e-3 * down / down.abs().max()) < start


def test_from_every_side_the_original_has_nothing_wrong_and_the_other_has(
    tiny: Model, perceptual: Perceptual | None
) -> None:
    own = torch.from_numpy(picture(LARGE, LARGE + 32, 3)).permute(2, 0, 1)[None].float() / 255
    likeness = Likeness(tiny.nets.analysis, perceptual, own)
    sides = [turned(own, way) for way in range(WAYS)]
    assert len({side.numpy().tobytes() for side in sides}) == WAYS
    for way, side in enumerate(sides):
        assert float(likeness.at(own, 0, way)) == 0
        there = Likeness(tiny.nets.analysis, perceptual, side)
        there.spread = likeness.spread  # channels count by that of the original as it is
        assert float(likeness.at(0.5 * own, 0, way)) == pytest.approx(float(there.at(0.5 * side, 0)), rel=1e-3)
