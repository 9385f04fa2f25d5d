"""The measurements behind the ablation table, on the tiny bundle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tiny_bundle import picture

from hflow.bench import orders
from hflow.bench.ablation import line_error, marginal, seams, shared
from hflow.codec import tokens
from hflow.codec.geometry import Geometry
from hflow.nets.grids import sent_grid


@pytest.mark.parametrize("level", [None, 40])
def test_the_quincunx_order_costs_what_the_coder_writes(tiny: Any, level: int | None) -> None:
    rng = np.random.default_rng(0)
    geo = Geometry(128, 96)
    q = rng.integers(256, size=(geo.th, geo.tw, 1))
    y = rng.integers(-2, 3, size=(geo.h, geo.w, tiny.cfg.latent))
    every = sent_grid(geo.th, geo.tw, "all")
    real = sum(map(len, tokens.write(tiny, geo, level, None if level is None else y, 1, every, q)[0]))
    assert 8 * real / q.size == pytest.approx(orders.bits(tiny, level, y, q[..., 0], "quincunx"), rel=0.03)


def test_every_order_codes_every_token_once(tiny: Any) -> None:
    rng = np.random.default_rng(0)
    n = 64
    quincunx = np.repeat([1, 2, 3, 4, 5], [4, 4, 8, 16, 32])
    rng.shuffle(quincunx)
    p = rng.dirichlet(np.ones(5), n)
    for order in orders.ORDERS:
        missing, seen = np.ones(n, bool), []
        for stage in range(1, 6):
            places = orders.chosen(order, stage, quincunx, missing, np.log2(p))
            assert len(places) == (quincunx == stage).sum()
            missing[places] = False
            seen += list(places)
        assert sorted(seen) == list(range(n))
        if order == "raster":
            assert seen == sorted(seen)


def test_the_surest_come_first() -> None:
    p = np.array([[0.5, 0.5], [0.99, 0.01], [0.7, 0.3]])
    stage = np.array([1, 5, 5])
    assert list(orders.chosen("confidence", 1, stage, np.ones(3, bool), np.log2(p))) == [1]


def test_seams_show_where_they_are() -> None:
    x = picture(96, 80)
    noise = np.random.default_rng(0).integers(-9, 10, x.shape)
    assert seams([(x, x + noise)], 32) == pytest.approx(1, abs=0.15)
    bad = x.astype(int) + noise
    bad[:, 31:33] += 40
    assert seams([(x, x + noise), (x, bad)], 32) > 2
    assert np.isnan(seams([(x, x + noise)], 256))


def test_the_edge_of_a_picture_is_no_seam() -> None:
    x = np.zeros((64, 64, 3), np.uint8)
    bad = x.copy()
    bad[:2], bad[-2:], bad[:, :2], bad[:, -2:] = 9, 9, 9, 9
    assert line_error(x, bad, 32, 0)[0] == line_error(x, bad, 32, 16)[0] == 0


def test_marginal_entropy() -> None:
    assert marginal([np.arange(256), np.arange(256)], 256) == pytest.approx(8)
    assert marginal([np.zeros(9, int)], 256) == 0


def test_a_mark_in_every_cell_shows() -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(60, 190, (200, 330, 3)).astype(np.uint8)
    noise = rng.integers(-9, 10, x.shape)
    common, chance = shared(x, (x + noise).astype(np.uint8), 32)
    assert common == pytest.approx(chance, rel=0.1)
    mark = np.zeros((32, 32, 3), int)
    mark[5:9, 5:9] = 40
    common, chance = shared(x, (x + noise + np.tile(mark, (7, 11, 1))[:200, :330]).astype(np.uint8), 32)
    assert common > 5 * chance
    assert common == pytest.approx(40 / 8, rel=0.1)
