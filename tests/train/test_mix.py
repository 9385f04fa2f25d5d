"""Weights between checkpoints: between them, complete, and of one size."""

from __future__ import annotations

import pytest
import torch

from hflow.train.mix import mix


def checkpoint(value: float, blocks: int, *extra: str) -> dict:
    names = [*(f"decoder.{k}.weight" for k in range(blocks)), *extra]
    return {"net": {"dec_blocks": [blocks]}, "average": {k: torch.full((2, 3), value) for k in names}, "opt": [1]}


def test_every_checkpoint_has_its_share_in_every_weight() -> None:
    three = [checkpoint(2.0, 2), checkpoint(8.0, 2), checkpoint(6.0, 2, "proxy.rate")]
    for shares, want in (((1, 0, 0), 2.0), ((0, 0, 1), 6.0), ((0.5, 0.25, 0.25), 4.5)):
        found = mix(three, shares)
        assert found["net"] == {"dec_blocks": [2]}
        assert set(found) == {"net", "average"}
        assert set(found["average"]) == {"decoder.0.weight", "decoder.1.weight"}
        for v in found["average"].values():
            torch.testing.assert_close(v, torch.full((2, 3), want))


@pytest.mark.parametrize("shares", [(0.5,), (0.5, 0.6), (0.5, 0.25, 0.25)])
def test_shares_are_one_for_each_and_a_whole(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="shares that add up to 1"):
        mix([checkpoint(1.0, 2), checkpoint(2.0, 2)], shares)


def test_networks_of_different_sizes_do_not_mix() -> None:
    with pytest.raises(ValueError, match=r"decoder\.2\.weight.*grow"):
        mix([checkpoint(1.0, 2), checkpoint(1.0, 3)], (0.5, 0.5))
    wide = checkpoint(1.0, 2)
    wide["average"]["decoder.1.weight"] = torch.ones(2, 4)
    with pytest.raises(ValueError, match=r"decoder\.1\.weight"):
        mix([checkpoint(1.0, 2), wide], (0.5, 0.5))
