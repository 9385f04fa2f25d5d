"""Effort: files that are refined for their picture."""

from __future__ import annotations

import itertools
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_bundle import picture

import hflow
from hflow import bundles
from hflow.codec import pixels, refine
from hflow.codec.decode import indices
from hflow.codec.geometry import Geometry
from hflow.codec.rate import Coder
from hflow.codec.refine import TUNES, Refiner, Search, integers
from hflow.codec.relaxed import stream_bits
from hflow.container import parse
from hflow.errors import InputError
from hflow.nets.analysis import quantize
from hflow.nets.bundle import load
from hflow.nets.fusion import Given

pytestmark = pytest.mark.usefixtures("tiny_models")


def error(data: bytes, image: np.ndarray) -> float:
    return float(np.square(np.asarray(hflow.decode(data), dtype=float) - image).mean())


def encode(image: np.ndarray, **options: object) -> bytes:
    """Without tokens."""
    return hflow.encode(image, size=300, masking="none", **options)  # type: ignore[arg-type]


def costs(image: np.ndarray, **options: object) -> list[float]:
    """The cost after every step, the start's first."""
    seen: list[float] = []

    def watch(_share: float, now: float, start: float) -> bool:
        seen.extend([now] if seen else [start, now])
        return True

    encode(image, refining=watch, **options)
    return seen


def tokens_of(data: bytes) -> np.ndarray:
    """The tokens that a file holds."""
    found = indices(load(bundles.default()), parse(data))
    assert found.tokens is not None
    return found.tokens[found.sent]


@pytest.fixture
def search() -> Search:
    """One that has not begun."""
    image, geo = picture(96, 70), Geometry(96, 70)
    model = load(bundles.default())
    coder = Coder(model, geo, pixels.trunk(model, image))
    return Search(model, geo, image, coder.found, coder.code(30, 0, "none"), 300, TUNES["balanced"])


def test_the_size_that_steers_the_search_is_that_of_the_stream(search: Search) -> None:
    y = quantize(search.y.detach())
    _, size = stream_bits(search.model, search.level, search.y, y, search.z)
    assert size == pytest.approx(search.measure(integers(y)), rel=0.03)


@pytest.mark.parametrize("offset", [0.4, 0.37, 0.32])
def test_a_search_begins_with_the_file_that_it_is_given(offset: float) -> None:
    """Between two rate levels a file's size is set by rounding with a smaller offset."""
    image, geo = picture(96, 70), Geometry(96, 70)
    model = load(bundles.default())
    coder = Coder(model, geo, pixels.trunk(model, image))
    start = coder.code(30, 0, "none", offset)
    search = Search(model, geo, image, coder.found, start, 300, TUNES["balanced"])
    assert np.array_equal(integers(quantize(search.y.detach())), start.y)


def test_channels_are_brought_closer_but_the_faintest_stay_faint(search: Search) -> None:
    """Gradients of 1, 0.1 and a millionth: the second is less far behind, the third still nothing."""
    g = torch.zeros_like(search.y)
    g[:, :3] = torch.tensor([1.0, 0.1, 1e-6])[None, :, None, None]
    one, tenth, next_to_nothing = search.even(g)[0, :3, 0, 0].tolist()
    assert 0.1 < tenth / one < 1
    assert next_to_nothing / one < 1e-4


def test_gradients_take_what_some_blocks_add_as_given_and_the_picture_is_the_same() -> None:
    """With none of them to go through, they are those of a decoder whose residuals are constants: x + c has slope 1."""
    decoder = load(bundles.default()).nets.decoder
    torch.manual_seed(0)
    tokens = torch.zeros(1, decoder.inp.in_channels, 4, 6)
    cont = decoder.correction(
        torch.randn(1, decoder.correction.coarse + 4 * decoder.correction.fine, 2, 3), torch.ones(1)
    )
    pictures, slopes = [], []
    for given in (None, Given((1, 1, 1)), Given((0, 0, 0))):
        c16 = cont[0].clone().requires_grad_(True)
        x = decoder(tokens, (c16, *cont[1:]), given=given)
        pictures.append(x.detach())
        slopes.append(torch.autograd.grad(x.square().sum(), c16)[0])
    assert torch.equal(pictures[0], pictures[1])
    assert torch.equal(pictures[0], pictures[2])
    assert torch.equal(slopes[0], slopes[1])
    assert not torch.equal(slopes[0], slopes[2])
    assert float((slopes[0] * slopes[2]).sum()) > 0  # but the same way, roughly


def test_what_is_given_stays_until_it_is_asked_for_again() -> None:
    decoder, given = load(bundles.default()).nets.decoder, Given((0, 0, 0))
    torch.manual_seed(0)
    tokens = torch.zeros(1, decoder.inp.in_channels, 4, 6)
    latents = torch.randn(2, decoder.correction.coarse + 4 * decoder.correction.fine, 2, 3)
    one, other = (decoder.correction(y[None], torch.ones(1)) for y in latents)
    with torch.no_grad():
        first = decoder(tokens, one, given=given)
        given.fresh = False
        assert torch.allclose(decoder(tokens, one, given=given), first, atol=1e-6)
        second, stale = decoder(tokens, other), decoder(tokens, other, given=given)
        assert not torch.allclose(stale, second, atol=1e-6)
        assert (stale - second).square().mean() < (first - second).square().mean()
        given.fresh = True
        assert torch.equal(decoder(tokens, other, given=given), second)


