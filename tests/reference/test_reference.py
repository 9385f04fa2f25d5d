"""The reference decoder and the codec agree on every index."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import picture

from hflow import reference
from hflow.codec import pixels, tokens
from hflow.codec.decode import indices
from hflow.codec.encode import pack
from hflow.codec.geometry import Geometry
from hflow.codec.rate import Coder
from hflow.container import parse, serialize
from hflow.errors import BundleError, FormatError
from hflow.masks import LABELS
from hflow.nets.bundle import Model
from hflow.nets.grids import sent_grid
from hflow.reference.__main__ import main

ROOT = Path(__file__).parents[2]


def made(
    model: Model, width: int, height: int, level: int | None, m: int, mask: str = "none", chunked: bool = False
) -> bytes:
    """A file with these settings."""
    geo = Geometry(width, height)
    coder = Coder(model, geo, pixels.trunk(model, picture(width, height, seed=width)))
    choice = coder.code(level, m, mask)
    if chunked:
        q = pixels.token_indices(model, coder.found, choice.y, level)[: geo.th, : geo.tw]
        sent = sent_grid(geo.th, geo.tw, mask)
        choice = replace(choice, chunks=tuple(tokens.write(model, geo, level, choice.y, m, sent, q, chunked=True)[0]))
    return pack(model, geo, choice)


def agree(model: Model, data: bytes) -> None:
    want, found = indices(model, parse(data)), reference.decode(data)
    for a, b in ((want.y, found.y), (want.tokens, found.tokens)):
        assert (a is None) == (b is None)
        assert a is None or (a.shape == b.shape and (a == b).all())


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 70), (90, 1), (33, 47), (130, 70), (257, 129)])
def test_sizes(tiny: Model, width: int, height: int) -> None:
    agree(tiny, made(tiny, width, height, 40, 2, "1_4"))


@pytest.mark.parametrize("mask", LABELS)
@pytest.mark.parametrize("level", [None, 0, 63])
def test_masks_with_and_without_a_continuous_stream(tiny: Model, mask: str, level: int | None) -> None:
    agree(tiny, made(tiny, 150, 100, level, 1 + (level or 0) % 2, mask))


@pytest.mark.parametrize("m", [1, 2, 3])
def test_sub_quantizers_in_one_chunk_and_in_five(tiny: Model, m: int) -> None:
    agree(tiny, made(tiny, 70, 50, 30, m, "all"))
    agree(tiny, made(tiny, 70, 50, 30, m, "1_16", chunked=True))
    agree(tiny, made(tiny, 70, 50, None, m, "1_2", chunked=True))


@pytest.mark.parametrize("level", [0, 9, 21, 42, 63])
def test_continuous_stream_alone(tiny: Model, level: int) -> None:
    agree(tiny, made(tiny, 140, 90, level, 0))


def test_released_bundle() -> None:
    from hflow import bundles
    from hflow.nets.bundle import load

    model = load(bundles.default())
    agree(model, made(model, 60, 36, 20, 1, "1_2"))


def test_a_wrong_index_checksum_is_refused(tiny: Model) -> None:
    file = parse(made(tiny, 40, 40, 10, 1, "all"))
    with pytest.raises(FormatError, match="checksum"):
        reference.decode(serialize(replace(file, index_checksum=file.index_checksum ^ 1)))


def test_the_right_bundle_or_none(tiny: Model, tmp_path: Path) -> None:
    file = parse(made(tiny, 40, 40, 10, 1, "all"))
    with pytest.raises(BundleError, match="fingerprint"):
        reference.decode(serialize(replace(file, fingerprint=file.fingerprint ^ 1)))
    with pytest.raises(BundleError, match="not installed"):
        reference.decode(serialize(replace(file, bundle=99)))
    with pytest.raises(BundleError, match="not a readable bundle"):
        reference.decode(serialize(file), tmp_path)


def test_what_belongs_to_later_versions_is_refused(tiny: Model) -> None:
    file = parse(made(tiny, 40, 40, 10, 1))
    for settings in (replace(file.settings, rate=65), replace(file.settings, m=4)):
        with pytest.raises(FormatError):
            reference.decode(serialize(replace(file, settings=settings)))
    with pytest.raises(FormatError, match="limit"):
        reference.decode(serialize(replace(file, width=65535, height=65535)))


def test_it_needs_numpy_and_nothing_else() -> None:
    """What it is compared with must not be in it: no torch, no entropy coder, no network of the package."""
    code = (
        "import sys, hflow.reference, hflow.reference.__main__;"
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'constriction', 'safetensors', 'PIL')"
        " or m.startswith(('hflow.integer', 'hflow.nets', 'hflow.codec', 'hflow.entropy', 'hflow.masks'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_command(tiny: Model, tiny_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = made(tiny, 70, 50, 10, 2, "1_4")
    path = tmp_path / "a.hfc"
    path.write_bytes(data)
    assert main([str(path), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    stored = f"{parse(data).index_checksum:04x}"
    assert (about["y"], about["tokens"], about["matches"]) == ([2, 3, 16], [4, 5, 2], True)
    assert about["checksum"] == about["stored"] == stored
    assert main([str(path), "--bundle", str(tiny_models / "tiny")]) == 0
    assert f"checksum  {stored}, matches the file" in capsys.readouterr().out


def test_command_tells_what_is_wrong(tiny: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = parse(made(tiny, 70, 50, None, 1))
    path = tmp_path / "a.hfc"
    path.write_bytes(serialize(replace(file, index_checksum=file.index_checksum ^ 0x8000)))
    assert main([str(path)]) == FormatError.exit_code
    assert f"the file says {file.index_checksum ^ 0x8000:04x}" in capsys.readouterr().out
    path.write_bytes(serialize(file)[:-3])
    assert main([str(path)]) == FormatError.exit_code
    assert main([str(tmp_path / "none.hfc")]) == 3
    assert main([str(path), "--bundle", str(tmp_path)]) == FormatError.exit_code
    errors = capsys.readouterr().err
    assert errors.count("\n") == 3
    assert "truncated: 3 bytes missing" in errors
    assert np.array_equal(reference.decode(serialize(file)).tokens.shape, (4, 5, 1))
