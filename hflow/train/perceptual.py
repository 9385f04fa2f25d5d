"""The perceptual network (hflow/nets/perceptual.py): a small student of LPIPS-squeeze, for refinement in the encoder.

    python -m hflow.train.perceptual CONFIG.toml [recipe.bundle=NAME]

The student learns the teacher's unit-length features, weighted as in its distance (Zhang et al., CVPR 2018, 3) and
projected onto what differs most between photos and what the bundle makes of them. What counts is differences: of a
photo and its decode, and of two pictures that are close to each other, as on the way of a refinement. The result is
`perceptual.safetensors` in the run's folder, to be copied into the bundle's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from hflow import bundles
from hflow.codec.geometry import LEVELS
from hflow.nets.analysis import quantize
from hflow.nets.bundle import Model, load
from hflow.nets.perceptual import FILE, SIZES, Perceptual
from hflow.nets.precision import mixed
from hflow.train.data import Photos
from hflow.train.loop import Loop, RunConfig, parse, save
from hflow.train.losses import load_lpips
from hflow.train.release import pack_floats
from hflow.train.streams import rates

GROUPS = (0,), (1,), (2,), (3, 4, 5, 6)  # the teacher's layers, by resolution
SIDE = 192


class Teacher:
    """LPIPS-squeeze's features (B, SIZES[k], h, w) at four resolutions, such that mean differences are of length 1.

    bases: of each resolution (SIZES[k], C); weights: of squared distances, so that they add up to the teacher's own.
    """

    def __init__(self, net: Any, bases: list[Tensor], weights: Tensor) -> None:
        self.net, self.bases, self.weights = net, bases, weights

    @classmethod
    def of(cls, net: Any, photos: Tensor, decoded: Tensor) -> Teacher:
        """With the principal components of the differences between photos and decodes (B, 3, H, W)."""
        bases, weights = [], torch.zeros(4)
        pairs = zip(whole(net, photos), whole(net, decoded), SIZES, strict=True)
        for k, (a, b, n) in enumerate(pairs):
            d = (a - b).permute(0, 2, 3, 1).flatten(0, 2)
            values, vectors = torch.linalg.eigh(d.T @ d / len(d))
            kept = values[-n:].sum()
            bases.append((vectors[:, -n:].T / kept.sqrt()).contiguous())
            weights[k] = values.sum()  # what the components leave out is thought to go with them
        return cls(net, bases, weights)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> list[Tensor]:
        return [F.conv2d(f, b[:, :, None, None]) for f, b in zip(whole(self.net, x), self.bases, strict=True)]


@torch.no_grad()
def whole(net: Any, x: Tensor) -> list[Tensor]:
    """The teacher's features of x (B, 3, H, W), at unit length, times the roots of their weights."""
    found = [
        F.normalize(f.float(), dim=1) * getattr(net, f"lin{k}").view(1, -1, 1, 1).clamp(min=0).sqrt()
        for k, f in enumerate(net.features(x * 2 - 1))
    ]
    return [torch.cat([found[k] for k in group], 1) for group in GROUPS]


class Student(nn.Module):
    """The network to be trained, with the bundle's analysis network, which is not."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.net = Perceptual(model.cfg)
        self.analysis = (model.nets.analysis,)  # a tuple: it is no part of this module

    def beside(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the analysis network sees at 1/8 and 1/16 of the resolution."""
        _, h8, h16 = self.analysis[0].features(x)
        return h8, h16

    def forward(self, x: Tensor) -> list[Tensor]:
        found: list[Tensor] = self.net(x, *self.beside(x))
        return found


@torch.no_grad()
def decodes(model: Model, x: Tensor, rng: np.random.Generator) -> Tensor:
    """What the bundle makes of photos (B, 3, SIDE, SIDE) at two random rates near each other: (2, B, 3, SIDE, SIDE)."""
    nets, out = model.nets, []
    found = nets.analysis.trunk(x)
    levels = rng.integers(4, LEVELS, size=len(x))
    for move in (0, 1):
        near = (levels + move * rng.integers(-8, 9, size=len(x))).clip(0, LEVELS - 1)
        rate = rates(torch.from_numpy(near).to(x.device))
        gain = nets.gain(rate)
        y = quantize(nets.analysis.latent(*found, rate) * gain) / gain
        planes = y.new_zeros(len(x), model.cfg.m_max * model.cfg.dims + 2, 2 * y.shape[2], 2 * y.shape[3])
        with mixed(x.device):
            out.append(nets.decoder(planes, nets.decoder.correction(y, rate)).float().clamp(0, 1))
    return torch.stack(out)


