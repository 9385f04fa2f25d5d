"""Where a file's bits go."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_bundle import picture

import hflow
from hflow.codec.spending import FILLED, RIGHT, WRONG, paint, spending
from hflow.codec.truncate import truncate
from hflow.container import parse


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize("masking", ["none", "1_4", "complexity", "all"])
def test_all_bits_are_somewhere(masking: str) -> None:
    data = hflow.encode(picture(100, 70), size=300, masking=masking)
    file, found = parse(data), spending(data)
    assert 8 * len(file.continuous or b"") == pytest.approx(found.cells.sum(), abs=16)
    assert 8 * sum(map(len, file.index_chunks)) == pytest.approx(found.tokens.sum(), abs=16)
    assert found.per_cell().sum() == pytest.approx(found.cells.sum() + found.tokens.sum())
    if masking != "none":
        assert found.sent is not None and found.right is not None
        assert ((found.tokens > 0) == found.sent).all()
        assert not (found.right & ~found.sent).any()


@pytest.mark.usefixtures("tiny_models")
def test_the_picture_of_it() -> None:
    data = hflow.encode(picture(100, 70), size=300, masking="1_4")
    image = paint(spending(data))
    assert image.size == (100, 70)
    colours = {tuple(int(v) for v in np.asarray(image)[16 * r + 8, 16 * c + 8]) for r in range(4) for c in range(6)}
    assert FILLED in colours and colours <= {FILLED, RIGHT, WRONG}


@pytest.mark.usefixtures("tiny_models")
def test_of_small_and_of_truncated_files() -> None:
    for size in ((1, 1), (17, 3)):
        assert spending(hflow.encode(picture(*size), size=60)).cells.shape == (1, 1)
    data = hflow.encode(picture(100, 70), size=300)
    assert spending(truncate(data, 150)).cells.sum() < spending(data).cells.sum()
