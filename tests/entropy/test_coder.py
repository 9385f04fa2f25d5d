"""The coder: exact integers, shortest bytes, and safety against bytes that no encoder wrote."""

import math

import numpy as np
import pytest
from reference_coder import ReferenceDecoder, ReferenceEncoder

from hflow.entropy import TOTAL, Decoder, Encoder, Tables, coder
from hflow.entropy.tables import Ints, weights
from hflow.errors import FormatError


def random_tables(rng: np.random.Generator, count: int, size: int, spread: float) -> Ints:
    """(count, size) tables; a small spread makes them peaked."""
    p = rng.gamma(spread, size=(count, size)) + 1e-12
    rows = [1 + rng.multinomial(TOTAL - size, row / row.sum()) for row in p]
    return np.array(rows, dtype=np.int64).reshape(count, size)


def peaked(size: int, at: int) -> Ints:
    """The most extreme table: one symbol has everything that the others can spare."""
    table = np.ones((1, size), dtype=np.int64)
    table[0, at] = TOTAL - (size - 1)
    return table


def draw(rng: np.random.Generator, tables: Ints) -> Ints:
    """One symbol a table, as likely as the table says."""
    below = rng.integers(TOTAL, size=(len(tables), 1)) >= np.cumsum(tables, axis=1)
    return np.asarray(below.sum(axis=1))


def information(symbols: Ints, tables: Ints) -> float:
    return float(-np.log2(tables[np.arange(len(symbols)), symbols] / TOTAL).sum())


def check_against_reference(symbols: Ints, tables: Ints) -> bytes:
    encoder, reference = Encoder(), ReferenceEncoder()
    encoder.encode(symbols, tables)
    for symbol, table in zip(symbols.tolist(), tables.tolist(), strict=True):
        reference.symbol(symbol, table)
    data = encoder.finish()
    assert data == reference.finish()
    assert np.array_equal(Decoder(data).decode(tables), symbols)
    mirror = ReferenceDecoder(data)
    assert [mirror.symbol(table) for table in tables.tolist()] == symbols.tolist()
    return data


def test_weights_are_exact_in_float() -> None:
    """constriction's formula on the weights of the worst tables gives back the integer cumulatives, even in float32."""
    rng = np.random.default_rng(0)
    for size in (2, 3, 31, 256, 4096):
        for table in (peaked(size, 0)[0], peaked(size, size - 1)[0], random_tables(rng, 1, size, 0.1)[0]):
            for dtype in (np.float64, np.float32):
                w = weights(table).astype(dtype)
                scale = dtype((1 << 24) - size) / w.sum(dtype=dtype)
                starts = np.cumsum(np.append(dtype(0), w[:-1]), dtype=dtype)
                expected = 256 * (np.cumsum(table) - table)
                assert np.array_equal(np.floor(starts * scale) + np.arange(size), expected)


@pytest.mark.parametrize("size", [2, 3, 5, 32, 100, 255, 256])
def test_bytes_equal_the_reference(size: int) -> None:
    rng = np.random.default_rng(size)
    for spread in (0.01, 0.1, 1.0, 100.0):
        tables = random_tables(rng, 150, size, spread)
        check_against_reference(draw(rng, tables), tables)
        check_against_reference(rng.integers(size, size=150), tables)  # mostly very unlikely symbols


