"""Latents: small integers under 32-symbol tables, with an escape for the rare large one."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from hflow.entropy.coder import Decoder, Encoder, grouped
from hflow.entropy.narrow import BIAS, ESCAPE, narrowed
from hflow.entropy.tables import Ints, Tables
from hflow.errors import FormatError

FIRST_ESCAPED = BIAS + 1
MAX_PREFIX = 20
MAX_LATENT = FIRST_ESCAPED + (1 << MAX_PREFIX + 1) - 2  # the largest magnitude that can be coded

BLOCK = 1 << 16  # tables made at a time, so that memory is bounded

Values = npt.NDArray[np.int64]
Bounds = tuple[Ints, Ints]


def encode_latents(enc: Encoder, values: Ints, table_ids: Ints, tables: Tables, bounds: Bounds | None = None) -> None:
    """Code values (N,), each minus its integer mean, under the tables of 32 symbols that table_ids (N,) name.

    All symbols first, then the escaped values, both in the order of `Encoder.encode_tables`: a sign bit (1 is
    negative), then magnitude - 16 as Exp-Golomb of order 0. bounds: the least and the greatest that each value should
    be, (N,) both, by which its table is `narrowed`; the order is the same. ValueError for |value| > MAX_LATENT.
    """
    _check_width(tables)
    values = np.asarray(values, dtype=np.int64)
    magnitudes = np.abs(values)
    if values.size and magnitudes.max() > MAX_LATENT:
        raise ValueError(f"a latent is beyond {MAX_LATENT}")
    symbols = np.where(magnitudes <= BIAS, values + BIAS, ESCAPE)
    if bounds is None:
        enc.encode_tables(symbols, table_ids, tables)
    else:
        for part, freqs in _narrow(table_ids, tables, bounds):
            enc.encode(symbols[part], freqs, tables.total)
    in_order = values[grouped(table_ids)]
    for value in in_order[np.abs(in_order) > BIAS].tolist():
        rest = abs(value) - FIRST_ESCAPED + 1
        prefix = rest.bit_length() - 1
        enc.encode_bits(np.array([value < 0] + [0] * prefix + [1]), 1)
        enc.encode_bits(np.array([rest - (1 << prefix)]), prefix)


def decode_latents(dec: Decoder, table_ids: Ints, tables: Tables, bounds: Bounds | None = None) -> Values:
    """Values (N,) for table_ids (N,): the mirror of `encode_latents`. FormatError for an impossible escape."""
    values = decode_symbols(dec, table_ids, tables, bounds)
    for n in escaped(values, table_ids):
        values[n] = decode_escape(dec)
    return values


def decode_symbols(dec: Decoder, table_ids: Ints, tables: Tables, bounds: Bounds | None = None) -> Values:
    """The first half of `decode_latents`: values (N,) with FIRST_ESCAPED where one is escaped."""
    _check_width(tables)
    if bounds is None:
        return dec.decode_tables(table_ids, tables) - BIAS
    symbols = np.zeros(len(table_ids), dtype=np.int64)
    for part, freqs in _narrow(table_ids, tables, bounds):
        symbols[part] = dec.decode(freqs, tables.total)
    return symbols - BIAS


def _narrow(table_ids: Ints, tables: Tables, bounds: Bounds) -> Iterator[tuple[Ints, Ints]]:
    """In stream order: places, and the table of each."""
    order = grouped(table_ids)
    for start in range(0, len(order), BLOCK):
        part = order[start : start + BLOCK]
        yield part, narrowed(tables.freqs[table_ids[part]], bounds[0][part], bounds[1][part], tables.total)


def escaped(values: Values, table_ids: Ints) -> list[int]:
    """The places of the escaped values, in stream order."""
    places = np.flatnonzero(values == FIRST_ESCAPED)
    in_order: list[int] = places[np.argsort(table_ids[places], kind="stable")].tolist()
    return in_order


def decode_escape(dec: Decoder) -> int:
    """The next escaped value."""
    negative = _bit(dec)
    prefix = 0
    while not _bit(dec):
        prefix += 1
        if prefix > MAX_PREFIX:
            raise FormatError("damaged: a latent is out of range")
    magnitude = FIRST_ESCAPED + (1 << prefix) + int(dec.decode_bits(1, prefix)[0]) - 1
    return -magnitude if negative else magnitude


def _bit(dec: Decoder) -> int:
    return int(dec.decode_bits(1, 1)[0])


def _check_width(tables: Tables) -> None:
    if tables.size != ESCAPE + 1:
        raise ValueError(f"latent tables must have {ESCAPE + 1} symbols, not {tables.size}")
