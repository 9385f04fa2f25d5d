"""What every recipe shares: resuming, averaging, configuration, ending in order."""

from __future__ import annotations

import copy
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hflow.train.loop import Loop, RunConfig, parse


def net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def config(tmp_path: Path, **settings: Any) -> RunConfig:
    return RunConfig(**{"out": str(tmp_path / "run"), "device": "cpu", "minutes": 1e6, "warmup": 1, **settings})


def step(loop: Loop, k: int) -> None:
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(k))
    loop.update(loop.model(x).square().mean())


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_run_goes_on_where_it_was_saved(tmp_path: Path) -> None:
    first = Loop(config(tmp_path), net(), {"multiplier": torch.tensor([1.0, 2.0])})
    for k in range(4):
        step(first, k)
    first.extra["multiplier"] += 0.5
    first.save()
    saved = first.spent

    again = Loop(config(tmp_path, seed=9), net(), {"multiplier": torch.zeros(2)})
    assert (again.step, again.spent) == (4, saved)
    assert saved > 0
    assert same(again.model, first.model)
    assert same(again.average, first.average)
    assert again.extra["multiplier"].tolist() == [1.5, 2.5]
    # The optimizer's state too: both take the same next steps, and time goes on.
    for k in range(4, 7):
        step(first, k)
        step(again, k)
    assert same(again.model, first.model)
    assert same(again.average, first.average)
    assert again.step == 7
    assert again.spent > saved
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["event"] for row in log] == ["resume"]
    assert log[0]["step"] == 4


def test_a_run_is_done_when_its_time_is_spent_and_saved_then(tmp_path: Path) -> None:
    loop = Loop(config(tmp_path, minutes=1e-9), net())
    assert not loop.done
    step(loop, 0)
    assert loop.done
    assert loop.progress == 1
    assert torch.load(tmp_path / "run" / "last.pt", weights_only=True)["step"] == 1
    assert not list((tmp_path / "run").glob("*.tmp"))
    assert Loop(config(tmp_path, minutes=1e-9), net()).done  # and stays so
    longer = Loop(config(tmp_path, minutes=1e6), net())
    assert not longer.done
    assert longer.step == 1


def test_the_learning_rate_warms_up_and_falls(tmp_path: Path) -> None:
    loop = Loop(config(tmp_path, warmup=4, lr=1e-2, minutes=1.0), net())
    rates = []
    for k in range(6):
        loop.spent = 0.0
        step(loop, k)
        rates.append(loop.opts[0].param_groups[0]["lr"])
    assert rates[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01], rel=1e-2)
    for minute, want in ((0.5, 0.0051), (1.0, 0.0002)):
        loop.spent = 60 * minute
        step(loop, 9)
        assert loop.opts[0].param_groups[0]["lr"] == pytest.approx(want, rel=5e-2)


def test_parts_learn_at_their_own_speed(tmp_path: Path) -> None:
    model = net()
    before = copy.deepcopy(model)
    step(Loop(config(tmp_path, lr=1e-3), model, speeds={"0.": 2.5, "2.bias": 0.1}), 0)
    moved = [(a - b).abs().max().item() for a, b in zip(model.parameters(), before.parameters(), strict=True)]
    assert moved[0] == pytest.approx(2.5e-3, rel=0.05)  # Adam's first step is the rate itself
    assert moved[-2:] == pytest.approx([1e-3, 1e-4], rel=0.05)


def test_the_average_lags_behind_and_takes_statistics_as_they_are(tmp_path: Path) -> None:
    loop = Loop(config(tmp_path, ema=0.5, lr=0.1), net())
    start = loop.model[0].weight.detach().clone()
    for k in range(3):
        step(loop, k)
    now, lag = loop.model[0].weight.detach(), loop.average[0].weight
    assert not torch.equal(lag, now)
    assert (lag - now).norm() < (start - now).norm()
    assert torch.equal(loop.average[1].running_mean, loop.model[1].running_mean)
    assert not loop.average.training
    assert not any(p.requires_grad for p in loop.average.parameters())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_changes_nothing(tmp_path: Path, value: float) -> None:
    loop = Loop(config(tmp_path), net())
    step(loop, 0)
    before = copy.deepcopy(loop.model)
    loop.update(loop.model[0].weight.sum() * value)
    assert same(loop.model, before)
    assert loop.step == 2


def test_a_gradient_that_is_no_number_changes_nothing(tmp_path: Path) -> None:
    """The square root of zero: a finite loss with an infinite slope, times zero."""
    loop = Loop(config(tmp_path), net())
    loop.update((loop.model[0].weight * 0).square().sum().sqrt() + loop.model[2].weight.sum())
    assert all(torch.isfinite(p).all() for p in loop.model.parameters())


def test_large_gradients_are_clipped(tmp_path: Path) -> None:
    loop = Loop(config(tmp_path), net())
    loop.update(loop.model[0].weight.sum() * 1e6)
    grads = [p.grad for p in loop.params if p.grad is not None]
    assert torch.stack([g.norm() for g in grads]).norm() <= 1.001


def test_init_takes_the_averaged_weights_of_another_run(tmp_path: Path) -> None:
    first = Loop(config(tmp_path), net())
    for k in range(3):
        step(first, k)
    first.save()
    source = str(tmp_path / "run" / "last.pt")
    torch.manual_seed(5)
    other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    own = other[2].weight.detach().clone()
    loop = Loop(config(tmp_path, out=str(tmp_path / "other"), init=source, fresh=["2."]), other)
    assert (loop.step, loop.spent) == (0, 0)
    assert torch.equal(other[0].weight, first.average[0].weight)
    assert torch.equal(other[2].weight, own)  # what is fresh starts anew
    assert same(loop.average, other)


def test_a_polite_kill_saves_first(tmp_path: Path) -> None:
    loop = Loop(config(tmp_path), net())
    step(loop, 0)
    assert not (tmp_path / "run" / "last.pt").exists()
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        step(loop, 1)
    assert caught.value.code == 0
    again = Loop(config(tmp_path), net())
    assert again.step == 2
    assert same(again.model, loop.model)


def test_configuration_from_a_file_and_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "c.toml"
    file.write_text('batch = 3\nlr = 1e-3\n[net]\nlatent = 16\n[recipe]\nmse = 2.0\nname = "a"\n')
    arguments = ["x", str(file), "lr=0.5", "out=runs/of mine", "recipe.mse=7", 'shards=["a", "b"]', "net.rates=4"]
    monkeypatch.setattr(sys, "argv", [*arguments, "recipe.size={width = 32}", "device=cpu"])
    cfg = parse("")
    assert (cfg.batch, cfg.lr, cfg.out, cfg.shards) == (3, 0.5, "runs/of mine", ["a", "b"])
    assert cfg.net == {"latent": 16, "rates": 4}
    assert cfg.recipe == {"mse": 7, "name": "a", "size": {"width": 32}}
    monkeypatch.setattr(sys, "argv", ["x", str(file), "batsch=4"])
    with pytest.raises(TypeError, match="batsch"):
        parse("")
