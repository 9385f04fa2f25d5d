"""The two integer streams of the training photos under frozen transforms: what recipes 2 and 3 learn from.

python -m hflow.train.streams CONFIG.toml init=runs/joint/last.pt out=runs/streams
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hflow.codec.geometry import LEVELS
from hflow.nets.analysis import quantize
from hflow.nets.config import NetConfig
from hflow.nets.precision import mixed
from hflow.train.data import Photos, validation
from hflow.train.joint import JointModel
from hflow.train.loop import RunConfig, parse


def load_joint(cfg: RunConfig) -> JointModel:
    """The averaged weights of a joint run, frozen."""
    state = torch.load(cfg.init, map_location=cfg.device, weights_only=True)
    model = JointModel(NetConfig.of(state["net"])).to(cfg.device)
    model.load_state_dict(state["average"], strict=False)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def integers(model: JointModel, x: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 3, H, W), rate levels (B,) or -1 for none, to y (B, h, w, C) int8 and tokens (B, 2h, 2w, M) uint8."""
    rate = level.clamp(min=0).float() / (LEVELS - 1)
    on = (level >= 0).float()[:, None, None, None]
    with mixed(x.device):
        h16, y = model.analysis(x, rate)
        gain = model.gain(rate)
        hard = quantize(y.float() * gain) * on
        c16 = model.decoder.correction(hard / gain, rate)[0] * on
        tokens = model.pq.encode(model.head(h16, c16))
    return hard.permute(0, 2, 3, 1).clamp(-127, 127).to(torch.int8), tokens.to(torch.uint8)


def collect(model: JointModel, batches: list[Tensor], rng: np.random.Generator, off: float = 0.08) -> dict[str, Tensor]:
    """Streams of batches of pictures, each at a random rate level; a share `off` without continuous stream."""
    ys, ts, levels = [], [], []
    for x in batches:
        level = rng.integers(LEVELS, size=x.shape[0])
        level[rng.random(x.shape[0]) < off] = -1
        lv = torch.from_numpy(level).to(x.device)
        y, t = integers(model, x.contiguous(memory_format=torch.channels_last), lv)
        ys.append(y.cpu())
        ts.append(t.cpu())
        levels.append(lv.cpu())
    return {"y": torch.cat(ys), "tokens": torch.cat(ts), "level": torch.cat(levels)}


def main() -> None:
    cfg = parse(__doc__ or "")
    opts = {"crop": 320, "passes": 2, **cfg.recipe}
    rng = np.random.default_rng(cfg.seed)
    model = load_joint(cfg)
    photos = Photos(cfg.data, tuple(cfg.shards), cfg.device, cfg.limit_shards)
    n = max(1, int(len(photos.sizes) * opts["passes"] // cfg.batch))
    parts = []
    for k in range(n):
        parts.append(collect(model, [photos.batch(cfg.batch, opts["crop"], rng)], rng))
        if k % 50 == 0:
            print(f"{k}/{n}", flush=True)
    train = {key: torch.cat([p[key] for p in parts]) for key in parts[0]}
    val = validation(cfg.val, opts["crop"], 64, cfg.device)
    held = collect(model, list(val.split(cfg.batch)) * 2, np.random.default_rng(0))
    Path(cfg.out).mkdir(parents=True, exist_ok=True)
    torch.save({"train": train, "val": held}, Path(cfg.out) / "streams.pt")


if __name__ == "__main__":
    main()
