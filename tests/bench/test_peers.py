"""Other codecs at equal bytes."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_bundle import picture

from hflow.bench.measure import psnr
from hflow.bench.peers import ALL, Fitter, Peer, available

PEERS, MISSING = available([name for name in ALL if name != "vvc"])


@pytest.fixture(params=PEERS, ids=lambda p: p.name)
def peer(request: pytest.FixtureRequest) -> Peer:
    return request.param


def test_pillow_codecs_and_the_extra_are_there() -> None:
    assert {p.name for p in PEERS} == {"WebP", "AVIF", "JPEG XL", "JPEG 2000", "HEVC"}, MISSING


def test_a_peer_stays_within_its_budget_and_returns_the_picture(peer: Peer) -> None:
    x = picture(101, 67)
    for scale in (1, 2):
        coded = Fitter(peer, x).fit(3000, scale)
        assert coded is not None
        assert 0 < len(coded.data) <= 3000
        assert coded.picture.shape == x.shape
        assert psnr(x, coded.picture) > 20


def test_more_bytes_give_a_better_picture(peer: Peer) -> None:
    fitter = Fitter(peer, picture(128, 96))
    small, large = fitter.decoded(1, 0), fitter.decoded(1, peer.settings - 1)
    assert len(small.data) < len(large.data)
    assert psnr(fitter.picture, small.picture) < psnr(fitter.picture, large.picture)
    assert psnr(fitter.picture, large.picture) > 30


def test_colours_survive(peer: Peer) -> None:
    x = np.full((64, 64, 3), (200, 40, 90), np.uint8)
    out = Fitter(peer, x).decoded(1, peer.settings - 1).picture.mean((0, 1))
    assert np.abs(out - (200, 40, 90)).max() < 6


def test_a_budget_that_no_file_meets(peer: Peer) -> None:
    assert Fitter(peer, picture(64, 64)).fit(5, 1) is None


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found, missing = available(["webp", "vvc"])
    assert [p.name for p in found] == ["WebP"]
    assert len(missing) == 1 and "vvencapp" in missing[0]
