"""Names and folders that cannot be used, what counts as a picture in a folder, and outputs that are no files."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

import hflow
from hflow.cli import main

pytestmark = pytest.mark.usefixtures("here", "codec")
LONG = "a" * 300
needs_fifo = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")


@pytest.fixture(autouse=True)
def _files(here: Path, codec: list[str]) -> None:
    for name, colour in (("a.png", "red"), ("b.png", "blue")):
        Image.new("RGB", (20, 10), colour).save(name)
    Path("x.hfc").write_bytes(hflow.encode(Image.open("a.png")))


def run(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def fails(code: int, said: str, *args: str) -> None:
    """Runs a command of which one line is expected."""
    before = sorted(Path().rglob("*"))
    result = run(*args)
    assert (result.exit_code, result.stderr) == (code, f"hflow: {said}\n")
    assert sorted(Path().rglob("*")) == before


def done(*args: str) -> list[str]:
    """Runs a command; what it says it has made."""
    return [line.split(" -> ")[1].split("  ")[0] for line in run(*args).stdout.splitlines()]


# What follows the command, and which of its words is to blame.
READS = [
    ("encode", "{}"), ("encode", "{}/x.png"), ("encode", "a.png", "--roi", "{}"), ("decode", "{}", "-o", "o.png"),
    ("truncate", "{}", "--size", "9"), ("inspect", "{}"), ("show", "{}"), ("compare", "{}", "a.png"),
    ("compare", "a.png", "{}", "--diff", "no/where.png"), ("encode", "{}", "-o", "no/where.hfc"),
    ("bench", "targets", "{}"), ("bench", "batch", "{}"),
]  # fmt: skip
WRITES = [
    ("encode", "a.png", "-o", "{}"), ("encode", "a.png", "-o", "{}/x.hfc"), ("encode", "a.png", "--output-dir", "{}"),
    ("encode", "a.png", "--name", "{}"), ("decode", "x.hfc", "-o", "{}.png"),
    ("compare", "a.png", "a.png", "--diff", "{}"), ("inspect", "x.hfc", "--map", "{}"),
    ("truncate", "x.hfc", "--size", "9", "-o", "{}"),
]  # fmt: skip


@pytest.mark.parametrize(("args", "code"), [*((a, 3) for a in READS), *((a, 7) for a in WRITES)], ids=str)
@pytest.mark.parametrize(("name", "said"), [(LONG, "File name too long"), ("no\0", "")], ids=["long", "nul"])
def test_names_that_no_file_can_have(args: tuple[str, ...], code: int, name: str, said: str) -> None:
    before = sorted(Path().rglob("*"))
    result = run(*(word.format(name) if word != args[0] else word for word in args))
    assert result.exit_code == code, result.output
    assert result.stderr.startswith("hflow: ") and result.stderr.count("\n") == 1
    assert said in result.stderr or "no images" in result.stderr
    assert "internal" not in result.stderr and "\0" not in result.stderr
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(("args", "code"), [*((a, 3) for a in READS), *((a, 7) for a in WRITES)], ids=str)
def test_folders_that_cannot_be_searched(args: tuple[str, ...], code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if for somebody who may not, since root may."""

    def barred(call: Callable[..., Any]) -> Callable[..., Any]:
        def inner(path: Any, *more: Any, **options: Any) -> Any:
            if isinstance(path, str | os.PathLike) and "shut" in str(path):
                raise PermissionError(13, "Permission denied", str(path))
            return call(path, *more, **options)

        return inner

    for name in ("stat", "lstat", "open", "mkdir", "scandir", "listdir"):
        monkeypatch.setattr(os, name, barred(getattr(os, name)))
    monkeypatch.setattr("io.open", barred(open))
    monkeypatch.setattr("builtins.open", barred(open))
    name = "shut" if "--name" in args else "shut/x"
    result = run(*(word.format(name) if word != args[0] else word for word in args))
    assert result.exit_code == code, result.output
    assert "Permission denied" in result.stderr or "no images" in result.stderr
    assert result.stderr.startswith("hflow: ") and result.stderr.count("\n") == 1


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_one_bad_name_stops_no_other(jobs: str) -> None:
    stem = "b" * 251
    os.link("b.png", f"{stem}.png")
    result = run("encode", f"{stem}.png", LONG, "a.png", "--name", "{stem}-{ext}.hfc", "-j", jobs)
    assert result.exit_code == 7
    assert result.stderr.splitlines() == [
        f"hflow: {stem}-png.hfc: File name too long",
        f"hflow: {LONG}: File name too long",
    ]
    assert result.stdout.startswith("a.png -> a-png.hfc")
    result = run("encode", "noext", "a.png", "--name", "{ext}", "--output-dir", "out")
    assert result.stderr == "hflow: noext: --name makes '' of it, which is not the name of a file\n"
    assert os.listdir("out") == ["png"]


