"""Messages whose end is missing."""

from __future__ import annotations

import numpy as np
import pytest

from hflow.entropy import TOTAL, CutDecoder, Encoder, Tables, encode_latents

Message = tuple[bytes, np.ndarray, np.ndarray]


def random_tables(rng: np.random.Generator, count: int, width: int) -> np.ndarray:
    """(count, width) tables, from flat to steep."""
    p = rng.random((count, width)) ** rng.uniform(0, 12, (count, 1))
    tables = 1 + np.floor((TOTAL - width) * p / p.sum(1, keepdims=True)).astype(np.int64)
    tables[:, 0] += TOTAL - tables.sum(1)
    return tables


@pytest.fixture
def message() -> Message:
    rng = np.random.default_rng(5)
    tables = random_tables(rng, 300, 7)
    symbols = np.array([rng.choice(7, p=t / t.sum()) for t in tables])
    encoder = Encoder()
    encoder.encode(symbols, tables)
    return encoder.finish(), symbols, tables


def test_every_prefix_gives_the_first_symbols_and_more_bytes_give_more(message: Message) -> None:
    data, symbols, tables = message
    counts = []
    for n in range(len(data) + 1):
        decoder = CutDecoder(data[:n])
        found, known = decoder.decode(tables)
        count = int(known.sum())
        assert known[:count].all() and (found[known] == symbols[known]).all() and not found[~known].any()
        assert decoder.open == known.all()
        counts.append(count)
    assert counts == sorted(counts)
    assert counts[0] == 0 and counts[-1] >= len(symbols) - 3  # the last byte's spare bits may be all that tells
    information = -np.log2(tables[np.arange(300), symbols] / 65536).cumsum()
    for n, count in enumerate(counts[:-1]):  # nearly all that the bytes can say is found
        assert information[count - 1 if count else 0] <= 8 * n + 20
        assert count == len(symbols) or information[count] >= 8 * n - 20


def test_nothing_is_known_behind_the_cut(message: Message) -> None:
    data, _, tables = message
    decoder = CutDecoder(data[:20])
    decoder.decode(tables)
    assert not decoder.open
    assert not decoder.decode(tables)[1].any()


def test_escaped_latents_of_a_cut_message() -> None:
    rng = np.random.default_rng(6)
    tables = Tables(random_tables(rng, 3, 32))
    ids = rng.integers(0, 3, 200)
    values = np.where(rng.random(200) < 0.1, rng.integers(-4000, 4000, 200), rng.integers(-15, 16, 200))
    encoder = Encoder()
    encode_latents(encoder, values, ids, tables)
    data = encoder.finish()
    for n in range(len(data) + 1):
        found, known = CutDecoder(data[:n]).decode_latents(ids, tables)
        assert (found[known] == values[known]).all() and not found[~known].any()
    assert known.mean() > 0.98
