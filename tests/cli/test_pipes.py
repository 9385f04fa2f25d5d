"""Standard input and output."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tiny_bundle import picture

import hflow
from hflow.cli import main

HFLOW = f"{sys.executable} -m hflow"


def run(*args: str, data: bytes = b"") -> Result:
    return CliRunner().invoke(main, args, input=data)


@pytest.fixture
def png(here: Path) -> bytes:
    Image.new("RGB", (20, 10), "red").save("a.png")
    return Path("a.png").read_bytes()


def test_a_pipeline_of_shell_commands(here: Path, tiny_models: Path) -> None:
    Image.fromarray(picture(70, 50)).save("x.png")
    command = "cat x.png | $HFLOW encode - -o - --bpp 2 | tee x.hfc | $HFLOW decode - -o - > y.png"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HFLOW": HFLOW, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    data = Path("x.hfc").read_bytes()
    assert data == hflow.encode(Image.open("x.png"), 2.0)
    assert Image.open("y.png").tobytes() == hflow.decode(data).tobytes()


def test_input_from_a_pipe_goes_to_one_unless_told_otherwise(codec: list[str], png: bytes) -> None:
    data = run("encode", "-", data=png).stdout_bytes
    assert hflow.container.parse(data).width == 20
    assert run("encode", "-", "-o", "b.hfc", data=png).stdout == "stdin -> b.hfc  20 bytes  0.80000 bpp\n"
    assert run("encode", "-", "a.png", "--output-dir", "out", data=png).exit_code == 0
    assert Path("b.hfc").read_bytes() == Path("out/stdin.hfc").read_bytes() == Path("out/a.hfc").read_bytes() == data


def test_output_to_a_pipe_is_png_or_what_format_says(codec: list[str], png: bytes) -> None:
    run("encode", "a.png")
    for options, kind in (((), "PNG"), (("--format", "jpg"), "JPEG")):
        result = run("decode", "a.hfc", "-o", "-", *options)
        assert Image.open(io.BytesIO(result.stdout_bytes)).format == kind
        assert result.stderr == ""
    assert "a.hfc -> stdout  20 x 10" in run("decode", "a.hfc", "-o", "-", "-v").stderr


def test_a_file_named_like_the_sign_can_be_meant(codec: list[str], png: bytes) -> None:
    Path("-").write_bytes(png)
    assert run("encode", "./-", "-o", "dash.hfc").exit_code == 0
    assert Path("dash.hfc").exists()


def test_bad_input_from_a_pipe_is_one_line_and_no_output(codec: list[str], here: Path) -> None:
    result = run("encode", "-", data=b"no picture")
    assert (result.exit_code, result.stdout_bytes) == (3, b"")
    assert result.stderr == "hflow: stdin: not an image in a known format\n"
    result = run("decode", "-", data=b"no file")
    assert (result.exit_code, result.stdout_bytes) == (4, b"")
    assert result.stderr.startswith("hflow: stdin: not an hflow file")


def test_a_terminal_is_no_place_for_a_file(png: bytes) -> None:
    above, below = pty.openpty()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "hflow", "encode", "a.png", "-o", "-"]
    done = subprocess.run(command, stdout=below, stderr=subprocess.PIPE, text=True, env=env)
    os.close(below)
    os.close(above)
    assert done.returncode == 7
    assert done.stderr.startswith("hflow: stdout: is a terminal")
