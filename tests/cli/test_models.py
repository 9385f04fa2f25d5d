"""`hflow models` and `hflow --version`: what is installed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hflow import __version__, bundles
from hflow.cli import main


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two bundles with a word for weights, and no released ones."""
    monkeypatch.setattr(bundles, "__file__", str(tmp_path / "hflow" / "bundles.py"))
    monkeypatch.setenv("HFLOW_MODELS", str(tmp_path))
    for number, name in ((1, "old"), (2, "new")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights.safetensors").write_text(name)
        about = {"name": name, "number": number, "sha256": hashlib.sha256(name.encode()).hexdigest(), "license": "MIT"}
        (tmp_path / name / "bundle.json").write_text(json.dumps(about))
    return tmp_path


def run(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def test_a_line_for_each_bundle(models: Path) -> None:
    head, old, new = (line.split() for line in run("models").stdout.splitlines())
    assert head == ["name", "number", "fingerprint", "bytes", "licence", "path"]
    digest = hashlib.sha256(b"old").hexdigest()
    assert old == ["old", "1", digest[:2], "3", "MIT", str(models / "old")]
    assert new[:3] == ["new", "(default)", "2"]


def test_json_and_verification(models: Path) -> None:
    assert "intact" not in json.loads(run("models", "--json").stdout)[0]
    assert [b["intact"] for b in json.loads(run("models", "--json", "--verify").stdout)] == [True, True]
    (models / "old" / "weights.safetensors").write_text("odl")
    os.unlink(models / "new" / "weights.safetensors")
    result = run("models", "--verify")
    assert result.exit_code == 5
    assert [line.split(":")[1].strip() for line in result.stderr.splitlines()] == [f"{models}/old", f"{models}/new"]
    assert result.stdout.count("DAMAGED") == 2 and "missing" in result.stdout


def test_nothing_installed_is_said(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HFLOW_MODELS", "/nowhere")
    assert "no model bundle" in run("models").stdout
    assert json.loads(run("models", "--json").stdout) == []
    assert run("--version").stdout.endswith("bundle none installed\n")


def test_version_names_what_files_depend_on(models: Path) -> None:
    hflow, torch, bundle = run("--version").stdout.splitlines()
    assert (hflow, bundle) == (f"hflow {__version__}", "bundle new (2)")
    assert torch.startswith("torch 2.")
