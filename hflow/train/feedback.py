"""Recipe 5: the feedback network (hflow/nets/feedback.py), on what the finished codec decodes.

    python -m hflow.train.feedback CONFIG.toml init=runs/fusion/last.pt

Everything else stands still; the fusion recipe goes on with the decoder and this network together. There are no
tokens: files that have some are few.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hflow.codec.geometry import LEVELS
from hflow.nets.config import NetConfig
from hflow.nets.feedback import answered
from hflow.nets.precision import mixed
from hflow.train.data import Photos, validation
from hflow.train.fusion import draw
from hflow.train.joint import JointModel
from hflow.train.loop import Loop, parse
from hflow.train.losses import Weighed, common_error, draw_harm, draw_views, load_lpips
from hflow.train.streams import integers

SHOWN = 28, 44, 54, 63  # rate levels of the validation
SPEEDS = {"feedback.shares": 10.0}


def decode(model: JointModel, x: Tensor, level: Tensor, looks: int = 2) -> Tensor:
    """Pictures (B, 3, H, W) at rate levels (B,) as a decoder gives them after one look or two."""
    rate = level.float() / (LEVELS - 1)
    with torch.no_grad():
        y = integers(model, x, level, tokens=False)[0].float().permute(0, 3, 1, 2)
        planes = y.new_zeros(len(x), model.cfg.m_max * model.cfg.dims + 2, 2 * y.shape[2], 2 * y.shape[3])
    with mixed(x.device):
        y = answered(model, planes, y, rate) if looks == 2 else y
        return model.decoder(planes, model.decoder.correction(y / model.gain(rate), rate)).float()


@torch.no_grad()
def validate(model: JointModel, val: Tensor, nets: dict[str, nn.Module]) -> dict[str, float]:
    """PSNR and LPIPS after one look and after two."""
    out: dict[str, float] = {}
    for level in SHOWN:
        for looks in (1, 2):
            stats = np.zeros(1 + len(nets))
            for x in val.split(8):
                o = decode(model, x, torch.full((len(x),), level, device=x.device), looks).clamp(0, 1)
                psnr = -10 * torch.log10((x - o).square().mean((1, 2, 3)))
                stats += [v.sum().item() for v in (psnr, *(f(x * 2 - 1, o * 2 - 1) for f in nets.values()))]
            for k, v in zip(["psnr", *nets], stats / len(val), strict=True):
                out[f"{level}_{looks}_{k}"] = float(v)
    return out


def main() -> None:
    cfg = parse(__doc__ or "")
    opts: dict[str, Any] = {
        "mse": 50.0,
        "squeeze": 1.0,
        "half": 0.0,
        "vgg": 0.0,
        "common": 0.0,
        "harm": 0.35,
        "val_every": 200,
        "val_n": 32,
        "lpips_crop": 128,
    }
    opts |= cfg.recipe
    opts["lpips_crop"] = min(opts["lpips_crop"], cfg.crop)
    dev = cfg.device
    torch.manual_seed(cfg.seed)
    source = torch.load(cfg.init, map_location="cpu", weights_only=True)
    cfg.net = {**source["net"], **cfg.net}
    model = JointModel(NetConfig.of(cfg.net)).to(dev).requires_grad_(False).eval()
    assert model.feedback is not None, "net.feedback is the network's width"
    model.feedback.requires_grad_(True)
    loop = Loop(cfg, model, None, SPEEDS)
    model.to(memory_format=torch.channels_last)
    photos = Photos(cfg.data, tuple(cfg.shards), dev, cfg.limit_shards)
    val = validation(cfg.val, 256, opts["val_n"], dev)
    squeeze, yard = (load_lpips(cfg.metrics, k).to(dev).requires_grad_(False) for k in ("squeeze", "alex"))
    weighed = Weighed(opts, squeeze, cfg.metrics, opts["lpips_crop"], 96, dev)
    rng = np.random.default_rng(cfg.seed + loop.step)
    while not loop.done:
        x = photos.batch(cfg.batch, cfg.crop, rng).contiguous(memory_format=torch.channels_last)
        level = draw(cfg.batch, rng, tokens=False)[0].to(dev)
        views = draw_views(len(x), cfg.crop, cfg.crop, opts["lpips_crop"], rng).to(dev)
        o = decode(model, x, level)
        with mixed(dev):
            terms = weighed.terms(x, o, views, *draw_harm(rng, opts["harm"]))
        common = common_error(x, o).mean()
        loop.update(opts["common"] * common + weighed.total(terms, level.float() / (LEVELS - 1)))
        loop.tally({**terms, "common": common})
        if loop.step % opts["val_every"] == 0 or loop.done:
            loop.log(event="val", step=loop.step, **validate(loop.average, val, {"squeeze": squeeze, "alex": yard}))
            loop.restart_clock()
    loop.save()


if __name__ == "__main__":
    main()
