"""Standard streams that are closed, full, broken or in an odd encoding, and inputs that can be read once."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_bundle import picture

import hflow
from hflow.cli import main

pytestmark = pytest.mark.usefixtures("here", "codec")
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")


@pytest.fixture(autouse=True)
def _files(here: Path, codec: list[str]) -> None:
    for name, colour in (("a.png", "red"), ("b.png", "blue")):
        Image.new("RGB", (20, 10), colour).save(name)
    Path("x.hfc").write_bytes(hflow.encode(Image.open("a.png")))


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Runs the command line with other standard streams; returns the exit code and what stderr got."""

    def run(*args: str, **streams: Any) -> tuple[int, str]:
        err = io.TextIOWrapper(io.BytesIO(), "utf-8")
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
            for name, stream in {"stderr": err, "stdout": io.TextIOWrapper(io.BytesIO(), "utf-8"), **streams}.items():
                patch.setattr(sys, name, stream)
            main(list(args), prog_name="hflow")
        code = end.value.code
        assert isinstance(code, int)
        return code, err.buffer.getvalue().decode()

    return run


def broken() -> io.TextIOWrapper:
    """A stream that nobody reads."""
    there, here = os.pipe()
    os.close(there)
    return io.TextIOWrapper(io.FileIO(here, "w"), write_through=True)


COMMANDS = [
    ("--help",), ("--version",), ("encode", "-h"), ("completion", "zsh"), ("models",), ("models", "--json"),
    ("inspect", "x.hfc"), ("inspect", "x.hfc", "--json"), ("show", "a.png", "b.png"), ("compare", "a.png", "b.png"),
    ("compare", "a.png", "b.png", "--json"), ("encode", "a.png"), ("encode", "a.png", "--json-lines"),
    ("encode", "a.png", "-o", "-"), ("decode", "x.hfc"), ("decode", "x.hfc", "-o", "-"), ("bench", "-h"),
]  # fmt: skip


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_output_that_does_not_arrive_is_told_once(call: Any, args: tuple[str, ...]) -> None:
    before = set(os.listdir())
    assert call(*args, stdout=None) == (7, "hflow: stdout: is closed\n")
    made = set(os.listdir()) - before
    assert len(made) == (args[0] in ("encode", "decode") and args[-1] not in ("-", "-h"))  # the work is done
    for name in made:
        os.unlink(name)
    code, err = call(*args, stdout=broken())
    assert (code, err) == (1, "")


