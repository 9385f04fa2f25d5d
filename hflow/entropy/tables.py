"""Integer frequency tables, and how constriction is made to use exactly them."""

from functools import lru_cache
from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer[Any]]

TOTAL = 1 << 16  # what a table sums to where nothing else is said
PRECISION = 24  # bits that constriction works at
MAX_BITS = 23  # constriction's limit for a uniform symbol

FAMILY = constriction.stream.model.Categorical(perfect=False)  # one table per symbol


def check_tables(tables: Ints, total: int = TOTAL) -> None:
    """ValueError unless `tables` (T, V) are integers >= 1 whose rows sum to `total`, V >= 1."""
    if tables.ndim != 2 or tables.shape[1] < 1 or not np.issubdtype(tables.dtype, np.integer):
        raise ValueError(f"tables must be (T, V) integers, not {tables.dtype} {tables.shape}")
    # The upper bound is what keeps the row sums from overflowing.
    if tables.size and not (tables.min() >= 1 and tables.max() <= total):
        raise ValueError(f"a frequency is not in 1..{total}")
    if (tables.sum(axis=1, dtype=np.int64) != total).any():
        raise ValueError(f"the frequencies of a table do not sum to {total}")


def check_symbols(symbols: Ints, size: int) -> npt.NDArray[np.int32]:
    """`symbols` (N,) as constriction wants them. ValueError unless they are integers in 0..size-1."""
    if symbols.ndim != 1 or not np.issubdtype(symbols.dtype, np.integer):
        raise ValueError(f"symbols must be (N,) integers, not {symbols.dtype} {symbols.shape}")
    if symbols.size and not (symbols.min() >= 0 and symbols.max() < size):
        raise ValueError(f"a symbol is not in 0..{size - 1}")
    return np.ascontiguousarray(symbols, dtype=np.int32)


def weights(tables: Ints, total: int = TOTAL) -> npt.NDArray[np.float64]:
    """Weights that constriction turns into exactly the frequencies k * tables, k = 2**24 / total, of 2**24.

    It gives each of the V symbols 1 and shares out the other 2**24 - V by weight: the cumulative of symbol i is
    floor(sum(w[:i]) * ((2**24 - V) / sum(w))) + i. With w = k * f - 1 the scale is exactly 1 and every partial sum
    is an integer below 2**24, exact in any order of summation. No rounding happens anywhere.
    """
    return np.ascontiguousarray(tables, dtype=np.float64) * ((1 << PRECISION) // total) - 1


class Tables:
    """Few tables (T, V) for many symbols, summing to `total`, a power of two up to 2**24. ValueError as `check_tables`.

    bits: (T, V), what each symbol takes.
    """

    def __init__(self, freqs: Ints, total: int = TOTAL) -> None:
        check_tables(freqs, total)
        self.freqs, self.total, self.weights = freqs, total, weights(freqs, total)
        self.bits = np.log2(total / freqs)
        self._models: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self.freqs)

    @property
    def size(self) -> int:
        """V, the number of symbols."""
        return int(self.freqs.shape[1])

    def model(self, table_id: int) -> Any:
        """The constriction model of one of them; kept, as making it takes longer than coding with it."""
        found = self._models.get(table_id)
        if found is None:
            found = constriction.stream.model.Categorical(self.weights[table_id], perfect=False, lazy=False)
            self._models[table_id] = found
        return found


@lru_cache
def uniform(nbits: int) -> Any:
    """The constriction model of `nbits` raw bits, 1..MAX_BITS; exact, as 2**nbits divides 2**24."""
    return constriction.stream.model.Uniform(1 << nbits)
