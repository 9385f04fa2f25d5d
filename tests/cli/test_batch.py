"""Many files at once: folders, patterns, names, resuming, reports."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tiny_bundle import picture

from hflow.cli import main

pytestmark = pytest.mark.usefixtures("here", "codec")


def paint(*names: str, colour: str = "red") -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10), colour).save(name)


def run(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def tree(top: str = ".") -> list[str]:
    return sorted(str(p.relative_to(top)) for p in Path(top).rglob("*") if p.is_file())


def test_a_tree_is_kept_below_the_output_folder() -> None:
    paint("in/a.png", "in/x/a.png", "in/x/y/b.png")
    assert run("encode", "-r", "in", "--output-dir", "out").exit_code == 0
    assert tree("out") == ["a.hfc", "x/a.hfc", "x/y/b.hfc"]
    assert run("decode", "-r", "out", "-o", "back", "--format", "webp").exit_code == 0
    assert tree("back") == ["a.webp", "x/a.webp", "x/y/b.webp"]
    assert Image.open("back/x/a.webp").format == "WEBP"


def test_without_recursive_only_the_folder_itself() -> None:
    paint("in/a.png", "in/x/b.png")
    assert run("encode", "in").exit_code == 0
    assert tree("in") == ["a.hfc", "a.png", "x/b.png"]
    assert run("encode", "in", "-r", "--skip-existing").exit_code == 0
    assert tree("in") == ["a.hfc", "a.png", "x/b.hfc", "x/b.png"]


def test_quoted_patterns_are_expanded() -> None:
    paint("in/a.png", "in/b.png", "in/b.bmp", "in/x/c.png", "odd[1].png")
    assert run("encode", "in/*.png", "-o", "one").exit_code == 0
    assert run("encode", "in/**/*.png", "-o", "two/").exit_code == 0
    assert run("encode", "odd[1].png").exit_code == 0  # a file of this name is meant, where there is one
    assert (tree("one"), tree("two")) == (["a.hfc", "b.hfc"], ["a.hfc", "b.hfc", "c.hfc"])
    assert Path("odd[1].hfc").exists()
    assert run("encode", "in/b.p*", "-o", "three").exit_code == 0  # one file today may be two tomorrow
    assert tree("three") == ["b.hfc"]
    result = run("encode", "in/*.jpg")
    assert (result.exit_code, result.stderr) == (3, "hflow: in/*.jpg: no file has such a name\n")


def test_names_from_a_template() -> None:
    paint("in/a.png", "in/a.bmp")
    assert run("encode", "in", "-o", "out", "--name", "{stem}-{ext}-{bpp}.hfc", "--bpp", "0.020").exit_code == 0
    assert tree("out") == ["a-bmp-0.02.hfc", "a-png-0.02.hfc"]
    assert run("decode", "out/a-png-0.02.hfc", "--name", "again.jpg").exit_code == 0
    assert Image.open("out/again.jpg").format == "JPEG"


@pytest.mark.parametrize("template", ["{mystery}.hfc", "{stem.__class__}", "{0}", "{}", "{", "../{stem}", "", ".."])
def test_bad_templates_are_usage_errors(template: str) -> None:
    paint("a.png")
    result = run("encode", "a.png", "--name", template)
    assert result.exit_code == 2
    assert "--name" in result.stderr
    assert tree() == ["a.png"]


def test_the_same_command_again_does_what_is_missing(codec: list[str]) -> None:
    paint("in/a.png", "in/b.png", "in/c.png")
    command = ("encode", "in", "-o", "out", "--skip-existing")
    run(*command)
    os.unlink("out/b.hfc")
    before = os.stat("out/a.hfc").st_mtime_ns
    codec.clear()
    result = run(*command)
    assert result.exit_code == 0
    assert codec == ["encode"]
    assert result.stdout.startswith("in/b.png -> out/b.hfc")
    assert result.stderr == "hflow: 2 of 3 files skipped: their outputs exist\n"
    assert os.stat("out/a.hfc").st_mtime_ns == before


def test_json_lines() -> None:
    paint("in/a.png", "in/c.png")
    paint("in/b.png", colour="lime")
    run("encode", "in/a.png", "-o", "out/")
    result = run("encode", "in", "-o", "out", "--skip-existing", "--json-lines")
    assert result.exit_code == 6
    first, second, third = map(json.loads, result.stdout.splitlines())
    assert first == {"input": "in/a.png", "output": "out/a.hfc", "status": "skipped"}
    assert second == {
        "input": "in/b.png", "output": "out/b.hfc", "status": "failed", "error": "cannot be reached", "code": 6,
    }  # fmt: skip
    assert third.pop("seconds") >= 0
    assert third == {
        "input": "in/c.png", "output": "out/c.hfc", "status": "done",
        "width": 20, "height": 10, "bytes": 20, "bpp": 0.8,
    }  # fmt: skip


def test_verbose_adds_times_and_a_summary() -> None:
    paint("a.png", "b.png")
    result = run("encode", "a.png", "b.png", "-v")
    assert all(line.endswith(" MP/s") for line in result.stdout.splitlines())
    assert result.stderr.startswith("hflow: 2 done, 0.00 MP, mean 0.80000 bpp, 0 failed, 0 skipped, ")


@pytest.mark.parametrize(
    "args",
    [
        ("a.png", "-o", "x", "--output-dir", "y"),
        ("a.png", "--force", "--skip-existing"),
        ("a.png", "-v", "-q"),
        ("a.png", "b.png", "-o", "-"),
        ("a.png", "-o", "-", "--json-lines"),
        ("-", "-", "-o", "out/"),
    ],
)
def test_contradictions_are_usage_errors(args: tuple[str, ...]) -> None:
    paint("a.png", "b.png")
    result = run("encode", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert tree() == ["a.png", "b.png"]


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_a_batch_gives_the_same_bytes_as_one_by_one(
    jobs: str, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hflow
    from hflow.codec.decode import decode
    from hflow.codec.encode import encode

    monkeypatch.setitem(vars(hflow), "encode", encode)
    monkeypatch.setitem(vars(hflow), "decode", decode)
    for name, size in {"a": (70, 50), "b": (33, 90), "c": (20, 31)}.items():
        Image.fromarray(picture(*size)).save(f"{name}.png")
    assert run("encode", "*.png", "-o", "out/", "--bpp", "2", "--jobs", jobs).exit_code == 0
    assert run("decode", "out", "--jobs", jobs).exit_code == 0
    for name in "abc":
        assert run("encode", f"{name}.png", "--bpp", "2").exit_code == 0
        assert Path(f"{name}.hfc").read_bytes() == Path(f"out/{name}.hfc").read_bytes()
        assert run("decode", f"{name}.hfc", "-o", f"{name}{name}.png").exit_code == 0
        assert Path(f"{name}{name}.png").read_bytes() == Path(f"out/{name}.png").read_bytes()


def test_files_done_at_once_are_reported_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    import hflow

    encode, later = hflow.encode, threading.Event()

    def waits_for_the_second(image: Image.Image, **options: object) -> bytes:
        if image.getpixel((0, 0)) == (255, 0, 0):
            assert later.wait(60)  # would never come if files were done one after another
        later.set()
        return encode(image)

    monkeypatch.setitem(vars(hflow), "encode", waits_for_the_second)
    paint("a.png")
    paint("b.png", colour="blue")
    Image.new("RGBA", (20, 10), (0, 255, 0, 0)).save("c.png")  # white, which is told
    paint("d.png", colour="lime")
    paint("e.png", colour="blue")
    result = run("encode", *["a.png", "b.png", "c.png", "d.png", "nothing.png", "e.png"], "-j", "2")
    assert result.exit_code == 6
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["a.png", "b.png", "c.png", "e.png"]
    assert result.stderr.splitlines() == [
        "hflow: c.png: transparent pixels were put on white",
        "hflow: d.png: cannot be reached",
        "hflow: nothing.png: No such file or directory",
    ]
    assert run("encode", "a.png", "--jobs", "0").exit_code == 2


def test_a_killed_batch_is_finished_by_the_same_command(tiny_models: Path) -> None:
    for k, name in enumerate(("a.png", "b.png")):
        Image.fromarray(picture(40, 40, k)).save(name)
    os.mkfifo("c.png")  # nobody writes to it: the batch waits here
    command = [sys.executable, "-m", "hflow", "encode", "a.png", "b.png", "c.png", "-o", "out/", "--skip-existing"]
    command += ["--bpp", "2", "--jobs", "2"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as killed:
        assert killed.stdout
        assert [killed.stdout.readline().split()[0] for _ in range(2)] == ["a.png", "b.png"]
        killed.kill()
    assert tree("out") == ["a.hfc", "b.hfc"]
    before = Path("out/a.hfc").stat().st_mtime_ns
    Path("c.png").unlink()
    Image.fromarray(picture(40, 40, 2)).save("c.png")
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert (done.returncode, done.stderr) == (0, "hflow: 2 of 3 files skipped: their outputs exist\n")
    assert done.stdout.startswith("c.png -> out/c.hfc") and done.stdout.count("\n") == 1
    assert Path("out/a.hfc").stat().st_mtime_ns == before


def test_on_a_terminal_a_bar_shows_the_pace() -> None:
    paint("a.png", "b.png")
    code = """
import hflow
from hflow.cli import main
from hflow.container import *
settings = Settings(rate=3, m=0, mask=MaskSchedule.NONE, profile=Profile.HYBRID)
data = serialize(Container(20, 10, 1, 0xA3, settings, 0x1234, False, (Section(1, b"xyz"),)))
vars(hflow)["encode"] = lambda *_, progress, **__: progress(0.5) or data
main(["encode", "a.png", "b.png"])
"""
    above, below = pty.openpty()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm", "COLUMNS": "120"}
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=below, text=True, env=env)
    os.close(below)
    seen = os.read(above, 65536).decode()
    os.close(above)
    assert done.returncode == 0, seen
    assert done.stdout.count("\n") == 2
    assert "1/2" in seen
    assert "images/s" in seen and "MP/s" in seen and "0.8000 bpp" in seen
