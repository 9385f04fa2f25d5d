"""A file and the bundle that it names: missing, another build, damaged."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from tiny_bundle import NAME, NUMBER, picture

import hflow
from hflow import bundles
from hflow.container import parse, serialize
from hflow.errors import BundleError, FormatError, InputError
from hflow.nets.bundle import Model, load


@pytest.fixture
def data(tiny: Model) -> bytes:
    return hflow.encode(picture(40, 37), 1, bundle=NAME)


@pytest.fixture
def changed(tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """changed(weights=..., about=...): a copy of the bundle put through functions, and HFLOW_MODELS naming only it."""

    def make(
        weights: Callable[[bytes], bytes] | None = None, about: Callable[[dict[str, Any]], Any] | None = None
    ) -> Path:
        folder = tmp_path / "models" / NAME
        shutil.copytree(tiny_models / NAME, folder)
        if weights:
            raw = bundles.weights(folder)
            (folder / bundles.PACKED).unlink()
            (folder / bundles.WEIGHTS).write_bytes(weights(raw))
        if about:
            file = folder / "bundle.json"
            file.write_text(json.dumps(about(json.loads(file.read_text()))))
        monkeypatch.setenv("HFLOW_MODELS", str(folder.parent))
        return folder

    return make


def refused(data: bytes, match: str) -> None:
    with pytest.raises(BundleError, match=match) as caught:
        hflow.decode(data)
    assert "\n" not in str(caught.value)


def test_a_copy_is_as_good(data: bytes, changed: Callable[..., Path]) -> None:
    want = np.asarray(hflow.decode(data))
    changed()
    assert (np.asarray(hflow.decode(data)) == want).all()


def test_a_bundle_that_is_not_installed(data: bytes) -> None:
    refused(serialize(replace(parse(data), bundle=NUMBER - 1)), f"bundle {NUMBER - 1} is not installed")


def test_another_fingerprint(data: bytes) -> None:
    file = parse(data)
    for bit in range(8):
        other = replace(file, fingerprint=file.fingerprint ^ 1 << bit)
        refused(serialize(other), "another build of bundle tiny")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.99999])
def test_a_flipped_bit_in_the_weights(data: bytes, changed: Callable[..., Path], share: float) -> None:
    def flip(raw: bytes) -> bytes:
        broken = bytearray(raw)
        broken[int(share * len(raw))] ^= 4
        return bytes(broken)

    changed(flip)
    refused(data, "the weights are not the ones")
    with pytest.raises(BundleError):
        hflow.encode(picture(8, 8), 99)


@pytest.mark.parametrize("size", [0, 5, 1000, -1])
def test_truncated_weights(data: bytes, changed: Callable[..., Path], size: int) -> None:
    changed(lambda raw: raw[:size])
    refused(data, "the weights are not the ones")


def resealed(folder: Path) -> bytes:
    """Makes bundle.json agree with the weights; returns their digest."""
    digest = hashlib.sha256(bundles.weights(folder))
    about = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**about, "sha256": digest.hexdigest()}))
    return digest.digest()


def test_another_build_with_the_same_number(data: bytes, changed: Callable[..., Path]) -> None:
    """The fingerprint tells most builds apart, the index checksum the rest: the digest is part of what is summed."""

    def other(raw: bytes) -> bytes:
        # A parameter that no network reads: every index decodes as before.
        return save_arrays(load_arrays(raw) | {"note": np.arange(3, dtype=np.int32)})

    digest = resealed(changed(other))
    file = parse(data)
    assert digest[0] != file.fingerprint
    refused(data, "another build of bundle tiny")
    with pytest.raises(FormatError, match="do not match"):
        hflow.decode(serialize(replace(file, fingerprint=digest[0])))


def test_missing_weights(data: bytes, changed: Callable[..., Path]) -> None:
    bundles.weights_file(changed()).unlink()
    refused(data, "not a readable bundle")


def test_weights_unpacked_are_the_same_bundle(data: bytes, changed: Callable[..., Path]) -> None:
    want = np.asarray(hflow.decode(data))
    changed(lambda raw: raw)
    assert (np.asarray(hflow.decode(data)) == want).all()


@pytest.mark.parametrize("share", [0, 0.5, 0.999])
def test_packed_weights_that_break_off(data: bytes, changed: Callable[..., Path], share: float) -> None:
    file = bundles.weights_file(changed())
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    refused(data, "not a readable bundle")


@pytest.mark.parametrize(
    "about",
    [
        lambda a: {k: v for k, v in a.items() if k != "net"},
        lambda a: {k: v for k, v in a.items() if k != "ladder"},
        lambda a: a | {"net": a["net"] | {"latent": 24}},
        lambda a: a | {"net": a["net"] | {"widths": [8, 8]}},
        lambda a: a | {"net": a["net"] | {"m_max": "many"}},
        lambda a: a | {"ladder": 7},
        lambda a: a | {"net": a["net"] | {"passes": [4, 3, 2]}},
        lambda a: a | {"net": a["net"] | {"passes": [4, 1]}},
        lambda a: a | {"net": a["net"] | {"passes": [4, 2, 2]}},
        lambda a: a | {"net": a["net"] | {"passes": []}},
        lambda a: a | {"net": a["net"] | {"scales": 41}},
    ],
    ids=[
        "no net",
        "no ladder",
        "other size",
        "too few widths",
        "no number",
        "no list",
        "three passes",
        "a slice without passes",
        "too many passes",
        "no passes",
        "41 scales",
    ],
)
def test_a_description_that_does_not_fit(data: bytes, changed: Callable[..., Path], about: Callable) -> None:
    changed(about=about)
    refused(data, "damaged bundle")


@pytest.mark.parametrize(
    "prefix",
    [
        "float.gain",
        "float.decoder",
        pytest.param("int.latent.up1"),
        pytest.param("int.predictor"),
    ],
)
def test_a_bundle_that_lacks_parameters(changed: Callable[..., Path], data: bytes, prefix: str) -> None:
    def without(raw: bytes) -> bytes:
        return save_arrays({k: v for k, v in load_arrays(raw).items() if not k.startswith(prefix)})

    folder = changed(without)
    resealed(folder)
    with pytest.raises(BundleError) as caught:
        hflow.encode(picture(40, 37), 2)
    assert "\n" not in str(caught.value)


def test_a_slice_that_hears_itself_twice(changed: Callable[..., Path], data: bytes) -> None:
    """Where passes have layers of their own, `local` has no columns for its own slice, nor for those to come."""

    def wider(raw: bytes) -> bytes:
        arrays = load_arrays(raw)
        local = arrays["int.latent.slices.1.local.weight"]
        arrays["int.latent.slices.1.local.weight"] = np.pad(local, ((0, 0), (0, 9 * 4)))
        return save_arrays(arrays)

    resealed(changed(wider))
    with pytest.raises(BundleError, match=r"slices\.1\.local\.weight has another shape"):
        hflow.encode(picture(40, 37), 2)


def test_weights_that_are_no_safetensors(changed: Callable[..., Path], data: bytes) -> None:
    folder = changed(lambda raw: b"\x80\x05junk" * 50)
    resealed(folder)
    with pytest.raises(BundleError, match="damaged bundle"):
        load(folder)


def test_a_gpu_that_is_not_there(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for call in (lambda: hflow.decode(data, device="cuda"), lambda: hflow.encode(picture(8, 8), 99, device="cuda")):
        with pytest.raises(InputError, match="no CUDA device"):
            call()
