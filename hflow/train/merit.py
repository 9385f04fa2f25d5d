"""Which losses pull a network to where the yardstick would have it, and what of PSNR they take for it.

    python -m hflow.train.merit runs/fusion/last.pt --rates 0.75,0.8,0.85,0.9,0.95,1

Of every loss, of the yardstick (LPIPS-Alex, never trained on) and of PSNR: the gradient with respect to the weights,
over validation crops. Two gradients agree as far as their product is above 0, taken of different batches only, so that
noise which two losses share does not count. Less squared error buys LPIPS for PSNR at some exchange rate; a loss's
merit is what it gains of LPIPS-Alex beyond what its share of PSNR would have bought that way, by the length of a
batch's gradient. Errors are the jackknife's, over batches. It is a first-order answer in minutes to what a training run
tells in an hour: it says what to try, not what to keep (docs/training.md).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from hflow.nets.config import NetConfig
from hflow.nets.precision import mixed
from hflow.train.data import validation
from hflow.train.joint import JointModel
from hflow.train.losses import (
    EarlyVGG,
    common_error,
    degrade_pair,
    draw_views,
    load_lpips,
    lpips_layers,
    lpips_loss,
    view,
)

YARD, PSNR = "yardstick", "log mse"
BATCH, PIECE = 8, 200_000  # crops; weights whose products are taken at a time


def losses(nets: dict[str, nn.Module], x: Tensor, y: Tensor, rng: np.random.Generator) -> dict[str, Tensor]:
    """Every loss of pictures x and decodes y (B, 3, S, S), a scalar each."""
    size = x.shape[2] - 32
    views = draw_views(len(x), x.shape[2], x.shape[3], size, rng).to(x.device)
    seen = view(x, views, size), view(y, views, size)
    blur = torch.tensor([0.0, 0.04, 0.24, 0.44, 0.24, 0.04, 0.0])
    squared = (x - y).square().mean((1, 2, 3))
    squeeze = lpips_layers(nets["squeeze"], *seen)
    found = {
        YARD: sum(lpips_layers(nets["alex"], x, y)),
        PSNR: (squared + 1e-4).log(),
        "mse": squared,
        "mse at half the size": (nn.functional.avg_pool2d(x - y, 2)).square().mean((1, 2, 3)),
        "common": common_error(x, y),
        "vgg": nets["vgg"](*(t[:, :, :128, :128] for t in seen)),
        "squeeze": sum(squeeze),
        **{f"squeeze, layer {k + 1}": v for k, v in enumerate(squeeze)},
        "squeeze at half the size": lpips_loss(nets["squeeze"], *degrade_pair(*seen, 0.5, blur)),
        "squeeze, blurred": lpips_loss(nets["squeeze"], *degrade_pair(*seen, "blur", blur)),
    }
    return {k: torch.as_tensor(v).float().mean() for k, v in found.items()}


def gradients(
    model: JointModel, part: str, nets: dict[str, nn.Module], x: Tensor, rate: Tensor, rng: np.random.Generator
) -> tuple[list[str], Tensor]:
    """Names of losses, and their gradients with respect to the weights called `part`..., (losses, weights) bf16."""
    weights = [p for name, p in model.named_parameters() if name.startswith(part)]
    b, (h, w) = len(x), (n // 16 for n in x.shape[2:])
    with mixed(x.device):
        none, full = torch.zeros(b, dtype=torch.long, device=x.device), torch.ones(b, h, w, device=x.device)
        out = model(x, rate, none, full, torch.ones(b, 1, 1, 1, device=x.device))["x"].float()
        y = out.detach().requires_grad_(True)
        found = losses(nets, x, y, rng)
    rows = []
    for loss in found.values():
        (down,) = torch.autograd.grad(loss, y, retain_graph=True)
        each = torch.autograd.grad(out, weights, down, retain_graph=True, allow_unused=True)
        rows.append(torch.cat([g.flatten() for g in each if g is not None]).bfloat16())
    return list(found), torch.stack(rows)


def products(batches: list[Tensor]) -> Tensor:
    """Inner products of gradients, (batches, losses, batches, losses)."""
    k, n = len(batches), len(batches[0])
    total = torch.zeros(k * n, k * n, device=batches[0].device)
    for start in range(0, batches[0].shape[1], PIECE):
        piece = torch.cat([b[:, start : start + PIECE] for b in batches]).float()
        total += piece @ piece.T
    return total.view(k, n, k, n).cpu()


def across(gram: Tensor) -> Tensor:
    """The mean product of two losses' gradients of different batches, (losses, losses)."""
    k = len(gram)
    same = torch.stack([gram[i, :, i] for i in range(k)]).sum(0)
    return (gram.sum((0, 2)) - same) / (k * (k - 1))


