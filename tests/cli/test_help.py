"""Completion scripts, manual pages, and that commands which need no networks load none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

import hflow
from hflow.cli import COMMANDS, main
from hflow.cli.man import write


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert f"_HFLOW_COMPLETE={shell}_complete" in result.stdout


def test_the_shell_is_answered_with_commands_and_options() -> None:
    ask = {"_HFLOW_COMPLETE": "bash_complete", "COMP_CWORD": "1"}
    runner = CliRunner()
    assert runner.invoke(main, env={**ask, "COMP_WORDS": "hflow com"}, prog_name="hflow").stdout.split() == [
        "plain,compare",
        "plain,completion",
    ]
    seen = runner.invoke(main, env={**ask, "COMP_WORDS": "hflow models --v", "COMP_CWORD": "2"}, prog_name="hflow")
    assert seen.stdout == "plain,--verify\n"


def test_a_manual_page_for_every_command(tmp_path: Path) -> None:
    assert CliRunner().invoke(write, ["-o", str(tmp_path / "man1")]).exit_code == 0
    pages = {p.name: p.read_text() for p in (tmp_path / "man1").iterdir()}
    assert {"hflow.1", *(f"hflow-{name}.1" for name in COMMANDS), "hflow-bench-speed.1"} <= pages.keys()
    assert all(f"hflow\\-{name}(1)" in pages["hflow.1"] for name in COMMANDS)
    encode = pages["hflow-encode.1"]
    assert encode.startswith('.TH "HFLOW-ENCODE" 1')
    for part in (
        "\n.SH NAME\nhflow-encode \\- ",
        "\n\\fB\\-\\-bpp ",
        "\n.SH EXIT STATUS\n",
        "\\fB6\\fR\nThe requested size",
    ):
        assert part in encode


def test_text_that_roff_would_take_for_its_own_is_escaped(tmp_path: Path) -> None:
    from hflow.cli.man import text

    assert text(".hfc\n'a' \\b --c") == "\\&.hfc\n\\&'a' \\eb \\-\\-c"


@pytest.mark.parametrize(
    "args",
    [
        ["--version"],
        ["--help"],
        ["encode", "-h"],
        ["inspect", "a.hfc"],
        ["models"],
        ["models", "--verify"],
        ["completion", "fish"],
        ["show", "-h"],
    ],
)
def test_light_commands_load_no_networks(args: list[str], here: Path, codec: list[str]) -> None:
    Path("a.hfc").write_bytes(hflow.encode(Image.new("RGB", (20, 10))))
    code = f"""
import atexit, sys
from hflow.cli import main
atexit.register(lambda: print({{"torch", "numpy", "PIL"}} & set(sys.modules)))
main({args})
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"


def test_coding_loads_nothing_beyond_torch_and_its_own(tiny_models: Path, tmp_path: Path) -> None:
    """Torch's compiler, which some innocent calls load, would double the time to the first picture."""
    code = """
import sys, torch
before = set(sys.modules)
import hflow
from PIL import Image
hflow.decode(hflow.encode(Image.new("RGB", (40, 40)), 2.0))
heavy = "torch", "sympy", "mpmath", "rich", "matplotlib"
print({name for name in set(sys.modules) - before if name.split(".")[0] in heavy})
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert (done.returncode, done.stdout) == (0, "set()\n"), done.stderr
