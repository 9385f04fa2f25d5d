"""`hflow bench` on small pictures with the tiny bundle."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tiny_bundle import picture

from hflow.bench.quality import means
from hflow.cli import main


@pytest.fixture
def folder(tmp_path: Path, tiny_models: Path) -> Path:
    out = tmp_path / "set"
    out.mkdir()
    for k in range(2):
        Image.fromarray(picture(192, 176, k)).save(out / f"{k}.png")
    return out


def bench(*args: object) -> Result:
    return CliRunner().invoke(main, ["bench", *map(str, args)])


@pytest.fixture
def written(folder: Path, tmp_path: Path) -> Path:
    out = tmp_path / "new" / "out"
    result = bench("quality", folder, "--bpp", "0.3,0.1", "--peers", "webp", "--gallery", 1, "-o", out)
    assert result.exit_code == 0, result.output
    return out


def test_results_count_real_files(written: Path) -> None:
    results = json.loads((written / "results.json").read_text())
    assert results["targets"] == [0.1, 0.3] and results["pictures"] == 2
    rows = [r for r in results["rows"] if r["target"] is not None]
    assert {(r["codec"], r["picture"], r["target"]) for r in rows if r["codec"] == "hflow"} == {
        ("hflow", f"{k}.png", t) for k in range(2) for t in (0.1, 0.3)
    }
    for row in rows:
        assert row["bpp"] == 8 * row["bytes"] / (192 * 176) <= row["target"]
        assert 5 < row["psnr"] < 60 and 0 < row["ms_ssim"] <= 1
    assert sum(r["target"] is None for r in results["rows"]) == 2  # WebP's smallest file of each picture


def test_a_row_for_every_effort(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = bench("quality", folder, "--bpp", "0.3", "--efforts", "0,3", "--peers", "none", "--limit", 1, "-o", out)
    assert result.exit_code == 0, result.output
    results = json.loads((out / "results.json").read_text())
    assert list(results["codecs"]) == ["hflow", "hflow --effort 3"]
    plain, refined = results["rows"]
    assert max(plain["bpp"], refined["bpp"]) <= 0.3
    assert refined["psnr"] != plain["psnr"]


def test_a_mean_is_over_the_files_that_exist(written: Path) -> None:
    results = json.loads((written / "results.json").read_text())
    mine = [m for m in means(results) if m.codec == "hflow"]
    assert [(m.target, m.files) for m in mine] == [(0.1, 2), (0.3, 2)]
    psnr = [r["psnr"] for r in results["rows"] if r["codec"] == "hflow" and r["target"] == 0.3]
    assert mine[1].scores["psnr"] == pytest.approx(sum(psnr) / 2)


def test_the_page_holds_everything_it_shows(written: Path) -> None:
    text = (written / "compare.html").read_text()
    assert "http" not in text  # nothing is fetched
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    data = json.loads(found[1])
    assert list(data["images"]) == ["0.png"]  # --gallery 1
    assert {"original", "hflow|0.1", "hflow|0.3"} <= set(data["images"]["0.png"])
    for url in data["images"]["0.png"].values():
        assert url.startswith("data:image/webp;base64,")
    for key in data["images"]["0.png"]:
        if key != "original":
            assert data["rows"][f"0.png|{key}"]["bytes"] > 0


def test_tables_plots_and_sheet(written: Path) -> None:
    table = (written / "results.md").read_text()
    assert "| 0.1 | hflow | 2/2 |" in table and "WebP" in table
    assert "<svg" in (written / "curves.svg").read_text()
    with Image.open(written / "sheet.webp") as sheet:
        assert sheet.width > sheet.height > 100


def test_speed_splits_the_time_and_compares(folder: Path) -> None:
    result = bench("speed", folder / "0.png", "--bpp", "0.3", "--repeats", 1, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["size"] == [192, 176] and found["bpp"] <= 0.3
    for side in ("encode_s", "decode_s"):
        assert len(found[side]) >= 3 and all(s >= 0 for s in found[side].values())
        assert found["avif"][side] > 0
    assert {"import of torch", "bundle", "first picture"} < found["cold_s"].keys()
    assert found["cold_to_torch"] > 1


def test_a_batch_is_compared_with_doing_without(folder: Path) -> None:
    (folder / "x").mkdir()
    (folder / "0.png").rename(folder / "x" / "1.png")
    result = bench("batch", folder, "--bpp", "0.3", "--few", 1, "--jobs", 2, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["images"] == 2 and found["same_files"]
    speeds = {name: way["images_per_s"] for name, way in found["ways"].items()}
    assert found["batch_to_loop"] == speeds["batch"] / speeds["loop"]
    assert found["batch_to_process_per_image"] == speeds["batch"] / speeds["process per image"]


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("quality", "nowhere"), 3, "nowhere"),
        (("quality", ".", "--bpp", "0.1,x"), 2, "'--bpp': 'x' is not"),
        (("quality", ".", "--bpp", "0"), 2, "0.0 is not in the range 0<x"),
        (("quality", ".", "--peers", "webp,gif"), 2, "gif"),
        (("quality", ".", "--efforts", "0,12"), 2, "12 is not in the range 0<=x<=9"),
        (("speed", "nowhere.png"), 3, "nowhere.png"),
        (("batch", "nowhere"), 3, "nowhere"),
    ],
)
def test_mistakes_are_one_line(args: tuple[str, ...], code: int, message: str, folder: Path) -> None:
    result = bench(*args)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.output
