"""Recipe 1: both streams and the fusion decoder together (transforms, tokenizer, gains), against a float rate model.

    python -m hflow.train.joint CONFIG.toml [key=value ...]

Every sample draws a rate, a number of sub-quantizers (often none) and a share of sent tokens, so that one network
serves all settings. The Lagrange multiplier of each anchor rate is steered until its measured rate meets the target.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hflow.codec.geometry import LEVELS, RATE_ONE
from hflow.nets.analysis import Analysis, Gain, TokenHead, quantize
from hflow.nets.blocks import between
from hflow.nets.config import NetConfig
from hflow.nets.feedback import Feedback
from hflow.nets.fusion import FusionDecoder
from hflow.nets.precision import mixed
from hflow.nets.tokenizer import ProductQuantizer
from hflow.train.data import Photos, send, validation
from hflow.train.loop import Loop, RunConfig, parse
from hflow.train.losses import (
    Harm,
    Weighed,
    common_error,
    draw_harm,
    draw_views,
    load_lpips,
)
from hflow.train.proxy import RateProxy
from hflow.train.recorded import Recorded


class JointModel(nn.Module):
    """Everything that maps an image to two integer streams and back."""

    def __init__(self, cfg: NetConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.analysis, self.gain, self.head = Analysis(cfg), Gain(cfg), TokenHead(cfg)
        self.pq = ProductQuantizer(cfg.m_max, cfg.codewords, cfg.dims)
        self.decoder = FusionDecoder(cfg)
        self.feedback = Feedback(cfg).requires_grad_(False) if cfg.feedback else None  # has a recipe of its own
        self.proxy = RateProxy(cfg)
        self.cut = 0.0  # share of training samples whose last slices do not arrive
        self.layered = 0.0  # and of those in two layers, of which the upper one breaks off

    def forward(self, x: Tensor, rate: Tensor, m: Tensor, keep: Tensor, alpha: Tensor) -> dict[str, Tensor]:
        """x (B, 3, H, W); rate (B,) in [0, 1]; m (B,) sub-quantizers; keep (B, H/16, W/16) 1 where sent."""
        h16, linear = self.analysis.trunk(x)
        y = self.analysis.latent(h16, linear, rate)
        gain = self.gain(rate)
        scaled = y.float() * gain
        hard = scaled + (quantize(scaled) - scaled).detach()
        if self.training and self.cut:
            hard = hard * arrived(len(x), self.cut, self.cfg, x.device)
        arriving, told = hard / gain, rate
        n = round(self.layered * len(x)) if self.training else 0
        if n:
            some, its = in_layers(self, (h16[:n], linear[:n]), arriving[:n], rate[:n])
            arriving, told = torch.cat([some, arriving[n:]]), torch.cat([its, rate[n:]])
        cont = self.decoder.correction(arriving, told)
        # Where alpha is 0 the tokens must tell everything: their head does not see the continuous stream.
        vectors, idx, commit = self.pq(self.head(h16, cont[0].detach() * alpha), in_use(m, self.cfg.m_max))
        tokens = token_planes(vectors, m, keep, self.cfg)
        soft, true = self.proxy(scaled, rate)
        return {"x": self.decoder(tokens, cont, alpha), "soft": soft, "true": true, "commit": commit, "idx": idx}


@functools.cache
def slice_ends(slices: tuple[int, ...], device: torch.device) -> Tensor:
    """Where slices end, from 0 on; kept, as a recorded step may bring nothing from the host."""
    return torch.tensor([0, *slices], device=device).cumsum(0)


def arrived(n: int, share: float, cfg: NetConfig, device: torch.device) -> Tensor:
    """(n, latent, 1, 1): 0 for the last slices, one or more, in about a `share` of the samples, else 1.

    So that the beginning of a file is a picture that the decoder has met before.
    """
    ends = slice_ends(cfg.slices, device)[1:]
    last = torch.randint(1, len(cfg.slices), (n,), device=device)
    last = torch.where(torch.rand(n, device=device) < share, last, len(cfg.slices))
    return (torch.arange(cfg.latent, device=device) < ends[last - 1][:, None]).float()[:, :, None, None]


def in_layers(
    model: JointModel, trunk: tuple[Tensor, Tensor], y: Tensor, rate: Tensor, below: Tensor | None = None,
    slices: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """What a decoder has of pictures in two layers (`hflow encode --progressive`) when the upper one breaks off.

    trunk: what `Analysis.trunk` gives; y (B, C, h, w) dequantised and rate (B,): the upper layer; below (B,): the rate
    of the lower one; slices (B,): how many the upper one brings; both random by default. Gives y and the rate that
    the decoder is told, as `hflow.codec.enhancement.merged` does.
    """
    n, parts = len(y), model.cfg.slices
    below = rate * (0.25 + 0.5 * torch.rand(n, device=y.device)) if below is None else below
    slices = torch.randint(len(parts) + 1, (n,), device=y.device) if slices is None else slices
    with torch.no_grad():
        gain = model.gain(below)
        coarse = quantize(model.analysis.latent(*trunk, below).float() * gain) / gain
    ends = slice_ends(parts, y.device)
    known = torch.arange(y.shape[1], device=y.device) < ends[slices][:, None]
    return torch.where(known[:, :, None, None], y, coarse), below + (rate - below) * slices / len(parts)


def in_use(m: Tensor, m_max: int) -> Tensor:
    """Numbers of sub-quantizers (B,) to (B, m_max) bool: the first m."""
    return torch.arange(m_max, device=m.device) < m[:, None]


def token_planes(vectors: Tensor, m: Tensor, keep: Tensor, cfg: NetConfig) -> Tensor:
    """The fusion decoder's token input: vectors of the sub-quantizers in use at sent places, share used, sent flag."""
    used = in_use(m, cfg.m_max).repeat_interleave(cfg.dims, 1)
    sent = (keep * (m > 0)[:, None, None])[:, None].to(vectors.dtype)
    share = (m / cfg.m_max)[:, None, None, None].to(vectors.dtype).expand_as(sent)
    return torch.cat([vectors * used[:, :, None, None] * sent, share, sent], 1)


