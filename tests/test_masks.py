"""Mask schedules and quincunx stages."""

from __future__ import annotations

import pytest

from hflow import masks

GRIDS = [(h, w) for h in range(1, 10) for w in range(1, 10)] + [(33, 47)]


@pytest.mark.parametrize("mask", masks.LABELS)
def test_count_agrees_with_sent(mask: str) -> None:
    for h, w in GRIDS:
        assert masks.count(h, w, mask) == sum(masks.sent(r, c, mask) for r in range(h) for c in range(w)), (h, w)


def test_every_grid_sends_something_unless_none() -> None:
    for h, w in GRIDS:
        assert all(masks.count(h, w, mask) for mask in masks.LABELS if mask != "none")


def test_denser_schedules_send_more() -> None:
    counts = [masks.count(48, 48, mask) for mask in masks.LABELS]
    assert counts == [0, 48 * 48 // 16, 48 * 48 // 9, 48 * 48 // 4, 48 * 48 // 2, 48 * 48]


@pytest.mark.parametrize("function", [lambda: masks.sent(0, 0, "1_3"), lambda: masks.count(4, 4, "coded")])
def test_unknown_schedules_are_refused(function) -> None:
    with pytest.raises(ValueError, match="mask schedule"):
        function()


def test_stages_known_by_then() -> None:
    stages = [masks.stage(r, c) for r in range(8) for c in range(8)]
    known = [sum(s <= stage for s in stages) for stage in range(1, masks.STAGES + 1)]
    assert known == [4, 8, 16, 32, 64]


def test_early_stages_are_the_sparse_schedules() -> None:
    for r in range(9):
        for c in range(9):
            assert (masks.stage(r, c) == 1) == masks.sent(r, c, "1_16")
            assert (masks.stage(r, c) <= 3) == masks.sent(r, c, "1_4")
            assert (masks.stage(r, c) <= 4) == masks.sent(r, c, "1_2")
