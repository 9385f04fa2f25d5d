"""A recorded step replays on the device alone: whatever would make it wait for the host may not be in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_bundle import NET, checkpoints
from torch.utils._python_dispatch import TorchDispatchMode

from hflow.nets.config import NetConfig
from hflow.train import joint
from hflow.train.loop import Loop, RunConfig
from hflow.train.losses import degrade_pair, draw_harm, draw_views, view
from hflow.train.recorded import Recorded

CFG = NetConfig.of(NET)
# A number read back, a size that depends on values, a constant from the host.
WAITS = "_local_scalar_dense", "nonzero", "masked_select", "unique", "bincount", "lift_fresh", "multinomial"


class Watch(TorchDispatchMode):
    """Collects the operations that a recording cannot hold."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        chosen = [i for a in args if isinstance(a, list | tuple) for i in a if isinstance(i, torch.Tensor)]
        if any(w in str(func) for w in WAITS) or ("index" in str(func) and any(i.dtype == torch.bool for i in chosen)):
            self.found.add(str(func))
        return func(*args, **(kwargs or {}))


def recorded_loop(folder: Path, model: torch.nn.Module) -> Loop[Any]:
    cfg = RunConfig(out=str(folder), device="cpu", optimizer="muon", lr=1e-3, warmup=1)
    return Loop(cfg, model, None, joint.SPEEDS, recorded=True)


def test_a_joint_step_waits_for_nothing(tmp_path: Path) -> None:
    model = joint.JointModel(CFG)
    model.load_state_dict(checkpoints(7)[0]["average"])
    model.cut, model.layered = 0.5, 0.5
    model.train()
    loop = recorded_loop(tmp_path, model)
    rng = np.random.default_rng(0)
    x = torch.rand(4, 3, 64, 64)

    def learn(_: object, x: torch.Tensor, *settings: torch.Tensor) -> None:
        rate, m, keep, alpha, kernel, views = settings
        o = model(x, rate, m, keep, alpha[:, None, None, None])
        a, b = degrade_pair(view(x, views, 48), view(o["x"], views, 48), "blur", kernel)
        loop.learn((a - b).square().mean() + 1e-5 * (o["soft"] + o["true"]).mean() + o["commit"])

    step, watch = Recorded(learn, on=False), Watch()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    for k in range(3):
        loop.begin()
        inputs = x, *joint.draw_settings(4, 4, 4, rng), draw_harm(rng, 0.8)[1], draw_views(4, 64, 64, 48, rng)
        if k == 2:  # optimizers have their state, constants are made
            with watch:
                step("blur", *inputs)
        else:
            step("blur", *inputs)
        loop.end()
    assert watch.found == set()
    changed = [k for k, v in model.state_dict().items() if not torch.equal(v, before[k])]
    assert len(changed) > 0.9 * len(before)


def test_the_watch_sees_what_waits() -> None:
    x = torch.rand(5)
    for f in (lambda: float(x[0]), lambda: x[x > 0.5], lambda: torch.nonzero(x), lambda: torch.tensor([1.0]) + x):
        with Watch() as watch:
            f()
        assert watch.found


def test_a_recorded_loop_learns_as_a_plain_one(tmp_path: Path) -> None:
    ends = []
    for recorded in (False, True):
        torch.manual_seed(3)
        model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.LeakyReLU(0.1), torch.nn.Linear(64, 1))
        cfg = RunConfig(
            out=str(tmp_path / str(recorded)), device="cpu", optimizer="muon", lr=1e-2, warmup=2, minutes=1e6
        )
        loop = Loop(cfg, model, recorded=recorded)
        for _ in range(5):
            x = torch.randn(16, 64)
            loop.update((model(x) - x[:, :1]).square().mean())
        ends.append([*model.parameters(), *loop.average.parameters()])
    for a, b in zip(*ends, strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_a_gradient_that_is_not_finite_leaves_the_weights_finite(tmp_path: Path) -> None:
    model = torch.nn.Linear(64, 64)
    loop = recorded_loop(tmp_path, model)
    x = torch.randn(4, 64)
    loop.update(model(x).square().mean())
    loop.update((model(x) * torch.tensor(float("inf"))).mean())
    assert all(torch.isfinite(p).all() for p in model.parameters())