@needs_full
@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_output_without_room_is_told_once(call: Any, args: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        assert call(*args, stdout=full) == (7, "hflow: stdout: No space left on device\n")


@needs_full
def test_a_batch_goes_on_without_room_for_its_lines(call: Any) -> None:
    with open("/dev/full", "w") as full:
        code, err = call("encode", "a.png", "missing.png", "b.png", stdout=full)
    assert (code, err) == (3, "hflow: missing.png: No such file or directory\n")
    assert Path("a.hfc").exists() and Path("b.hfc").exists()


def test_what_says_nothing_needs_no_output(call: Any) -> None:
    assert call("encode", "a.png", "--quiet", stdout=None, stdin=None) == (0, "")


@pytest.mark.parametrize("kind", ["closed", "broken", "ascii", pytest.param("full", marks=needs_full)])
def test_messages_that_nobody_gets_stop_nothing(call: Any, kind: str) -> None:
    if kind == "full":
        stderr: Any = Path("/dev/full").open("w")  # noqa: SIM115
    elif kind == "ascii":
        stderr = io.TextIOWrapper(io.BytesIO(), "ascii", "strict")
    else:
        stderr = broken() if kind == "broken" else None
    Image.new("RGBA", (20, 10)).save("clear.png")
    code, _ = call("encode", "clear.png", "missing-é-\udcff.png", "b.png", "-v", stderr=stderr)
    assert code == 3
    assert Path("clear.hfc").exists() and Path("b.hfc").exists()
    assert call("encode", "--unknown", stderr=stderr)[0] == 2
    if stderr is not None:
        stderr.close()  # nothing is left in it that could fail now, as the interpreter's end would say


@pytest.mark.parametrize("args", [("encode", "-"), ("decode", "-"), ("truncate", "-", "--size", "9")])
def test_no_input(call: Any, args: tuple[str, ...]) -> None:
    assert call(*args, stdin=None) == (3, "hflow: stdin: is closed\n")


def test_one_bad_standard_input_is_one_of_several(call: Any) -> None:
    code, err = call("encode", "-", "a.png", "--output-dir", "out", stdin=None)
    assert (code, err, os.listdir("out")) == (3, "hflow: stdin: is closed\n", ["a.hfc"])


ENCODINGS = [
    ("ascii", "strict"),
    ("latin-1", "strict"),
    ("utf-8", "strict"),
    ("utf-8", "surrogateescape"),
    ("utf-16", "x"),
]


@pytest.mark.parametrize(("encoding", "errors"), ENCODINGS)
@pytest.mark.parametrize("name", ["é漢.png", os.fsdecode(b"bad\xff.png"), "two  spaces\n\x1b[31m\u202e.png"])
def test_any_name_in_any_encoding(call: Any, name: str, encoding: str, errors: str) -> None:
    os.rename("a.png", name)
    errors = "strict" if errors == "x" else errors

    def out(*args: str, code: int = 0) -> str:
        stream = io.TextIOWrapper(io.BytesIO(), encoding, errors)
        found, err = call(*args, stdout=stream)
        assert (found, err.count("\n")) == (code, code > 0)
        return stream.buffer.getvalue().decode(encoding)

    assert out("encode", name, "--output-dir", "out").count("\n") == 1
    assert out("encode", name, "--output-dir", "out", code=7) == ""
    assert json.loads(out("encode", name, "--output-dir", "out", "--force", "--json-lines"))["input"] == name
    made = f"out/{Path(name).stem}.hfc"
    assert json.loads(out("inspect", made, "--json"))["file"] == made
    assert json.loads(out("compare", name, made, "--json"))["files"] == [name, made]
    assert out("inspect", made).splitlines()[0].startswith("out/")
    assert out("compare", name, made).count("\n") == 4
    assert out("show", name, "b.png", "--width", "3").count("\n") == 4
    assert call("show", "missing-" + name, stderr=io.TextIOWrapper(io.BytesIO(), encoding, errors))[0] == 3


def test_names_are_shown_as_they_are_but_for_control_characters() -> None:
    for name, shown in (
        ("two  spaces.png", "two  spaces.png"),
        ("a\tb\nc\x07\x1b(0.png", r"a\tb\nc\x07\x1b(0.png"),
        ("\u202egnp\u2066\u2028\u0085.png", r"\u202egnp\u2066\u2028\x85.png"),
        ("漢字 é\u200d.png", "漢字 é\u200d.png"),
    ):
        result = CliRunner().invoke(main, ["encode", f"no{name}"])
        assert result.stderr == f"hflow: no{shown}: No such file or directory\n"
        os.rename("a.png", name)
        result = CliRunner().invoke(main, ["encode", name])
        assert result.stdout == f"{shown} -> {shown[:-4]}.hfc  20 bytes  0.80000 bpp\n"
        os.rename(name, "a.png")


def test_pictures_where_there_are_no_half_blocks(call: Any) -> None:
    image = Image.new("RGB", (1, 2), (200, 0, 0))
    image.putpixel((0, 1), (0, 0, 100))
    image.save("two.png")
    stream = io.TextIOWrapper(io.BytesIO(), "ascii", "strict")
    assert call("show", "two.png", stdout=stream) == (0, "")
    assert stream.buffer.getvalue() == b"\x1b[48;2;100;0;50m \x1b[0m\n"


def once(path: str) -> str:
    """A path from which the bytes of a file can be read once."""
    there, here = os.pipe()
    with open(here, "wb") as pipe:
        pipe.write(Path(path).read_bytes())
    return f"/dev/fd/{there}"


def piped(path: str) -> str:
    """A named pipe from which the bytes of a file can be read once."""
    name = f"pipe-{len(os.listdir())}{Path(path).suffix}"
    os.mkfifo(name)
    threading.Thread(target=lambda: Path(name).write_bytes(Path(path).read_bytes()), daemon=True).start()
    return name


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="no /dev/fd")
@pytest.mark.parametrize("way", [once, piped])
def test_every_input_is_read_once(way: Callable[[str], str], tiny_models: Path) -> None:
    from hflow.codec.encode import encode

    def run(*args: str) -> str:
        result = CliRunner().invoke(main, args)
        assert result.exit_code == 0, result.output
        return result.stdout

    Path("real.hfc").write_bytes(encode(picture(70, 50), 2.0))
    run("encode", way("a.png"), "-o", "out.hfc", "--roi", way("b.png"))
    assert Path("out.hfc").read_bytes() == Path("x.hfc").read_bytes()
    run("decode", way("x.hfc"), "-o", "out.png")
    assert Image.open("out.png").size == (20, 10)
    run("truncate", way("real.hfc"), "-o", "cut.hfc", "--size", "300")
    assert Path("cut.hfc").stat().st_size <= 300
    assert "20 x 10" in run("inspect", way("x.hfc"))
    assert run("show", way("a.png"), "--width", "4") == run("show", "a.png", "--width", "4")
    assert run("show", way("x.hfc"), "--width", "4") == run("show", "a.png", "--width", "4")
    found = json.loads(run("compare", way("a.png"), way("x.hfc"), "--json"))
    assert found["bpp"] == [8 * Path(name).stat().st_size / 200 for name in ("a.png", "x.hfc")]


