"""Recipe 4: the fusion decoder on what a decoder really gets: frozen streams, sent tokens, and the predictor's fill-in.

    python -m hflow.train.fusion CONFIG.toml init=runs/joint/last.pt recipe.predictor=runs/predictor/last.pt

Only the decoder is trained, and the feedback network with it where there is one (recipe 5, `feedback.toml`): it then
looks twice, as it does in use. Two thirds of the samples have no tokens; a few have no continuous stream or alpha = 0.
`recipe.adversarial` above 0 trains it against a critic, with that share of the other losses' gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hflow.codec.geometry import LEVELS
from hflow.integer.export import export
from hflow.integer.fast import TorchOps
from hflow.integer.params import tree
from hflow.masks import LABELS
from hflow.nets import continuous as C
from hflow.nets import predictor as P
from hflow.nets.config import NetConfig
from hflow.nets.feedback import answered
from hflow.nets.grids import sent_grid
from hflow.nets.precision import mixed
from hflow.train.critic import Critic, critic_loss, with_adversary
from hflow.train.data import Photos, validation
from hflow.train.joint import SPEEDS, JointModel, arrived, in_layers, in_use
from hflow.train.latent import anchors
from hflow.train.loop import Loop, parse
from hflow.train.losses import (
    Weighed,
    common_error,
    draw_harm,
    draw_views,
    load_lpips,
)
from hflow.train.predictor import masked
from hflow.train.streams import integers, rates

MASKS = LABELS
WARM = 0.15  # share of the run in which the critic gets ahead before it is fully heard


def load_predictor(path: str, net: Any, device: str) -> Any:
    """The exported integers of a predictor run, as a parameter tree."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    twin = P.PredictorTwin(net, P.PredictorConfig.of(state.get("size", {})))
    twin.load_state_dict(state["average"])
    return tree(export(twin)[0], TorchOps(device).const)


class Streams:
    """What the decoder receives for a batch of pictures at given settings."""

    def __init__(self, model: JointModel, predictor: Any, device: str) -> None:
        self.model, self.predictor, self.ops = model, predictor, TorchOps(device)
        self.tables = C.tables(self.ops)

    @torch.no_grad()
    def planes(self, x: Tensor, level: Tensor, m: Tensor, masks: list[str]) -> tuple[Tensor, Tensor]:
        """(dequantised y (B, C, h, w), token planes (B, M*D + 2, 2h, 2w)); level -1: none, m 0: no tokens."""
        cfg = self.model.cfg
        y, tokens = integers(self.model, x, level)
        y, tokens = y.float(), tokens.long()
        b, h, w, _ = tokens.shape
        grids = np.stack([sent_grid(h, w, k) for k in masks])
        known = torch.from_numpy(grids).to(x.device)
        planes = torch.zeros(b, cfg.m_max * cfg.dims + 2, h, w, device=x.device)
        pick = torch.nonzero(m > 0).flatten()
        if len(pick):
            at = torch.where(level[pick] < 0, cfg.rates, anchors(level[pick], cfg.rates))
            ctx = P.context(self.ops, self.tables, self.predictor, y[pick], at)
            given = masked(tokens[pick], known[pick], m[pick], cfg.codewords)
            fill = self.ops.argmax(P.logits(self.ops, self.tables, self.predictor, given, ctx))
            vectors = self.model.pq.decode(torch.where(known[pick][..., None], tokens[pick], fill))
            used = in_use(m[pick], cfg.m_max).repeat_interleave(cfg.dims, 1)
            planes[pick, :-2] = vectors * used[:, :, None, None]
            planes[pick, -2] = (m[pick].float() / cfg.m_max)[:, None, None]
            planes[pick, -1] = known[pick].float()
        rate = rates(level)
        return y.permute(0, 3, 1, 2) / self.model.gain(rate), planes


