"""Coded masks."""

from __future__ import annotations

import numpy as np
import pytest

from hflow.codec import masking
from hflow.masks import LABELS


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 7), (8, 12)])
def test_labels_come_back(rows: int, columns: int) -> None:
    rng = np.random.default_rng(rows)
    for labels in (rng.integers(0, 6, (rows, columns)), np.full((rows, columns), 3)):
        data = masking.write(labels)
        assert (masking.read(data, rows, columns) == labels).all()


def test_a_mask_of_one_schedule_and_one_of_few_areas_are_small() -> None:
    labels = np.full((8, 12), 5)
    assert len(masking.write(labels)) <= 3
    labels[:, 6:] = 0
    assert len(masking.write(labels)) <= 10


def test_each_region_follows_its_schedule() -> None:
    labels = np.array([[0, 3], [5, 4]])
    sent = masking.sent_tokens(labels, 7, 6)
    assert sent.shape == (7, 6)
    assert not sent[:4, :4].any() and sent[4:, :4].all()
    assert sent[:4, 4:].sum() == 2 and sent[4:, 4:].sum() == 3
    assert len(LABELS) == 6
