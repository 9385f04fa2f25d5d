"""What can be had of a damaged file, and whether anything still vouches for it.

A file has two checksums, over all its bytes and over all its indices; neither tells which part is damaged. So either
all indices can be verified, as they are or with one byte put right, or none can, and the user is told so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

from hflow.codec.decode import AHEAD, MAX_PIXELS, Indices, check, indices, predicted
from hflow.container import Container, Kind, Section, parse, parse_unchecked
from hflow.container.model import CODED
from hflow.container.repair import repairs
from hflow.errors import HflowError
from hflow.nets.bundle import Model, for_file, pick_device

TRIES = 32  # repairs to decode at most: they cost time, and by chance a wrong one in 65536 has the right indices


@dataclass(frozen=True)
class Salvaged:
    """file: what it may be, without metadata that nothing vouches for. note: a line on damage and loss, None if intact.

    verified: whether the indices match the file's checksum.
    """

    model: Model
    file: Container
    found: Indices
    verified: bool
    note: str | None


def salvage(data: bytes, *, max_pixels: int = MAX_PIXELS, device: str = "auto") -> Salvaged:
    """The indices of a file that may be damaged or without an end.

    Raises FormatError if what is left does not make a picture, BundleError if it names a bundle that is not there.
    """

    def model_of(file: Container) -> Model:
        check(file, max_pixels)
        return for_file(file.bundle, file.fingerprint, pick_device(device))

    for file, note in _readings(data):
        with suppress(HflowError):
            model = model_of(file)
            return Salvaged(model, file, indices(model, file), True, note)
    file, missing = parse_unchecked(data)
    model, (left, note) = model_of(file), _left(file, missing)
    return Salvaged(model, left, predicted(model, left), False, note)


def _readings(data: bytes) -> Iterator[tuple[Container, str | None]]:
    """What the file may be, and what to say of it if its indices are right: itself, then with one byte changed."""
    with suppress(HflowError):
        yield parse(data), None
    with suppress(HflowError):
        file, missing = parse_unchecked(data)
        if not missing:
            lost = "the metadata are lost" if _bare(file) != file else "nothing is lost"
            yield _bare(file), f"damaged outside of the picture: {lost}, the indices match their checksum"
    for other in islice(repairs(data), TRIES):
        with suppress(HflowError):
            at = next(n for n, byte in enumerate(data) if byte != other[n])
            yield parse(other), f"damaged, byte {at} is put right: nothing is lost, the indices match their checksum"


def _left(file: Container, missing: int) -> tuple[Container, str]:
    """What is used of a file that cannot be verified, and what to say of it."""
    file = _bare(file)
    if missing:
        return file, f"cut off, at least {missing} bytes are lost: the rest is predicted, and nothing vouches for it"
    above = {Kind.INDEX: "tokens", Kind.ENHANCEMENT: "enhancements"}
    dropped = [
        name for kind, name in above.items()
        if file.continuous is not None and any(s.data for s in file.sections if s.kind == kind)
    ]  # fmt: skip

    def usable(s: Section) -> bytes:
        return b"" if not s.data or (dropped and s.kind in above) else s.data + bytes(AHEAD)

    file = replace(file, sections=tuple(replace(s, data=usable(s)) for s in file.sections))
    if dropped:
        return file, f"damaged: the {' and '.join(dropped)} are dropped, nothing vouches for the continuous stream"
    return file, "damaged: nothing vouches for the picture"


def _bare(file: Container) -> Container:
    """Without what the indices do not depend on."""
    return replace(file, sections=tuple(s for s in file.sections if s.kind in CODED))
