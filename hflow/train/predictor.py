"""Recipe 3: the integer predictor, on frozen streams.

    python -m hflow.train.predictor CONFIG.toml recipe.streams=runs/streams

Each sample draws a number of sub-quantizers, a mask schedule and a quincunx stage; what was sent before that stage is
known, everything else is to be predicted, the stage's own tokens with the most weight.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hflow.integer import scales as S
from hflow.integer.twin import TwinOps, confine
from hflow.masks import LABELS
from hflow.nets import continuous as C
from hflow.nets import predictor as P
from hflow.nets.config import NetConfig
from hflow.nets.grids import sent_grid, stage_grid
from hflow.nets.precision import has_bf16
from hflow.train.latent import anchors
from hflow.train.loop import Loop, parse
from hflow.train.streams import Cached, with_latent


def draw(b: int, h: int, w: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """(known (B, h, w) bool, weight of the loss (B, h, w), m (B,))."""
    stage = stage_grid(h, w)
    known, weight = [], []
    for _ in range(b):
        sent = sent_grid(h, w, LABELS[rng.integers(len(LABELS))])
        s = rng.integers(1, 7)
        k = sent & (stage < s)
        known.append(k)
        weight.append(np.where(k, 0.0, np.where(sent & (stage == s) if s < 6 else ~k, 1.0, 0.3)))
    m = torch.from_numpy(rng.choice([1, 2, 3, 4], size=b, p=[0.4, 0.3, 0.15, 0.15]))
    return torch.from_numpy(np.stack(known)), torch.from_numpy(np.stack(weight)).float(), m


def masked(tokens: Tensor, known: Tensor, m: Tensor, v: int) -> Tensor:
    """Input tokens (B, H, W, M): unknown places and unused sub-quantizers marked."""
    x = torch.where(known[..., None], tokens, v + P.UNKNOWN)
    unused = torch.arange(tokens.shape[-1], device=tokens.device) >= m[:, None]
    return torch.where(unused[:, None, None], v + P.UNUSED, x)


def nats(lg: Tensor, tokens: Tensor, m: Tensor) -> Tensor:
    """Cross-entropy (...) of logits (..., M, V) in 1/32 octaves, tokens (..., M), mean over the first m (...)."""
    x = lg * (math.log(2) / 2**S.LOGIT)
    ce = F.cross_entropy(x.flatten(0, -2), tokens.flatten(), reduction="none").view(tokens.shape)
    used = torch.arange(tokens.shape[-1], device=tokens.device) < m[..., None]
    return (ce * used).sum(-1) / m


@torch.no_grad()
def validate(model: Any, ops: Any, data: dict[str, Tensor], v: int, rates: int, device: str) -> dict[str, float]:
    """Bits per index at each quincunx stage (all sent, M = 1), and accuracy of filling in at 1_4 and 1_9."""
    t = C.tables(ops)
    pick = with_latent(data)[:32]
    tokens, y = data["tokens"][pick].to(device).long(), data["y"][pick].to(device).float()
    b, h, w, _ = tokens.shape
    m = torch.ones(b, dtype=torch.long, device=device)
    ctx = P.context(ops, t, model, y, anchors(data["level"][pick].to(device), rates))
    stage, out, total = torch.from_numpy(stage_grid(h, w)).to(device), {}, 0.0
    for s in range(1, 6):
        known = (stage < s).expand(b, h, w)
        ce = nats(P.logits(ops, t, model, masked(tokens, known, m, v), ctx), tokens, m[:, None, None].expand(b, h, w))[
            :, stage == s
        ] / math.log(2)
        out[f"stage{s}"] = float(ce.mean())
        total += float(ce.sum())
    out["bits"] = total / (b * h * w)
    for mask in ("1_4", "1_9"):
        known = torch.from_numpy(sent_grid(h, w, mask)).to(device).expand(b, h, w)
        best = P.logits(ops, t, model, masked(tokens, known, m, v), ctx)[..., 0, :].argmax(-1)
        out[f"fill_{mask}"] = float((best == tokens[..., 0])[~known].float().mean())
    return out


def main() -> None:
    cfg = parse(__doc__ or "")
    opts = {"streams": "runs/streams", "crop": 16, "size": {}, "no_y": 0.1, **cfg.recipe}
    data = Cached(opts["streams"])
    net, size = NetConfig.of(cfg.net), P.PredictorConfig.of(opts["size"])
    torch.manual_seed(cfg.seed)
    model = P.PredictorTwin(net, size).to(cfg.device)
    loop = Loop(cfg, model)
    rng = np.random.default_rng(cfg.seed + loop.step)
    ops, fp32 = TwinOps(cfg.device, has_bf16(cfg.device)), TwinOps(cfg.device, bf16=False)
    t = C.tables(ops)
    train, n, v = data.train, opts["crop"], net.codewords
    seen, clock = np.zeros(2), loop.spent
    while not loop.done:
        pick = torch.from_numpy(rng.integers(len(train["level"]), size=cfg.batch))
        grid = train["y"].shape[1]
        r, c = rng.integers(grid - n // 2 + 1, size=2)
        y = train["y"][pick, r : r + n // 2, c : c + n // 2].to(cfg.device).float()
        tokens = train["tokens"][pick, 2 * r : 2 * r + n, 2 * c : 2 * c + n].to(cfg.device).long()
        level = train["level"][pick].to(cfg.device)
        level = torch.where(torch.from_numpy(rng.random(cfg.batch) < opts["no_y"]).to(cfg.device), -1, level)
        known, weight, m = (x.to(cfg.device) for x in draw(cfg.batch, n, n, rng))
        anchor = torch.where(level < 0, net.rates, anchors(level, net.rates))
        y = y * (level >= 0)[:, None, None, None]
        ask = torch.nonzero(weight.flatten() > 0).flatten()
        lg = P.logits(ops, t, model, masked(tokens, known, m, v), P.context(ops, t, model, y, anchor), ask)
        ce = nats(lg, tokens.flatten(0, 2)[ask], m[:, None, None].expand(tokens.shape[:3]).flatten()[ask])
        part = weight.flatten()[ask]
        loop.update((ce * part).sum() / part.sum())
        confine(model)
        full = (part == 1).float()
        seen += float((ce * full).sum().detach() / full.sum().clamp_min(1) / math.log(2)), 1
        if loop.step % 50 == 0:
            loop.log(
                step=loop.step,
                min=loop.spent / 60,
                bits=seen[0] / seen[1],
                tokens_s=50 * tokens.numel() / 4 / (loop.spent - clock),
            )
            seen, clock = np.zeros(2), loop.spent
        if loop.step % 500 == 0 or loop.done:
            loop.log(event="val", step=loop.step, **validate(loop.average, fp32, data.val, v, net.rates, cfg.device))
            loop.restart_clock()
    loop.save()


if __name__ == "__main__":
    main()
