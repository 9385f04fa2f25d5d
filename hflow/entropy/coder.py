"""The range coder: symbols and integer frequency tables <-> bytes. constriction does the work."""

from collections.abc import Iterator
from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

from hflow.entropy.flush import shortest
from hflow.entropy.tables import FAMILY, MAX_BITS, Ints, check_symbols, check_tables, fixed, uniform, weights
from hflow.errors import FormatError


class Encoder:
    """Appends symbols to one stream. A `Decoder` must be asked for the same calls in the same order.

    A table is V integers >= 1 that sum to 2**16; with V = 1 there is nothing to say and nothing is written.
    All methods raise ValueError for tables or symbols that break these rules.
    """

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()

    def encode(self, symbols: Ints, freqs: Ints) -> None:
        """Symbols (N,) in 0..V-1, each under its own table: freqs (N, V)."""
        check_tables(freqs)
        symbols = check_symbols(symbols, freqs.shape[1])
        if len(symbols) != len(freqs):
            raise ValueError(f"{len(symbols)} symbols with {len(freqs)} tables")
        if len(symbols) and freqs.shape[1] > 1:
            self._coder.encode(symbols, FAMILY, weights(freqs))

    def encode_tables(self, symbols: Ints, table_ids: Ints, tables: Ints) -> None:
        """Symbols (N,) in 0..V-1 under few tables (T, V), symbol n under tables[table_ids[n]].

        Normative order: by table id, ascending; within a table, as given.
        """
        check_tables(tables)
        symbols = check_symbols(symbols, tables.shape[1])
        if len(symbols) != len(table_ids):
            raise ValueError(f"{len(symbols)} symbols with {len(table_ids)} table ids")
        ids = check_symbols(table_ids, len(tables))
        symbols = symbols[grouped(ids)]
        for table, start, stop in _groups(ids, tables):
            self._coder.encode(symbols[start:stop], fixed(table))

    def encode_bits(self, values: Ints, nbits: int) -> None:
        """Values (N,) in 0..2**nbits-1, all equally likely, 0 <= nbits <= 23."""
        _check_nbits(nbits)
        values = check_symbols(values, 1 << nbits)
        if len(values) and nbits:
            self._coder.encode(values, uniform(nbits))

    def finish(self) -> bytes:
        """The shortest bytes that decode to everything encoded so far; b"" for nothing. Changes nothing."""
        position, (lower, width) = self._coder.pos()
        return shortest(self._coder.get_compressed(), position, lower, width)


class Decoder:
    """Takes symbols out of `data`, the bytes of an `Encoder`, as if zeros followed without end.

    Results are int64. FormatError if `data` cannot have come from an `Encoder`; most damage decodes to wrong symbols,
    which only a checksum can tell. ValueError for tables that break the rules.
    """

    def __init__(self, data: bytes) -> None:
        words = np.frombuffer(data + bytes(-len(data) % 4), dtype=">u4").astype(np.uint32)
        self._coder = constriction.stream.queue.RangeDecoder(words)

    def decode(self, freqs: Ints) -> npt.NDArray[np.int64]:
        """Symbols (N,) in 0..V-1 under freqs (N, V): the mirror of `Encoder.encode`."""
        check_tables(freqs)
        if not len(freqs) or freqs.shape[1] == 1:
            return np.zeros(len(freqs), dtype=np.int64)
        return self._decode(FAMILY, weights(freqs))

    def decode_tables(self, table_ids: Ints, tables: Ints) -> npt.NDArray[np.int64]:
        """Symbols (N,) in 0..V-1 for table_ids (N,) into tables (T, V): the mirror of `Encoder.encode_tables`."""
        check_tables(tables)
        ids = check_symbols(table_ids, len(tables))
        in_order = np.zeros(len(ids), dtype=np.int64)
        for table, start, stop in _groups(ids, tables):
            in_order[start:stop] = self._decode(fixed(table), stop - start)
        symbols = np.empty_like(in_order)
        symbols[grouped(ids)] = in_order
        return symbols

    def decode_bits(self, count: int, nbits: int) -> npt.NDArray[np.int64]:
        """Values (count,) in 0..2**nbits-1: the mirror of `Encoder.encode_bits`."""
        _check_nbits(nbits)
        if not count or not nbits:
            return np.zeros(count, dtype=np.int64)
        return self._decode(uniform(nbits), count)

    def _decode(self, model: Any, parameter: Any) -> npt.NDArray[np.int64]:
        try:
            symbols: npt.NDArray[np.int64] = self._coder.decode(model, parameter).astype(np.int64)
        except AssertionError:  # the point lies outside every symbol's interval
            raise FormatError("damaged: a stream holds what no encoder writes") from None
        return symbols


def grouped(table_ids: Ints) -> npt.NDArray[np.intp]:
    """The order (N,) in which symbols with these table ids (N,) lie in the stream."""
    narrow = np.min_scalar_type(table_ids.max(initial=0))  # numbers of at most 16 bits are sorted five times as fast
    return np.argsort(table_ids.astype(narrow), kind="stable")


def _groups(ids: Ints, tables: Ints) -> Iterator[tuple[Ints, int, int]]:
    """(table, start, stop) of each run of symbols in stream order, runs with nothing to code left out."""
    ends = np.cumsum(np.bincount(ids, minlength=len(tables))).tolist()
    for table, start, stop in zip(tables, [0, *ends], ends, strict=False):
        if stop > start and len(table) > 1:
            yield table, start, stop


def _check_nbits(nbits: int) -> None:
    if not 0 <= nbits <= MAX_BITS:
        raise ValueError(f"nbits is {nbits}, not in 0..{MAX_BITS}")
