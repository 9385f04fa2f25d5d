"""The two integer streams of the training photos under frozen transforms: what recipes 2 and 3 learn from.

    python -m hflow.train.streams CONFIG.toml init=runs/joint/last.pt out=runs/streams

Writes `val.pt` and then one `train-NNN.pt` after the other; stopped, the same command goes on. Recipes may begin when
the first are there, and recipe 2 takes up the others as they come. An entropy model comes to know a few thousand
latents by heart, so recipe 2 wants many crops: `latents.toml` leaves tokens out, and makes the latents of a crop at
five rates in the time of one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hflow.codec.geometry import LEVELS, RATE_ONE
from hflow.nets.analysis import quantize
from hflow.nets.config import NetConfig
from hflow.nets.precision import mixed
from hflow.train.data import Photos, validation
from hflow.train.joint import JointModel
from hflow.train.loop import RunConfig, parse, save

PART = 64  # batches to a file


def load_joint(cfg: RunConfig) -> JointModel:
    """The averaged weights of a joint run, frozen."""
    state = torch.load(cfg.init, map_location=cfg.device, weights_only=True)
    model = JointModel(NetConfig.of(state["net"])).to(cfg.device)
    model.load_state_dict(state["average"], strict=False)
    return model.eval().requires_grad_(False)


def rates(level: Tensor) -> Tensor:
    """Rate levels (N,), -1 for none, to rates as the networks take them, 0 for none."""
    return level.clamp(min=0).float() / RATE_ONE


@torch.no_grad()
def integers(model: JointModel, x: Tensor, level: Tensor, tokens: bool = True) -> tuple[Tensor, Tensor]:
    """Pictures (B, 3, H, W), rate levels (N,), N / B for each picture and -1 for none: their two streams.

    y (N, h, w, C) int8 and tokens (N, 2h, 2w, M) uint8; M = 0 without `tokens`, when further levels cost little.
    """
    rate = rates(level)
    on = (level >= 0).float()[:, None, None, None]
    with mixed(x.device):
        h16, linear = (t.repeat_interleave(len(level) // len(x), 0) for t in model.analysis.trunk(x))
        gain = model.gain(rate)
        hard = quantize(model.analysis.latent(h16, linear, rate).float() * gain) * on
        q = hard.new_empty(len(level), 2 * hard.shape[2], 2 * hard.shape[3], 0)
        if tokens:
            c16 = model.decoder.correction.at16(hard / gain, rate) * on
            q = model.pq.encode(model.head(h16, c16))
    return hard.permute(0, 2, 3, 1).clamp(-127, 127).to(torch.int8), q.to(torch.uint8)


def collect(
    model: JointModel, batches: Iterable[Tensor], rng: np.random.Generator, off: float = 0.08, levels: int = 1,
    tokens: bool = True,
) -> dict[str, Tensor]:  # fmt: skip
    """Streams of batches of pictures, each at `levels` random rate levels, one out of every band of as many.

    A share `off` is without continuous stream, which only says something where there are tokens.
    """
    ys, ts, found = [], [], []
    for x in batches:
        drawn = np.arange(levels) + rng.random((x.shape[0], levels))
        level = (drawn * (LEVELS / levels)).astype(np.int64)
        if tokens:
            level[rng.random(level.shape) < off] = -1
        lv = torch.from_numpy(level.flatten()).to(x.device)
        y, t = integers(model, x.contiguous(memory_format=torch.channels_last), lv, tokens)
        ys.append(y.cpu())
        ts.append(t.cpu())
        found.append(lv.cpu())
    return {"y": torch.cat(ys), "tokens": torch.cat(ts), "level": torch.cat(found)}


class Cached:
    """What this recipe has written to a folder: `val` and `train`, dicts of y, tokens and level as `collect` gives."""

    def __init__(self, folder: str | Path) -> None:
        """Raises FileNotFoundError where there is nothing yet."""
        self.folder, self.seen = Path(folder), set[str]()
        self.val: dict[str, Tensor] = torch.load(self.folder / "val.pt", weights_only=True)
        self.train: dict[str, Tensor] = {}
        self.refresh()
        if not self.train:
            raise FileNotFoundError(f"no train-*.pt in {folder}")

    def refresh(self) -> None:
        """Takes in the parts that have arrived since."""
        new = [p for p in sorted(self.folder.glob("train-*.pt")) if p.name not in self.seen]
        self.seen |= {p.name for p in new}
        parts = [self.train] if self.train else []
        parts += [torch.load(p, weights_only=True) for p in new]
        if new:
            self.train = {key: torch.cat([p[key] for p in parts]) for key in parts[0]}


def with_latent(rows: dict[str, Tensor]) -> Tensor:
    """Which of the rows that `collect` gives have a continuous stream."""
    return torch.nonzero(rows["level"] >= 0).flatten()


def main() -> None:
    cfg = parse(__doc__ or "")
    opts = {"crop": 320, "passes": 2, "levels": 1, "tokens": True, **cfg.recipe}
    levels, tokens = opts["levels"], opts["tokens"]
    model = load_joint(cfg)
    out = Path(cfg.out)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "val.pt").exists():
        val = validation(cfg.val, opts["crop"], 128, cfg.device).split(cfg.batch)
        save(collect(model, val, np.random.default_rng(0), levels=levels, tokens=tokens), out / "val.pt")
    photos = Photos(cfg.data, tuple(cfg.shards), cfg.device, cfg.limit_shards)
    batches = max(1, round(len(photos.sizes) * opts["passes"] / cfg.batch))
    for number, first in enumerate(range(0, batches, PART)):
        path = out / f"train-{number:03d}.pt"
        if path.exists():
            continue
        rng = np.random.default_rng([cfg.seed, number])
        end = min(first + PART, batches)
        drawn = (photos.batch(cfg.batch, opts["crop"], rng) for _ in range(first, end))
        save(collect(model, drawn, rng, levels=levels, tokens=tokens), path)
        print(f"{end} of {batches} batches", flush=True)


if __name__ == "__main__":
    main()