def merits(gram: Tensor, yard: int, psnr: int, mse: int) -> Tensor:
    """By loss: gain of the yardstick beyond what squared error buys for the same PSNR, over a gradient's length."""
    c = across(gram)
    exchange = -c[mse, yard] / c[mse, psnr]
    length = torch.stack([g[:, i].diagonal() for i, g in enumerate(gram)]).mean(0).sqrt()
    return (c[:, yard] + exchange * c[:, psnr]) / length


def jackknife(gram: Tensor, what: Callable[[Tensor], Tensor]) -> Tensor:
    """The standard error of what(gram), leaving out one batch at a time."""
    k = len(gram)
    keep = [[j for j in range(k) if j != i] for i in range(k)]
    v = torch.stack([what(gram[some][:, :, some]) for some in keep])
    return ((k - 1) / k * (v - v.mean(0)).square().sum(0)).sqrt()


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("checkpoint", help="a joint or fusion run's; its averaged weights are looked at")
    ap.add_argument("--part", default="decoder.", help="prefix of the weights (default: decoder.)")
    ap.add_argument("--rates", default="0.3,0.45,0.6,0.7,0.8,0.9,1", help="rates in 0..1, in turn")
    ap.add_argument("-n", type=int, default=96, help="validation crops of 256 pixels, eight to a batch")
    ap.add_argument("--val", default="../shared/data/val.tar")
    ap.add_argument("--metrics", default="../shared/metrics")
    args = ap.parse_args()
    if args.n <= 2 * BATCH:
        ap.error(f"-n is more than {2 * BATCH}: errors need three batches")
    dev = "cuda" if torch.cuda.is_available() else "cpu"
    state = torch.load(args.checkpoint, map_location=dev, weights_only=True)
    model = JointModel(NetConfig.of(state["net"])).to(dev)
    model.load_state_dict(state["average"], strict=False)
    model.eval()
    nets = {k: load_lpips(args.metrics, k).to(dev).requires_grad_(False) for k in ("squeeze", "alex")}
    nets["vgg"] = EarlyVGG(args.metrics).to(dev).requires_grad_(False)
    rng, rates = np.random.default_rng(0), [float(r) for r in args.rates.split(",")]
    names: list[str] = []
    batches: list[Tensor] = []
    for k, x in enumerate(validation(args.val, 256, args.n, dev).split(BATCH)):
        rate = torch.tensor([rates[(k * BATCH + j) % len(rates)] for j in range(len(x))], device=dev)
        names, found = gradients(model, args.part, nets, x, rate, rng)
        batches.append(found)
    gram = products(batches)
    at = [names.index(k) for k in (YARD, PSNR, "mse")]
    table = {"with the yardstick": lambda g: across(g)[:, at[0]], "merit": lambda g: merits(g, *at)}
    print(f"{'loss':26s}" + "".join(f"{k:>28s}" for k in table))
    columns = [(f(gram), jackknife(gram, f)) for f in table.values()]
    for i, name in enumerate(names):
        print(f"{name:26s}" + "".join(f"{float(v[i]):+16.3g} +-{float(e[i]):9.2g}" for v, e in columns))


if __name__ == "__main__":
    main()