CLOSED = """
$HFLOW encode a.png -o 1.hfc 2>&-; echo "rc $?"
$HFLOW encode a.png -o 2.hfc <&- >&- 2>&-; echo "rc $?"
$HFLOW encode - <&-; echo "rc $?"
$HFLOW encode a.png -o - >&-; echo "rc $?"
$HFLOW --version > /dev/full; echo "rc $?"
$HFLOW show a.png | head -c 1 | wc -c; echo "rc ${PIPESTATUS[0]}"
cat a.png | $HFLOW encode /dev/stdin -o 3.hfc; echo "rc $?"
$HFLOW encode <(cat a.png) -o /dev/stdout | cmp - x.hfc; echo "rc $?"
PYTHONIOENCODING=ascii LC_ALL=C $HFLOW encode $'\\xff.png'; echo "rc $?"
"""

STAND_IN = """
import hflow
from pathlib import Path
data = Path("x.hfc").read_bytes()
vars(hflow)["encode"] = lambda *_, **__: data
from hflow.cli import main
main(prog_name="hflow")
"""


@needs_full
def test_a_shell_with_streams_closed() -> None:
    Path("hflow.py.txt").write_text(STAND_IN)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HFLOW": f"{sys.executable} hflow.py.txt"}
    done = subprocess.run(["bash", "-c", CLOSED], env=env, capture_output=True, text=True)
    assert done.stderr.splitlines() == [
        "hflow: stdin: is closed",
        "hflow: stdout: is closed",
        "hflow: stdout: No space left on device",
        r"hflow: \udcff.png: No such file or directory",
    ]
    assert [line for line in done.stdout.splitlines() if line.startswith("rc")] == [
        "rc 0", "rc 7", "rc 3", "rc 7", "rc 7", "rc 0", "rc 0", "rc 0", "rc 3",
    ]  # fmt: skip
    assert [Path(f"{n}.hfc").read_bytes() for n in (1, 2, 3)] == 3 * [Path("x.hfc").read_bytes()]
