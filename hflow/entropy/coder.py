"""The range coder: symbols and integer frequency tables <-> bytes. constriction does the work."""

from collections.abc import Iterator
from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

from hflow.entropy.flush import shortest
from hflow.entropy.tables import FAMILY, MAX_BITS, TOTAL, Ints, Tables, check_symbols, check_tables, uniform, weights
from hflow.errors import FormatError


class Encoder:
    """Appends symbols to one stream. A `Decoder` must be asked for the same calls in the same order.

    A table is V integers >= 1 that sum to `total`, a power of two up to 2**24; with V = 1 there is nothing to say and
    nothing is written.
    All methods raise ValueError for tables or symbols that break these rules.
    """

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()

    def encode(self, symbols: Ints, freqs: Ints, total: int = TOTAL) -> None:
        """Symbols (N,) in 0..V-1, each under its own table: freqs (N, V), which sum to `total`."""
        check_tables(freqs, total)
        symbols = check_symbols(symbols, freqs.shape[1])
        if len(symbols) != len(freqs):
            raise ValueError(f"{len(symbols)} symbols with {len(freqs)} tables")
        if len(symbols) and freqs.shape[1] > 1:
            self._coder.encode(symbols, FAMILY, weights(freqs, total))

    def encode_tables(self, symbols: Ints, table_ids: Ints, tables: Tables) -> None:
        """Symbols (N,) in 0..V-1 under few tables, symbol n under the one with the number table_ids[n].

        Normative order: by table id, ascending; within a table, as given.
        """
        symbols = check_symbols(symbols, tables.size)
        if len(symbols) != len(table_ids):
            raise ValueError(f"{len(symbols)} symbols with {len(table_ids)} table ids")
        ids = check_symbols(table_ids, len(tables))
        order = grouped(ids)
        symbols, ids = symbols[order], ids[order]
        for start, stop, model in _runs(ids, tables):
            part = symbols[start:stop]
            if model is None:
                self._coder.encode(part, FAMILY, tables.weights[ids[start:stop]])
            else:
                self._coder.encode(part, model)

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

    def decode(self, freqs: Ints, total: int = TOTAL) -> npt.NDArray[np.int64]:
        """Symbols (N,) in 0..V-1 under freqs (N, V): the mirror of `Encoder.encode`."""
        check_tables(freqs, total)
        if not len(freqs) or freqs.shape[1] == 1:
            return np.zeros(len(freqs), dtype=np.int64)
        return self._decode(FAMILY, weights(freqs, total)).astype(np.int64)

    def decode_tables(self, table_ids: Ints, tables: Tables) -> npt.NDArray[np.int64]:
        """Symbols (N,) in 0..V-1 for table_ids (N,) into T tables: the mirror of `Encoder.encode_tables`."""
        ids = check_symbols(table_ids, len(tables))
        order = grouped(ids)
        ids = ids[order]
        in_order = np.zeros(len(ids), dtype=np.int64)
        for start, stop, model in _runs(ids, tables):
            if model is None:
                in_order[start:stop] = self._decode(FAMILY, tables.weights[ids[start:stop]])
            else:
                in_order[start:stop] = self._decode(model, stop - start)
        symbols = np.empty_like(in_order)
        symbols[order] = in_order
        return symbols

    def decode_bits(self, count: int, nbits: int) -> npt.NDArray[np.int64]:
        """Values (count,) in 0..2**nbits-1: the mirror of `Encoder.encode_bits`."""
        _check_nbits(nbits)
        if not count or not nbits:
            return np.zeros(count, dtype=np.int64)
        return self._decode(uniform(nbits), count).astype(np.int64)

    def _decode(self, model: Any, parameter: Any) -> npt.NDArray[np.int32]:
        try:
            symbols: npt.NDArray[np.int32] = self._coder.decode(model, parameter)
        except AssertionError:  # the point lies outside every symbol's interval
            raise FormatError("damaged: a stream holds what no encoder writes") from None
        return symbols


def grouped(table_ids: Ints) -> npt.NDArray[np.intp]:
    """The order (N,) in which symbols with these table ids (N,) lie in the stream."""
    narrow = np.min_scalar_type(table_ids.max(initial=0))  # numbers of at most 16 bits are sorted five times as fast
    return np.argsort(table_ids.astype(narrow), kind="stable")


FEW = 4  # symbols under one table that are not worth a call of their own


def _runs(ids: Ints, tables: Tables) -> Iterator[tuple[int, int, Any]]:
    """(start, stop, model) of parts of sorted table ids (N,): one table's, or None where there are few of each.

    None at all where there is nothing to say.
    """
    if not len(ids) or tables.size == 1:
        return
    counts = np.bincount(ids)
    counts = counts[counts > 0]
    few = counts <= FEW
    first = np.ones(len(counts), dtype=bool)
    first[1:] = ~(few[1:] & few[:-1])
    starts = (np.cumsum(counts) - counts)[first].tolist()
    for start, stop, several in zip(starts, [*starts[1:], len(ids)], few[first].tolist(), strict=True):
        yield start, stop, None if several else tables.model(int(ids[start]))


def _check_nbits(nbits: int) -> None:
    if not 0 <= nbits <= MAX_BITS:
        raise ValueError(f"nbits is {nbits}, not in 0..{MAX_BITS}")
