"""The beginning of a file is a picture, and so is a file that was cut."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from tiny_bundle import picture

import hflow
from hflow.codec import pixels
from hflow.codec.decode import indices, predicted
from hflow.codec.encode import pack
from hflow.codec.geometry import Geometry
from hflow.codec.rate import Coder
from hflow.codec.truncate import truncate
from hflow.container import parse, parse_cut
from hflow.errors import FormatError, TargetError
from hflow.nets.bundle import Model, load
from hflow.selftest import folder, searched

WIDTH, HEIGHT = 150, 90


@pytest.fixture(scope="module")
def coder(tiny: Model) -> Coder:
    return Coder(tiny, Geometry(WIDTH, HEIGHT), pixels.trunk(tiny, picture(WIDTH, HEIGHT)))


@pytest.fixture(scope="module")
def data(coder: Coder) -> bytes:
    return pack(coder.model, coder.geo, coder.code(40, 2, "1_2"))


def array(data: bytes, **options: bool) -> np.ndarray:
    return np.asarray(hflow.decode(data, **options)).astype(float)  # type: ignore[arg-type]


def test_prefixes_come_closer_to_the_whole(data: bytes) -> None:
    whole = array(data)
    errors = [np.abs(array(data[:n], partial=True) - whole).mean() for n in np.linspace(60, len(data), 7).astype(int)]
    assert errors[-1] == 0
    assert errors[0] > 2 * errors[-2] > 0
    assert all(b <= 1.05 * a for a, b in pairwise(errors))


def test_every_prefix_is_a_picture_or_too_short(tiny: Model, data: bytes) -> None:
    least = None
    for n in range(len(data) + 1):
        try:
            file, missing = parse_cut(data[:n])
            found = predicted(tiny, file)
        except FormatError as error:
            assert least is None and "\n" not in str(error)
        else:
            least = least or n
            assert found.y is not None and found.y.shape == (3, 5, tiny.cfg.latent)
            assert (missing == 0) == (n == len(data))
    assert least is not None and least < 40


def test_what_a_prefix_holds_is_what_the_file_holds(tiny: Model, data: bytes) -> None:
    """Sent tokens that have arrived are the file's own, and so is the continuous stream behind them."""
    whole, counts = indices(tiny, parse(data)), []
    start = len(data) - 2 - len(parse(data).index_chunks[0])
    for n in range(start + 1, len(data) - 2, 5):
        found = predicted(tiny, parse_cut(data[:n])[0])
        assert (found.y == whole.y).all()
        assert found.sent is not None and found.tokens is not None and whole.tokens is not None
        assert (found.tokens[found.sent] == whole.tokens[found.sent]).all()
        counts.append(int(found.sent.sum()))
    assert counts == sorted(counts) and counts[-1] > 20 > counts[0]


def test_a_short_file_is_an_error_unless_partial(data: bytes) -> None:
    with pytest.raises(FormatError, match=r"truncated: \d+ bytes missing"):
        hflow.decode(data[:-20])
    with pytest.raises(FormatError, match="too short: 13 bytes"):
        hflow.decode(data[:13], partial=True)
    with pytest.raises(FormatError, match="wrong signature"):
        hflow.decode(b"not a file at all", partial=True)
    assert (array(data, partial=True) == array(data)).all()


@pytest.mark.parametrize("level", [40, None])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_truncated_file_is_a_file(coder: Coder, tiny: Model, level: int | None, chunked: bool) -> None:
    choice = coder.code(level, 2, "1_2")
    if chunked:
        from hflow.codec import tokens

        q = pixels.token_indices(tiny, coder.found, choice.y, level)[: coder.geo.th, : coder.geo.tw]
        chunks, _ = tokens.write(tiny, coder.geo, level, choice.y, 2, choice.sent, q, chunked=True)  # type: ignore[arg-type]
        choice = replace(choice, chunks=tuple(chunks))
    data = pack(tiny, coder.geo, choice)
    assert truncate(data, len(data)) == data
    for size in range(len(data) - 1, 50, -17):
        cut = truncate(data, size)
        # The chunks' types and lengths come with the first byte of tokens; a size between the two is not used up.
        between = not parse(cut).index_chunks and parse(cut).continuous == parse(data).continuous
        assert size - (5 if between else 2) <= len(cut) <= size
        assert hflow.decode(cut).size == (WIDTH, HEIGHT)
        assert truncate(cut, size - 5) == truncate(data, size - 5) or level is None
    with pytest.raises(TargetError, match=r"can be cut to \d+ bytes"):
        truncate(data, 17)


def test_a_truncated_file_is_a_prefix(data: bytes) -> None:
    """Nothing is coded again: the sections are the first bytes of the file's own."""
    whole, cut = parse(data), parse(truncate(data, 100))
    assert whole.continuous is not None and cut.continuous is not None
    assert whole.continuous.startswith(cut.continuous)
    assert cut.settings.m == 0 and not cut.index_chunks
    longer = parse(truncate(data, len(data) - 8))
    assert longer.continuous is not None and longer.continuous.rstrip(b"\0") == whole.continuous
    assert whole.index_chunks[0].startswith(longer.index_chunks[0])


@pytest.mark.parametrize("name", ["17x15", "48x80"])
def test_tokens_left_are_decoded_with_the_whole_continuous_stream(name: str) -> None:
    """In files whose continuous stream does not say its last symbols unless it is known to be whole."""
    data, model = (folder() / "decoded" / f"{name}.hfc").read_bytes(), load(folder() / "bundle")
    whole = indices(model, parse(data))
    with searched(folder()):
        short = parse(truncate(data, len(data) - 1)), parse_cut(data[:-1])[0]
    assert short[0].cut
    for found in (predicted(model, file) for file in short):
        assert np.array_equal(found.y, whole.y)
        assert found.sent is not None and found.tokens is not None and whole.tokens is not None
        assert (found.tokens[found.sent] == whole.tokens[found.sent]).all()
