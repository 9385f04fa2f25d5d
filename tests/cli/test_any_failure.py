"""Whatever fails in one file is one line and an exit code, and the other files are done."""

from __future__ import annotations

import errno
import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image, ImageCms

import hflow
from hflow import bundles, selftest
from hflow.bench import measure
from hflow.cli import main
from hflow.cli.errors import as_error
from hflow.errors import BundleError, FormatError, InputError

pytestmark = pytest.mark.usefixtures("here", "codec")
BAD = 30  # the width of the picture with which something is wrong

ALLOCATOR = (
    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried 34 bytes."
)


class Mute(Exception):
    """One that cannot be told."""

    def __str__(self) -> str:
        raise ValueError("no words")


LACKS = [
    MemoryError(),
    RuntimeError(ALLOCATOR),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 34 bytes."),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nGPU 0 has a total capacity of 139 GiB"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]
OTHERS = [
    AssertionError(),
    EOFError("no more"),
    IndexError("list index out of range"),
    KeyError("exif"),
    Mute(),
    OSError(errno.EMFILE, "Too many open files"),
    RecursionError("maximum recursion depth exceeded"),
    RuntimeError("two\n  lines"),
    StopIteration(3),
    SyntaxError("not a TIFF file"),
    SystemError("tile cannot extend outside image"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    struct.error("unpack requires a buffer of 4 bytes"),
]


def run(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def paint(*names: str, width: int = 20) -> None:
    for name in names:
        Image.new("RGB", (width, 10), "red").save(name)


def files(bad: str = "b") -> None:
    """a.hfc, b.hfc and c.hfc, of which one has the width BAD."""
    for name in "abc":
        Path(f"{name}.hfc").write_bytes(hflow.encode(Image.new("RGB", (BAD if name == bad else 20, 10), "red")))


def failing(monkeypatch: pytest.MonkeyPatch, what: str, error: BaseException) -> None:
    """Lets hflow.encode or hflow.decode raise for pictures of the width BAD."""
    before = getattr(hflow, what)

    def fails(thing: Any, *args: Any, **options: Any) -> Any:
        if (thing.width if what == "encode" else hflow.container.parse(thing).width) == BAD:
            raise error
        return before(thing, *args, **options)

    monkeypatch.setitem(vars(hflow), what, fails)


def internal(error: Exception) -> str:
    if isinstance(error, Mute):
        return "internal error: Mute; HFLOW_DEBUG=1 shows the traceback"
    said = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    return f"internal error: {said}; HFLOW_DEBUG=1 shows the traceback"


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("error", [*LACKS, *OTHERS], ids=lambda e: type(e).__name__)
def test_one_file_fails_and_the_others_are_done(error: Exception, jobs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files()
    failing(monkeypatch, "decode", error)
    result = run("decode", "a.hfc", "b.hfc", "c.hfc", "-j", jobs)
    assert result.stderr == f"hflow: b.hfc: {'out of memory' if error in LACKS else internal(error)}\n"
    assert result.exit_code == 1
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["a.hfc", "c.hfc"]
    assert Path("a.png").exists() and Path("c.png").exists() and not Path("b.png").exists()


def test_json_lines_tell_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    paint("a.png", "c.png")
    paint("b.png", width=BAD)
    failing(monkeypatch, "encode", KeyError("x"))
    result = run("encode", "a.png", "b.png", "c.png", "--json-lines")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [about["status"] for about in found] == ["done", "failed", "done"]
    assert (found[1]["code"], found[1]["error"]) == (1, internal(KeyError("x")))


def test_lack_of_memory_is_told_through_other_errors() -> None:
    """Readers of pictures and of weights take any failure for damage."""
    for kind in (InputError, BundleError, FormatError):
        try:
            raise kind("a.png: damaged image (MemoryError)") from MemoryError()
        except kind as error:
            assert str(as_error(error)) == "out of memory"
    named = InputError("a.png: No such file or directory")
    named.__cause__ = FileNotFoundError(errno.ENOENT, "No such file or directory", "out of memory.png")
    assert as_error(named) is named


def test_what_is_no_failure_of_a_file_ends_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    files()
    for error, code in ((KeyboardInterrupt(), 130), (SystemExit(42), 42)):
        failing(monkeypatch, "decode", error)
        result = run("decode", "a.hfc", "b.hfc", "c.hfc", "-j", "1", "--force")
        assert (result.exit_code, result.stderr) == (code, "")
        assert not Path("c.png").exists()


def test_debug_shows_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    files()
    failing(monkeypatch, "decode", KeyError("deep inside"))
    monkeypatch.setenv("HFLOW_DEBUG", "1")
    result = run("decode", "a.hfc", "b.hfc")
    assert "in fails" in result.stderr and result.stderr.endswith(
        f"hflow: b.hfc: {internal(KeyError('deep inside'))}\n"
    )


@pytest.mark.parametrize("error", [RuntimeError("boom"), MemoryError()], ids=repr)
@pytest.mark.parametrize(
    ("args", "place", "named"),
    [
        (("show", "b.hfc"), None, "b.hfc: "),
        (("compare", "a.hfc", "b.hfc"), None, "b.hfc: "),
        (("compare", "a.hfc", "a.hfc"), (measure, "Metrics"), ""),
        (("inspect", "b.hfc"), (bundles, "listing"), "b.hfc: "),
        (("models",), (bundles, "listing"), ""),
        (("--version",), (bundles, "listing"), ""),
        (("selftest",), (selftest, "run"), ""),
        (("bench", "targets", "."), (measure, "pictures"), ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) and isinstance(value[0], str) else None,
)
def test_every_command_ends_with_a_line(
    args: tuple[str, ...], place: tuple[Any, str] | None, named: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    files()
    if place:
        monkeypatch.setattr(*place, fails)
    else:
        failing(monkeypatch, "decode", error)
    result = run(*args)
    said = "out of memory" if isinstance(error, MemoryError) else internal(error)
    assert (result.exit_code, result.stderr, result.stdout) == (1, f"hflow: {named}{said}\n", "")


def test_show_and_inspect_go_on_with_the_next_file(monkeypatch: pytest.MonkeyPatch) -> None:
    files()
    failing(monkeypatch, "decode", RuntimeError("boom"))
    result = run("show", "missing.png", "a.hfc", "b.hfc", "c.hfc", "--width", "2")
    assert result.exit_code == 3
    assert [line for line in result.stdout.splitlines() if "\x1b" not in line] == ["a.hfc", "c.hfc"]
    assert result.stderr.count("\n") == 2

    def fails(file: Any, _size: int) -> dict[str, Any]:
        if file.width == BAD:
            raise ZeroDivisionError("division by zero")
        return {}

    monkeypatch.setattr("hflow.cli.inspect.describe", fails)
    result = run("inspect", "a.hfc", "b.hfc", "c.hfc", "--json")
    assert [about["file"] for about in json.loads(result.stdout)] == ["a.hfc", "c.hfc"]
    assert (result.exit_code, result.stderr) == (
        1,
        f"hflow: b.hfc: {internal(ZeroDivisionError('division by zero'))}\n",
    )


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXIF = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x0f\x01\x02\0\x04\0\0\0abc\0" + bytes(4)  # made by abc
GOOD = {"exif": EXIF, "xmp": b"<x:xmpmeta/>", "icc_profile": PROFILE}
LARGE = b"Exif\0\0II*\0\x08\0\0\0\0\0" + bytes(70_000)


@pytest.mark.parametrize(
    ("suffix", "bad", "dropped"),
    [
        ("avif", {"exif": b"Exif\0\0garbage"}, ["exif"]),
        ("tiff", {"exif": b"Exif\0\0garbage"}, ["exif"]),
        ("jpg", {"exif": LARGE}, ["exif"]),
        ("jpg", {"xmp": b"x" * 70_000}, ["xmp"]),
        ("jpg", {"exif": LARGE, "xmp": b"x" * 70_000}, ["exif", "xmp"]),
        ("avif", {"exif": b"Exif\0\0"}, ["exif"]),
        ("png", {"icc_profile": "text"}, ["icc"]),  # at which Pillow fails
    ],
)
def test_metadata_that_cannot_be_written_are_dropped(
    suffix: str, bad: dict[str, bytes], dropped: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = hflow.decode

    def with_metadata(data: bytes, **options: Any) -> Image.Image:
        image = decode(data, **options)
        image.info |= {**GOOD, **(bad if image.width == BAD else {})}
        return image

    monkeypatch.setitem(vars(hflow), "decode", with_metadata)
    files()
    result = run("decode", "a.hfc", "b.hfc", "c.hfc", "--format", suffix)
    assert result.exit_code == 0
    for kind in ("exif", "icc", "xmp"):
        if (suffix, kind) != ("tiff", "xmp"):  # which no TIFF carries
            said = [line for line in result.stderr.splitlines() if f"the {kind} data" in line]
            assert [line.split(": ")[1] for line in said] == ["b.hfc"] * (kind in dropped)
    for name in "abc":
        image = Image.open(f"{name}.{suffix}")
        lost = dropped if name == "b" else []
        assert (image.getexif().get(0x010F) == "abc") == ("exif" not in lost)
        assert image.info.get("icc_profile") == (None if "icc" in lost else PROFILE)
        assert suffix == "tiff" or ("xmp" in image.info) == ("xmp" not in lost)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (struct.error("'H' format requires\n 0 <= number"), 7, "b.png: 'H' format requires 0 <= number"),
        (RuntimeError("Failed to encode image"), 7, "b.png: Failed to encode image"),
        (OverflowError(), 7, "b.png: OverflowError"),
        (MemoryError(), 1, "b.hfc: out of memory"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_failure_of_a_writer(error: Exception, code: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    save = Image.Image.save

    def fails(self: Image.Image, *args: Any, **options: Any) -> None:
        if self.width == BAD:
            raise error
        save(self, *args, **options)

    monkeypatch.setattr(Image.Image, "save", fails)
    files()
    result = run("decode", "a.hfc", "b.hfc", "c.hfc")
    assert (result.exit_code, result.stderr) == (code, f"hflow: {said}\n")
    assert sorted(path.name for path in Path().glob("*.png")) == ["a.png", "c.png"]
