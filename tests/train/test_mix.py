"""Weights between two checkpoints: between the two, complete, and of one size."""

from __future__ import annotations

import pytest
import torch

from hflow.train.mix import mix


def checkpoint(value: float, blocks: int, *extra: str) -> dict:
    names = [*(f"decoder.{k}.weight" for k in range(blocks)), *extra]
    return {"net": {"dec_blocks": [blocks]}, "average": {k: torch.full((2, 3), value) for k in names}, "opt": [1]}


def test_a_share_of_the_way_is_that_share_of_every_weight() -> None:
    for share in (0.0, 0.25, 1.0):
        found = mix(checkpoint(2.0, 2), checkpoint(6.0, 2, "proxy.rate"), share)
        assert found["net"] == {"dec_blocks": [2]}
        assert set(found) == {"net", "average"}
        assert set(found["average"]) == {"decoder.0.weight", "decoder.1.weight"}
        for v in found["average"].values():
            torch.testing.assert_close(v, torch.full((2, 3), 2 + 4 * share))


def test_networks_of_different_sizes_do_not_mix() -> None:
    with pytest.raises(ValueError, match=r"decoder\.2\.weight.*grow"):
        mix(checkpoint(1.0, 2), checkpoint(1.0, 3), 0.5)
    wide = checkpoint(1.0, 2)
    wide["average"]["decoder.1.weight"] = torch.ones(2, 4)
    with pytest.raises(ValueError, match=r"decoder\.1\.weight"):
        mix(checkpoint(1.0, 2), wide, 0.5)
