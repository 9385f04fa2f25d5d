"""Coded masks."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_bundle import picture

import hflow
from hflow.codec import complexity, masking
from hflow.container import parse
from hflow.errors import InputError
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


def test_complexity_sends_more_where_more_is_to_see() -> None:
    rng = np.random.default_rng(0)
    image = np.full((128, 192, 3), 128, np.uint8)
    image[:, 64:128] = (np.arange(64)[None, :, None] * 2).astype(np.uint8)
    image[:, 128:] = rng.integers(0, 256, (128, 64, 3))
    labels = complexity.mask(image)
    assert [LABELS[n] for n in labels[0]] == ["1_9", "1_4", "1_2"]
    assert (labels[0] == labels[1]).all()
    assert complexity.mask(image[:70, :70]).shape == (2, 2)


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize("kind", ["complexity", *LABELS])
def test_files_with_every_kinddecode_and_meet_their_size(kind: str) -> None:
    image = picture(200, 150)
    data = hflow.encode(image, size=330, masking=kind)
    file = parse(data)
    assert 250 < len(data) <= 330
    assert file.settings.mask.label == ("coded" if kind == "complexity" else kind)
    assert (file.mask_data is not None) == (kind == "complexity")
    assert hflow.decode(data).size == (200, 150)


def test_unknown_masking() -> None:
    with pytest.raises(InputError, match="masking is auto, complexity or one of none, 1_16"):
        hflow.encode(picture(20, 20), masking="half")