@pytest.mark.parametrize("tune", TUNES)
def test_what_moves_the_pixels_is_the_slope_of_the_cost(tune: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Along a random direction, at both scales; a step later, when only the half-size likeness is new, nearly so.

    In fp32 also where refinement runs in bf16, in which small differences of costs drown.
    """
    monkeypatch.setattr(refine, "mixed", nullcontext)
    monkeypatch.setattr(refine.Part, "way", lambda part: 0)  # the cost is that of the picture as it is
    image = picture(160, 128)
    part = Refiner(load(bundles.default()), Geometry(160, 128), image, TUNES[tune]).parts[0]
    torch.manual_seed(0)
    x, away = (part.own + s * torch.randn_like(part.own) for s in (0.05, 1.0))
    way = away - x
    for at, fresh, near in ((x, True, 0.02), (x + 1e-4 * way, False, 0.1)):
        costs = [float(part.cost(at + s * way, TUNES[tune])) for s in (1e-3, -1e-3)]
        slope = float((part.gradient(at.clone(), TUNES[tune], fresh)[0] * way).sum())
        assert slope == pytest.approx((costs[0] - costs[1]) / 2e-3, rel=near)


def test_no_step_costs_more_and_effort_costs_less() -> None:
    image = picture(96, 70)
    low, high = costs(image, effort=1), costs(image, effort=7)
    assert (len(low), len(high)) == (1 + 1, 1 + 19)
    assert high[0] == low[0]
    assert all(b <= a for seen in (low, high) for a, b in itertools.pairwise(seen))
    assert high[-1] < low[-1] < low[0]


@pytest.mark.parametrize("tune", ["psnr", "balanced"])
def test_the_first_step_sees_what_the_file_costs(search: Search, tune: str) -> None:
    """So nothing is decoded for that alone, and a better file is told from the one of effort 0."""
    search.picture.tune = TUNES[tune]
    search.step()
    assert search.first == pytest.approx(search.picture.cost(search.start), rel=1e-3)


def test_a_search_that_is_ended_looks_at_what_there_is() -> None:
    image, ended = picture(96, 70), []

    def watch(_share: float, _now: float, _start: float) -> bool:
        ended.append(True)
        return len(ended) < 3

    assert encode(image, effort=9, tune="psnr", refining=watch) == encode(image, effort=2, tune="psnr")


def test_a_refined_file_is_within_its_size_and_closer_to_the_picture() -> None:
    image = picture(96, 70)
    plain, refined = (encode(image, effort=e, tune="psnr") for e in (0, 5))
    assert len(refined) <= 300
    assert error(refined, image) < error(plain, image)
    assert refined == encode(image, effort=5, tune="psnr")


@pytest.mark.parametrize(("width", "height"), [(1, 1), (17, 3)])
def test_the_smallest_pictures(width: int, height: int) -> None:
    image = picture(width, height)
    data = hflow.encode(image, size=120, effort=9)
    assert len(data) <= 120
    assert hflow.decode(data).size == (width, height)


def test_a_flat_picture() -> None:
    image = np.full((64, 64, 3), 90, np.uint8)
    data = hflow.encode(image, size=200, effort=9, tune="psnr")
    assert len(data) <= 200
    assert error(data, image) <= error(hflow.encode(image, size=200), image)


def test_a_time_limit_of_nothing_gives_the_file_of_effort_0() -> None:
    image = picture(96, 70)
    assert encode(image, effort=9, time_limit=0) == encode(image)


def test_quality_keeps_its_meaning_and_the_file_does_not_grow() -> None:
    image = picture(96, 70)
    plain, refined = (hflow.encode(image, quality=40, effort=e) for e in (0, 4))
    assert len(refined) <= len(plain)
    assert parse(refined).settings == parse(plain).settings


@pytest.mark.parametrize("masking", ["all", "1_4", "complexity"])
def test_files_with_tokens(masking: str) -> None:
    """The same tokens are sent; the stream beside them is another, and so may be what is filled in."""
    image = picture(96, 70)
    plain, refined = (hflow.encode(image, size=400, masking=masking, effort=e, tune="psnr") for e in (0, 5))
    assert len(refined) <= 400
    assert parse(refined).settings == parse(plain).settings
    assert error(refined, image) < error(plain, image)
    sent, again = (tokens_of(data) for data in (plain, refined))
    assert np.array_equal(sent, again)


def test_large_pictures_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """With tiles of 64 pixels, and as one."""
    image = picture(150, 100)
    start, *_, whole = costs(image, effort=6)
    monkeypatch.setattr("hflow.codec.refine.TILES", (64 * 64, 64, 32))
    in_tiles = encode(image, effort=6)
    assert len(in_tiles) <= 300
    assert in_tiles != encode(image)
    assert whole < start


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"effort": 10}, "effort is a whole number from 0 to 9, not 10"),
        ({"effort": 1, "tune": "loud"}, "tune is one of psnr, balanced, perceptual, not loud"),
        ({"effort": 1, "time_limit": -1.0}, "a time limit is a number of seconds, not -1"),
        ({"effort": 1, "roi": (0, 0, 5, 5)}, "does not go with roi"),
    ],
)
def test_settings_that_cannot_be(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        hflow.encode(Image.new("RGB", (20, 20)), **options)
