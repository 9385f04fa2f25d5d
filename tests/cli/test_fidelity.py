"""`--fidelity`, and sizes too small for anything of a picture: an error that says why, never the same grey for all."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tiny_bundle import picture

import hflow
from hflow.cli import main
from hflow.errors import InputError, TargetError


def run(*args: str) -> Result:
    return CliRunner().invoke(main, args)


@pytest.mark.parametrize("fidelity", ["0", "0.5"])
def test_without_tokens_there_is_nothing_less_faithful(here: Path, tiny_models: Path, fidelity: str) -> None:
    Path("a.hfc").write_bytes(hflow.encode(picture(70, 50), 2.0, masking="none"))
    Path("b.hfc").write_bytes(hflow.encode(picture(70, 50), 4.0, masking="1_4"))
    result = run("decode", "a.hfc", "b.hfc", "--fidelity", fidelity)
    assert result.exit_code == 3
    assert result.stderr.startswith(f"hflow: a.hfc: fidelity {fidelity} would show more of the tokens")
    assert not Path("a.png").exists()
    assert Path("b.png").exists()


@pytest.mark.parametrize("fidelity", [-1, float("nan"), float("inf")])
def test_a_fidelity_that_is_none(tiny_models: Path, fidelity: float) -> None:
    with pytest.raises(InputError, match="fidelity"):
        hflow.decode(hflow.encode(picture(70, 50), 2.0), fidelity=fidelity)


def test_a_size_that_says_nothing_of_the_picture_names_the_least(here: Path, tiny_models: Path) -> None:
    Image.fromarray(picture(300, 200)).save("a.png")
    result = run("encode", "a.png", "--size", "17")
    assert (result.exit_code, Path("a.hfc").exists()) == (6, False)
    least = int(re.findall(r"this picture takes (\d+) to", result.stderr)[0])
    assert run("encode", "a.png", "--size", str(least)).exit_code == 0
    assert Path("a.hfc").stat().st_size == least


def test_the_smallest_files_of_two_pictures_differ(tiny_models: Path) -> None:
    pictures = []
    for seed in (0, 1):
        image = picture(300, 200, seed)
        with pytest.raises(TargetError) as caught:
            hflow.encode(image, size=17)
        least = int(re.findall(r"this picture takes (\d+) to", str(caught.value))[0])
        pictures.append(np.asarray(hflow.decode(hflow.encode(image, size=least))))
    assert (pictures[0] != pictures[1]).any()
