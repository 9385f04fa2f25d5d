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
    """Nearest semi-orthogonal matrix of g (..., rows, columns), roughly, by Newton-Schulz."""
    rows, columns = g.shape[-2:]
    x = g.mT if rows > columns else g
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    if x.shape[-1] >= 2 * x.shape[-2]:
        x = _iterate_gram(x, steps)
    else:
        x = _iterate(x.bfloat16() if has_bf16(g.device.type) else x, steps)
    return x.mT if rows > columns else x


def _iterate(x: Tensor, steps: int) -> Tensor:
    for _ in range(steps):
        s = x @ x.mT
        x = A * x + (B * s + C * (s @ s)) @ x
    return x


def _iterate_gram(x: Tensor, steps: int) -> Tensor:
    """The same on x @ x.T alone: two products of x's size instead of ten. Needs fp32, as it squares the condition."""
    s = x @ x.mT
    eye = torch.eye(s.shape[-1], dtype=s.dtype, device=s.device)
    q = eye
    for k in range(steps):
        p = B * s + C * (s @ s) + A * eye
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
            alike: dict[tuple[int, ...], list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    alike.setdefault(tuple(p.shape), []).append(p)
            # Matrices of one shape go through the iteration together: on a GPU most of them are too small alone.
            for ps in alike.values():
                self._step(ps, group["lr"], group["momentum"])

    def _step(self, ps: list[Tensor], lr: float | Tensor, momentum: float) -> None:
        """Parameters of one shape, whose momentum lies in one tensor, kept with the first of them."""
        # Columns in the order of memory (channels last), which costs no copy; their order does not matter.
        laid = [p.grad.movedim(1, -1) for p in ps if p.grad is not None]
        grads = torch.stack([g.flatten(1) for g in laid]).nan_to_num_(0.0, 0.0, 0.0)
        state = self.state[ps[0]]
        if not state:
            state["momentum"] = torch.zeros_like(grads)
        mean = state["momentum"].lerp_(grads, 1 - momentum)
        update = orthogonalise(torch.lerp(grads, mean, momentum))
        update = update * (0.2 * max(update.shape[1:]) ** 0.5 * lr)
        torch._foreach_sub_(ps, [u.view(g.shape).movedim(-1, 1) for u, g in zip(update, laid, strict=True)])


def is_matrix(name: str, p: Tensor, least: int = 48) -> bool:
    """Whether Muon should train a parameter: weights of wide layers, not tables, biases, bases or thin layers."""
    wide = p.ndim >= 2 and min(p.shape[0], p[0].numel()) >= least
    return wide and name.endswith(("weight", ".w")) and ".linear" not in name
