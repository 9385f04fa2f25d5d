"""Writing files whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hflow.errors import OutputError
from hflow.output import save_atomic


def test_save_writes_and_overwrites_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "out"
    save_atomic(path, b"one")
    with pytest.raises(OutputError, match="exists"):
        save_atomic(path, b"two")
    assert path.read_bytes() == b"one"
    save_atomic(path, b"two", force=True)
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize(("step", "force"), [("fsync", False), ("fsync", True), ("link", False), ("replace", True)])
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=repr)
def test_failed_save_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException, step: str, force: bool
) -> None:
    old = tmp_path / "old"
    old.write_bytes(b"precious")

    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(os, step, fail)
    if step == "link":
        monkeypatch.setattr(os, "replace", fail)  # its fallback
    with pytest.raises((OutputError, KeyboardInterrupt)):
        save_atomic(old if force else tmp_path / "new", b"data", force)
    assert os.listdir(tmp_path) == ["old"]
    assert old.read_bytes() == b"precious"


def test_save_works_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    save_atomic(tmp_path / "out", b"data")
    assert os.listdir(tmp_path) == ["out"]


def test_save_refuses_what_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "out"):
        with pytest.raises(OutputError):
            save_atomic(path, b"data", force=True)


def test_save_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("file")
    save_atomic(tmp_path / "link", b"new", force=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"
