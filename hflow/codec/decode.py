"""`.hfc` bytes to an image: container, continuous stream, tokens and fill-in, fusion decoder."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from hflow.codec import enhancement, latents, masking, pixels, tokens
from hflow.codec.checksum import index_checksum
from hflow.codec.enhancement import Layer
from hflow.codec.geometry import LEVELS, Geometry
from hflow.codec.pixels import Progress
from hflow.container import Container, MaskSchedule, Profile, parse, parse_cut
from hflow.container.metadata import read as read_metadata
from hflow.container.model import CODED
from hflow.errors import FormatError, InputError
from hflow.metadata import unpacked
from hflow.nets.bundle import Model, for_file, pick_device
from hflow.nets.grids import sent_grid
from hflow.text import from_text

MAX_PIXELS = 2**28
AHEAD = 8  # bytes that a decoder reads before it needs them: with so many zeros behind it, a whole message is known


@dataclass(frozen=True)
class Indices:
    """What a file decodes to before any float is involved.

    y (h, w, C), None without a continuous stream. tokens (th, tw, m) with the fill-in, and `sent` (th, tw) bool, which
    of them the file holds; both None without tokens. layers: what enhances y, from coarse to fine.
    """

    geometry: Geometry
    level: int | None
    y: np.ndarray | None
    tokens: np.ndarray | None
    sent: np.ndarray | None
    layers: tuple[Layer, ...] = ()

    def checksum(self, model: Model) -> int:
        """What the file should say of them."""
        return index_checksum(model.digest, self.y, self.tokens, [layer.y for layer in self.layers])

    def picture(self, model: Model, fidelity: float = 1.0, progress: Progress = None) -> np.ndarray:
        """The picture (H, W, 3) uint8; arguments as for `pixels.synthesize`."""
        told: float | None = self.level
        y = self.y
        if self.level is not None and y is not None:
            told, y = enhancement.merged(model, self.level, y, self.layers)
        return pixels.synthesize(model, self.geometry, told, y, self.tokens, self.sent, fidelity, progress)


def decode(
    data: bytes | str,
    *,
    fidelity: float = 1.0,
    partial: bool = False,
    salvage: bool = False,
    max_pixels: int = MAX_PIXELS,
    device: str = "auto",
    progress: Progress = None,
) -> Image.Image:
    """Decodes a file's bytes, or its text (`hflow.text`), to an RGB image, with the file's metadata in its `info`.

    fidelity: strength of the continuous stream beside the tokens, 0 (tokens alone) to 1 (default); more exaggerates.
    Below 1 only for a file with tokens (`hflow.encode`, masking): of another nothing would be left. partial: takes
    the beginning of a file as well, and predicts what is missing. salvage: takes a damaged file or the beginning of
    one; what was lost, and whether anything vouches for the rest, is a line in `info["salvaged"]`, which is not there
    if the file is intact. max_pixels: a larger picture is refused before anything is allocated. progress: called with
    the share done. Raises FormatError for bytes that are no intact `.hfc` file, or with salvage make no picture,
    BundleError for a missing bundle, InputError for a fidelity that the file has no use for.
    """
    data = from_text(data)
    note = None
    if salvage:
        from hflow.codec.salvage import salvage as salvaged  # which decodes with what is below

        s = salvaged(data, max_pixels=max_pixels, device=device)
        model, file, f, note = s.model, s.file, s.found, s.note
    else:
        file, missing = parse_cut(data) if partial else (parse(data), 0)
        check(file, max_pixels)
        model = for_file(file.bundle, file.fingerprint, pick_device(device))
        f = predicted(model, file) if missing else indices(model, file)
    check_fidelity(fidelity, f)
    if progress:
        progress(0.5)
    image = Image.fromarray(f.picture(model, fidelity, progress))
    image.info.update(unpacked(read_metadata(file)), **({"salvaged": note} if note else {}))
    return image


def check(file: Container, max_pixels: int = MAX_PIXELS) -> None:
    """Refuses what this version cannot decode, before anything is allocated."""
    if file.width * file.height > max_pixels:
        raise FormatError(f"{file.width}x{file.height} is more than the limit of {max_pixels} pixels")
    if file.settings.rate > LEVELS:
        raise FormatError(f"rate {file.settings.rate} needs a newer hflow")
    if file.settings.profile == Profile.ADACODE:
        raise FormatError("the profile adacode needs a newer hflow")


def check_fidelity(fidelity: float, found: Indices) -> None:
    """InputError for a fidelity that is none, or has no meaning for this file."""
    if not (math.isfinite(fidelity) and fidelity >= 0):
        raise InputError(f"fidelity is a number from 0 (tokens alone) to 1, not {fidelity}")
    if fidelity < 1 and found.tokens is None:
        raise InputError(
            f"fidelity {fidelity:g} would show more of the tokens, and this file has none: "
            "only files made with a masking that sends some do"
        )


def indices(model: Model, file: Container) -> Indices:
    """The integer half of decoding; the same on every machine. FormatError if the index checksum does not match."""
    found = decoded(model, file)
    if found.checksum(model) != file.index_checksum:
        raise FormatError("the decoded indices do not match the file's checksum (damaged, or a broken decoder)")
    return found


def decoded(model: Model, file: Container) -> Indices:
    """The same, unchecked."""
    return predicted(model, file) if file.cut else enhanced(model, file, _read(model, file))


def enhanced(model: Model, file: Container, base: Indices) -> Indices:
    """Indices with the enhancement layers that the file has. All but the last one with data are whole."""
    sections, layers = [data for data in file.enhancements if data], []
    if base.level is None or base.y is None:
        return base
    below = base.level, base.y
    for n, data in enumerate(sections):
        layers.append(enhancement.read(model, base.geometry, below, data, file.cut and n == len(sections) - 1))
        below = layers[-1].level, layers[-1].y
    return replace(base, layers=tuple(layers))


def _read(model: Model, file: Container) -> Indices:
    """Indices of whole streams, without enhancements."""
    geo, level, m = _settings(model, file)
    y: Any = None
    if level is not None:
        y = latents.read(model, geo, level, file.continuous or b"")
    if not m:
        return Indices(geo, level, y, None, None)
    sent = sent_by(file, geo)
    return Indices(geo, level, y, tokens.read(model, geo, level, y, m, sent, file.index_chunks), sent)


def predicted(model: Model, file: Container) -> Indices:
    """Indices of streams whose end may be missing: what they lack is predicted.

    In the beginning of a file all sections but the last that is there are whole; of a file that was cut, none is known
    to be, but those that an enhancement follows.
    """
    if any(file.enhancements):
        return enhanced(model, replace(file, cut=True), _read(model, file))
    file = file if file.cut else _whole_but_last(file)
    geo, level, m = _settings(model, file)
    y: Any = None
    if level is not None:
        y = latents.read_cut(model, geo, level, file.continuous or b"")
    if m and any(file.index_chunks):  # a token begun is a mask complete
        q, sent = tokens.read_cut(model, geo, level, y, m, sent_by(file, geo), file.index_chunks)
        return Indices(geo, level, y, q, sent)
    if level is None:
        raise FormatError("too short: no token of the picture is there")
    return Indices(geo, level, y, None, None)


def _whole_but_last(file: Container) -> Container:
    """With zeros behind every stream that another follows: all of it is known then."""
    there = [n for n, s in enumerate(file.sections) if s.kind in CODED and s.data]
    sections = list(file.sections)
    for n in there[:-1]:
        sections[n] = replace(sections[n], data=sections[n].data + bytes(AHEAD))
    return replace(file, sections=tuple(sections))


def _settings(model: Model, file: Container) -> tuple[Geometry, int | None, int]:
    """Grids, rate level and sub-quantizers of a file."""
    s = file.settings
    if s.m > model.cfg.m_max:
        raise FormatError(f"{s.m} sub-quantizers, but bundle {model.name} has {model.cfg.m_max}")
    return Geometry(file.width, file.height), s.rate - 1 if s.rate else None, s.m


def sent_by(file: Container, geo: Geometry) -> np.ndarray:
    """Which tokens a file holds, (th, tw) bool."""
    if file.settings.mask == MaskSchedule.CODED:
        labels = masking.read(file.mask_data or b"", *masking.regions(geo.th, geo.tw))
        return masking.sent_tokens(labels, geo.th, geo.tw)
    return sent_grid(geo.th, geo.tw, file.settings.mask.label)
