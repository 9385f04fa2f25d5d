"""The network that was taught what looks alike."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_bundle import picture
from torch import Tensor
from torch.nn import functional as F

from hflow import bundles
from hflow.codec.likeness import Likeness
from hflow.errors import BundleError
from hflow.nets.bundle import Model, load
from hflow.nets.perceptual import FILE, load_perceptual

SIDE = 128


@pytest.fixture(scope="module")
def model() -> Model:
    """The newest bundle that has the network."""
    return load([b.path for b in bundles.listing() if (b.path / FILE).exists()][-1])


@pytest.fixture(scope="module")
def photo() -> Tensor:
    return torch.from_numpy(picture(SIDE, SIDE, 4)).permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="module")
def apart(model: Model, photo: Tensor) -> Likeness:
    return Likeness(model.nets.analysis, load_perceptual(model), photo)


@torch.no_grad()
def test_what_looks_worse_is_further_away(apart: Likeness, photo: Tensor) -> None:
    torch.manual_seed(0)
    blurred = [F.interpolate(F.avg_pool2d(photo, k), scale_factor=k, mode="bilinear") for k in (2, 4, 8)]
    noisy = [(photo + s * torch.randn_like(photo)).clamp(0, 1) for s in (0.02, 0.08, 0.3)]
    assert apart.perceptual is not None
    for worse in (blurred, noisy):
        for seen in (apart.distance, lambda x: percept(apart, x, photo)):
            found = [float(seen(y)) for y in worse]
            assert 0 < found[0] < found[1] < found[2]


def percept(apart: Likeness, x: Tensor, photo: Tensor) -> Tensor:
    """The perceptual network's distance alone."""
    assert apart.perceptual is not None
    return apart.perceptual.distance(*(apart._features(v, 0)[1] for v in (x, photo)))


@torch.no_grad()
def test_a_lost_texture_counts_for_more_than_a_shade(apart: Likeness, photo: Tensor) -> None:
    """At the same squared error: what squared error does not know and viewers do."""
    texture = F.avg_pool2d(photo, 5, 1, 2, count_include_pad=False)
    shade = photo + (texture - photo).square().mean().sqrt()
    assert percept(apart, texture, photo) > 1.5 * percept(apart, shade, photo)


def test_a_bundle_without_it_and_a_damaged_one(tiny: Model, model: Model, tmp_path: Path) -> None:
    assert load_perceptual(tiny) is None
    for n, bad in enumerate((b"", b"nonsense", (model.path / FILE).read_bytes()[:-9])):
        folder = tmp_path / str(n)
        folder.mkdir()
        (folder / FILE).write_bytes(bad)
        with pytest.raises(BundleError, match="not the perceptual network"):
            load_perceptual(replace(model, path=folder))
    shutil.copy(model.path / FILE, tmp_path)
    with pytest.raises(BundleError, match="not the perceptual network"):
        load_perceptual(replace(tiny, path=tmp_path))  # of another bundle's sizes