def pool(path: Path, model: Model, cfg: RunConfig, size: int, rng: np.random.Generator) -> Tensor:
    """(N, 3, 3, SIDE, SIDE) uint8: photos and two decodes of each; made once."""
    if not path.exists():
        photos, rows = Photos(cfg.data, tuple(cfg.shards), cfg.device, cfg.limit_shards), []
        for _ in range(-(-size // 8)):
            x = photos.batch(8, SIDE, rng)
            rows.append((torch.stack([x, *decodes(model, x, rng)], 1) * 255).round().to(torch.uint8).cpu())
        save(torch.cat(rows), path)
    return torch.load(path, weights_only=True)


class Known:
    """What does not change in training: photos, decodes and pictures near those, and what teacher and analysis see.

    Whole and at half the size; everything of a scale is (N, 3, C, h, w) fp16, on the device.
    """

    def __init__(self, data: Tensor, student: Student, teacher: Teacher, rng: np.random.Generator) -> None:
        self.scales: list[list[Tensor]] = [[], []]
        device = teacher.bases[0].device
        for half, rows in enumerate(self.scales):
            for k, chunk in enumerate(data.split(8)):
                x, a, b = (v.float() / 255 for v in chunk.to(device).unbind(1))
                step = torch.from_numpy(rng.uniform(0.08, 0.5, size=(len(x), 1, 1, 1))).float().to(device)
                other = torch.where(torch.from_numpy(rng.random((len(x), 1, 1, 1)) < 0.5).to(device), x, b)
                pictures = torch.cat([x, a, a + step * (other - a)])
                if half:
                    pictures = F.avg_pool2d(pictures, 2)
                seen = [pictures, *student.beside(pictures), *teacher(pictures)]
                found = [v.unflatten(0, (3, -1)).transpose(0, 1).half() for v in seen]
                if not k:  # room for all: they are most of the memory, and must not be there twice
                    rows += [v.new_empty(len(data), *v.shape[1:]) for v in found]
                for row, v in zip(rows, found, strict=True):
                    row[8 * k : 8 * k + len(v)] = v

    def batch(self, n: int, rng: np.random.Generator) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Pictures, what the analysis network sees, (3n, C, h, w), n of each kind; the teacher's features of each."""
        rows = self.scales[int(rng.random() < 0.3)]
        which = torch.from_numpy(rng.choice(len(rows[0]), n, replace=False)).to(rows[0].device)
        x, h8, h16, *features = (v[which].transpose(0, 1).float() for v in rows)
        given = [v.flatten(0, 1).contiguous(memory_format=torch.channels_last) for v in (x, h8, h16)]
        return given, [[f[k] for f in features] for k in range(3)]


def error(student: list[Tensor], teacher: list[Tensor]) -> Tensor:
    """How far differences (B, C, h, w) are off, relative to their size, at each resolution: (4,)."""
    out = []
    for s, t in zip(student, teacher, strict=True):
        off = (s[..., : t.shape[2], : t.shape[3]] - t).square().sum(1).mean((1, 2))
        out.append((off / (t.square().sum(1).mean((1, 2)) + 1e-3)).mean())
    return torch.stack(out)


def less(a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
    return [u - v for u, v in zip(a, b, strict=True)]


def main() -> None:
    cfg = parse(__doc__ or "")
    opts: dict[str, Any] = {"pool": 1600, "bundle": "", "val_every": 500, **cfg.recipe}
    dev = cfg.device
    torch.manual_seed(cfg.seed)
    model = load(bundles.find(opts["bundle"]) if opts["bundle"] else bundles.default(), dev)
    student = Student(model).to(dev)
    extra: dict[str, Any] = {}
    loop = Loop(cfg, student, extra)
    student.to(memory_format=torch.channels_last)
    rng = np.random.default_rng(cfg.seed)
    data = pool(loop.folder / "pool.pt", model, cfg, opts["pool"], rng)
    held, data = data[:64], data[64:]
    squeeze = load_lpips(cfg.metrics, "squeeze").to(dev).requires_grad_(False)
    if "bases" not in extra:
        some = (data[:: max(1, len(data) // 160)].float() / 255).to(dev)
        teacher = Teacher.of(squeeze, some[:, 0], some[:, 1])
        extra |= {"bases": teacher.bases, "weights": teacher.weights}
    teacher = Teacher(squeeze, extra["bases"], extra["weights"])
    for s in (student, loop.average):
        s.net.weights.copy_(teacher.weights)
    with torch.no_grad():
        known = Known(data, student, teacher, rng)
    rng = np.random.default_rng(cfg.seed + loop.step)
    seen, scores = np.zeros(8), {"ratio": 1.0}
    loop.restart_clock()
    while not loop.done:
        given, (tx, ta, tb) = known.batch(cfg.batch, rng)
        with mixed(torch.device(dev)):
            found = [f.unflatten(0, (3, -1)) for f in student.net(*given)]
        sx, sa, sb = ([f[k] for f in found] for k in range(3))
        far, near = error(less(sa, sx), less(ta, tx)), error(less(sb, sa), less(tb, ta))
        loop.update(far.sum() + near.sum() + 0.1 * error(sx, tx).sum())
        seen += np.concatenate([far.detach().numpy(force=True), near.detach().numpy(force=True)])
        if loop.step % 100 == 0:
            loop.log(step=loop.step, min=loop.spent / 60, off=[round(float(v), 3) for v in seen / 100])
            seen = np.zeros(8)
        if loop.step % opts["val_every"] == 0 or loop.done:
            scores = validate(loop.average, squeeze, held, dev)
            loop.log(event="val", step=loop.step, **scores)
            loop.restart_clock()
    loop.save()
    net = loop.average.net
    net.weights.div_(scores["ratio"])  # what a student cannot tell, it says too little of
    save_file(pack_floats(net.state_dict(), small=True), loop.folder / FILE)


def validate(student: Student, squeeze: Any, held: Tensor, device: str) -> dict[str, float]:
    """On pictures kept out: how distances go together, ours over the teacher's, and how far gradients point alike."""
    ours, theirs, cosines = [], [], []
    for row in held:
        x, a, b = (v[None].float().to(device) / 255 for v in row)
        for start in (a, b):
            y = start.clone().requires_grad_(True)
            d = student.net.distance(student(y), [f.detach() for f in student(x)])
            e = squeeze(y * 2 - 1, x * 2 - 1).mean()
            g, h = (F.avg_pool2d(torch.autograd.grad(v, y)[0], 4).flatten() for v in (d, e))
            ours.append(float(d.detach()))
            theirs.append(float(e.detach()))
            cosines.append(float(F.cosine_similarity(g, h, 0)))
    return {
        "correlation": float(np.corrcoef(ours, theirs)[0, 1]),
        "ratio": float(np.mean(ours) / np.mean(theirs)),
        "cosine": float(np.mean(cosines)),
    }


if __name__ == "__main__":
    main()
