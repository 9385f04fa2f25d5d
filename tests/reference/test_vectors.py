"""The conformance files, through both decoders, and `hflow selftest`, which runs them for the user."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from hflow import errors, reference, selftest
from hflow.cli import main
from hflow.container import MaskSchedule, Profile, parse

FOLDER = selftest.folder()
MANIFEST = json.loads((FOLDER / "manifest.json").read_text("utf-8"))
DECODED, REFUSED = MANIFEST["decoded"], MANIFEST["refused"]


def data_of(group: str, entry: dict) -> bytes:
    return (FOLDER / group / entry["file"]).read_bytes()


@pytest.mark.parametrize("entry", DECODED, ids=lambda e: e["file"])
def test_the_reference_finds_the_indices(entry: dict) -> None:
    found = reference.decode(data_of("decoded", entry), FOLDER / entry["bundle"])
    shapes = [None if a is None else list(a.shape) for a in (found.y, found.tokens)]
    assert shapes == [entry["y"], entry["tokens"]]
    assert (f"{found.checksum:04x}", found.sha256) == (entry["checksum"], entry["sha256"])


@pytest.mark.parametrize("entry", REFUSED, ids=lambda e: e["file"])
def test_the_reference_refuses(entry: dict) -> None:
    with pytest.raises(getattr(errors, entry["error"])):
        reference.decode(data_of("refused", entry), FOLDER / entry["bundle"])


def test_everything_as_it_should_be_on_this_machine() -> None:
    """The run of `hflow selftest`, with the matrix products in full precision."""
    decoded, refused = selftest.run("cpu")
    assert [(r.file, r.wrong) for r in (*decoded, *refused) if r.wrong] == []
    assert all(r.exact for r in decoded)
    assert (len(decoded), len(refused)) == (len(DECODED), len(REFUSED))


def test_the_manifest_lists_the_files_and_the_files_cover_the_format() -> None:
    for group, entries in (("decoded", DECODED), ("refused", REFUSED)):
        assert sorted(e["file"] for e in entries) == sorted(p.name for p in (FOLDER / group).iterdir())
        assert all(len(data_of(group, e)) == e["bytes"] for e in entries)
    files = [parse(data_of("decoded", e)) for e in DECODED]
    assert len(DECODED) + len(REFUSED) >= 40
    assert {f.settings.mask for f in files} == set(MaskSchedule)
    assert {f.settings.m for f in files} == {0, 1, 2, 3, 4}
    assert {f.settings.profile for f in files} == {Profile.HYBRID, Profile.PQ}
    assert {f.chunked for f in files} == {f.cut for f in files} == {False, True}
    assert {e["bundle"] for e in DECODED} == {p.parent.name for p in FOLDER.glob("*/bundle.json")}
    assert max(f.width * f.height for f in files) >= 700 * 500


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy with two files of each kind."""
    manifest = MANIFEST | {"decoded": DECODED[:2], "refused": REFUSED[:2]}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    shutil.copytree(FOLDER / "bundle", tmp_path / "bundle")
    for group in ("decoded", "refused"):
        shutil.copytree(FOLDER / group, tmp_path / group)
    monkeypatch.setattr(selftest, "folder", lambda: tmp_path)
    return tmp_path


@pytest.mark.usefixtures("few")
def test_selftest_says_that_all_is_well() -> None:
    result = CliRunner().invoke(main, ["selftest", "--device", "cpu"])
    assert result.exit_code == 0
    assert "indices  2/2 exact\nerrors   2/2 as expected\npixels   largest difference 0." in result.stdout
    about = json.loads(CliRunner().invoke(main, ["selftest", "--device", "cpu", "--json"]).stdout)
    assert (about["device"], about["wrong"]) == ("cpu", [])
    assert about["indices"] == {"exact": 2, "of": 2}
    assert about["pixels"]["largest_difference"] <= about["pixels"]["tolerance"]


def test_selftest_names_what_is_wrong(few: Path) -> None:
    first, second = (few / "decoded" / e["file"] for e in DECODED[:2])
    second.write_bytes(first.read_bytes())
    shutil.copy(first, few / "refused" / REFUSED[0]["file"])
    result = CliRunner().invoke(main, ["selftest", "--device", "cpu"])
    assert result.exit_code == 1
    assert "indices  1/2 exact\nerrors   1/2 as expected\n" in result.stdout
    assert f"{second.name}: other indices\n{REFUSED[0]['file']}: not refused\n" in result.stdout
    as_json = CliRunner().invoke(main, ["selftest", "--device", "cpu", "--json"])
    assert as_json.exit_code == 1
    assert [r["file"] for r in json.loads(as_json.stdout)["wrong"]] == [second.name, REFUSED[0]["file"]]


@pytest.mark.usefixtures("few")
def test_selftest_finds_other_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Indices that are right and a picture that is not."""
    monkeypatch.setattr("hflow.selftest.coarse_means", lambda image: image[:1, :1] * 0.0)
    result = CliRunner().invoke(main, ["selftest", "--device", "cpu"])
    assert result.exit_code == 1
    assert "indices  2/2 exact" in result.stdout
    assert f"{DECODED[0]['file']}: other pixels" in result.stdout
