"""What every recipe shares: configuration, time-based schedule, checkpoints, moving average, log."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import math
import os
import signal
import time
import tomllib
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from hflow.train.muon import Muon, is_matrix


@dataclasses.dataclass
class RunConfig:
    """Settings common to all recipes; a recipe's TOML file may set these and any of its own under [recipe]."""

    data: str = "../shared/data/train"
    val: str = "../shared/data/val.tar"
    metrics: str = "../shared/metrics"
    shards: list[str] = dataclasses.field(default_factory=lambda: ["open"])
    out: str = "runs/joint"
    init: str = ""
    fresh: list[str] = dataclasses.field(default_factory=list)  # prefixes that `init` does not set
    minutes: float = 60.0
    batch: int = 16
    crop: int = 192
    lr: float = 4e-4
    optimizer: str = "adamw"  # or "muon"
    warmup: int = 200
    hold: float = 0.0  # share of the run at the full learning rate, before the cosine
    ema: float = 0.999
    save_every_s: float = 240.0
    log_every: int = 20
    seed: int = 1
    device: str = "auto"
    threads: int = 0
    compile: bool = False
    record: bool = True  # on a GPU, steps as recordings (`hflow/train/recorded.py`), where the recipe can
    limit_shards: int = 0
    net: dict[str, Any] = dataclasses.field(default_factory=dict)
    recipe: dict[str, Any] = dataclasses.field(default_factory=dict)


def parse(description: str) -> RunConfig:
    """Reads `CONFIG.toml [key=value ...]` from the command line; values are TOML literals or plain strings."""
    ap = argparse.ArgumentParser(description=description)
    ap.add_argument("config")
    ap.add_argument("overrides", nargs="*", help="key=value; recipe.key=value for a recipe's own")
    args = ap.parse_args()
    data = tomllib.loads(Path(args.config).read_text())
    for item in args.overrides:
        key, _, text = item.partition("=")
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            value = text
        *path, last = key.split(".")
        target = data
        for p in path:
            target = target.setdefault(p, {})
        target[last] = value
    cfg = RunConfig(**data)
    if cfg.device == "auto":
        cfg.device = "cuda" if torch.cuda.is_available() else "cpu"
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    return cfg


def save(state: Any, path: Path) -> None:
    """A file for `torch.load`, there whole or not at all."""
    tmp = path.with_name(path.name + ".tmp")
    torch.save(state, tmp)
    os.replace(tmp, path)


M = TypeVar("M", bound=nn.Module)


