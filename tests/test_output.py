"""Writing files whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hflow.errors import OutputError
from hflow.output import check_output, is_stream, save_atomic


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


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_new_files_have_the_mode_that_open_gives(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        save_atomic(tmp_path / "new", b"data")
        save_atomic(tmp_path / "forced", b"data", force=True)
    finally:
        os.umask(before)
    assert mode(tmp_path / "new") == mode(tmp_path / "forced") == 0o666 & ~umask


@pytest.mark.parametrize(("older", "newer"), [(0o600, 0o600), (0o664, 0o664), (0o444, 0o444), (0o6755, 0o755)])
def test_a_file_that_is_replaced_leaves_its_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, older: int, newer: int
) -> None:
    path, seen = tmp_path / "out", []
    path.write_bytes(b"private")
    path.chmod(older)
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (seen.append(stat.S_IMODE(os.fstat(file).st_mode)), fsync(file)))
    save_atomic(path, b"new", force=True)
    assert (path.read_bytes(), mode(path)) == (b"new", newer)
    assert not seen[0] & ~newer  # nor may anybody else read it before it has its name


@pytest.mark.parametrize("may", ["all", "group", "nothing"])
def test_owner_and_group_are_kept_where_they_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, may: str) -> None:
    path, given = tmp_path / "out", []
    path.write_bytes(b"old")
    path.chmod(0o640)
    about = path.stat()

    def chown(_file: int, user: int, group: int) -> None:
        if may == "nothing" or (may == "group" and user != -1):
            raise PermissionError(1, "Operation not permitted")
        given.append((user, group))

    monkeypatch.setattr(os, "fchown", chown)
    save_atomic(path, b"new", force=True)
    expected = {"all": [(about.st_uid, about.st_gid)], "group": [(-1, about.st_gid)], "nothing": []}
    assert given == expected[may]
    assert (path.read_bytes(), mode(path)) == (b"new", 0o640)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives files away")
def test_root_keeps_the_owner(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    os.chown(path, 12, 34)
    save_atomic(path, b"new", force=True)
    assert (path.stat().st_uid, path.stat().st_gid) == (12, 34)


def test_what_cannot_be_looked_at_is_an_output_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, said in (("a" * 300, "File name too long"), ("no\0", "null"), (f"{'a' * 300}/x", "File name too long")):
        for force in (False, True):
            with pytest.raises(OutputError, match=said):
                save_atomic(tmp_path / name, b"data", force)

    def shut(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", shut)
    with pytest.raises(OutputError, match="out: Permission denied"):
        check_output(tmp_path / "out", True)


def test_a_link_to_nothing_yet(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    save_atomic(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="no /dev/null")
def test_devices_are_written_to_and_stay(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/null")
    for path in (Path("/dev/null"), tmp_path / "link"):
        save_atomic(path, b"data")
        assert is_stream(path)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert (tmp_path / "link").is_symlink()
    for path in (tmp_path, tmp_path / "missing", tmp_path / "no\0"):
        assert not is_stream(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_is_written_to_and_its_end_is_no_error_of_ours(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    save_atomic(pipe, b"data")
    assert os.read(reader, 100) == b"data"
    assert os.listdir(tmp_path) == ["pipe"] and stat.S_ISFIFO(pipe.stat().st_mode)
    there, here = os.pipe()
    os.close(there)
    with pytest.raises(BrokenPipeError):
        save_atomic(Path(f"/dev/fd/{here}"), b"data")
    os.close(here)
    os.close(reader)