def draw_settings(n: int, h: int, w: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random (rate, m, keep, alpha) of a batch; h and w on the token grid."""
    # Most practice where most files are: 0.008 bpp and up.
    most = (LEVELS - 1) / RATE_ONE
    rate = torch.from_numpy(np.where(rng.random(n) < 0.15, 0.35 * rng.random(n), rng.uniform(0.35, most, n))).float()
    m = torch.from_numpy(rng.choice(5, size=n, p=[0.76, 0.12, 0.05, 0.03, 0.04]))
    share = torch.from_numpy(rng.choice([1.0, 0.5, 0.25], size=n, p=[0.5, 0.2, 0.3])).float()
    alpha = torch.from_numpy(np.where((m.numpy() > 1) & (rng.random(n) < 0.15), 0.0, 1.0)).float()
    share = torch.where(alpha == 0, torch.ones_like(share), share)
    keep = (torch.from_numpy(rng.random((n, h, w))).float() < share[:, None, None]).float()
    return rate, m, keep, alpha


def targets(cfg: NetConfig, low: float, high: float) -> Tensor:
    """Target bpp of the continuous stream at each anchor rate, geometric."""
    return torch.from_numpy(np.geomspace(low, high, cfg.rates)).float()


# The linear bases have entries of a few hundredths: a full step would be noise. The rate model has to follow.
SPEEDS = {"proxy": 2.5, "gain": 4.0, "analysis.linear": 0.1, "decoder.correction.linear": 0.1}


def steer(step: int, fitted: bool, batch: int) -> float:
    """Step size of the rate controller per sample: off until the rate model means something, then coarse, then fine."""
    return (0.0 if step < 400 and not fitted else 0.12 if step < 1500 else 0.05) / batch


def fit_rate(model: JointModel, photos: Photos, cfg: RunConfig, steps: int) -> None:
    """Teaches a fresh rate model the latents as they are, so that its first guesses do not pull the transforms."""
    rng = np.random.default_rng(cfg.seed)
    opt = torch.optim.Adam(model.proxy.parameters(), lr=2e-3)
    for k in range(steps):
        x = photos.batch(cfg.batch, cfg.crop, rng)
        rate = draw_settings(cfg.batch, 1, 1, rng)[0].to(cfg.device)
        with torch.no_grad(), mixed(cfg.device):
            scaled = model.analysis(x, rate)[1].float() * model.gain(rate)
        _, true = model.proxy(scaled, rate)
        opt.param_groups[0]["lr"] = 2e-3 * (1 - k / steps)
        opt.zero_grad()
        (true / (cfg.crop * cfg.crop)).mean().backward()
        opt.step()


@torch.no_grad()
def validate(model: JointModel, val: Tensor, lpips: dict[str, nn.Module], rates: list[float]) -> dict[str, float]:
    out: dict[str, float] = {}
    n, _, hh, ww = val.shape
    for m in (0, 2):
        for r in rates if m == 0 else rates[1:2]:
            stats = np.zeros(2 + len(lpips))
            for k in range(0, n, 16):
                x = val[k : k + 16]
                b = x.shape[0]
                one = torch.ones(b, device=x.device)
                with mixed(x.device):
                    o = model(
                        x,
                        r * one,
                        (m * one).long(),
                        torch.ones(b, hh // 16, ww // 16, device=x.device),
                        one[:, None, None, None],
                    )
                    y = o["x"].float().clamp(0, 1)
                    scores = [f(x * 2 - 1, y * 2 - 1).float().sum().item() for f in lpips.values()]
                psnr = -10 * torch.log10((x - y).square().mean((1, 2, 3)))
                stats += [o["true"].sum().item() / (hh * ww), psnr.sum().item(), *scores]
            for name, v in zip(["bpp", "psnr", *lpips], stats / n, strict=True):
                out[f"m{m}r{r:.2f}_{name}"] = float(v)
    return out


def main() -> None:
    cfg = parse(__doc__ or "")
    net = NetConfig.of(cfg.net)
    # Weights of losses: one for all rates, or a list, from the lowest rate to the highest; `half` is LPIPS-squeeze at
    # half the size.
    opts: dict[str, Any] = {"mse": 50.0, "squeeze": 1.0, "half": 0.0, "vgg": 0.0}
    opts |= {"commit": 0.02, "low": 0.003, "high": 0.09}
    opts |= {"val_every": 1000, "val_n": 32, "lpips_crop": 128, "channels_last": True, "max_log_lambda": 4.3}
    opts |= {"min_log_lambda": -3.0, "log_lambda": [3.2, 1.2], "fit_rate": 0, "val_rates": [0.3, 0.65, 1.0]}
    opts |= {"cut": 0.1, "layered": 0.1, "vgg_crop": 96, "common": 0.0, "harm": 0.35}
    opts |= cfg.recipe
    opts["lpips_crop"] = min(opts["lpips_crop"], cfg.crop)
    torch.manual_seed(cfg.seed)
    dev = cfg.device
    model = JointModel(net).to(dev)
    model.cut, model.layered = opts["cut"], opts["layered"]
    lowest, highest = opts["log_lambda"]
    extra = {"log_lambda": torch.linspace(lowest, highest, net.rates, device=dev)}
    record = cfg.record and dev != "cpu"
    if opts["channels_last"]:
        model.to(memory_format=torch.channels_last)  # before the loop copies it: averaging wants equal layouts
    loop = Loop(cfg, model, extra, SPEEDS, record)
    photos = Photos(cfg.data, tuple(cfg.shards), dev, cfg.limit_shards)
    val = validation(cfg.val, 256, opts["val_n"], dev)
    squeeze = load_lpips(cfg.metrics, "squeeze").to(dev).requires_grad_(False)
    yard = load_lpips(cfg.metrics, "alex").to(dev).requires_grad_(False)
    weighed = Weighed(opts, squeeze, cfg.metrics, opts["lpips_crop"], opts["vgg_crop"], dev)
    goal = targets(net, opts["low"], opts["high"]).to(dev)
    if loop.step == 0 and opts["fit_rate"]:
        fit_rate(model, photos, cfg, opts["fit_rate"])
        loop.average.proxy.load_state_dict(model.proxy.state_dict())
        scores = validate(loop.average, val, {"squeeze": squeeze, "alex": yard}, opts["val_rates"])
        loop.log(event="val", step=0, **scores)
        loop.restart_clock()
    rng = np.random.default_rng(cfg.seed + loop.step)
    fitted = opts["fit_rate"] > 0 or bool(cfg.init and not any(k.startswith("proxy.") for k in loop.missing))
    run = torch.compile(model) if cfg.compile else model
    anchors = net.rates - 1
    log_lambda = extra["log_lambda"]
    seen = {k: torch.zeros((), device=dev) for k in (*Weighed.NAMES, "common", "bpp", "commit")}
    used = torch.zeros(net.m_max, net.codewords, device=dev)
    clock, at = loop.spent, loop.step
    pixels = cfg.crop**2

    def learn(
        harm: Harm, x: Tensor, rate: Tensor, m: Tensor, keep: Tensor, alpha: Tensor, kernel: Tensor, views: Tensor,
        pace: Tensor,
    ) -> None:  # fmt: skip
        """One step; pace (1,): how far the rate controller goes."""
        lam, want = (between(v, rate).exp() for v in (log_lambda, goal.log()))
        with mixed(dev):
            o = run(x, rate, m, keep, alpha[:, None, None, None])
            y = o["x"].float()
            terms = weighed.terms(x, y, views, harm, kernel)
        common = common_error(x, y).mean()
        bpp = o["true"].detach().float() / pixels
        # The surrogate carries the gradient to the latents, the true rate trains the rate model itself.
        rate_loss = (lam * (o["soft"] / pixels)).mean() + 2.0 * (o["true"] / pixels).mean()
        loss = weighed.total(terms, rate) + opts["common"] * common + rate_loss + opts["commit"] * o["commit"]
        loop.learn(loss)
        with torch.no_grad():
            err = (bpp / want - 1).clamp(-1, 1) * pace
            low = (rate * anchors).floor().clamp(max=anchors - 1).long()
            share = (rate * anchors - low).clamp(max=1)
            log_lambda.index_add_(0, low, err * (1 - share))
            log_lambda.index_add_(0, low + 1, err * share)
            log_lambda.clamp_(opts["min_log_lambda"], opts["max_log_lambda"])
            used.scatter_(1, o["idx"].flatten(0, 2).T, 1.0)
            now = {**terms, "common": common, "bpp": bpp / want, "commit": o["commit"]}
            for k, v in now.items():
                seen[k] += v.detach().float().mean()

    step = Recorded(learn, record)
    model.train()
    while not loop.done:
        x = photos.batch(cfg.batch, cfg.crop, rng)
        if opts["channels_last"]:
            x = x.contiguous(memory_format=torch.channels_last)
        harm, kernel = draw_harm(rng, opts["harm"])
        views = draw_views(cfg.batch, cfg.crop, cfg.crop, opts["lpips_crop"], rng)
        settings = draw_settings(cfg.batch, cfg.crop // 16, cfg.crop // 16, rng)
        pace = torch.tensor([steer(loop.step, fitted, cfg.batch)])
        loop.begin()
        step(harm, x, *(send(v, dev) for v in (*settings, kernel, views, pace)))
        loop.end()
        if loop.step % cfg.log_every == 0:
            n = cfg.log_every
            speed = (loop.step - at) * cfg.batch / max(1e-9, loop.spent - clock)
            clock, at = loop.spent, loop.step
            means = {k: float(v) / n for k, v in seen.items()}
            psnr = float(-10 * np.log10(max(1e-9, means.pop("mse"))))
            lam_now = [round(float(v), 2) for v in log_lambda]
            share = float(used.mean())
            loop.log(step=loop.step, min=loop.spent / 60, psnr=psnr, **means, used=share, img_s=speed, lam=lam_now)
            for v in (used, *seen.values()):
                v.zero_()
        if loop.step % opts["val_every"] == 0 or loop.done:
            loop.average.eval()
            loop.log(
                event="val",
                step=loop.step,
                **validate(loop.average, val, {"squeeze": squeeze, "alex": yard}, opts["val_rates"]),
            )
            photos.refresh()
            loop.restart_clock()
    loop.save()


if __name__ == "__main__":
    main()
