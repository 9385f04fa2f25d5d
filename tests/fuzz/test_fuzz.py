"""A short run of the fuzzer's target, the same one every time, and of the fuzzer itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz_target import mutations, one

from hflow.selftest import folder, searched

HERE = Path(__file__).parent
SEEDS = sorted(p for group in ("decoded", "refused") for p in (folder() / group).iterdir() if p.stat().st_size < 90)


@pytest.mark.usefixtures("one_thread")
def test_mutated_files_raise_nothing_but_our_errors() -> None:
    with searched(folder()):
        for data in mutations([p.read_bytes() for p in SEEDS], 120):
            one(data)


def test_the_fuzzer_runs_and_finds_nothing(tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    seeds = tmp_path / "seeds"
    seeds.mkdir()
    for path in SEEDS[:4]:
        (seeds / path.name).write_bytes(path.read_bytes())
    command = [
        sys.executable,
        str(HERE / "decode.py"),
        "-runs=40",
        "-seed=1",
        f"-artifact_prefix={tmp_path}/",
        str(seeds),
    ]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\bDone 4[01] runs\b", done.stderr), done.stderr  # it may count the run that ends it
