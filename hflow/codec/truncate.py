"""A smaller file of the same picture, cut from a larger one: no original is needed, and nothing is coded again.

Of enhancement layers (codec/enhancement.py) the last one that stays is cut; all others stay whole.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np

from hflow.codec import latents
from hflow.codec.decode import check, decoded
from hflow.codec.geometry import Geometry
from hflow.container import Container, Kind, MaskSchedule, parse, serialize
from hflow.container.model import CODED
from hflow.errors import FormatError, TargetError
from hflow.nets.bundle import Model, for_file, pick_device


def truncate(data: bytes, size: int, *, device: str = "auto") -> bytes:
    """A file of at most `size` bytes that decodes to the same picture, coarser. Ancillary sections are kept.

    A file that is small enough comes back as it is. Raises FormatError and BundleError as `decode` does, TargetError
    where `size` is too small for a picture.
    """
    file = parse(data)
    check(file)
    if len(data) <= size:
        return data
    model = for_file(file.bundle, file.fingerprint, pick_device(device))
    level = file.settings.rate - 1
    file = _known(model, file)
    stream = file.continuous
    least = 1 if stream is None else latents.least(model, Geometry(file.width, file.height), level, stream)
    smallest = len(serialize(_keep(file, least)))
    if smallest > size:
        raise TargetError(f"{size} bytes are too few: this file can be cut to {smallest} bytes")
    room = size - smallest + least
    while len(serialize(short := _keep(file, room))) > size:  # a length may take a byte more
        room -= 1
    return serialize(replace(short, index_checksum=decoded(model, short).checksum(model)))


def _known(model: Model, file: Container) -> Container:
    """With a byte or two of zeros behind a continuous stream whose last values would otherwise not be known.

    They are not missed in a picture, but tokens can only be decoded with the latent that they were coded with.
    """
    if file.cut or not any(file.index_chunks) or file.continuous is None or file.enhancements:
        return file
    geo, level, stream = Geometry(file.width, file.height), file.settings.rate - 1, file.continuous
    y = latents.read(model, geo, level, stream)

    def said(stream: bytes) -> bool:
        with suppress(FormatError):  # not even z is
            return np.array_equal(latents.read_cut(model, geo, level, stream), y)
        return False

    while not said(stream):
        stream += b"\0"
    sections = (replace(s, data=stream) if s.kind == Kind.CONTINUOUS else s for s in file.sections)
    return replace(file, sections=tuple(sections))


def _keep(file: Container, room: int) -> Container:
    """The file with the first `room` bytes of its coded sections; without tokens where none of theirs is left."""
    sections, whole = [], True
    for s in file.sections:
        if s.kind in CODED:
            left = s.data[:room]
            room -= len(left)
            if s.kind == Kind.ENHANCEMENT and len(left) < min(2, len(s.data)):
                continue  # a rate alone says nothing
            whole = whole and len(left) == len(s.data)
            s = replace(s, data=left)
        sections.append(s)
    if file.enhancements and whole:  # an end between two layers is an end
        return replace(file, sections=tuple(sections), cut=file.cut and len(sections) == len(file.sections))
    if file.continuous is not None and not any(s.data for s in sections if s.kind == Kind.INDEX):
        settings = replace(file.settings, m=0, mask=MaskSchedule.NONE)
        sections = [s for s in sections if s.kind not in (Kind.MASK, Kind.INDEX)]
        return replace(file, settings=settings, sections=tuple(sections), chunked=False, cut=True)
    return replace(file, sections=tuple(sections), cut=True)
