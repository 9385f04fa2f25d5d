"""Recipe 2: the integer entropy model of the continuous stream, on frozen latents.

    python -m hflow.train.latent CONFIG.toml recipe.streams=runs/latents net...

Loss: bits of y and z, per 1/32 cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hflow.codec.geometry import LEVELS, anchor
from hflow.integer.twin import TwinOps, confine, round_ste
from hflow.nets import continuous as C
from hflow.nets.analysis import HyperAnalysis
from hflow.nets.config import NetConfig
from hflow.nets.logistic import table_bits
from hflow.nets.precision import has_bf16
from hflow.train.loop import Loop, parse
from hflow.train.streams import Cached, with_latent


class LatentModel(nn.Module):
    """Float hyper-analysis (encoder only) and the integer twin."""

    def __init__(self, cfg: NetConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.analysis, self.twin = HyperAnalysis(cfg), C.LatentTwin(cfg)

    def forward(self, ops: Any, y: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """y (B, h, w, C) float integers, level (B,): (surrogate bits of z, true bits of z, bits of y), each (B,)."""
        t = C.tables(ops)
        anchor = anchors(level, self.cfg.rates)
        z = self.analysis(y.permute(0, 3, 1, 2)).float().permute(0, 2, 3, 1)
        mean, scale = C.hyper_prior(ops, self.twin, anchor, self.cfg.scales)
        soft = table_bits(z + torch.rand_like(z) - 0.5, mean, scale, self.cfg.scales).sum((1, 2, 3))
        true = table_bits(z.detach().round(), mean, scale, self.cfg.scales).sum((1, 2, 3))
        h, w = y.shape[1:3]
        hyper = C.hyper_features(ops, t, self.twin, round_ste(z), anchor, h, w)
        mean, scale = C.known(ops, t, self.twin, hyper, self.cfg, y)
        return soft, true, table_bits(y, mean, scale, self.cfg.scales).sum((1, 2, 3))


def anchors(level: Tensor, rates: int) -> Tensor:
    """Rate levels 0..LEVELS-1 to anchor rates, by the format's own rule."""
    rule = torch.tensor([anchor(k, rates) for k in range(LEVELS)], device=level.device)
    return rule[level.clamp(0, LEVELS - 1)]


def main() -> None:
    cfg = parse(__doc__ or "")
    opts = {"streams": "runs/latents", **cfg.recipe}
    data = Cached(opts["streams"])
    net = NetConfig.of(cfg.net)
    torch.manual_seed(cfg.seed)
    model = LatentModel(net).to(cfg.device)
    loop = Loop(cfg, model)
    rng = np.random.default_rng(cfg.seed + loop.step)
    on = with_latent(data.train)
    ops, fp32 = TwinOps(cfg.device, has_bf16(cfg.device)), TwinOps(cfg.device, bf16=False)
    seen, clock = 0.0, loop.spent
    while not loop.done:
        pick = on[torch.from_numpy(rng.integers(len(on), size=cfg.batch))]
        y = data.train["y"][pick].to(cfg.device).float()
        level = data.train["level"][pick].to(cfg.device)
        soft, true, ybits = model(ops, y, level)
        cells = y.shape[1] * y.shape[2]
        loop.update((soft + true + ybits).mean() / cells)
        confine(model.twin)
        seen += float((true + ybits).mean().detach()) / cells / 1024
        if loop.step % 50 == 0:
            loop.log(step=loop.step, min=loop.spent / 60, bpp=seen / 50, img_s=50 * cfg.batch / (loop.spent - clock))
            seen, clock = 0.0, loop.spent
        if loop.step % 500 == 0 or loop.done:
            loop.log(event="val", step=loop.step, **validate(loop.average, fp32, data.val, cfg.device))
            data.refresh()
            on = with_latent(data.train)
            loop.restart_clock()
    loop.save()


@torch.no_grad()
def validate(model: nn.Module, ops: Any, val: dict[str, Tensor], device: str) -> dict[str, float]:
    """bpp of the validation streams in bands of 16 rate levels."""
    out = {}
    for q in range(LEVELS // 16):
        pick = torch.nonzero((val["level"] >= 16 * q) & (val["level"] < 16 * q + 16)).flatten()
        y = val["y"][pick].to(device).float()
        _, z, b = model(ops, y, val["level"][pick].to(device))
        area = y.shape[1] * y.shape[2] * 1024
        out[f"bpp{q}"], out[f"z{q}"] = float((z + b).mean() / area), float(z.mean() / area)
    return out


if __name__ == "__main__":
    main()
