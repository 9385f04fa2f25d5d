"""Regions of interest."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_bundle import picture

import hflow
from hflow.codec import pixels, regions
from hflow.codec.geometry import Geometry
from hflow.codec.rate import Coder, choose
from hflow.codec.regions import Region, rectangle
from hflow.errors import InputError
from hflow.nets.bundle import Model

WIDTH, HEIGHT, SIZE = 192, 96, 260


def test_what_is_marked_gets_the_higher_rate_at_the_same_size(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "BELOW", 30)  # random networks have few small values to spare
    geo = Geometry(WIDTH, HEIGHT)
    found = pixels.trunk(tiny, picture(WIDTH, HEIGHT))
    plain = choose(Coder(tiny, geo, found), SIZE)
    marked = choose(Coder(tiny, geo, found, rectangle(0, 0, 64, HEIGHT, geo)), SIZE)
    assert marked.size <= SIZE
    assert plain.level is not None and marked.level is not None and plain.y is not None and marked.y is not None
    assert marked.level > plain.level
    assert np.abs(marked.y[:, :2]).sum() > np.abs(plain.y[:, :2]).sum()
    assert (marked.y[:, 2:] != 0).sum() < (plain.y[:, 2:] != 0).sum()


@pytest.mark.usefixtures("tiny_models")
def test_masks_and_rectangles_say_the_same() -> None:
    image = picture(WIDTH, HEIGHT)
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[10:40, 70:130] = True
    data = hflow.encode(image, size=SIZE, roi=(70, 10, 60, 30))
    assert hflow.encode(image, size=SIZE, roi=mask) == data
    assert hflow.encode(image, size=SIZE, roi=mask.astype(np.float32)) == data
    assert data != hflow.encode(image, size=SIZE)
    assert hflow.encode(image, size=SIZE, roi=np.ones((HEIGHT, WIDTH))) == hflow.encode(image, size=SIZE)


@pytest.mark.parametrize(
    ("roi", "message"),
    [
        (np.ones((HEIGHT, WIDTH - 1)), "the mask is 191x96, the picture 192x96"),
        (np.zeros((HEIGHT, WIDTH)), "marks nothing"),
        (np.full((HEIGHT, WIDTH), 2.0), "in 0..1"),
        (np.full((HEIGHT, WIDTH), np.nan), "in 0..1"),
    ],
)
def test_masks_that_do_not_fit(roi: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Region.of(roi, Geometry(WIDTH, HEIGHT))


@pytest.mark.parametrize("roi", [(0, 0, WIDTH + 1, 5), (190, 0, 5, 5), (0, 0, 0, 5), (-1, 0, 5, 5), (0, 90, 5, 7)])
def test_rectangles_outside_the_picture(roi: tuple[int, int, int, int]) -> None:
    with pytest.raises(InputError, match="is not within 192x96 pixels"):
        rectangle(*roi, Geometry(WIDTH, HEIGHT))
