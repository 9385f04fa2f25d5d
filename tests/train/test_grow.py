"""Growing a network's checkpoint to larger sizes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from tiny_bundle import NET, checkpoints
from torch import Tensor

from hflow.integer import scales as S
from hflow.integer.twin import TwinOps
from hflow.nets import continuous as C
from hflow.nets.config import NetConfig
from hflow.train import grow
from hflow.train.joint import JointModel
from hflow.train.latent import LatentModel


def grow_tiny(folder: Path, monkeypatch: pytest.MonkeyPatch, *sizes: str) -> Path:
    """Writes the tiny checkpoints into a folder and grows them into one below it, which is returned."""
    for name, state in zip(("joint", "latent", "predictor"), checkpoints(7), strict=True):
        torch.save(state, folder / f"{name}.pt")
    out = folder / "grown"
    monkeypatch.setattr(sys, "argv", ["x", str(folder), *sizes, "-o", str(out)])
    grow.main()
    return out


@pytest.fixture
def grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny checkpoints with two further fine channels, eight of the latent."""
    return grow_tiny(tmp_path, monkeypatch, "latent=24", "fine=4", "slices=[4,4,8,8]", "passes=[4,1,2,2]")


def loaded(path: Path) -> JointModel:
    state = torch.load(path, weights_only=True)
    model = JointModel(NetConfig.of(state["net"]))
    model.load_state_dict(state["average"])
    return model.eval()


def test_sizes_from_before_there_were_fine_channels() -> None:
    old = {k: v for k, v in NET.items() if k != "fine"}
    assert NetConfig.of(old).coarse == old["latent"]
    assert NetConfig.of({}) == NetConfig()


def test_old_channels_and_their_picture_stay(grown: Path) -> None:
    before, after = loaded(grown.parent / "joint.pt"), loaded(grown / "joint.pt")
    x, rate, old = torch.rand(1, 3, 64, 64), torch.tensor([0.5]), NET["latent"]
    with torch.no_grad():
        _, y = before.analysis(x, rate)
        _, more = after.analysis(x, rate)
        assert more.shape[1] == 24
        torch.testing.assert_close(more[:, :old], y)
        more[:, old:] = 0
        for a, b in zip(before.decoder.correction(y, rate), after.decoder.correction(more, rate), strict=True):
            torch.testing.assert_close(a, b)
    gain = after.gain(rate)[0, :, 0, 0]
    assert gain[old:].min() >= gain[old - 8 : old].min() and gain[old:].max() <= gain[old - 8 : old].max()


def test_old_slices_cost_what_they_did(grown: Path) -> None:
    """The entropy model's first slices do not hear the new channels before it is trained on."""
    ops, outputs = TwinOps(bf16=False), []
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(-5, 6, (1, 5, 6, 24), generator=generator).float()
    hyper = torch.randint(-50, 50, (1, 5, 6, C.HIDDEN), generator=generator).float()
    for folder, channels in ((grown.parent, NET["latent"]), (grown, 24)):
        state = torch.load(folder / "latent.pt", weights_only=True)
        model = LatentModel(NetConfig.of(state["net"]))
        model.load_state_dict(state["average"])
        with torch.no_grad():
            context = torch.cat([hyper, y[..., :channels]], -1)
            part = model.twin.slices[0]
            told = ops.shift(ops.conv3(context, part.local), part.local.acc_bits - S.ACT, 127)
            outputs.append(C.slice_params(ops, C.tables(ops), part, told, model.cfg.scales))
    for a, b in zip(*outputs, strict=True):
        assert float((a - b).abs().max()) <= 2  # a coarser or finer grid of the weights


def test_passes_begin_as_the_two_there_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate model without layers of their own for its passes says the same with them, but for rounding."""
    old = {k: v for k, v in NET.items() if k not in ("passes", "scales")}
    monkeypatch.setattr("tiny_bundle.NET", old)
    own = grow_tiny(tmp_path, monkeypatch, "passes=[2,2,2]", "scales=48")
    ops, seen = TwinOps(bf16=False), []
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(-3, 4, (1, 6, 7, 16), generator=generator).float()
    hyper = torch.randint(-50, 50, (1, 6, 7, C.HIDDEN), generator=generator).float()
    for folder in (tmp_path, own):
        state = torch.load(folder / "latent.pt", weights_only=True)
        cfg = NetConfig.of(state["net"])
        model = LatentModel(cfg)
        model.load_state_dict(state["average"])
        found: list[Tensor] = []

        def fill(s: int, turn: int, mask: object, mean: Tensor, scale: Tensor, out=found, of=cfg) -> Tensor:
            out.extend((mean, scale + 48 - of.scales))
            return y[..., sum(of.slices[:s]) : sum(of.slices[: s + 1])]

        with torch.no_grad():
            list(C.walk(ops, C.tables(ops), model.twin, hyper, cfg, fill))
        seen.append(found)
    assert len(seen[0]) == len(seen[1]) == 2 * 2 * 3
    for a, b in zip(*seen, strict=True):
        assert float((a - b).abs().mean()) < 0.3
        assert float((a - b).abs().max()) <= 3