def decode(model: JointModel, planes: Tensor, y: Tensor, rate: Tensor, alpha: Tensor) -> Tensor:
    """Pictures (B, 3, 32h, 32w) of dequantised y (B, C, h, w); those with alpha (B,) = 0 are not looked at again."""
    alpha = alpha[:, None, None, None]
    with mixed(y.device):
        if model.feedback is not None:
            gain = model.gain(rate)
            y = torch.where(alpha > 0, answered(model, planes, y * gain, rate).float() / gain, y)
        x: Tensor = model.decoder(planes, model.decoder.correction(y, rate), alpha).float()
    return x


def draw(n: int, rng: np.random.Generator, tokens: bool = True) -> tuple[Tensor, Tensor, list[str], Tensor]:
    """Random (level, m, mask labels, alpha) of a batch; without tokens the same levels of the continuous stream."""
    level = (LEVELS * rng.random(n) ** 0.7).astype(int)
    m = tokens * rng.choice(5, size=n, p=[0.66, 0.14, 0.1, 0.04, 0.06])
    masks = [MASKS[k] for k in rng.choice(len(MASKS), size=n, p=[0.05, 0.1, 0.2, 0.25, 0.2, 0.2])]
    alone = (m > 0) & (rng.random(n) < 0.12)
    level = np.where(alone & (rng.random(n) < 0.5), -1, level)
    return torch.from_numpy(level), torch.from_numpy(m), masks, torch.from_numpy(np.where(alone, 0.0, 1.0)).float()


