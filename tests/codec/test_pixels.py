"""From indices to pixels: fidelity, and large pictures in tiles."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from tiny_bundle import picture
from torch.nn import functional as F

import hflow
from hflow.codec import pixels
from hflow.codec.decode import indices
from hflow.codec.encode import pack
from hflow.codec.geometry import CELL, Geometry
from hflow.codec.rate import Coder
from hflow.container import parse
from hflow.nets.blocks import shuffle_last, unshuffle_last
from hflow.nets.bundle import Model


def a_file(model: Model, width: int, height: int, level: int | None, m: int, mask: str) -> bytes:
    coder = Coder(model, Geometry(width, height), pixels.trunk(model, picture(width, height)))
    return pack(model, coder.geo, coder.code(level, m, mask))


def decoded(data: bytes, fidelity: float = 1.0) -> np.ndarray:
    return np.asarray(hflow.decode(data, fidelity=fidelity)).astype(int)


def test_fidelity_is_the_share_of_the_continuous_stream(tiny: Model) -> None:
    data = a_file(tiny, 70, 50, 50, 2, "1_4")
    none, some, full = (decoded(data, f) for f in (0.0, 0.5, 1.0))
    assert np.abs(none - full).mean() > 1
    assert (decoded(data) == full).all()
    for end in (none, full):
        assert 0 < np.abs(some - end).mean() < np.abs(none - full).mean()


def test_without_a_continuous_stream_there_is_nothing_to_be_faithful_to(tiny: Model) -> None:
    data = a_file(tiny, 70, 50, None, 2, "all")
    assert (decoded(data, 0.0) == decoded(data, 1.0)).all()
    assert decoded(data).std() > 0


def test_both_streams_reach_the_picture(tiny: Model) -> None:
    pictures = [decoded(a_file(tiny, 70, 50, level, m, "all")) for level, m in ((50, 0), (50, 1), (50, 3), (5, 3))]
    for a, b in pairwise(pictures):
        assert (a != b).any()


def tile(monkeypatch: pytest.MonkeyPatch, size: int, margin: int) -> None:
    monkeypatch.setattr(pixels, "WHOLE", 0)
    monkeypatch.setattr(pixels, "TILE", size)
    monkeypatch.setattr(pixels, "MARGIN", margin)
    monkeypatch.setattr(pixels, "LONG", 1)


def apart(a: np.ndarray, b: np.ndarray, period: int) -> tuple[float, float]:
    """Mean difference of two wide pictures (H, W, 3), on the columns along cuts, and on all others."""
    d = np.abs(a.astype(float) - b).mean((0, 2))
    column = np.arange(len(d))
    near = (np.minimum(column % period, period - 1 - column % period) < 4) & (column >= 4) & (column < len(d) - 4)
    return float(d[near].mean()), float(d[~near].mean())


@pytest.mark.parametrize(("width", "height"), [(700, 33), (60, 650)])
@pytest.mark.parametrize("size", [64, 160])
def test_tiles_are_invisible(tiny: Model, monkeypatch: pytest.MonkeyPatch, width: int, height: int, size: int) -> None:
    """With a margin as wide as the networks see (here all of it is below 192), nothing but rounding is left."""
    found = indices(tiny, parse(a_file(tiny, width, height, 50, 2, "1_2")))
    args = (tiny, found.geometry, found.level, found.y, found.tokens, found.sent)
    whole = pixels.synthesize(*args).astype(int)
    tile(monkeypatch, size, 192)
    assert len(list(pixels.tiles(found.geometry))) == -(-max(width, height) // size)
    assert np.abs(pixels.synthesize(*args) - whole).max() <= 1
    tile(monkeypatch, size, 0)  # so that the test can fail: without a margin there are seams
    assert np.abs(pixels.synthesize(*args) - whole).max() > 1


def test_a_small_margin_errs_little_and_near_the_cuts(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    found = indices(tiny, parse(a_file(tiny, 768, 64, 50, 2, "1_2")))
    args = (tiny, found.geometry, found.level, found.y, found.tokens, found.sent)
    whole = pixels.synthesize(*args)
    errors = []
    for margin in (0, 32, 64, 128):
        tile(monkeypatch, 128, margin)
        errors.append(apart(pixels.synthesize(*args), whole, 128))
    assert errors[0][0] > 5 * errors[0][1]
    assert errors[1][0] < 0.5 * errors[0][0]
    assert errors[3][0] <= errors[2][0] <= errors[1][0]


def test_the_encoder_sees_no_tiles_either(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(610, 40)
    whole = pixels.trunk(tiny, image)
    tile(monkeypatch, 96, 192)
    assert len(list(pixels.tiles(Geometry(610, 40)))) == 7
    parts = pixels.trunk(tiny, image)
    for a, b in zip(whole, parts, strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() < 1e-4 * a.abs().max()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (97, 33), (2000, 700), (1024, 2050)])
@pytest.mark.parametrize("whole", [0, 1536 * 1536])
def test_tiles_cover_every_cell_once(monkeypatch: pytest.MonkeyPatch, width: int, height: int, whole: int) -> None:
    monkeypatch.setattr(pixels, "WHOLE", whole)
    geo = Geometry(width, height)
    seen = np.zeros((geo.h, geo.w), int)
    for rows, cols, core_r, core_c in pixels.tiles(geo):
        seen[rows, cols][core_r, core_c] += 1
        assert rows.stop <= geo.h
        assert cols.stop <= geo.w
        assert (rows.stop - rows.start) * CELL <= pixels.TILE + 2 * pixels.MARGIN or whole
    assert (seen == 1).all()


def test_a_picture_in_tiles_is_still_a_file(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    tile(monkeypatch, 64, 32)
    seen: list[float] = []
    data = hflow.encode(picture(150, 90), 0.5)
    image = hflow.decode(data, progress=seen.append)
    assert image.size == (150, 90)
    assert len(seen) == 1 + 2 * 2 * 3  # the indices, then every tile twice
    assert seen == sorted(seen)


def test_on_a_gpu_pixels_are_shuffled_as_on_a_cpu_and_channels_stay_last() -> None:
    x = torch.randn(2, 24, 6, 8).contiguous(memory_format=torch.channels_last)
    for ours, theirs in ((shuffle_last, F.pixel_shuffle), (unshuffle_last, F.pixel_unshuffle)):
        found = ours(x, 2)
        assert torch.equal(found, theirs(x, 2))
        assert found.is_contiguous(memory_format=torch.channels_last)
