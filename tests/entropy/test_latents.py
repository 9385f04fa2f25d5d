"""Latents: what goes in comes out, escapes cost what they should, and damage is caught."""

import numpy as np
import pytest
from reference_coder import ReferenceEncoder

from hflow.entropy import MAX_LATENT, TOTAL, Decoder, Encoder, Tables, decode_latents, encode_latents
from hflow.entropy.tables import Ints
from hflow.errors import FormatError


def laplacian_tables(count: int) -> Tables:
    """As many tables of 32 symbols, wider and wider, the escape last."""
    scales = np.geomspace(0.1, 8, count)[:, None]
    p = np.exp(-np.abs(np.arange(-15, 17)) / scales)
    tables = 1 + np.floor((TOTAL - 32) * p / p.sum(axis=1, keepdims=True)).astype(np.int64)
    tables[:, 15] += TOTAL - tables.sum(axis=1)
    return Tables(tables)


TABLES = laplacian_tables(20)


def coded(values: Ints, ids: Ints) -> bytes:
    encoder = Encoder()
    encode_latents(encoder, values, ids, TABLES)
    return encoder.finish()


def test_round_trip() -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(20, size=5000)
    values = np.rint(rng.laplace(scale=np.geomspace(0.1, 8, 20)[ids])).astype(np.int64)
    assert (np.abs(values) > 15).any()
    decoded = decode_latents(Decoder(coded(values, ids)), ids, TABLES)
    assert decoded.dtype == np.int64
    assert np.array_equal(decoded, values)


def test_every_edge_of_the_escape() -> None:
    edges = [15, 16, 17, 18, 19, 22, 23, 46, 47, 1000, 2**16, MAX_LATENT - 1, MAX_LATENT]
    values = np.array([sign * v for v in edges for sign in (1, -1)] + [0])
    ids = np.arange(len(values))[::-1] % 20
    assert np.array_equal(decode_latents(Decoder(coded(values, ids)), ids, TABLES), values)


def test_the_stream_is_what_the_specification_says() -> None:
    values, ids = np.array([-20, 3, 16]), np.array([7, 0, 2])
    reference = ReferenceEncoder()
    for table_id, symbol in ((0, 18), (2, 31), (7, 31)):
        reference.symbol(symbol, TABLES.freqs[table_id].tolist())
    for bit in (0, 1):  # +16: sign, then 0 as "1"
        reference.bits(bit, 1)
    for bit in (1, 0, 0, 1):  # -20: sign, then 4 as "001" "01"
        reference.bits(bit, 1)
    reference.bits(0b01, 2)
    assert coded(values, ids) == reference.finish()


def test_no_latents() -> None:
    none = np.zeros(0, int)
    assert coded(none, none) == b""
    assert decode_latents(Decoder(b""), none, TABLES).shape == (0,)


def test_what_follows_the_latents_is_found() -> None:
    encoder, ids = Encoder(), np.arange(4)
    encode_latents(encoder, np.array([0, -99, 5, 16]), ids, TABLES)
    encoder.encode_bits(np.array([1234]), 11)
    decoder = Decoder(encoder.finish())
    assert decode_latents(decoder, ids, TABLES).tolist() == [0, -99, 5, 16]
    assert decoder.decode_bits(1, 11).tolist() == [1234]


def test_wrong_arguments() -> None:
    zero = np.zeros(1, int)
    with pytest.raises(ValueError):
        coded(np.array([MAX_LATENT + 1]), zero)
    with pytest.raises(ValueError):
        coded(np.array([-MAX_LATENT - 1]), zero)
    with pytest.raises(ValueError):
        encode_latents(Encoder(), zero, zero, Tables(np.full((1, 16), TOTAL // 16)))
    with pytest.raises(ValueError):
        decode_latents(Decoder(b""), zero, Tables(np.full((1, 16), TOTAL // 16)))


def test_a_prefix_too_long_is_an_error() -> None:
    encoder, ids = Encoder(), np.zeros(1, int)
    encoder.encode_tables(np.array([31]), ids, TABLES)
    encoder.encode_bits(np.array([0] * 22 + [1]), 1)  # positive, then one zero too many
    with pytest.raises(FormatError, match="out of range"):
        decode_latents(Decoder(encoder.finish()), ids, TABLES)


def test_garbage_is_safe() -> None:
    rng = np.random.default_rng(1)
    ids = rng.integers(20, size=200)
    for _ in range(300):
        try:
            values = decode_latents(Decoder(rng.bytes(int(rng.integers(0, 200)))), ids, TABLES)
        except FormatError:
            continue
        assert values.shape == (200,)
        assert np.abs(values).max() <= MAX_LATENT