@pytest.mark.parametrize("size", [*range(2, 34), 64, 127, 128, 129, 200, 254, 255, 256])
def test_extreme_tables(size: int) -> None:
    """Every symbol of tables that leave 1/65536 to all symbols but one, likely and unlikely ones mixed."""
    rng = np.random.default_rng(size)
    for at in {0, 1, size // 2, size - 1}:
        tables = np.repeat(peaked(size, at), size + 60, axis=0)
        symbols = np.concatenate([np.arange(size), np.full(60, at)])
        check_against_reference(symbols, tables)
        check_against_reference(rng.permutation(symbols), tables)


@pytest.mark.parametrize("few", [0, coder.FEW])  # a model of the table's own, and one made for the symbol
def test_every_edge_of_an_interval(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder given the exact first and last point of a symbol's interval finds that symbol, for every symbol."""
    monkeypatch.setattr(coder, "FEW", few)
    rng = np.random.default_rng(1)
    for table in (peaked(256, 7), peaked(2, 1), random_tables(rng, 1, 256, 0.05), random_tables(rng, 1, 32, 0.05)):
        scale = ((1 << 64) - 1) >> 24
        ends = 256 * np.cumsum(table[0])
        for symbol, (start, end) in enumerate(zip([0, *ends.tolist()], ends.tolist(), strict=False)):
            for point in (start * scale, end * scale - 1):
                data = point.to_bytes(8, "big")
                assert Decoder(data).decode(table)[0] == symbol
                assert Decoder(data).decode_tables(np.zeros(1, int), Tables(table))[0] == symbol
                assert ReferenceDecoder(data).symbol(table[0].tolist()) == symbol


def test_carries() -> None:
    """The top symbol again and again keeps the interval at the edge of a carry, where the coder holds words back."""
    for last in (0, 1):
        for n in range(1, 90):
            tables = np.repeat(np.array([[TOTAL - 1, 1]]), n, axis=0)
            check_against_reference(np.array([1] * (n - 1) + [last]), tables)
            check_against_reference(np.array([0] * (n // 2) + [1] * (n - n // 2)), tables)
    rng = np.random.default_rng(2)
    for _ in range(300):
        tables = np.repeat(rng.permutation([3, TOTAL - 3])[None], 40, axis=0)
        check_against_reference(rng.integers(2, size=40), tables)


def test_an_interval_that_begins_just_before_a_carry() -> None:
    """Where the interval holds a round number, the sealed point can lie past a carry that `low` does not."""
    rng = np.random.default_rng(11)
    for _ in range(150):
        tables = random_tables(rng, 25, 16, 1.0)
        symbols = Decoder(bytes([rng.integers(255)])).decode(tables)
        for n in range(1, 26):
            encoder, reference = Encoder(), ReferenceEncoder()
            encoder.encode(symbols[:n], tables[:n])
            for symbol, table in zip(symbols[:n].tolist(), tables[:n].tolist(), strict=True):
                reference.symbol(symbol, table)
            assert encoder.finish() == reference.finish()
            assert len(encoder.finish()) <= 1


def test_length_is_the_information_and_at_most_a_byte() -> None:
    rng = np.random.default_rng(3)
    for _ in range(1500):
        tables = random_tables(rng, int(rng.integers(0, 30)), int(rng.integers(2, 40)), 0.2)
        symbols = draw(rng, tables)
        encoder = Encoder()
        encoder.encode(symbols, tables)
        data = encoder.finish()
        assert len(data) <= math.ceil(information(symbols, tables) / 8) + 1
        assert not data.endswith(b"\0")
        assert np.array_equal(Decoder(data).decode(tables), symbols)
        assert np.array_equal(Decoder(data + b"\0" * 9).decode(tables), symbols)


def test_a_long_message_costs_its_information() -> None:
    rng = np.random.default_rng(4)
    tables = random_tables(rng, 5000, 64, 0.1)
    symbols = draw(rng, tables)
    assert len(check_against_reference(symbols, tables)) <= math.ceil(information(symbols, tables) / 8) + 1


def test_no_shorter_bytes_decode() -> None:
    """Every byte string one byte shorter fails, for messages short enough to try them all."""
    rng = np.random.default_rng(5)
    for _ in range(8):
        tables = random_tables(rng, 3, 16, 1.0)
        symbols = draw(rng, tables)
        encoder = Encoder()
        encoder.encode(symbols, tables)
        data = encoder.finish()
        if 1 <= len(data) <= 2:
            for value in range(256 ** (len(data) - 1)):
                try:
                    decoded = Decoder(value.to_bytes(len(data) - 1, "big")).decode(tables)
                except FormatError:
                    continue
                assert not np.array_equal(decoded, symbols)


def test_nothing_costs_nothing() -> None:
    encoder = Encoder()
    assert encoder.finish() == b""
    encoder.encode(np.zeros(0, int), np.zeros((0, 4), int))
    encoder.encode(np.zeros(5, int), np.full((5, 1), TOTAL))  # one possible symbol
    encoder.encode_tables(np.zeros(3, int), np.zeros(3, int), Tables(np.full((1, 1), TOTAL)))
    encoder.encode_tables(np.zeros(0, int), np.zeros(0, int), Tables(np.full((2, 2), TOTAL // 2)))
    encoder.encode_bits(np.zeros(4, int), 0)
    encoder.encode_bits(np.zeros(0, int), 7)
    assert encoder.finish() == b""
    encoder.encode(np.zeros(300, int), np.repeat(peaked(2, 0), 300, axis=0))
    assert encoder.finish() == b""  # zero lies in the interval
    decoder = Decoder(b"")
    assert decoder.decode(np.full((5, 1), TOTAL)).tolist() == [0] * 5
    assert decoder.decode_tables(np.zeros(3, int), Tables(np.full((1, 1), TOTAL))).tolist() == [0] * 3
    assert decoder.decode_bits(4, 0).tolist() == [0] * 4
    assert decoder.decode(np.repeat(peaked(2, 0), 300, axis=0)).tolist() == [0] * 300


def test_finish_changes_nothing() -> None:
    rng = np.random.default_rng(6)
    tables = random_tables(rng, 50, 8, 1.0)
    symbols = draw(rng, tables)
    once, twice = Encoder(), Encoder()
    once.encode(symbols, tables)
    for n in range(50):
        twice.encode(symbols[n : n + 1], tables[n : n + 1])
        twice.finish()
    assert once.finish() == twice.finish()


@pytest.mark.parametrize("count", [400, 60, 10])  # many symbols to a table, some, few
def test_table_order_is_normative(count: int) -> None:
    rng = np.random.default_rng(7)
    tables = random_tables(rng, 12, 32, 0.3)
    ids = rng.integers(12, size=count)
    symbols = draw(rng, tables[ids])
    encoder, reference = Encoder(), ReferenceEncoder()
    encoder.encode_tables(symbols, ids, Tables(tables))
    for table_id in range(12):
        for symbol in symbols[ids == table_id].tolist():
            reference.symbol(symbol, tables[table_id].tolist())
    data = encoder.finish()
    assert data == reference.finish()
    decoded = Decoder(data).decode_tables(ids, Tables(tables))
    assert decoded.dtype == np.int64
    assert np.array_equal(decoded, symbols)


def test_bits() -> None:
    rng = np.random.default_rng(8)
    encoder, reference = Encoder(), ReferenceEncoder()
    message = [(n, rng.integers(1 << n, size=5)) for n in range(24)] + [(23, np.array([0, (1 << 23) - 1]))]
    for nbits, values in message:
        encoder.encode_bits(values, nbits)
        for value in values.tolist():
            reference.bits(value, nbits)
    data = encoder.finish()
    assert data == reference.finish()
    decoder = Decoder(data)
    for nbits, values in message:
        assert np.array_equal(decoder.decode_bits(len(values), nbits), values)


def test_a_mixed_stream() -> None:
    rng = np.random.default_rng(9)
    encoder = Encoder()
    parts = []
    for size in (2, 256, 32, 7):
        tables, ids = random_tables(rng, 9, size, 0.2), rng.integers(9, size=60)
        parts.append((tables, ids, draw(rng, tables[ids]), draw(rng, tables), rng.integers(32, size=4)))
        encoder.encode_tables(parts[-1][2], ids, Tables(tables))
        encoder.encode(parts[-1][3], tables)
        encoder.encode_bits(parts[-1][4], 5)
    decoder = Decoder(encoder.finish())
    for tables, ids, many, single, bits in parts:
        assert np.array_equal(decoder.decode_tables(ids, Tables(tables)), many)
        assert np.array_equal(decoder.decode(tables), single)
        assert np.array_equal(decoder.decode_bits(4, 5), bits)


@pytest.mark.parametrize(
    "tables",
    [
        np.array([[TOTAL, 0]]),
        np.array([[TOTAL // 2, TOTAL // 2 - 1]]),
        np.array([[TOTAL + 1, -1]]),
        np.array([[2**63 - 1, 2**63 - 1, TOTAL + 2]]),
        np.array([[TOTAL - 1]]),
        np.array([[0.5, 0.5]]),
        np.array([TOTAL // 2] * 2),
        np.zeros((1, 0), int),
    ],
)
def test_bad_tables_are_refused(tables: Ints) -> None:
    zero = np.zeros(1, int)
    for call in (
        lambda: Encoder().encode(zero, tables),
        lambda: Tables(tables),
        lambda: Decoder(b"").decode(tables),
    ):
        with pytest.raises(ValueError):
            call()


def test_bad_symbols_are_refused() -> None:
    tables = np.full((2, 4), TOTAL // 4)
    for symbols in ([0, 4], [-1, 0], [0], [0, 1, 2], [0.0, 1.0], [0, 2**32]):
        with pytest.raises(ValueError):
            Encoder().encode(np.array(symbols), tables)
    for ids in ([0, 2], [-1, 0], [0]):
        with pytest.raises(ValueError):
            Encoder().encode_tables(np.zeros(2, int), np.array(ids), Tables(tables))
    for values, nbits in (([4], 2), ([-1], 2), ([0], 24), ([1], 0)):
        with pytest.raises(ValueError):
            Encoder().encode_bits(np.array(values), nbits)


def test_garbage_is_safe() -> None:
    rng = np.random.default_rng(10)
    tables = random_tables(rng, 200, 16, 0.1)
    failed = 0
    for n in range(600):
        data = rng.bytes(int(rng.integers(0, 40))) if n % 4 else b"\xff" * (n % 23)
        decoder = Decoder(data)
        try:
            assert set(decoder.decode(tables)) <= set(range(16))
            decoder.decode_tables(rng.integers(200, size=100), Tables(tables))
            decoder.decode_bits(10, 9)
        except FormatError:
            failed += 1
    assert failed