def test_inputs_that_stand_for_nothing_stop_no_other() -> None:
    Path("empty").mkdir()
    Path("out").mkdir()
    Path("out/x").write_text("where a folder is to be")
    Path("in/x").mkdir(parents=True)
    for name in ("in/c.png", "in/x/d.png"):
        os.link("b.png", name)
    result = run("encode", "empty", "*.jpg", "in", "a.png", "-r", "--output-dir", "out", "--json-lines")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(about["input"], about["output"], about.get("code")) for about in found] == [
        ("empty", None, 3), ("*.jpg", None, 3), ("in/c.png", "out/c.hfc", None), ("in/x/d.png", "out/x/d.hfc", 7),
        ("a.png", "out/a.hfc", None),
    ]  # fmt: skip
    assert result.exit_code == 3
    assert result.stderr.splitlines() == [
        "hflow: empty: no image files in this folder",
        "hflow: *.jpg: no file has such a name",
        "hflow: in/x/d.png: out/x: File exists",
    ]


def test_folders_that_are_shut() -> None:
    Path("in/shut").mkdir(parents=True)
    os.link("a.png", "in/a.png")
    os.link("a.png", "in/shut/b.png")
    Path("in/shut").chmod(0)
    if os.access("in/shut", os.R_OK):
        pytest.skip("root may do anything")
    Path("locked").mkdir(mode=0o500)
    try:
        result = run("encode", "in", "-r", "--output-dir", "out")
        assert (result.exit_code, result.stderr) == (3, "hflow: in/shut: Permission denied\n")
        assert os.listdir("out") == ["a.hfc"]
        fails(3, "in/shut/b.png: Permission denied", "encode", "in/shut/b.png")
        fails(7, "locked/x.hfc: Permission denied", "encode", "a.png", "-o", "locked/x.hfc")
    finally:
        Path("in/shut").chmod(0o700)


def test_a_missing_input_is_blamed_before_the_output() -> None:
    for output in ((), ("-o", "x.hfc"), ("-o", "no/x.hfc"), ("--output-dir", LONG), ("--output-dir", "out")):
        fails(3, "nodir/x.png: No such file or directory", "encode", "nodir/x.png", *output)
    fails(3, "no.png: No such file or directory", "compare", "no.png", "a.png", "--diff", "a.png")
    fails(7, "nodir/x.hfc: there is no folder nodir", "encode", "a.png", "-o", "nodir/x.hfc")
    fails(3, "a.png/x: Not a directory", "encode", "a.png/x")
    assert run("encode", "").exit_code == 2  # not all of this folder


def test_what_counts_as_a_picture_in_a_folder() -> None:
    Path("in").mkdir()
    pictures = ["a.JPG", "b.jfif", "c.jpe", "d.j2k", "e.dib", "f.apng", "g.tif", "h.Avif", "i.webp", "j.qoi", "k.jpx"]
    others = ["._a.JPG", "._l.png", "notes.txt", "film.mpg", "page.pdf", "page.eps", "data.h5", "plot.svg", "noext"]
    for name in (*pictures, *others):
        os.link("a.png", f"in/{name}")
    Path("in/m.png").mkdir()
    Path("in/n.png").symlink_to("nothing")
    assert done("encode", "in", "--output-dir", "out") == [f"out/{name[0]}.hfc" for name in pictures]
    assert done("encode", "in/*.[Jaw]*", "--output-dir", "2") == ["2/a.hfc", "2/f.hfc", "2/i.hfc"]
    assert done("encode", "in/.*", "-o", "3") == []
    assert done("encode", "in/._l.png", "-o", "4.hfc") == ["4.hfc"]
    assert done("encode", "in/._*", "--output-dir", "5") == ["5/._a.hfc", "5/._l.hfc"]
    Path("back").mkdir()
    for name in ("a.hfc", "._a.hfc"):
        os.link("x.hfc", f"back/{name}")
    assert done("decode", "back") == ["back/a.png"]