class Loop(Generic[M]):
    """Time-based cosine schedule, gradient clipping, EMA, checkpoints; the clock goes on over resumes."""

    def __init__(
        self, cfg: RunConfig, model: M, extra: dict[str, Any] | None = None, speeds: dict[str, float] | None = None,
        recorded: bool = False,
    ) -> None:  # fmt: skip
        """`speeds`: learning rates of parts, by prefix of the parameter's name, relative to the rest.

        recorded: `learn` will be part of a recording, so what changes between steps stands in tensors.
        """
        self.cfg, self.model = cfg, model
        self.folder = Path(cfg.out)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.params = [p for p in model.parameters() if p.requires_grad]
        speeds = speeds or {}
        groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
        for name, p in model.named_parameters():
            if p.requires_grad:
                scale = next((v for k, v in speeds.items() if name.startswith(k)), 1.0)
                groups.setdefault((cfg.optimizer == "muon" and is_matrix(name, p), scale), []).append(p)

        def chosen(matrix: bool) -> list[dict[str, Any]]:
            return [{"params": ps, "scale": k} for (m, k), ps in groups.items() if m == matrix]

        self.opts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                chosen(False), lr=cfg.lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True, capturable=recorded
            )
        ]
        if chosen(True):
            self.opts.append(Muon(chosen(True), lr=cfg.lr))
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.extra: dict[str, Any] = extra if extra is not None else {}
        self.recorded = recorded
        self.lr: float | torch.Tensor = torch.zeros((), device=cfg.device) if recorded else 0.0
        self.pull: float | torch.Tensor = torch.zeros((), device=cfg.device) if recorded else 0.0
        self.step, self.spent = 0, 0.0
        self.missing: list[str] = []  # what `init` did not set
        path = self.folder / "last.pt"
        if path.exists():
            state = torch.load(path, map_location=cfg.device, weights_only=True)
            model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            if "opt" in state:
                for opt, saved in zip(self.opts, state["opt"], strict=True):
                    opt.load_state_dict(saved)
            self.extra.update(state["extra"])
            self.step, self.spent = state["step"], state["spent"]
            self.log(event="resume", step=self.step, minutes=self.spent / 60)
        elif cfg.init:
            state = torch.load(cfg.init, map_location=cfg.device, weights_only=True)
            weights = {k: v for k, v in state["average"].items() if not k.startswith(tuple(cfg.fresh))}
            self.missing, unexpected = model.load_state_dict(weights, strict=False)
            self.average.load_state_dict(model.state_dict())
            self.extra.update({k: v for k, v in state.get("extra", {}).items() if k in self.extra})
            self.log(event="init", source=cfg.init, missing=len(self.missing), unexpected=len(unexpected))
        self.clock = time.monotonic()
        self.saved = self.clock
        self.stopping = False
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, *_: object) -> None:
        """A polite kill ends the run after the step under way, saved."""
        self.stopping = True

    @property
    def progress(self) -> float:
        return min(1.0, self.spent / (self.cfg.minutes * 60))

    @property
    def done(self) -> bool:
        return self.progress >= 1.0

    def restart_clock(self) -> None:
        """Leaves what was done since the last step (validation) out of the training time."""
        self.clock = time.monotonic()

    def update(self, loss: torch.Tensor) -> None:
        """One optimizer step; where a gradient is not finite, none."""
        self.begin()
        self.learn(loss)
        self.end()

    def begin(self) -> None:
        """Sets the learning rate and the moving average's pace for the next step."""
        warm = min(1.0, (self.step + 1) / self.cfg.warmup)
        decayed = max(0.0, self.progress - self.cfg.hold) / (1 - self.cfg.hold)
        lr = self.cfg.lr * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * decayed)))
        pull = 1 - min(self.cfg.ema, (2 + self.step) / (11 + self.step))
        if isinstance(self.lr, torch.Tensor) and isinstance(self.pull, torch.Tensor):
            self.lr.fill_(lr)
            self.pull.fill_(pull)
        else:
            self.lr, self.pull = lr, pull

    def learn(self, loss: torch.Tensor) -> None:
        """Gradients to the parameters, the parameters to their average; waits for nothing if it is to be recorded."""
        for opt in self.opts:
            for g in opt.param_groups:
                g["lr"] = self.lr * g["scale"]
            opt.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.params, 1.0)
        if self.recorded:  # AdamW skips a step that is not finite by itself, as under a gradient scaler
            self.opts[0].found_inf = (~torch.isfinite(norm)).float()  # type: ignore[attr-defined]
        if self.recorded or torch.isfinite(norm):  # the one place where a plain step waits for the device
            for opt in self.opts:
                opt.step()
        with torch.no_grad():
            mean: list[torch.Tensor] = list(self.average.parameters())
            now: list[torch.Tensor] = list(self.model.parameters())
            if isinstance(self.pull, torch.Tensor):
                apart = list(torch._foreach_sub(now, mean))
                torch._foreach_mul_(apart, self.pull)
                torch._foreach_add_(mean, apart)
            else:
                torch._foreach_lerp_(mean, now, self.pull)
            for old, new in zip(self.average.buffers(), self.model.buffers(), strict=True):
                old.copy_(new)

    def end(self) -> None:
        """Counts the step, and saves when it is time to."""
        self.step += 1
        now = time.monotonic()
        self.spent += now - self.clock
        self.clock = now
        if now - self.saved > self.cfg.save_every_s or self.done or self.stopping:
            self.save()
        if self.stopping:
            raise SystemExit(0)

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "opt": [opt.state_dict() for opt in self.opts],
            "extra": self.extra,
            "step": self.step,
            "spent": self.spent,
            "net": self.cfg.net,
            "size": self.cfg.recipe.get("size", {}),
        }
        save(state, self.folder / "last.pt")
        self.saved = time.monotonic()

    def log(self, **row: Any) -> None:
        row = {k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}
        line = json.dumps(row)
        print(line, flush=True)
        with open(self.folder / "log.jsonl", "a") as f:
            f.write(line + "\n")