@torch.no_grad()
def validate(model: JointModel, streams: Streams, val: Tensor, nets: dict[str, nn.Module]) -> dict[str, float]:
    """PSNR and LPIPS of fixed settings: continuous only, fused, and the codebook alone."""
    out: dict[str, float] = {}
    settings = {
        "low": (24, 0, "none", 1.0),
        "y": (44, 0, "none", 1.0),
        "high": (54, 0, "none", 1.0),
        "higher": (63, 0, "none", 1.0),
        "most": (LEVELS - 1, 0, "none", 1.0),
        "y+1_4": (44, 1, "1_4", 1.0),
        "y+2all": (44, 2, "all", 1.0),
        "2all": (44, 2, "all", 0.0),
    }
    for name, (lv, m, mask, alpha) in settings.items():
        stats = np.zeros(2 + len(nets))
        for x in val.split(8):
            b, dev = len(x), x.device
            level, use = (torch.full((b,), k, device=dev) for k in (lv, m))
            y, planes = streams.planes(x, level, use, [mask] * b)
            rate = rates(level)
            o = decode(model, planes, y, rate, y.new_full((b,), alpha)).clamp(0, 1)
            psnr = -10 * torch.log10((x - o).square().mean((1, 2, 3)))
            marks = 255 * common_error(x, o).sqrt()
            scores = [f(x * 2 - 1, o * 2 - 1) for f in nets.values()]
            stats += [v.sum().item() for v in (psnr, marks, *scores)]
        out |= {f"{name}_{k}": float(v) for k, v in zip(["psnr", "common", *nets], stats / len(val), strict=True)}
    total = 0.0
    for x in val.split(8):
        level, slices = (torch.full((len(x),), k, device=x.device) for k in (50, len(model.cfg.slices) // 2))
        y, planes = streams.planes(x, level, torch.zeros_like(level), ["none"] * len(x))
        rate = rates(level)
        y, rate = in_layers(model, model.analysis.trunk(x), y, rate, 0.6 * rate, slices)
        o = decode(model, planes, y, rate, torch.ones_like(rate)).clamp(0, 1)
        total += nets["alex"](x * 2 - 1, o * 2 - 1).sum().item()
    return out | {"layers_alex": total / len(val)}


def main() -> None:
    cfg = parse(__doc__ or "")
    opts: dict[str, Any] = {
        # Weights of losses: one for all rates, or a list, from the lowest rate to the highest.
        "mse": 50.0,
        "squeeze": 1.0,
        "half": 0.0,  # LPIPS-squeeze at half the size
        "vgg": 0.0,
        "common": 0.0,
        "harm": 0.35,  # share of the batches whose finest detail the perceptual networks do not see
        "adversarial": 0.0,
        "cut": 0.1,
        "layered": 0.15,
        "tokens": True,  # False: the plain control, a decoder that never sees any
        "predictor": "",
        "val_every": 500,
        "val_n": 32,
        "lpips_crop": 128,
    }
    opts |= cfg.recipe
    opts["lpips_crop"] = min(opts["lpips_crop"], cfg.crop)
    dev = cfg.device
    torch.manual_seed(cfg.seed)
    source = torch.load(cfg.init, map_location="cpu", weights_only=True)
    cfg.net = {**source["net"], **cfg.net}
    net = NetConfig.of(cfg.net)
    model = JointModel(net).to(dev).requires_grad_(False).eval()
    model.decoder.requires_grad_(True)
    if model.feedback is not None:
        model.feedback.requires_grad_(True)
    critic = Critic().to(dev) if opts["adversarial"] else None
    if critic is not None:
        model.critic = critic
    loop = Loop(cfg, model, None, {**SPEEDS, "critic": 4.0, "feedback.shares": 20.0, "feedback": 3.0})
    model.to(memory_format=torch.channels_last)
    streams = Streams(model, load_predictor(opts["predictor"], net, dev), dev)
    photos = Photos(cfg.data, tuple(cfg.shards), dev, cfg.limit_shards)
    val = validation(cfg.val, 256, opts["val_n"], dev)
    squeeze, yard = (load_lpips(cfg.metrics, k).to(dev).requires_grad_(False) for k in ("squeeze", "alex"))
    weighed = Weighed(opts, squeeze, cfg.metrics, opts["lpips_crop"], 96, dev)
    rng = np.random.default_rng(cfg.seed + loop.step)
    seen: dict[str, float] = {}
    clock, at = loop.spent, loop.step
    while not loop.done:
        x = photos.batch(cfg.batch, cfg.crop, rng).contiguous(memory_format=torch.channels_last)
        level, m, masks, alpha = draw(cfg.batch, rng, opts["tokens"])
        level, m, alpha = level.to(dev), m.to(dev), alpha.to(dev)
        views = draw_views(len(x), cfg.crop, cfg.crop, opts["lpips_crop"], rng).to(dev)
        y, planes = streams.planes(x, level, m, masks)
        y = y * arrived(len(x), opts["cut"], net, y.device)
        rate = rates(level)
        some = torch.nonzero((m == 0) & (level > 16) & (torch.rand(len(x), device=dev) < opts["layered"])).flatten()
        if len(some):
            with torch.no_grad():
                y[some], rate[some] = in_layers(model, model.analysis.trunk(x[some]), y[some], rate[some])
        o = decode(model, planes, y, rate, alpha)
        with mixed(dev):
            terms = weighed.terms(x, o, views, *draw_harm(rng, opts["harm"]))
        common = common_error(x, o).mean()
        loss = opts["common"] * common + weighed.total(terms, rate)
        apart = common.new_zeros(())
        if critic is not None:
            with mixed(dev):
                apart = critic_loss(critic, x, o)
                loss = with_adversary(loss, o, critic, opts["adversarial"] * min(1.0, loop.progress / WARM)) + apart
        loop.update(loss)
        for k, v in {**terms, "common": common, "critic": apart}.items():
            seen[k] = seen.get(k, 0.0) + float(v.detach().mean())
        if loop.step % 50 == 0:
            taken = loop.step - at  # fewer after a resumption
            means = {k: v / taken for k, v in seen.items()}
            psnr = float(-10 * np.log10(means.pop("mse")))
            speed = taken * cfg.batch / max(1e-9, loop.spent - clock)
            loop.log(step=loop.step, min=loop.spent / 60, psnr=psnr, **means, img_s=speed)
            seen, clock, at = {}, loop.spent, loop.step
        if loop.step % opts["val_every"] == 0 or loop.done:
            scores = validate(loop.average, streams, val, {"squeeze": squeeze, "alex": yard})
            loop.log(event="val", step=loop.step, **scores)
            loop.restart_clock()
    loop.save()


if __name__ == "__main__":
    main()
