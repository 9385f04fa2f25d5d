"""Fuzzes all that takes bytes, with coverage as its guide: parsing, decoding, prefixes, salvage, text.

    pip install atheris
    python tests/fuzz/decode.py -max_total_time=600 -timeout=60 -rss_limit_mb=1024 -max_len=700 \\
        -artifact_prefix=build/ build/corpus formats/vectors/decoded formats/vectors/refused

The first folder takes what is new; the conformance files are the seeds, and their small bundle decodes. A run that
takes more than 5 s of the processor is a find; -timeout is for what hangs without working.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import atheris
from atheris.import_hook import HookManager

VECTORS = Path(__file__).resolve().parents[2] / "formats" / "vectors"
os.environ["HFLOW_MODELS"] = str(VECTORS)
SECONDS = 5

with atheris.instrument_imports(include=["hflow"]):
    import hflow.container
    import hflow.text  # noqa: F401

# Arrays only behind here: atheris 3.0 never frees what an instrumented comparison returns, so none is instrumented.
with HookManager({"hflow"}, set(), False, trace_dataflow=False):
    from fuzz_target import one

import torch  # noqa: E402  (not instrumented)


def timed(data: bytes) -> None:
    """The clock of the processor does not mind who else uses the machine."""
    start = time.process_time()
    one(data)
    assert time.process_time() - start < SECONDS, "slow"


if __name__ == "__main__":
    torch.set_num_threads(1)
    for folder in sys.argv[1:]:
        if folder.startswith("build"):
            Path(folder).mkdir(parents=True, exist_ok=True)
    one((VECTORS / "decoded" / "1x1.hfc").read_bytes())  # loading the bundle is not to count as a hang
    atheris.Setup(sys.argv, timed)
    atheris.Fuzz()
