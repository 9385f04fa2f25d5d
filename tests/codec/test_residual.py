"""What rounding took from the latent, guessed: where it is added, and where there is nothing to add."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_bundle import NET, picture

import hflow
from hflow.codec import pixels
from hflow.codec.decode import indices
from hflow.codec.geometry import Geometry
from hflow.codec.rate import Coder
from hflow.codec.refine import TUNES, Refiner
from hflow.container import parse
from hflow.nets.bundle import Model, load
from hflow.nets.config import NetConfig
from hflow.nets.residual import LatentResidual

VECTORS = Path(hflow.__file__).parents[1] / "formats" / "vectors"


def test_an_untrained_network_changes_nothing() -> None:
    net = LatentResidual(NetConfig.of(NET))
    assert not net(torch.randn(2, 16, 3, 3), torch.tensor([0.2, 0.9])).any()


def test_a_guess_goes_by_the_neighbours_and_the_rate() -> None:
    net = LatentResidual(NetConfig.of(NET)).requires_grad_(False)
    net.out.weight.normal_()
    y = torch.randint(-2, 3, (1, 16, 5, 5)).float()
    at = net(y, torch.tensor([0.5]))
    other = y.clone()
    other[:, :, 2, 3] += 1
    assert (net(other, torch.tensor([0.5]))[:, :, 2, 2] != at[:, :, 2, 2]).any()
    assert (net(y, torch.tensor([0.6]))[:, :, 2, 2] != at[:, :, 2, 2]).any()


def test_a_file_is_decoded_from_the_guess(tiny: Model) -> None:
    found = indices(tiny, parse(hflow.encode(picture(96, 64), 1.0, masking="none")))
    geo, level, y = found.geometry, found.level, found.y
    assert level is not None
    assert y is not None
    planes = pixels.token_planes(tiny, geo, None, None)
    guessed = pixels.unrounded(tiny, y, level)
    assert np.abs(guessed - y).max() > 0.01
    want = pixels.synthesize_cells(tiny, geo, level, guessed, planes)
    assert (pixels.synthesize(tiny, geo, level, y, None, None, looks=1) == want).all()
    assert (pixels.synthesize_cells(tiny, geo, level, y, planes) != want).any()


def test_a_bundle_from_before_guesses_nothing() -> None:
    model = load(VECTORS / "bundle")
    y = np.ones((2, 3, model.cfg.latent), dtype=np.int64)
    assert model.nets.residual is None
    assert pixels.unrounded(model, y, 40) is y


@pytest.mark.usefixtures("tiny_models")
def test_refinement_goes_through_the_guess(tiny: Model) -> None:
    """A step of the latent is a step of what it is decoded from: the gradient is that of the picture shown."""
    image, geo = picture(96, 64), Geometry(96, 64)
    choice = Coder(tiny, geo, pixels.trunk(tiny, image)).code(40, 0, "none")
    refiner = Refiner(tiny, geo, image, TUNES["psnr"])
    refiner.ask(choice)
    rate = pixels.rate_tensor(tiny, 40)
    assert choice.y is not None
    y = pixels.on_device(tiny, choice.y)
    with_it, _ = refiner.descend(y, rate, True)
    tiny.nets.residual, kept = None, tiny.nets.residual
    try:
        without, _ = refiner.descend(y, rate, True)
    finally:
        tiny.nets.residual = kept
    assert not torch.allclose(with_it, without, rtol=1e-2)
