"""formats/example.md says what is in its file and what a decoder meets on the way."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest

from hflow.container import parse
from hflow.reference import latent, range_decoder
from hflow.reference.decode import read
from hflow.selftest import folder

TEXT = (folder().parent / "example.md").read_text("utf-8")
DATA = (folder() / "decoded/1x1.hfc").read_bytes()


def table(columns: int, start: str) -> list[list[str]]:
    """The cells of all rows with that many columns whose first cell matches."""
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in TEXT.splitlines() if line.startswith("|")]
    return [row for row in rows if len(row) == columns and re.fullmatch(start, row[0])]


def blocks() -> list[str]:
    """The indented blocks, without the indentation."""
    return re.findall(r"(?:^    .*\n)+", TEXT, re.M)


def test_hex_dump_and_fields() -> None:
    dump = "".join(re.sub(r"^ +[0-9a-f]{2}  ", "", line) + " " for line in blocks()[0].splitlines())
    assert bytes.fromhex(dump) == DATA
    fields = {name: (bytes.fromhex(value.strip("`")), says) for value, name, says in table(3, "`.*`")}
    assert b"".join(value for value, _ in fields.values()) == DATA
    file = parse(DATA)
    for name in ("width", "height", "bundle"):
        assert fields[name][1] == str(getattr(file, name))
    assert fields["index checksum"][1] == f"{file.index_checksum:04x}"
    assert fields["CRC"][1] == f"{int.from_bytes(DATA[-2:], 'little'):04x}"
    assert fields["rate"][1].startswith(f"{file.settings.rate}:")
    assert (file.continuous, file.index_chunks) == (fields["continuous stream"][0], (fields["index chunk"][0],))


def test_what_the_decoder_meets(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[list[str]] = []
    groups: list[list[int]] = []
    symbol, group = range_decoder.RangeDecoder.symbol, latent.group

    def traced(self: range_decoder.RangeDecoder, frequencies: Sequence[int]) -> int:
        before = [f"{self.offset:016x}", f"{self.range:016x}", str(self.quantile())]
        s = symbol(self, frequencies)
        steps.append([*before, str(256 * sum(frequencies[:s])), str(256 * frequencies[s]), str(s)])
        return s

    def seen(of: object, decoder: object, mean: np.ndarray, scale: np.ndarray, *rest: object) -> object:
        values, known = group(of, decoder, mean, scale, *rest)
        groups.extend([m, s, 8 * s + m % 8, v] for m, s, v in zip(mean.flat, scale.flat, values.flat, strict=True))
        return values, known

    monkeypatch.setattr(range_decoder.RangeDecoder, "symbol", traced)
    monkeypatch.setattr(latent, "group", seen)
    found = read(DATA, folder() / "bundle")
    stated = table(7, r"[zyt]\[\d\]")
    assert [row[1:] for row in stated] == steps
    values = table(6, r"[zy]\[\d\]")
    assert [[int(row[n]) for n in (1, 2, 3, 5)] for row in values] == groups
    symbols = {row[0]: row[6] for row in stated}
    assert all(row[4] == symbols[row[0]] for row in values)
    assert bytes.fromhex("".join(blocks()[1].split())) == found.serialized
    assert f"CRC-16 is {found.checksum:04x}, as the header says. Their SHA-256 begins with {found.sha256[:8]}." in TEXT
