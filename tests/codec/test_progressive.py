"""Files in layers: every beginning is a file of its own size."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from tiny_bundle import picture

import hflow
from hflow.codec import enhancement, pixels
from hflow.codec.decode import indices, predicted
from hflow.codec.encode import pack
from hflow.codec.geometry import Geometry
from hflow.codec.rate import Coder
from hflow.codec.truncate import truncate
from hflow.container import Kind, parse, parse_cut
from hflow.errors import FormatError, InputError, TargetError
from hflow.nets.bundle import Model
from hflow.reference import decode

WIDTH, HEIGHT = 190, 120
BYTES = 380


@pytest.fixture(scope="module")
def rgb(tiny: Model) -> np.ndarray:
    return picture(WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def data(rgb: np.ndarray) -> bytes:
    return hflow.encode(rgb, size=BYTES, progressive=True)


def error(data: bytes, rgb: np.ndarray, **options: bool) -> float:
    return float(np.square(np.asarray(hflow.decode(data, **options)) - rgb.astype(float)).mean())  # type: ignore[arg-type]


def test_a_file_in_layers_keeps_its_size(tiny: Model, data: bytes, rgb: np.ndarray) -> None:
    file = parse(data)
    assert 0.9 * BYTES < len(data) <= BYTES
    assert [s.kind for s in file.sections] == [Kind.CONTINUOUS, Kind.ENHANCEMENT, Kind.ENHANCEMENT]
    levels = [file.settings.rate - 1, *(layer.level for layer in indices(tiny, file).layers)]
    assert levels == sorted(set(levels))
    assert error(data, rgb) < 1.3 * error(hflow.encode(rgb, size=BYTES, masking="none"), rgb)


def test_the_reference_decodes_the_same(tiny: Model, data: bytes) -> None:
    for size in (BYTES, 300, 200, 100):
        file = truncate(data, size)
        one, two = indices(tiny, parse(file)), decode(file)
        assert np.array_equal(one.y, two.y)
        assert len(one.layers) == len(two.layers)
        assert all(np.array_equal(a.y, b) for a, b in zip(one.layers, two.layers, strict=True))


def test_every_beginning_is_a_picture_or_too_short(tiny: Model, data: bytes) -> None:
    known = []
    for n in range(0, len(data), 3):
        try:
            found = predicted(tiny, parse_cut(data[:n])[0])
        except FormatError:
            assert not known and n < 60
        else:
            known.append(sum(int(layer.known.sum()) for layer in found.layers))
    assert known == sorted(known) and known[0] == 0 < known[-1]


def test_beginnings_come_closer_to_the_picture(data: bytes, rgb: np.ndarray) -> None:
    errors = [error(data[:n], rgb, partial=True) for n in np.linspace(60, len(data), 8).astype(int)]
    assert all(b <= 1.05 * a for a, b in pairwise(errors)) and errors[-1] < 0.95 * errors[0]


def test_a_truncated_file_is_nearly_as_good_as_one_of_that_size(data: bytes, rgb: np.ndarray) -> None:
    layered, plain, direct = [], [], []
    whole = hflow.encode(rgb, size=BYTES, masking="none")
    for share in (0.3, 0.5, 0.7):
        size = int(share * BYTES)
        layered.append(error(truncate(data, size), rgb))
        plain.append(error(truncate(whole, size), rgb))
        direct.append(error(hflow.encode(rgb, size=size, masking="none"), rgb))
    assert sum(layered) < sum(plain)
    assert sum(layered) < 1.3 * sum(direct)


def test_truncating_changes_no_value(tiny: Model, data: bytes) -> None:
    whole = indices(tiny, parse(data))
    ys = {whole.level: whole.y, **{layer.level: layer.y for layer in whole.layers}}
    for size in range(70, len(data), 23):
        cut = truncate(data, size)
        assert len(cut) <= size and len(truncate(cut, size - 9)) <= size - 9
        found = indices(tiny, parse(cut))
        if not parse(cut).cut or found.layers:
            assert np.array_equal(found.y, ys[found.level])
        for layer in found.layers:
            assert np.array_equal(layer.y[layer.known], ys[layer.level][layer.known])  # type: ignore[index]


def test_truncating_leaves_out_layers_that_a_higher_one_makes_superfluous(
    tiny: Model, data: bytes, rgb: np.ndarray
) -> None:
    size = len(data) - 1
    cut = truncate(data, size)
    file, top = parse(cut), indices(tiny, parse(data)).layers[-1]
    assert not file.enhancements and not file.cut and len(cut) < 0.9 * size
    assert file.settings.rate == 1 + top.level and np.array_equal(indices(tiny, file).y, top.y)
    for share in (0.35, 0.5, 0.65, 0.8):
        size = int(share * len(data))
        assert error(truncate(data, size), rgb) < 1.02 * error(data[:size], rgb, partial=True)


def test_an_end_between_layers_is_no_cut(tiny: Model, data: bytes) -> None:
    file = parse(data)
    base = 18 + 3 + len(file.sections[0].data)
    assert not parse(truncate(data, base)).cut and not parse(truncate(data, base)).enhancements
    part = truncate(data, base + 40)
    assert parse(part).cut and not parse(truncate(part, base)).cut


def test_layers_under_tokens_stay(tiny: Model, data: bytes, rgb: np.ndarray) -> None:
    """Tokens can only be decoded with the lowest layer that they were coded with."""
    file, coder = parse(data), Coder(tiny, Geometry(WIDTH, HEIGHT), pixels.trunk(tiny, rgb))
    choice = coder.code(file.settings.rate - 1, 1, "1_4")
    found = indices(tiny, file)
    below = file.settings.rate - 1, choice.y
    for layer in found.layers:
        z, y, _ = coder.continuous(layer.level)
        choice = choice.above(layer.level, y, enhancement.write(tiny, coder.geo, below, layer.level, z, y))
        below = layer.level, y
    both = pack(tiny, coder.geo, choice)
    for size in (len(both) - 1, len(both) * 2 // 3):
        cut = parse(truncate(both, size))
        assert cut.settings.rate == file.settings.rate and cut.index_chunks == parse(both).index_chunks
        assert np.array_equal(indices(tiny, cut).tokens, choice.tokens)


def test_values_outside_of_what_the_layer_below_allows_can_be_said(tiny: Model, data: bytes) -> None:
    found = indices(tiny, parse(data))
    assert found.y is not None
    rng = np.random.default_rng(5)
    wild = rng.integers(-40, 40, found.y.shape)
    z = np.zeros((-(-found.geometry.h // 4), -(-found.geometry.w // 4), tiny.cfg.hyper), np.int64)
    below = 20, found.y
    section = enhancement.write(tiny, found.geometry, below, 50, z, wild)
    assert np.array_equal(enhancement.read(tiny, found.geometry, below, section, cut=False).y, wild)


def test_a_layer_costs_less_than_a_stream(tiny: Model, data: bytes, rgb: np.ndarray) -> None:
    file = parse(data)
    sizes = [len(d) for d in file.enhancements]
    levels = [layer.level for layer in indices(tiny, file).layers]
    coder = Coder(tiny, Geometry(WIDTH, HEIGHT), pixels.trunk(tiny, rgb))
    assert all(size < coder.continuous(level)[2] for size, level in zip(sizes, levels, strict=True))


def test_damage_in_a_layer_is_found(data: bytes) -> None:
    bad = bytearray(data)
    bad[-30] ^= 4
    with pytest.raises(FormatError, match="damaged"):
        hflow.decode(bytes(bad))
    assert hflow.decode(bytes(bad), salvage=True).size == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"masking": "1_4"}, "no tokens"),
        ({"masking": "rd"}, "no tokens"),
        ({"effort": 2}, "does not go with progressive"),
    ],
)
def test_what_does_not_go_together(rgb: np.ndarray, options: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        hflow.encode(rgb, progressive=True, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(1, 1), (17, 3), (64, 200)])
def test_small_pictures_and_targets(tiny: Model, size: tuple[int, int]) -> None:
    small = picture(*size)
    found = hflow.encode(small, size=120, progressive=True)
    assert len(found) <= 120 and hflow.decode(found).size == size
    with pytest.raises(TargetError, match="too few"):
        hflow.encode(small, size=10, progressive=True)
    at = hflow.encode(small, quality=50, progressive=True)
    assert len(at) <= len(hflow.encode(small, quality=50))
