"""The optimizer for matrices."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from hflow.train.loop import Loop, RunConfig
from hflow.train.muon import Muon, is_matrix, orthogonalise


@pytest.mark.parametrize("shape", [(48, 200), (200, 48), (64, 64)])
def test_directions_get_equal_size(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    g = u @ torch.diag(torch.logspace(0, -1.5, min(shape))) @ v  # thirty times stronger in one direction than another
    sizes = torch.linalg.svdvals(orthogonalise(1e-3 * g).float())
    assert sizes.min() > 0.5 and sizes.max() < 1.35
    assert (orthogonalise(g).float() * (u @ v)).sum() > 0.9 * sizes.sum()  # and they are the gradient's own


def test_nothing_comes_of_no_gradient() -> None:
    zero = torch.zeros(48, 60)
    assert torch.equal(orthogonalise(zero).float(), zero)


@pytest.mark.parametrize("layer", [nn.Linear(64, 48, bias=False), nn.Conv2d(16, 48, 3, bias=False)])
def test_a_step_has_the_size_that_the_rate_says(layer: nn.Module) -> None:
    (p,) = layer.parameters()
    before = p.detach().clone()
    p.grad = torch.randn_like(p)
    Muon([p], lr=1e-2).step()
    moved = p.detach() - before
    assert float(moved.square().mean().sqrt()) == pytest.approx(0.2 * 1e-2, rel=0.25)
    assert float((moved * p.grad).sum()) < 0  # downhill


def test_both_memory_formats_take_the_same_step() -> None:
    torch.manual_seed(0)
    w, g = torch.randn(48, 16, 3, 3), torch.randn(48, 16, 3, 3)
    ends = []
    for fmt in (torch.contiguous_format, torch.channels_last):
        p = nn.Parameter(w.clone(memory_format=fmt))
        p.grad = g.clone(memory_format=fmt)
        Muon([p], lr=0.1).step()
        ends.append(p.detach())
    torch.testing.assert_close(ends[0], ends[1])


def test_tables_biases_and_thin_layers_are_left_to_adam() -> None:
    layer = nn.Conv2d(64, 64, 3)
    assert is_matrix("body.0.a.weight", layer.weight)
    assert layer.bias is not None and not is_matrix("body.0.a.bias", layer.bias)
    assert not is_matrix("full.0.weight", nn.Conv2d(8, 8, 5).weight)
    assert not is_matrix("gain.log_gain", torch.zeros(64, 128))
    assert not is_matrix("analysis.linear.weight", torch.zeros(128, 3, 32, 32))
    assert not is_matrix("analysis.linear16.weight", torch.zeros(48, 3, 16, 16))


def test_a_run_with_muon_goes_on_where_it_was_saved(tmp_path: Path) -> None:
    def start() -> Loop[nn.Linear]:
        torch.manual_seed(1)
        cfg = RunConfig(out=str(tmp_path), device="cpu", minutes=1e6, warmup=1, lr=1e-2, optimizer="muon")
        return Loop(cfg, nn.Linear(64, 48))

    def step(loop: Loop[nn.Linear], k: int) -> None:
        x = torch.randn(16, 64, generator=torch.Generator().manual_seed(k))
        loop.update((loop.model(x) - x[:, :48]).square().mean())

    first = start()
    for k in range(3):
        step(first, k)
    first.save()
    again = start()
    assert again.step == 3
    for loop in (first, again):
        step(loop, 3)
    assert torch.equal(first.model.weight, again.model.weight)
    assert torch.equal(first.model.bias, again.model.bias)
