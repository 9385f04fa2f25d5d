"""Coverage-guided fuzzing of all that takes bytes: parsing, decoding, prefixes, text. Any error but ours is a find.

    pip install atheris
    python tests/fuzz/decode.py -max_total_time=600 -timeout=5 -rss_limit_mb=1024 -max_len=700 \\
        build/corpus formats/vectors/decoded formats/vectors/refused

The first folder takes what is new; the conformance files are the seeds, and their small bundle decodes.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[2]
os.environ["HFLOW_MODELS"] = str(ROOT / "formats" / "vectors")

with atheris.instrument_imports(include=["hflow"]):
    from hflow.codec.decode import decode
    from hflow.codec.spending import spending
    from hflow.container import parse, parse_cut
    from hflow.container.crc import crc16
    from hflow.errors import HflowError
    from hflow.text import from_text, to_text

import torch  # noqa: E402  (not instrumented)

MAX_PIXELS = 96 * 96  # so that time goes into many files, not into large pictures


def sealed(data: bytes) -> bytes:
    """With a right checksum: mutations would hardly ever get past it."""
    return data[:-2] + crc16(data[:-2]).to_bytes(2, "little")


def one(data: bytes) -> None:
    """Everything that a program may do with bytes from anyone."""
    with suppress(HflowError):
        parse(data)
    with suppress(HflowError):
        from_text(data)
    for file in (data, sealed(data)):
        with suppress(HflowError):
            image = decode(file, max_pixels=MAX_PIXELS, device="cpu")
            again = decode(to_text(file), max_pixels=MAX_PIXELS, device="cpu")
            assert image.tobytes() == again.tobytes()
            spending(file, device="cpu")
    with suppress(HflowError):
        about, missing = parse_cut(data)
        assert missing >= 0
        image = decode(data, partial=True, max_pixels=MAX_PIXELS, device="cpu")
        assert image.size == (about.width, about.height)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for folder in sys.argv[1:]:
        if folder.startswith("build"):
            Path(folder).mkdir(parents=True, exist_ok=True)
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
