"""A smaller file of the same picture, cut from a larger one: no original is needed, and no value changes.

Of enhancement layers (codec/enhancement.py) the last one that stays is cut; all others stay whole. Layers that a higher
one makes superfluous are left out, and that one's values are written anew.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np

from hflow.codec import enhancement, latents
from hflow.codec.decode import check, decoded
from hflow.codec.geometry import Geometry
from hflow.container import Container, Kind, MaskSchedule, Section, parse, serialize
from hflow.container.model import CODED
from hflow.errors import FormatError, TargetError
from hflow.nets.bundle import Model, for_file, pick_device

NEARLY = 0.85  # of a layer alone is better than the one beneath it and some of what it adds


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
    file = _known(model, _raised(model, file, size))
    level = file.settings.rate - 1
    stream = file.continuous
    least = 1 if stream is None else latents.least(model, Geometry(file.width, file.height), level, stream)
    smallest = len(serialize(_keep(file, least)))
    if smallest > size:
        raise TargetError(f"{size} bytes are too few: this file can be cut to {smallest} bytes")
    room = size - smallest + least
    while len(serialize(short := _keep(file, room))) > size:  # a length may take a byte more
        room -= 1
    return serialize(replace(short, index_checksum=decoded(model, short).checksum(model)))


def _raised(model: Model, file: Container, size: int) -> Container:
    """The file on the highest of its layers that nearly fits into `size` bytes when nothing lies beneath it.

    A layer takes fewer bytes alone than those beneath it and itself together: they say again what it says.
    """
    if file.continuous is None or any(file.index_chunks):  # tokens were coded with the lowest layer
        return file
    sections = [data for data in file.enhancements if data]
    whole = sections[:-1] if file.cut else sections
    geo, level = Geometry(file.width, file.height), file.settings.rate - 1
    below = level, latents.read(model, geo, level, file.continuous) if whole else np.zeros(0)
    best = file
    for n, data in enumerate(whole, 1):
        level, (z, y) = enhancement.level_of(data), enhancement.read_both(model, geo, below, data)
        alone = latents.write(model, geo, level, z, y)
        above = [Section(Kind.ENHANCEMENT, data) for data in sections[n:]]
        others = [s for s in file.sections if s.kind not in CODED]
        settings = replace(file.settings, rate=1 + level)
        found = replace(file, settings=settings, sections=(Section(Kind.CONTINUOUS, alone), *above, *others))
        if NEARLY * len(alone) + len(serialize(found)) - sum(len(s) for s in (alone, *sections[n:])) > size:
            break
        best, below = found, (level, y)
    return best


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
    if whole:  # an end between two layers is an end
        return replace(file, sections=tuple(sections), cut=file.cut and len(sections) == len(file.sections))
    if file.continuous is not None and not any(s.data for s in sections if s.kind == Kind.INDEX):
        settings = replace(file.settings, m=0, mask=MaskSchedule.NONE)
        sections = [s for s in sections if s.kind not in (Kind.MASK, Kind.INDEX)]
        return replace(file, settings=settings, sections=tuple(sections), chunked=False, cut=True)
    return replace(file, sections=tuple(sections), cut=True)
