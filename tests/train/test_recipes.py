"""The recipes: what they draw, what they cache, and all of them in a row on a handful of pictures."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from tiny_bundle import NET, SIZE, checkpoints, picture

import hflow
from hflow import bundles
from hflow.codec.geometry import LEVELS, RATE_ONE, anchor
from hflow.integer import scales as S
from hflow.masks import LABELS
from hflow.nets import predictor as P
from hflow.nets.bundle import Model
from hflow.nets.config import NetConfig
from hflow.nets.grids import sent_grid, stage_grid
from hflow.nets.perceptual import Perceptual, load_perceptual
from hflow.train import fusion, joint, latent, perceptual, predictor, release, streams
from hflow.train.joint import JointModel, draw_settings, token_planes

METRICS = Path(hflow.__file__).parents[2] / "shared" / "metrics"
needs_metrics = pytest.mark.skipif(not METRICS.is_dir(), reason="the perceptual networks are not here")
CFG = NetConfig.of(NET)


@pytest.fixture(scope="module")
def model() -> JointModel:
    model = JointModel(CFG)
    model.load_state_dict(checkpoints(7)[0]["average"])
    return model.eval().requires_grad_(False)


def test_what_is_known_when_a_stage_is_coded() -> None:
    known, weight, m = predictor.draw(200, 8, 10, np.random.default_rng(0))
    assert known.shape == weight.shape == (200, 8, 10)
    assert set(m.tolist()) == {1, 2, 3, 4}
    assert (weight[known] == 0).all()
    assert (weight[~known] > 0).all()
    stage, cases = stage_grid(8, 10), {}
    for label in LABELS:
        sent = sent_grid(8, 10, label)
        for s in range(1, 7):
            before = sent & (stage < s)
            now = sent & (stage == s) if s < 6 else ~before
            cases[before.tobytes(), now.tobytes()] = label, s
    seen = {cases[k.numpy().tobytes(), (w == 1).numpy().tobytes()] for k, w in zip(known, weight, strict=True)}
    assert len(seen) > 15  # every sample is a stage of a schedule, and all sorts of them come up


def test_some_samples_lack_their_last_slices() -> None:
    there = joint.arrived(400, 0.25, CFG, torch.device("cpu"))[:, :, 0, 0]
    assert there.shape == (400, CFG.latent)
    assert (there.diff(dim=1) <= 0).all() and there[:, 0].all()  # from some slice on, never the first
    ends = set(np.cumsum(CFG.slices).tolist())
    assert set(there.sum(1).int().tolist()) == ends
    assert 0.1 < (there.sum(1) < CFG.latent).float().mean() < 0.4
    assert joint.arrived(50, 0.0, CFG, torch.device("cpu")).all()


def test_masked_marks_what_is_not_known_and_not_used() -> None:
    q = torch.arange(2 * 3 * 4 * 4).view(2, 3, 4, 4) % 256
    known = torch.rand(2, 3, 4) < 0.5
    x = predictor.masked(q, known, torch.tensor([1, 3]), 256)
    assert (x[0, ..., 1:] == 256 + P.UNUSED).all()
    assert (x[1, ..., 3:] == 256 + P.UNUSED).all()
    for b, m in ((0, 1), (1, 3)):
        assert (x[b, known[b]][:, :m] == q[b, known[b]][:, :m]).all()
        assert (x[b, ~known[b]][:, :m] == 256 + P.UNKNOWN).all()


def test_nats_are_the_mean_over_the_indices_in_use() -> None:
    scores, q, m = torch.randn(5, 4, 16) * 40, torch.randint(16, (5, 4)), torch.tensor([1, 2, 3, 4, 1])
    got = predictor.nats(scores, q, m)
    p = torch.softmax(scores * math.log(2) / 2**S.LOGIT, -1)
    for n in range(5):
        want = -np.mean([math.log(p[n, k, q[n, k]]) for k in range(int(m[n]))])
        assert got[n].item() == pytest.approx(want, rel=1e-4)


def test_training_and_format_agree_on_the_anchors() -> None:
    for rates in (4, 8):
        assert latent.anchors(torch.arange(LEVELS), rates).tolist() == [anchor(k, rates) for k in range(LEVELS)]


def test_streams_are_what_the_codec_would_send(model: JointModel, tiny: object) -> None:
    from hflow.codec import pixels

    images = [picture(96, 64, k) for k in range(3)]
    x = torch.stack([torch.from_numpy(im).permute(2, 0, 1).float() / 255 for im in images])
    y, q = streams.integers(model, x, torch.tensor([40, 10, -1]))
    assert (y.shape, y.dtype) == ((3, 2, 3, CFG.latent), torch.int8)
    assert (q.shape, q.dtype) == ((3, 4, 6, CFG.m_max), torch.uint8)
    assert not y[2].any()
    assert len(y[0].unique()) > 10
    for k, level in ((0, 40), (1, 10)):
        _, want = pixels.latents(tiny, pixels.trunk(tiny, images[k]), level)
        assert np.abs(y[k].numpy() - want.clip(-127, 127)).max() <= 1
        assert (y[k].numpy() == want).mean() > 0.9  # training runs in bf16, the bundle's weights in 8 bits


def test_cached_streams_cover_the_rates(model: JointModel) -> None:
    batches = [torch.rand(20, 3, 32, 32) for _ in range(4)]
    got = streams.collect(model, batches, np.random.default_rng(0), off=0.3)
    assert got["y"].shape == (80, 1, 1, CFG.latent)
    assert got["tokens"].shape == (80, 2, 2, CFG.m_max)
    level = got["level"]
    assert level.min() == -1
    assert RATE_ONE < level.max() < LEVELS
    assert 8 < (level < 0).sum() < 40
    assert (got["y"][level < 0] == 0).all()
    assert len(level.unique()) > 25


def test_a_picture_at_several_rates(model: JointModel) -> None:
    """Once through the trunk gives what one rate at a time gives, a rate from every band."""
    x = torch.rand(3, 3, 64, 64)
    got = streams.collect(model, [x], np.random.default_rng(0), levels=4, tokens=False)
    level = got["level"].view(3, 4)
    assert (level // (LEVELS // 4) == torch.arange(4)).all()
    assert got["tokens"].numel() == 0
    for k in range(4):
        alone, _ = streams.integers(model, x, level[:, k])
        assert (alone == got["y"].view(3, 4, 2, 2, -1)[:, k]).float().mean() > 0.99


def test_settings_of_a_batch() -> None:
    rate, m, keep, alpha = draw_settings(300, 6, 5, np.random.default_rng(0))
    assert rate.min() >= 0
    assert 1 < rate.max() * RATE_ONE <= LEVELS - 1
    assert set(m.tolist()) == {0, 1, 2, 3, 4}
    assert keep.shape == (300, 6, 5)
    assert set(keep.unique().tolist()) == {0, 1}
    alone = alpha == 0
    assert alone.any()
    assert (m[alone] > 1).all()  # without the continuous stream, there have to be tokens, all of them
    assert (keep[alone] == 1).all()


def test_unused_and_unsent_tokens_are_zero() -> None:
    m, keep = torch.tensor([0, 1, 3]), torch.rand(3, 4, 5).round()
    planes = token_planes(torch.ones(3, CFG.m_max * CFG.dims, 4, 5), m, keep, CFG)
    assert planes.shape == (3, CFG.m_max * CFG.dims + 2, 4, 5)
    assert not planes[0].any()
    for b in (1, 2):
        used = int(m[b]) * CFG.dims
        assert (planes[b, :used] == keep[b]).all()
        assert not planes[b, used:-2].any()
        assert (planes[b, -2] == m[b] / CFG.m_max).all()
        assert (planes[b, -1] == keep[b]).all()


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard: Callable[..., Path]) -> Callable[..., Path]:
    """recipe(module, key=value, ...): one step of a recipe on six pictures; returns its folder."""
    shard("open-0.tar", [picture(90, 70, k) for k in range(6)])
    shard("val.tar", [picture(256, 256, 9)])
    settings = {"batch": 2, "crop": 64, "minutes": 1e-9, "device": "cpu", "metrics": str(METRICS)}
    settings |= {"data": f"{tmp_path}/data", "val": f"{tmp_path}/data/val.tar"}
    lines = [f"{k} = {v!r}" for k, v in settings.items()] + ["[net]"] + [f"{k} = {v!r}" for k, v in NET.items()]
    (tmp_path / "c.toml").write_text("\n".join(lines))

    def run(module: ModuleType, *settings: str) -> Path:
        out = tmp_path / module.__name__.rsplit(".", 1)[-1]
        monkeypatch.setattr(sys, "argv", ["x", str(tmp_path / "c.toml"), f"out={out}", *settings])
        module.main()
        return out

    return run


def saved(path: Path) -> dict:
    return torch.load(path / "last.pt", weights_only=True)


def test_from_streams_to_a_bundle_that_codes(
    recipe: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recipes 2 and 3 on the streams of a joint model, released, installed, used."""
    source = tmp_path / "joint.pt"
    torch.save(checkpoints(7)[0], source)
    monkeypatch.setattr(streams, "PART", 4)
    cached = recipe(streams, f"init={source}", "recipe.crop=64")
    data = streams.Cached(cached)
    assert len(data.train["level"]) == 12  # two passes over six pictures
    assert data.train["y"].shape[1:] == (2, 2, CFG.latent)
    last = cached / "train-001.pt"
    before = last.read_bytes()
    last.unlink()
    data = streams.Cached(cached)
    assert len(data.train["level"]) == 8
    first = (cached / "train-000.pt").stat()
    assert recipe(streams, f"init={source}", "recipe.crop=64") == cached  # goes on where it was stopped
    assert (last.read_bytes(), (cached / "train-000.pt").stat()) == (before, first)
    data.refresh()
    assert len(data.train["level"]) == 12

    two = recipe(latent, f"recipe.streams={cached}")
    size = "recipe.size={" + ", ".join(f"{k} = {v}" for k, v in SIZE.items()) + "}"
    three = recipe(predictor, f"recipe.streams={cached}", "recipe.crop=4", size)
    for folder in (two, three):
        assert saved(folder)["step"] == 1
        events = [json.loads(line).get("event") for line in (folder / "log.jsonl").read_text().splitlines()]
        assert events[-1] == "val"

    card = tmp_path / "card.json"
    ladder = [{"bpp": 0.5, "m": 1, "mask": "1_4"}, {"bpp": 99, "m": 2, "mask": "all"}]
    card.write_text(json.dumps({"number": 9, "license": "MIT", "ladder": ladder, "note": "of a test"}))
    out = tmp_path / "models" / "small"
    parts = ["--joint", source, "--latent", two / "last.pt", "--predictor", three / "last.pt"]
    monkeypatch.setattr(sys, "argv", ["x", *map(str, parts), "--card", str(card), "-o", str(out)])
    release.main()
    about = json.loads((out / "bundle.json").read_text())
    assert (about["name"], about["number"], about["note"]) == ("small", 9, "of a test")
    assert about["bounds"]["predictor"]["largest"] < 2**24

    monkeypatch.setenv("HFLOW_MODELS", str(out.parent))
    file = hflow.encode(picture(70, 50), 1, bundle="small")
    assert hflow.decode(file).size == (70, 50)


