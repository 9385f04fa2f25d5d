"""Muon: momentum, orthogonalised, for the weights that are matrices; AdamW for the rest.

Jordan et al., 2024 (https://kellerjordan.github.io/posts/muon); step size matched to AdamW's as in Liu et al., "Muon is
scalable for LLM training", 2025, 2.2. Rate, distortion and perceptual gradients pull different ways with very different
curvature, and a step of equal size in every direction gets further than Adam's (docs/training.md has the comparison).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from hflow.nets.precision import has_bf16

# Quintic iteration of the original post: singular values end within 0.7 to 1.2, which is all that is needed.
A, B, C = 3.4445, -4.7750, 2.0315


def orthogonalise(g: Tensor, steps: int = 5) -> Tensor:
    """Nearest semi-orthogonal matrix of g (rows, columns), roughly, by Newton-Schulz."""
    x = g.T if g.shape[0] > g.shape[1] else g
    x = x / (x.norm() + 1e-7)
    if x.shape[1] >= 2 * x.shape[0]:
        x = _iterate_gram(x, steps)
    else:
        x = _iterate(x.bfloat16() if has_bf16(g.device.type) else x, steps)
    return x.T if g.shape[0] > g.shape[1] else x


def _iterate(x: Tensor, steps: int) -> Tensor:
    for _ in range(steps):
        s = x @ x.T
        x = torch.addmm(x, torch.addmm(s, s, s, beta=B, alpha=C), x, beta=A)
    return x


def _iterate_gram(x: Tensor, steps: int) -> Tensor:
    """The same on x @ x.T alone: two products of x's size instead of ten. Needs fp32, as it squares the condition."""
    s = x @ x.T
    eye = torch.eye(len(s), dtype=s.dtype, device=s.device)
    q = eye
    for k in range(steps):
        p = torch.addmm(s, s, s, beta=B, alpha=C) + A * eye
        q = p if k == 0 else p @ q
        if k < steps - 1:
            s = p @ (p @ s)
    return q @ x


class Muon(torch.optim.Optimizer):
    """Parameters must have two dimensions or more. `lr` means what it means for AdamW: the update's RMS is 0.2 lr."""

    def __init__(self, params: Iterable[Any], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                m = state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                g = torch.lerp(p.grad, m, group["momentum"])
                # Columns in the order of memory (channels last), which costs no copy; their order does not matter.
                g = g.movedim(1, -1) if g.ndim > 2 else g
                update = orthogonalise(g.flatten(1))
                scale = 0.2 * max(update.shape) ** 0.5 * group["lr"]
                update = update.view(g.shape)
                p.add_(update.movedim(-1, 1) if g.ndim > 2 else update, alpha=-scale)


def is_matrix(name: str, p: Tensor, least: int = 48) -> bool:
    """Whether Muon should train a parameter: weights of wide layers, not tables, biases, bases or thin layers."""
    wide = p.ndim >= 2 and min(p.shape[0], p[0].numel()) >= least
    return wide and name.endswith("weight") and ".linear" not in name
