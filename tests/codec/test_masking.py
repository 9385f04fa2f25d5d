"""Coded masks."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_bundle import picture

import hflow
from hflow.codec import complexity, lagrangian, masking, pixels, tokens
from hflow.codec.geometry import Geometry
from hflow.codec.rate import Choice, Coder
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
def test_files_with_every_kind_decode_and_meet_their_size(kind: str) -> None:
    image = picture(200, 150)
    data = hflow.encode(image, size=330, masking=kind)
    file = parse(data)
    assert 250 < len(data) <= 330
    assert file.settings.mask.label == ("coded" if kind == "complexity" else kind)
    assert (file.mask_data is not None) == (kind == "complexity")
    assert hflow.decode(data).size == (200, 150)


def test_unknown_masking() -> None:
    with pytest.raises(InputError, match="masking is auto, rd, complexity or one of none, 1_16"):
        hflow.encode(picture(20, 20), masking="half")


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize("size", [120, 330, 1200])
def test_masks_by_rate_and_distortion_are_never_further_from_the_picture(size: int) -> None:
    image = picture(200, 150)

    def error(data: bytes) -> float:
        return float(np.square(np.asarray(hflow.decode(data), dtype=float) - image).mean())

    ladder, found = (hflow.encode(image, size=size, masking=kind) for kind in ("auto", "rd"))
    assert len(found) <= size
    assert error(found) <= error(ladder)


def test_a_region_sends_tokens_where_they_are_worth_their_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens halve the error everywhere; only the right region has error to speak of."""
    coder = Coder.__new__(Coder)
    coder.geo, coder.model, coder.found, coder.region = Geometry(128, 64), None, None, None  # type: ignore[assignment]
    error = np.array([[10.0, 10000.0]])
    monkeypatch.setattr(pixels, "token_indices", lambda *_: np.zeros((4, 8, 1)))
    monkeypatch.setattr(tokens, "price", lambda *a: (6.0 * a[5], np.zeros((4, 8, 1))))
    monkeypatch.setattr(lagrangian, "errors", lambda c, r, choice: error / (2 if choice.m else 1))
    labels = lagrangian.mask(coder, np.zeros((64, 128, 3)), Choice(40, 0, "none"), error, 1.0)
    assert [LABELS[n] for n in labels[0]] == ["none", "1_16"]
