"""Everything that a program may do with bytes from anyone. Any error but hflow's own is a find."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress

from hflow.codec.decode import decode
from hflow.codec.salvage import salvage
from hflow.codec.spending import spending
from hflow.container import parse, parse_cut
from hflow.container.crc import crc16
from hflow.errors import HflowError
from hflow.text import from_text, to_text

MAX_PIXELS = 96 * 96  # so that time goes into many files, not into large pictures


def one(data: bytes) -> None:
    """Parses, decodes and salvages."""
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
    with suppress(HflowError):
        found = salvage(data, max_pixels=MAX_PIXELS, device="cpu")
        assert found.note or parse(data) == found.file


def sealed(data: bytes) -> bytes:
    """With a right checksum: mutations would hardly ever get past it."""
    return data[:-2] + crc16(data[:-2]).to_bytes(2, "little")


def mutations(seeds: list[bytes], count: int) -> Iterator[bytes]:
    """The same ones every time: bits flipped, bytes replaced, cut out and put in."""
    rng = random.Random(0)
    for _ in range(count):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 3)):
            if not data:
                break
            at, size = rng.randrange(len(data)), rng.randint(1, 4)
            match rng.choice(("flip", "replace", "cut", "insert")):
                case "flip":
                    data[at] ^= 1 << rng.randrange(8)
                case "replace":
                    data[at] = rng.randrange(256)
                case "cut":
                    del data[at : at + min(size, len(data) - 1)]
                case "insert":
                    data[at:at] = rng.randbytes(size)
        yield bytes(data)
