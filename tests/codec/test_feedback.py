"""The decoder's second look: what it changes, and where it changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_bundle import NET, picture

import hflow
from hflow.codec import pixels
from hflow.codec.decode import indices
from hflow.codec.geometry import Geometry
from hflow.codec.rate import Coder
from hflow.codec.refine import TUNES, Refiner
from hflow.container import parse
from hflow.nets import feedback
from hflow.nets.bundle import Model, load
from hflow.nets.config import NetConfig
from hflow.nets.feedback import Feedback

VECTORS = Path(hflow.__file__).parents[1] / "formats" / "vectors"


def test_at_first_a_value_gets_a_share_of_what_it_lacks_and_a_zero_nothing() -> None:
    net = Feedback(NetConfig.of(NET))
    torch.nn.init.zeros_(net.out.bias)
    y = torch.tensor([2.0, -1.0, 1.0, 0.0]).repeat(4)[None, :, None, None]
    lacks = torch.tensor([0.5, -0.25, -0.5, 0.4]).repeat(4)[None, :, None, None]
    change = net(y, lacks, torch.tensor([0.3])).detach().flatten()[:4]
    assert torch.allclose(change, torch.tensor([0.2, -0.1, -0.2, 0.0]))


def test_shares_go_with_the_rate() -> None:
    net = Feedback(NetConfig.of(NET))
    with torch.no_grad():
        net.shares[:, 0] = torch.tensor([0.0, 1.0, 0.5])[:, None]
        net.out.bias.zero_()
        y, lacks = torch.ones(5, 16, 2, 2), torch.ones(5, 16, 2, 2)
        change = net(y, lacks, torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]))
    assert torch.allclose(change[:, 0, 0, 0], torch.tensor([0.0, 0.5, 1.0, 0.75, 0.5]))


def test_a_file_is_decoded_twice_the_second_time_as_the_network_answers(tiny: Model) -> None:
    found = indices(tiny, parse(hflow.encode(picture(96, 64), 1.0, masking="none")))
    geo, level, y = found.geometry, found.level, found.y
    assert level is not None and y is not None
    planes = pixels.token_planes(tiny, geo, None, None)
    once = pixels.synthesize_cells(tiny, geo, level, y, planes)
    rate, steps = pixels.rate_tensor(tiny, level), torch.from_numpy(y).float().permute(2, 0, 1)[None]
    with torch.no_grad():
        gain = tiny.nets.gain(rate)
        cont = tiny.nets.decoder.correction(steps / gain, rate)
        seen = tiny.nets.decoder(planes, cont, depth=(1, 0, 1)).clamp(0, 1)  # NET's look_blocks
        assert not torch.equal(seen, tiny.nets.decoder(planes, cont).clamp(0, 1))
        lacks = steps - tiny.nets.analysis(seen, rate)[1] * gain
        assert tiny.nets.feedback is not None
        more = steps + tiny.nets.feedback(steps, lacks, rate)
    want = pixels.synthesize_cells(tiny, geo, level, more[0].permute(1, 2, 0).numpy(), planes)
    assert np.abs(found.picture(tiny).astype(int) - want).max() <= 1
    assert np.abs(once.astype(int) - want).max() > 1


@pytest.mark.parametrize("bpp", [0.3, 2.0])
def test_a_machine_with_bf16_shows_the_same_picture(tiny: Model, monkeypatch: pytest.MonkeyPatch, bpp: float) -> None:
    """To a rounding step, though its first look is in bf16: forced here, whatever the machine computes in."""
    found, shown = indices(tiny, parse(hflow.encode(picture(160, 96), bpp, masking="none"))), []
    for rounded in (False, True):
        monkeypatch.setattr(feedback, "mixed", lambda device, on=rounded: torch.autocast("cpu", torch.bfloat16, on))
        shown.append(found.picture(tiny).astype(int))
    assert np.abs(shown[1] - shown[0]).max() <= 1
    assert (shown[1] != shown[0]).any()


def test_without_the_continuous_stream_there_is_nothing_to_look_for(tiny: Model) -> None:
    found = indices(tiny, parse(hflow.encode(picture(96, 64), 1.0, masking="all")))
    planes = pixels.token_planes(tiny, found.geometry, found.tokens, found.sent)
    alone = pixels.synthesize_cells(tiny, found.geometry, found.level, found.y, planes, fidelity=0.0)
    assert (found.picture(tiny, fidelity=0.0) == alone).all()


def test_a_bundle_from_before_looks_once() -> None:
    model = load(VECTORS / "bundle")
    y = np.ones((2, 3, model.cfg.latent), dtype=np.int64)
    assert model.nets.feedback is None
    assert pixels.looked(model, Geometry(96, 64), 40, y, pixels.token_planes(model, Geometry(96, 64), None, None)) is y


@pytest.mark.usefixtures("tiny_models")
def test_refinement_moves_the_picture_that_a_decoder_shows(tiny: Model) -> None:
    image, geo = picture(96, 64), Geometry(96, 64)
    coder = Coder(tiny, geo, pixels.trunk(tiny, image))
    choice = coder.code(40, 0, "none")
    refiner = Refiner(tiny, geo, image, TUNES["balanced"])
    refiner.ask(choice)
    (whole,) = refiner.parts
    rate = pixels.rate_tensor(tiny, 40)
    assert choice.y is not None
    with torch.no_grad():
        x = refiner.decoded(whole, pixels.on_device(tiny, choice.y), rate, True)[0].clamp(0, 1).permute(1, 2, 0) * 255
    shown = pixels.synthesize(tiny, geo, 40, choice.y, None, None)
    assert np.abs(x.round().numpy() - shown).max() <= 1
    assert whole.answer.abs().max() > 0
