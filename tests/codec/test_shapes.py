"""Memory and time of a constant plus so much a pixel, for every shape: strips most of all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import hflow
from hflow.bench import shapes
from hflow.codec import pixels, refine
from hflow.codec.geometry import CELL, Geometry
from hflow.nets import lattice

STRIPS = ((1, 65535), (65535, 1), (40000, 16), (16, 40000), (3, 30000), (65535, 4096), (16384, 16384))


@pytest.mark.parametrize(("width", "height"), STRIPS)
@pytest.mark.parametrize("sizes", [None, refine.TILES], ids=["decode", "refine"])
def test_no_tile_is_larger_than_that_of_a_square(width: int, height: int, sizes: tuple[int, int, int] | None) -> None:
    whole, tile, margin = sizes or (pixels.WHOLE, pixels.TILE, pixels.MARGIN)
    most = max(whole, (tile + 2 * margin) ** 2)
    geo, cells = Geometry(width, height), 0
    for rows, cols, core_rows, core_cols in pixels.tiles(geo, sizes):
        assert (rows.stop - rows.start) * (cols.stop - cols.start) * CELL**2 <= most
        cells += (core_rows.stop - core_rows.start) * (core_cols.stop - core_cols.start)
    assert cells == geo.h * geo.w


@pytest.mark.parametrize(("h", "w"), [(1, 9), (9, 1), (7, 8), (4, 23)])
def test_a_window_over_many_cells_is_made_in_stretches(monkeypatch: pytest.MonkeyPatch, h: int, w: int) -> None:
    x = torch.rand(1, 3, h * CELL, w * CELL, generator=torch.Generator().manual_seed(1))
    at_once = lattice.without_lattice(x, 2)
    monkeypatch.setattr(lattice, "STRETCH", 4)
    assert (lattice.without_lattice(x, 2) - at_once).abs().max() < 1e-6


def test_what_is_kept_for_the_next_picture_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    lattice._window.cache_clear()
    kept: list[int] = []
    make = lattice._window.__wrapped__
    monkeypatch.setattr(lattice, "_window", lambda *args: kept.append(make(*args).nbytes) or make(*args))
    lattice.without_lattice(torch.rand(1, 3, CELL, 1000 * CELL), 2)
    assert 0 < max(kept) * lattice.WINDOWS < 2**21


@pytest.mark.parametrize(("width", "height"), [(32, 400), (400, 32), (9, 300)])
def test_effort_on_strips(width: int, height: int) -> None:
    """With the bundle that ships, whose widths a machine's bf16 may fail at."""
    image = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    data = hflow.encode(image, size=150, effort=1, bundle="hf19")
    assert hflow.decode(data).size == (width, height)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells the memory of a process")
def test_strips_in_processes_of_their_own(tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All cells of the strip, drawn at once, would take a gigabyte with the networks of tests already."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    rows = shapes.run(((64, 64), (65535, 1)), ("decode", "map"), 4000, lambda _: None)
    assert [row.get("error") for row in rows] == [None] * 4
    base, most = rows[0]["mb"], max(row["mb"] for row in rows)
    assert most - base < 400
