"""The sizes of a bundle's networks: one frozen object, stored in the bundle and read by every network."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from hflow.integer.scales import TABLE_BITS


@dataclass(frozen=True)
class NetConfig:
    """Widths are channels at 1/4, 1/8, 1/16 and 1/32 of the image's resolution."""

    widths: tuple[int, int, int, int] = (64, 128, 192, 256)
    enc_blocks: tuple[int, int, int] = (1, 2, 2)  # at 1/8, 1/16, 1/32
    dec_blocks: tuple[int, int, int] = (5, 5, 3)  # at 1/16, 1/8, 1/4 (VQ decoder)
    corr_blocks: tuple[int, int] = (2, 1)  # at 1/32, 1/16 (correction network)
    latent: int = 320  # channels of y, on the 1/32 grid
    fine: int = 48  # channels on the 1/16 grid: the last 4 * fine of y are these, two by two positions to a cell
    slices: tuple[int, ...] = (16, 16, 32, 64, 64, 128)  # channel slices of y, in coding order
    passes: tuple[int, ...] = ()  # 1, 2 or 4 for each slice; () before hf14: 2, without layers of their own
    scales: int = 40  # of the tables that y and z are coded under, 40 or 48
    hyper: int = 32  # channels of z, on the 1/128 grid
    rates: int = 8  # anchor rates of the gain unit
    m_max: int = 4  # product sub-quantizers of a token
    codewords: int = 256
    dims: int = 8  # dimensions of a codeword
    feedback: int = 0  # features of the feedback network (nets/feedback.py); 0 before hf15: none
    look_blocks: tuple[int, ...] = ()  # of dec_blocks, those of the look that it answers; () all of them
    lattice: int = 0  # cells on either side in which marks are looked for that repeat (nets/lattice.py); 0: not at all

    def __post_init__(self) -> None:
        """ValueError for passes or scales that the format does not have."""
        if len(self.turns) != len(self.slices) or not set(self.turns) <= {1, 2, 4}:
            raise ValueError(f"passes {self.passes} for {len(self.slices)} slices")
        if self.scales not in TABLE_BITS:
            raise ValueError(f"no tables with {self.scales} scales")

    @property
    def turns(self) -> tuple[int, ...]:
        """In how many passes each slice is coded."""
        return self.passes or (2,) * len(self.slices)

    @property
    def coarse(self) -> int:
        """Channels of y that belong to a whole cell."""
        return self.latent - 4 * self.fine

    @staticmethod
    def of(data: dict[str, Any]) -> NetConfig:
        known = {f.name for f in dataclasses.fields(NetConfig)}
        if "latent" in data:  # bundles before hf3 name every size but this one
            data = {"fine": 0, **data}
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k in known}
        return NetConfig(**values)