def test_formats_that_a_plugin_adds_count(monkeypatch: pytest.MonkeyPatch) -> None:
    os.link("a.png", "phone.heic")
    assert done("encode", ".", "-o", "1") == ["1/a.hfc", "1/b.hfc"]
    Image.init()
    monkeypatch.setitem(Image.EXTENSION, ".heic", "HEIF")
    assert done("encode", ".", "-o", "2") == ["2/a.hfc", "2/b.hfc", "2/phone.hfc"]


@needs_fifo
def test_named_pipes_and_devices_are_written_to() -> None:
    data, kinds = Path("x.hfc").read_bytes(), {"pipe": b"", "pipe.jpg": b"", "bare": b""}
    for name, args in (
        ("pipe", ("encode", "a.png", "--skip-existing")),
        ("pipe.jpg", ("decode", "x.hfc")),
        ("bare", ("decode", "x.hfc")),
    ):
        os.mkfifo(name)
        reader = threading.Thread(target=lambda n: kinds.update({n: Path(n).read_bytes()}), args=(name,))
        reader.start()
        result = run(*args, "-o", name)
        reader.join()
        assert (result.exit_code, result.stderr) == (0, "")
        assert stat.S_ISFIFO(os.stat(name).st_mode)
    assert kinds["pipe"] == data
    assert kinds["pipe.jpg"].startswith(b"\xff\xd8") and kinds["bare"].startswith(b"\x89PNG")
    for _ in range(2):
        result = run("encode", "a.png", "-o", "/dev/null")
        assert (result.exit_code, result.stderr) == (0, "")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    fails(
        7, "/dev/null: would be written twice, from a.png and from b.png", "encode", "a.png", "b.png", "-o", "/dev/null"
    )
    assert not list(Path().glob(".hflow*"))


@needs_fifo
def test_a_named_pipe_without_a_reader_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo("pipe.hfc")
    reader = os.open("pipe.hfc", os.O_RDONLY | os.O_NONBLOCK)
    opened = os.open

    def leaves(path: Any, flags: int, *more: Any, **options: Any) -> int:
        found = opened(path, flags, *more, **options)
        if str(path) == "pipe.hfc":
            os.close(reader)
        return found

    monkeypatch.setattr(os, "open", leaves)
    os.link("a.png", "pipe.png")
    result = run("encode", "pipe.png", "b.png")
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.startswith("b.png -> b.hfc")


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="no /dev/fd")
def test_open_descriptors_are_written_where_they_are() -> None:
    with open("log", "wb", buffering=0) as log:
        log.write(b"before ")
        assert run("encode", "a.png", "-o", f"/dev/fd/{log.fileno()}").exit_code == 0
        log.write(b" after")
    assert Path("log").read_bytes() == b"before " + Path("x.hfc").read_bytes() + b" after"
    for output in ("/dev/stdout", "/dev/fd/1"):
        result = run("encode", "a.png", "-o", output)
        assert (result.exit_code, result.stdout_bytes) == (0, Path("x.hfc").read_bytes())
    with open("a.png", "rb") as source:
        result = run("encode", f"/dev/fd/{source.fileno()}")  # there is no place beside it
        assert (result.exit_code, result.stdout_bytes) == (0, Path("x.hfc").read_bytes())
    fails(7, "/dev/fd/987654: Bad file descriptor", "encode", "a.png", "-o", "/dev/fd/987654")


def test_what_is_no_file_and_cannot_be_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("folder").mkdir()
    Path("folder/a.hfc").mkdir()
    fails(7, "folder/a.hfc: exists and is not a regular file", "encode", "a.png", "-o", "folder", "--force")
    Path("loop").symlink_to("loop")
    fails(7, "loop: Too many levels of symbolic links", "encode", "a.png", "-o", "loop", "--force")
    fails(3, "loop: Too many levels of symbolic links", "encode", "loop")
    Path("nowhere").symlink_to("no/file")
    fails(7, "nowhere: No such file or directory", "encode", "a.png", "-o", "nowhere")
    Path("link").symlink_to("made.hfc")
    assert run("encode", "a.png", "-o", "link").exit_code == 0
    assert Path("link").is_symlink() and Path("made.hfc").is_file()


def test_folders_of_models_that_cannot_be_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HFLOW_MODELS", raising=False)
    plain = run("models", "--json").stdout
    monkeypatch.setenv("HFLOW_MODELS", os.pathsep.join((LONG, "a.png", "loop")))
    Path("loop").symlink_to("loop")
    result = run("models", "--json")
    assert (result.exit_code, result.stdout) == (0, plain)
