"""Integer frequency tables, and how constriction is made to use exactly them."""

from functools import lru_cache
from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer[Any]]

TOTAL = 1 << 16  # every table sums to this
MAX_BITS = 23  # constriction's limit for a uniform symbol

FAMILY = constriction.stream.model.Categorical(perfect=False)  # one table per symbol


def check_tables(tables: Ints) -> None:
    """ValueError unless `tables` (T, V) are integers >= 1 whose rows sum to TOTAL, V >= 1."""
    if tables.ndim != 2 or tables.shape[1] < 1 or not np.issubdtype(tables.dtype, np.integer):
        raise ValueError(f"tables must be (T, V) integers, not {tables.dtype} {tables.shape}")
    # The upper bound is what keeps the row sums from overflowing.
    if tables.size and not (tables.min() >= 1 and tables.max() <= TOTAL):
        raise ValueError(f"a frequency is not in 1..{TOTAL}")
    if (tables.sum(axis=1, dtype=np.int64) != TOTAL).any():
        raise ValueError(f"the frequencies of a table do not sum to {TOTAL}")


def check_symbols(symbols: Ints, size: int) -> npt.NDArray[np.int32]:
    """`symbols` (N,) as constriction wants them. ValueError unless they are integers in 0..size-1."""
    if symbols.ndim != 1 or not np.issubdtype(symbols.dtype, np.integer):
        raise ValueError(f"symbols must be (N,) integers, not {symbols.dtype} {symbols.shape}")
    if symbols.size and not (symbols.min() >= 0 and symbols.max() < size):
        raise ValueError(f"a symbol is not in 0..{size - 1}")
    return np.ascontiguousarray(symbols, dtype=np.int32)


def weights(tables: Ints) -> npt.NDArray[np.float64]:
    """Weights that constriction turns into exactly the frequencies 256 * tables, of 2**24.

    It gives each of the V symbols 1 and shares out the other 2**24 - V by weight: the cumulative of symbol i is
    floor(sum(w[:i]) * ((2**24 - V) / sum(w))) + i. With w = 256 * f - 1 the scale is exactly 1 and every partial sum
    is an integer below 2**24, exact in any order of summation. No rounding happens anywhere.
    """
    return np.ascontiguousarray(tables, dtype=np.float64) * 256 - 1


class Tables:
    """Few tables (T, V) for many symbols. ValueError as `check_tables`."""

    def __init__(self, freqs: Ints) -> None:
        check_tables(freqs)
        self.freqs, self.weights = freqs, weights(freqs)
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
