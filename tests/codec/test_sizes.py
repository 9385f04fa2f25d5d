"""Encode and decode as a user does: any size of picture, any target, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_bundle import picture

import hflow
from hflow.codec import pixels
from hflow.codec.decode import indices
from hflow.codec.encode import pack
from hflow.codec.geometry import LEVELS, Geometry
from hflow.codec.rate import FIXED, Choice, Coder, choose
from hflow.container import parse
from hflow.errors import BundleError, InputError, TargetError
from hflow.nets.bundle import Model

SIZES = [(1, 1), (1, 40), (17, 3), (31, 33), (96, 64), (130, 70)]
SMALLEST = 16  # bytes: a header and a checksum, which say nothing of a picture


def bpp_of(size: float, width: int, height: int) -> float:
    return 8 * size / (width * height)


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_round_trip_within_the_target(width: int, height: int) -> None:
    image, lengths = picture(width, height), []
    with pytest.raises(TargetError) as caught:
        hflow.encode(image, size=SMALLEST, bundle="tiny")
    least = int(re.findall(r"takes (\d+) to", str(caught.value))[0])
    for budget in (least, *(b for b in (20, 27, 45, 80, 200, 2000) if b > least)):
        data = hflow.encode(image, bpp_of(budget + 0.5, width, height), bundle="tiny")
        assert len(data) <= budget
        decoded = hflow.decode(data)
        assert (decoded.mode, decoded.size) == ("RGB", (width, height))
        lengths.append(len(data))
    assert lengths[-1] >= 1.25 * lengths[0]  # a target is something to use, not only to keep


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize("bpp", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_bound_holds_for_all_kinds_of_pictures(seed: int, bpp: float) -> None:
    width, height = 90 + 9 * seed, 61
    image = [picture(width, height, seed), np.zeros((height, width, 3), np.uint8),
             np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8),
             np.full((height, width, 3), 255, np.uint8)][seed]  # fmt: skip
    assert 8 * len(hflow.encode(image, bpp)) / (width * height) <= bpp


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_an_impossible_target_says_what_is_possible(width: int, height: int) -> None:
    image = picture(width, height)
    for budget in (0.001, SMALLEST - 0.5):
        with pytest.raises(TargetError) as caught:
            hflow.encode(image, bpp_of(budget, width, height))
        message = str(caught.value)
        assert "\n" not in message
        found = re.search(r"takes (\d+) to (\d+) bytes \(([\d.]+) to ([\d.]+) bpp\)", message)
        assert found
        assert len(hflow.encode(image, size=int(found[1]))) == int(found[1])
        assert float(found[3]) == pytest.approx(bpp_of(int(found[1]), width, height), rel=1e-3)
        assert len(hflow.encode(image, size=9999)) <= int(found[2])


@pytest.mark.usefixtures("tiny_models")
def test_the_bpp_that_is_named_as_possible_is() -> None:
    for width, height in SIZES:
        with pytest.raises(TargetError) as caught:
            hflow.encode(picture(width, height), 1e-6)
        named = float(re.findall(r"\(([\d.]+) to", str(caught.value))[0])
        hflow.encode(picture(width, height), named)


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize("bpp", [0, -1, float("nan"), float("inf")])
def test_a_target_is_a_positive_number(bpp: float) -> None:
    with pytest.raises(TargetError, match="positive"):
        hflow.encode(picture(8, 8), bpp)


@pytest.mark.usefixtures("tiny_models")
def test_size_and_bpp_are_the_same_bound_and_exclude_each_other() -> None:
    image = picture(96, 64)
    for size in (40, 100, 300):
        data = hflow.encode(image, size=size)
        assert len(data) <= size
        assert data == hflow.encode(image, bpp_of(size + 0.5, 96, 64))
    for two in ({"bpp": 1, "size": 100}, {"bpp": 1, "quality": 5}, {"size": 100, "quality": 5}):
        with pytest.raises(TargetError, match="exclude each other"):
            hflow.encode(image, **two)  # type: ignore[arg-type]


@pytest.mark.usefixtures("tiny_models")
def test_quality_is_a_scale_from_small_to_large() -> None:
    image = picture(96, 64)
    sizes = [len(hflow.encode(image, quality=q)) for q in (0, 20, 40, 60, 80, 90, 92, 96, 100)]
    assert sizes == sorted(sizes) and sizes[0] < 0.5 * sizes[5] < 0.5 * sizes[-1]
    for quality in (-1, 101, float("nan")):
        with pytest.raises(TargetError, match="from 0 to 100"):
            hflow.encode(image, quality=quality)


@pytest.mark.usefixtures("tiny_models")
def test_pictures_and_arrays_are_the_same_to_encode() -> None:
    image = picture(40, 37)
    want = hflow.encode(image, 1)
    assert hflow.encode(Image.fromarray(image), 1) == want
    assert hflow.encode(image[:, ::-1].copy()[:, ::-1], 1) == want  # a view with negative strides
    assert hflow.encode(np.asfortranarray(image), 1) == want
    grey = Image.fromarray(image).convert("L")
    assert hflow.encode(grey, 1) == hflow.encode(grey.convert("RGB"), 1)
    assert hflow.encode(picture(40, 37, seed=1), 1) != want


def test_encoding_leaves_the_picture_alone(tiny_models: Path) -> None:
    image = picture(33, 40)
    before = image.copy()
    image.flags.writeable = False
    hflow.encode(image, 1)
    assert (image == before).all()


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((3, 8, 8), np.uint8), np.zeros((8, 8, 3)),
        np.zeros((8, 8, 3), np.int16), np.zeros((0, 8, 3), np.uint8), np.zeros((8, 0, 3), np.uint8),
        np.zeros((1, 65536, 3), np.uint8), np.zeros((1, 8, 8, 3), np.uint8), [[1, 2, 3]], "picture.png", None,
    ],
    ids=lambda x: f"{np.shape(x)}-{np.asarray(x).dtype}",
)  # fmt: skip
def test_what_is_no_picture_is_refused(wrong: object) -> None:
    with pytest.raises(InputError) as caught:
        hflow.encode(wrong, 1)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("tiny_models")
def test_a_bundle_that_is_not_there() -> None:
    with pytest.raises(BundleError, match="bundle huge is not installed"):
        hflow.encode(picture(8, 8), 99, bundle="huge")


@pytest.mark.usefixtures("tiny_models")
def test_encoding_twice_gives_the_same_bytes() -> None:
    image = picture(70, 50)
    assert hflow.encode(image, 0.6) == hflow.encode(image, 0.6)


@pytest.mark.usefixtures("tiny_models")
def test_progress_goes_from_start_to_end() -> None:
    seen: list[float] = []
    data = hflow.encode(picture(70, 50), 0.6, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1
    seen.clear()
    hflow.decode(data, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1


def rungs(tiny: Model) -> tuple[Coder, list[int]]:
    """A picture's coder with a ladder that fits it, and the sizes up to which its rungs go.

    Each goes up to a middle rate level, and to where the next one has room for a low one.
    """
    image = picture(96, 64)
    coder = Coder(tiny, Geometry(96, 64), pixels.trunk(tiny, image))
    tokens = [(0, "none"), (1, "1_4"), (2, "all")]
    middle, low = ([coder.code(level, *k).size for k in tokens] for level in (40, 5))
    sizes = [*(max(a, b + 4) for a, b in zip(middle[:2], low[1:], strict=True)), middle[2]]
    ladder = [{"bpp": bpp_of(n, 96, 64), "m": m, "mask": k} for n, (m, k) in zip(sizes, tokens, strict=True)]
    return Coder(replace(tiny, ladder=tuple(ladder)), coder.geo, coder.found), sizes


def test_the_ladder_says_which_tokens_are_sent(tiny: Model) -> None:
    """Low targets go to the continuous stream, high ones get tokens too; the rate level takes what is left."""
    coder, sizes = rungs(tiny)
    used = []
    for budget in (sizes[0] - 9, sizes[0] - 1, sizes[0] + 2, sizes[1] - 1, sizes[1] + 2, sizes[2] - 1):
        choice = choose(coder, budget)
        assert choice.level is not None
        assert 0.8 * budget <= choice.size <= budget
        used.append((choice.m, choice.mask, choice.level))
    assert [u[:2] for u in used] == [(0, "none")] * 2 + [(1, "1_4")] * 2 + [(2, "all")] * 2
    assert all(low[2] < high[2] for low, high in zip(used[::2], used[1::2], strict=True))


def test_a_target_that_one_rung_cannot_use_goes_to_the_next(tiny: Model) -> None:
    """Where the richest continuous stream leaves much of the target unused, more tokens are sent."""
    coder, _ = rungs(tiny)
    one = {"bpp": 50, "m": 0, "mask": "none"}
    coder = Coder(replace(tiny, ladder=(one, *coder.model.ladder[1:])), coder.geo, coder.found)
    richest = coder.code(LEVELS - 1, 0, "none")
    choice = choose(coder, int(2 * richest.size))
    assert (choice.m, choice.mask, choice.level) == (2, "all", LEVELS - 1)
    tight = choose(coder, int(1.01 * richest.size))
    assert tight.m == 0 and tight.level is not None and tight.level >= LEVELS - 2


def test_a_large_target_is_used_up_from_any_rung_on(tiny: Model) -> None:
    """Also where the ladder's own setting for it is not the poorest."""
    coder, _ = rungs(tiny)
    steps = [
        {"bpp": b, "m": m, "mask": k} for b, m, k in ((0.1, 0, "none"), (50, 1, "1_16"), (60, 1, "1_4"), (70, 1, "all"))
    ]
    coder = Coder(replace(tiny, ladder=tuple(steps)), coder.geo, coder.found)
    richest = coder.code(LEVELS - 1, 1, "all")
    assert choose(coder, 2 * richest.size).size == richest.size


def test_choice_knows_its_size() -> None:
    """The bytes that are no entropy-coded data: 16, and a length for each section."""
    assert Choice(None, 1, "none").size == SMALLEST
    for size, extra in ((0, 1), (127, 1), (128, 2), (16383, 2), (16384, 3)):
        assert Choice(3, 0, "none", continuous=bytes(size)).size == SMALLEST + size + extra
    assert FIXED == SMALLEST + 2


def test_choice_knows_the_size_of_very_large_files(tiny: Model) -> None:
    choice = Choice(3, 0, "none", np.zeros((1, 1, tiny.cfg.latent), int), bytes(2**21))
    assert choice.size == len(pack(tiny, Geometry(9, 9), choice))


def test_decoding_does_not_depend_on_what_was_decoded_before(tiny: Model) -> None:
    a, b = hflow.encode(picture(70, 50), 0.6), hflow.encode(picture(31, 33, 1), 2)
    first = np.asarray(hflow.decode(a))
    hflow.decode(b)
    assert (np.asarray(hflow.decode(a)) == first).all()
    assert indices(tiny, parse(a)).tokens is not None
