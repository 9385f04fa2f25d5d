"""Finding model bundles."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hflow import bundles
from hflow.errors import BundleError


def add(folder: Path, name: str, number: int) -> Path:
    path = folder / name
    path.mkdir(parents=True)
    (path / "bundle.json").write_text(json.dumps({"name": name, "number": number, "sha256": "0" * 64}))
    return path


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two folders named by HFLOW_MODELS, hiding the released bundles."""
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setattr(bundles, "__file__", str(tmp_path / "hflow" / "bundles.py"))
    monkeypatch.setenv("HFLOW_MODELS", os.pathsep.join([str(first), str(second)]))
    return first, second


def test_found_by_number_or_name_and_the_first_folder_wins(models: tuple[Path, Path]) -> None:
    first, second = models
    old, new, other = add(first, "old", 1), add(first, "new", 2), add(second, "other", 1)
    assert bundles.find(1) == bundles.find("old") == old
    assert bundles.default() == new
    assert [b.path for b in bundles.listing()] == [old, new]
    assert other not in [b.path for b in bundles.listing()]


def test_the_checkout_is_searched_too(models: tuple[Path, Path], tmp_path: Path) -> None:
    path = add(tmp_path / "models", "released", 7)
    assert bundles.find(7) == path


def test_missing_bundles_are_one_clear_line(models: tuple[Path, Path]) -> None:
    with pytest.raises(BundleError, match="no model bundle"):
        bundles.default()
    add(models[0], "here", 3)
    with pytest.raises(BundleError, match=r"bundle 9 is not installed \(installed: here \(3\)"):
        bundles.find(9)


def test_a_malformed_description_is_named(models: tuple[Path, Path]) -> None:
    (add(models[0], "bad", 1) / "bundle.json").write_text("{}")
    with pytest.raises(BundleError, match=r"bad.bundle\.json"):
        bundles.listing()
