"""`hflow compare`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tiny_bundle import picture

import hflow
from hflow.cli import main


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x = picture(200, 170)
    Image.fromarray(x).save("a.png")
    Image.fromarray(x // 2).save("half.png")
    Image.fromarray(x[:, :150]).save("narrow.png")


def run(*args: str) -> Result:
    return CliRunner().invoke(main, ["compare", *args])


def test_figures_of_two_images() -> None:
    about = json.loads(run("a.png", "half.png", "--json").stdout)
    x = picture(200, 170).astype(float)
    assert about["psnr"] == pytest.approx(10 * np.log10(255**2 / np.mean((x - x // 2) ** 2)))
    assert 0 < about["ms_ssim"] < 1
    assert about["bpp"][0] == 8 * Path("a.png").stat().st_size / (200 * 170)
    text = run("a.png", "half.png").stdout
    assert f"PSNR     {about['psnr']:.2f} dB\nMS-SSIM  {about['ms_ssim']:.4f}\n" in text
    assert "LPIPS" not in text


def test_identical_and_small_pictures_have_no_figure() -> None:
    assert "identical" in run("a.png", "a.png").stdout
    assert json.loads(run("a.png", "a.png", "--json").stdout)["psnr"] is None
    assert "sides above 160" in run("narrow.png", "narrow.png").stdout


def test_hfc_files_are_decoded(tiny_models: Path) -> None:
    data = hflow.encode(picture(200, 170), 1.0)
    Path("a.hfc").write_bytes(data)
    hflow.decode(data).save("decoded.png")
    assert "identical" in run("a.hfc", "decoded.png").stdout


def test_difference_picture() -> None:
    assert run("a.png", "half.png", "--diff", "d.png").exit_code == 0
    x = picture(200, 170).astype(int)
    assert np.array_equal(np.asarray(Image.open("d.png")), np.minimum(4 * (x - x // 2), 255))
    assert run("a.png", "half.png", "--diff", "d.png").exit_code == 7  # it exists now


@pytest.mark.parametrize(
    ("args", "code", "word"),
    [
        (("a.png", "narrow.png"), 1, "200 x 170 and 150 x 170"),
        (("a.png", "missing.png"), 3, "missing.png"),
        (("a.png", "cut.hfc"), 4, "cut.hfc: truncated"),
        (("a.png", "a.png", "--diff", "d.xyz"), 7, "d.xyz"),
        (("a.png", "a.png", "--metrics", "nowhere"), 3, "nowhere"),
    ],
)
def test_mistakes_have_a_line_and_a_code(args: tuple[str, ...], code: int, word: str) -> None:
    Path("cut.hfc").write_bytes(b"\xebhf\x01")
    result = run(*args)
    assert (result.exit_code, result.stdout) == (code, "")
    assert word in result.stderr and result.stderr.count("\n") == 1
