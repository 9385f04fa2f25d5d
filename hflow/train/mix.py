"""Weights between two checkpoints of which one was trained on from the other.

    python -m hflow.train.mix runs/grown/joint.pt runs/joint/last.pt 0.6 -o runs/mixed.pt

A run that ends at a high learning rate has left its start in part for noise, and the way back is smooth: networks
between the two can be better than both (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, 3).
Writes averaged weights for `init=`, without the float rate model of a joint run, which a start often lacks.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from hflow.train.loop import save


def mix(first: dict[str, Any], last: dict[str, Any], share: float) -> dict[str, Any]:
    """Checkpoint `last` with averaged weights at `share` of the way from `first`. ValueError unless sizes match."""
    old, new = ({k: v for k, v in c["average"].items() if not k.startswith("proxy.")} for c in (first, last))
    if wrong := [k for k in new if k not in old or old[k].shape != new[k].shape]:
        raise ValueError(f"{wrong[0]} is not the same size in both: grow the first checkpoint to the other's sizes")
    average = {k: torch.lerp(old[k].float(), new[k].float(), share) for k in new}
    return {k: last[k] for k in ("net", "size") if k in last} | {"average": average}


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("first", type=Path, help="the checkpoint that the run started from")
    ap.add_argument("last", type=Path, help="the run's checkpoint")
    ap.add_argument("share", type=float, help="of the way from the first to the last, 0 to 1")
    ap.add_argument("-o", "--out", type=Path, required=True)
    args = ap.parse_args()
    first, last = (torch.load(p, map_location="cpu", weights_only=True) for p in (args.first, args.last))
    save(mix(first, last, args.share), args.out)


if __name__ == "__main__":
    main()
