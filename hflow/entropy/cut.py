"""A message whose end is missing: the symbols that its bytes determine, and no more.

What is left of a message could go on in many ways, all of which lie between "zeros follow" and "ones follow". A symbol
is known if both say the same; from the first one on where they differ, nothing is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from hflow.entropy.coder import Decoder, grouped
from hflow.entropy.latents import Bounds, Values, decode_escape, decode_symbols, escaped
from hflow.entropy.tables import Ints, Tables
from hflow.errors import FormatError

Known = npt.NDArray[np.bool_]


class _End(Decoder):
    """One way for a message to go on. Where it leads out of every symbol's interval, it is lost: `nothing` follows."""

    def __init__(self, data: bytes, nothing: int) -> None:
        super().__init__(data)
        self.nothing = nothing
        self.lost = False

    def _decode(self, model: Any, parameter: Any) -> npt.NDArray[np.int32]:
        before = self._coder.clone()
        try:
            return super()._decode(model, parameter)
        except FormatError:  # rare: find the place, one symbol at a time
            self._coder, self.lost = before, True
        several = isinstance(parameter, np.ndarray)
        out = np.full(len(parameter) if several else parameter, self.nothing, dtype=np.int32)
        with suppress(FormatError):
            for n in range(len(out)):
                out[n] = super()._decode(model, parameter[n : n + 1] if several else 1)[0]
        return out


class CutDecoder:
    """Like `Decoder`, but says of every symbol whether it is known. `open` turns False at the first that is not."""

    def __init__(self, data: bytes) -> None:
        self._ends = _End(data, -1), _End(data + b"\xff" * 64, -2)
        self.open = True

    def decode(self, freqs: Ints) -> tuple[Values, Known]:
        """Symbols (N,) under freqs (N, V), as `Decoder.decode`, and which are known (N,); the others are 0."""
        return self._agree(np.arange(len(freqs)), lambda d: d.decode(freqs))

    def decode_latents(self, table_ids: Ints, tables: Tables, bounds: Bounds | None = None) -> tuple[Values, Known]:
        """Values (N,) as `decode_latents`, and which are known (N,); the others are 0."""
        order = grouped(table_ids)
        values, known = self._agree(order, lambda d: decode_symbols(d, table_ids, tables, bounds))
        for n in escaped(values, table_ids):
            values[n], known[n] = self._escape()
        return values, known

    def _escape(self) -> tuple[int, bool]:
        """The next escaped value, and whether it is known."""
        if self.open:
            with suppress(FormatError):
                low, high = (decode_escape(d) for d in self._ends)
                if low == high and not any(d.lost for d in self._ends):
                    return low, True
        self.open = False
        return 0, False

    def _agree(self, order: npt.NDArray[np.intp], read: Callable[[Decoder], Values]) -> tuple[Values, Known]:
        """What both ends read, up to their first difference in stream order."""
        known = np.zeros(len(order), dtype=np.bool_)
        values = np.zeros(len(order), dtype=np.int64)
        if self.open:
            low, high = (read(d) for d in self._ends)
            known[order] = np.logical_and.accumulate((low == high)[order])
            values = np.where(known, low, 0)
            self.open = bool(known.all())
        return values, known