def test_half_floats_or_bytes(tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--fp16` costs bytes and changes pixels a little; indices are another bundle's in either case."""
    parts = checkpoints(7)
    for part, name in zip(parts, ("joint", "latent", "predictor"), strict=True):
        torch.save(part, tmp_path / f"{name}.pt")
    card = tmp_path / "card.json"
    card.write_text(json.dumps({"number": 3, "ladder": [{"bpp": 99, "m": 1, "mask": "all"}]}))
    arguments = [f"--{n}={tmp_path}/{n}.pt" for n in ("joint", "latent", "predictor")]
    monkeypatch.setattr(sys, "argv", ["x", *arguments, f"--card={card}", "--fp16", "-o", str(tmp_path / "m" / "half")])
    release.main()
    small, half = tiny_models / "tiny", tmp_path / "m" / "half"
    assert len(bundles.weights(half)) > len(bundles.weights(small))
    from hflow.nets.bundle import load

    a, b = load(small), load(half)
    for (name, x), y in zip(a.nets.state_dict().items(), b.nets.state_dict().values(), strict=True):
        if not name.startswith("pq.counts"):
            assert torch.allclose(x, y, atol=0.01 * float(y.abs().max())), name


@needs_metrics
def test_joint_and_fusion_take_a_step(recipe: Callable[..., Path], tmp_path: Path) -> None:
    one = recipe(joint, "recipe.val_n=1", "recipe.lpips_crop=64", "recipe.half=0.5", "recipe.squeeze=[1, 2]")
    state = saved(one)
    assert state["step"] == 1
    assert state["extra"]["log_lambda"].shape == (CFG.rates,)
    row = json.loads((one / "log.jsonl").read_text().splitlines()[-1])
    assert row["event"] == "val"
    assert all(math.isfinite(v) for k, v in row.items() if k != "event")
    assert recipe(joint, "recipe.val_n=1") == one  # a finished run is not taken further
    assert saved(one)["step"] == 1

    torch.save(checkpoints(7)[2], tmp_path / "predictor.pt")
    settings = [f"init={one}/last.pt", f"recipe.predictor={tmp_path}/predictor.pt", "recipe.val_n=1"]
    four = recipe(fusion, *settings, "recipe.lpips_crop=64", "recipe.half=[0.5, 0]", "recipe.vgg=[0.5, 0]")
    after = saved(four)
    assert after["step"] == 1
    changed = {k.split(".")[0] for k, v in after["model"].items() if not torch.equal(v, state["average"][k])}
    assert changed == {"decoder", "feedback"}  # the streams' meaning has to stay as it is
    row = json.loads((four / "log.jsonl").read_text().splitlines()[-1])
    assert all(math.isfinite(v) for k, v in row.items() if k != "event")

    five = recipe(fusion, *settings, "recipe.lpips_crop=64", "recipe.adversarial=0.5", f"out={tmp_path}/five")
    release.build(saved(five), checkpoints(7)[1], checkpoints(7)[2], small=True)  # the critic is not released


@needs_metrics
def test_a_decoder_without_second_look_takes_a_step_alone(recipe: Callable[..., Path], tmp_path: Path) -> None:
    start, _, predictor = checkpoints(7)
    for name, state in (("joint", start), ("predictor", predictor)):
        torch.save(state, tmp_path / f"{name}.pt")
    settings = [f"init={tmp_path}/joint.pt", f"recipe.predictor={tmp_path}/predictor.pt", "recipe.val_n=1"]
    after = saved(recipe(fusion, *settings, "recipe.lpips_crop=64", "recipe.squeeze=[1, 2]", "net.feedback=0"))
    changed = {k.split(".")[0] for k, v in after["model"].items() if not torch.equal(v, start["average"][k])}
    assert (after["step"], changed) == (1, {"decoder"})
    release.build(after, checkpoints(7)[1], predictor, small=True)


def test_the_plain_control_has_no_tokens_and_is_otherwise_the_same() -> None:
    (level, m, _, alpha), (plain, none, _, one) = (
        fusion.draw(500, np.random.default_rng(0), tokens) for tokens in (True, False)
    )
    assert (m > 0).any() and (level < 0).any() and (alpha == 0).any()
    assert not none.any() and (one == 1).all()
    assert (plain[level >= 0] == level[level >= 0]).all() and (plain >= 0).all()


@needs_metrics
def test_the_perceptual_network_takes_a_step(recipe: Callable[..., Path], tiny: Model) -> None:
    out = recipe(perceptual, "recipe.pool=72", "recipe.bundle=tiny")
    row = json.loads((out / "log.jsonl").read_text().splitlines()[-1])
    assert row["event"] == "val" and all(math.isfinite(v) for k, v in row.items() if k != "event")
    assert isinstance(load_perceptual(replace(tiny, path=out)), Perceptual)
