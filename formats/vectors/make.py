"""Makes the conformance files that manifest.json does not list yet, and lists them. README.md says what they are.

python formats/vectors/make.py

What is listed stays as it is: the manifest says what every later decoder has to find. To replace a file, delete its
entry.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hflow.codec import enhancement, latents, masking, tokens
from hflow.codec.checksum import index_checksum
from hflow.codec.decode import decoded, indices
from hflow.codec.geometry import Geometry, anchor
from hflow.codec.truncate import truncate
from hflow.container import Container, MaskSchedule, Profile, Section, Settings, parse, serialize
from hflow.container.crc import crc16
from hflow.container.model import EXPLICIT, Kind
from hflow.entropy import Encoder
from hflow.errors import FormatError
from hflow.masks import LABELS
from hflow.nets.bundle import Model, load
from hflow.nets.grids import sent_grid
from hflow.reference import decode
from hflow.reference.ops import scale_index
from hflow.reference.tables import LATENT
from hflow.selftest import TOLERANCE, coarse_means, searched

HERE = Path(__file__).parent
HYBRID, PQ = Profile.HYBRID, Profile.PQ


def schedule(label: str) -> MaskSchedule:
    return next(s for s in MaskSchedule if s.label == label)


@dataclass(frozen=True)
class Case:
    """A file of random indices. spread: of y and z, large ones are escaped; token: the only one, by default random.

    With a token, a coded mask sends nothing.
    """

    says: str
    width: int
    height: int
    level: int | None = 30
    m: int = 1
    mask: str = "all"
    chunked: bool = False
    profile: Profile = HYBRID
    spread: float = 1.0
    token: int | None = None
    extra: tuple[Section, ...] = ()
    layers: tuple[int, ...] = ()  # rate levels of enhancements


def cases() -> dict[str, Case]:
    """What is to be decoded, by name."""
    notes = (Section(Kind.METADATA, b"a note", critical=False), Section(100, bytes(200), critical=False))
    found = {
        "1x1": Case("one pixel: one token, one cell", 1, 1),
        "1x1_continuous": Case("one pixel, no tokens", 1, 1, m=0, mask="none"),
        "1x150": Case("one column", 1, 150, m=2, mask="1_2"),
        "150x1": Case("one row", 150, 1, m=2, mask="1_2", chunked=True),
        "16x16": Case("exactly one token; the network's grid has four", 16, 16, m=4),
        "17x15": Case("coded grid without the network's last row", 17, 15, m=2),
        "33x31": Case("odd size", 33, 31, m=3, mask="1_2"),
        "48x80": Case("coded grid without last row and last column", 80, 48, m=1, mask="1_4"),
        "129x127": Case("z of two cells, the second nearly empty", 129, 127, m=2, mask="1_4"),
        "128x256": Case("whole windows, and the same shifted", 128, 256, m=1, mask="1_2", chunked=True),
        "250x190": Case("windows cut at every edge", 250, 190, m=2, mask="1_9"),
        "700x500": Case("a large picture", 700, 500, level=20, m=2, mask="1_4", chunked=True),
        "900x20": Case("long and flat, continuous stream only", 900, 20, level=50, m=0, mask="none"),
        "level_0": Case("lowest rate level", 90, 70, level=0, m=0, mask="none", spread=0.3),
        "level_15": Case("last level of the first anchor rate", 90, 70, level=15, m=0, mask="none"),
        "level_16": Case("first level of the second anchor rate", 90, 70, level=16, m=0, mask="none"),
        "level_63": Case("highest rate level, with tokens", 90, 70, level=63, mask="1_2", spread=2),
        "zeros": Case("all latents and tokens are 0", 60, 60, m=2, spread=0, token=0),
        "token_255": Case("tokens 255 only: 16 bits overflow in the embedding", 70, 70, m=4, token=255),
        "token_249": Case("tokens 249 only: one channel holds everything", 70, 70, m=1, token=249),
        "escapes": Case("many escaped latents", 60, 60, m=1, mask="1_4", spread=60),
        "escapes_long": Case("latents to both ends of 16 bits", 40, 70, m=0, mask="none", spread=12000),
        "filled_in": Case("no token sent, all filled in from y", 100, 80, m=4, mask="none"),
        "filled_in_chunked": Case("the flag chunked where there is no chunk", 50, 40, m=1, mask="none", chunked=True),
        "empty_stages": Case("five chunks, four of them empty", 33, 16, m=2, mask="1_16", chunked=True),
        "nothing": Case("neither stream: a file of 16 bytes", 40, 40, level=None, m=0, mask="none"),
        "pq_filled_in": Case("tokens only, none of them sent", 64, 48, None, 3, "none", profile=PQ),
        "pq_with_rate": Case("the profile does not decide what there is", 64, 48, 40, 1, "1_2", profile=PQ),
        "hybrid_without_rate": Case("the same the other way round", 64, 48, None, 1, "1_2"),
        "ancillary": Case("sections to skip, one behind each standard one", 60, 50, mask="1_4", extra=notes),
    }
    for k, mask in enumerate(("1_16", "1_9", "1_4", "1_2", "all")):
        found[f"mask_{mask}"] = Case(f"mask schedule {mask}", 110, 90, 35, 1 + k % 4, mask, chunked=k % 2 == 0)
        found[f"pq_{mask}"] = Case(f"profile pq, {mask}", 90, 110, None, 4 - k % 4, mask, k % 2 == 1, PQ)
    for k, size in enumerate(((64, 64), (190, 250), (310, 60))):
        says = ("one region", "20 regions, those at the edges smaller", "five regions in five chunks")[k]
        found[f"coded_mask_{k + 1}"] = Case(f"coded mask: {says}", *size, 30, 1 + k, "coded", chunked=k == 2)
    found["coded_mask_none"] = Case("coded mask that sends nothing: an empty chunk", 90, 70, mask="coded", token=0)
    for m in (1, 2, 3, 4):
        found[f"m_{m}"] = Case(f"{m} of 4 sub-quantizers", 64, 48, 8 * m, m)
    found["enhanced"] = Case("an enhancement of all of y", 150, 60, 20, 0, "none", layers=(45,))
    found["enhanced_twice"] = Case("two enhancements, the first one finer", 60, 90, 30, 0, "none", layers=(63, 10))
    found["enhanced_escapes"] = Case("escaped latents, enhanced", 60, 60, 10, 0, "none", spread=40, layers=(50,))
    found["enhanced_tokens"] = Case("an enhancement behind tokens", 70, 50, 25, 2, "1_4", extra=notes[:1], layers=(40,))
    return found


def draw(case: Case, model: Model, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random z, y and tokens."""
    geo, cfg = Geometry(case.width, case.height), model.cfg
    z = np.rint(rng.laplace(0, 2 * case.spread, (geo.zh, geo.zw, cfg.hyper))).astype(np.int64)
    y = np.rint(rng.laplace(0, 1.5 * case.spread, (geo.h, geo.w, cfg.latent))).astype(np.int64)
    q = rng.integers(0, cfg.codewords, (geo.th, geo.tw, cfg.m_max))
    if case.token is not None:
        q[:] = case.token
    y = y.clip(-latents.LIMIT, latents.LIMIT)
    if case.spread > 1000:
        y.flat[:2] = -latents.LIMIT, latents.LIMIT
    return z, y, q


def make(name: str, case: Case, model: Model) -> bytes:
    """The bytes of a file."""
    geo = Geometry(case.width, case.height)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    z, y, q = draw(case, model, rng)
    given = None if case.level is None else y
    sections: list[Section] = []
    full = None
    if case.level is not None:
        sections.append(Section(Kind.CONTINUOUS, latents.write(model, geo, case.level, z, y)))
    if case.m:
        if case.mask == "coded":
            labels = rng.integers(0, len(LABELS), masking.regions(geo.th, geo.tw))
            if case.token is not None:
                labels[:] = 0
            sent = masking.sent_tokens(labels, geo.th, geo.tw)
            sections.append(Section(Kind.MASK, masking.write(labels)))
        else:
            sent = sent_grid(geo.th, geo.tw, case.mask)
        chunks, full = tokens.write(model, geo, case.level, given, case.m, sent, q, case.chunked)
        if case.mask != "none":
            sections += [Section(Kind.INDEX, chunk) for chunk in chunks]
    for k, section in enumerate(case.extra):
        sections.insert(2 * k + 1, section)
    layers: list[np.ndarray] = []
    below = case.level or 0, y
    for level in case.layers:
        low, high = enhancement.bounds(model, below, level)
        finer = np.where(rng.random(y.shape) < 0.02, draw(case, model, rng)[1], rng.integers(low, high + 1))
        sections.append(Section(Kind.ENHANCEMENT, enhancement.write(model, geo, below, level, z, finer)))
        layers.append(finer)
        below = level, finer
    rate = 0 if case.level is None else 1 + case.level
    settings = Settings(rate, case.m, schedule(case.mask), case.profile)
    checksum = index_checksum(model.digest, given, full, layers)
    return serialize(
        Container(case.width, case.height, model.number, model.fingerprint, settings, checksum, case.chunked,
                  tuple(sections))
    )  # fmt: skip


def cuts() -> dict[str, tuple[str, Case, float]]:
    """What is cut off at its end, by name: says, case, and the share of the bytes that stay."""
    return {
        "cut_tokens": ("tokens end in stage 5", Case("", 90, 70, m=2), 0.8),
        "cut_early": ("tokens end in an early stage", Case("", 90, 70, m=3, mask="1_2"), 0.8),
        "cut_chunked": ("five chunks, the last ones empty", Case("", 90, 70, m=2, chunked=True), 0.7),
        "cut_continuous": ("y ends within a slice", Case("", 200, 100, m=0, mask="none"), 0.6),
        "cut_away": ("the tokens are gone, and part of y", Case("", 90, 70, m=1), 0.4),
        "cut_pq": ("tokens only, the first ones of them", Case("", 90, 70, None, 4, profile=PQ), 0.5),
        "cut_coded_mask": ("with a coded mask", Case("", 250, 190, mask="coded"), 0.92),
        "cut_escapes": ("among escaped latents", Case("", 60, 60, m=0, mask="none", spread=60), 0.7),
        "cut_enhanced": ("an enhancement ends within a slice", Case("", 90, 70, 20, 0, "none", layers=(45,)), 0.7),
        "cut_enhanced_z": ("nor is z of the second one", Case("", 90, 130, 9, 0, "none", layers=(30, 50)), 0.65),
        "cut_enhanced_away": ("only y is left", Case("", 90, 70, 20, 2, "1_2", layers=(45,)), 0.3),
        "cut_nothing": ("no byte is missing, and yet the last symbols are not known", Case("", 60, 60), 1.0),
    }


def make_cut(name: str, case: Case, share: float, model: Model) -> bytes:
    whole = make(name, case, model)
    if share == 1:
        file = replace(parse(whole), cut=True)
        found = decoded(model, file)
        return serialize(replace(file, index_checksum=found.checksum(model)))
    with searched(HERE):
        return truncate(whole, int(share * len(whole)), device="cpu")


def facts_of(name: str, data: bytes, model: Model) -> dict[str, Any]:
    """What the manifest says of a file that is to be decoded. Both decoders have to agree on it."""
    file = parse(data)
    found, second = indices(model, file), decode(data, HERE / "bundle")
    layers = zip((layer.y for layer in found.layers), second.layers, strict=True)
    for a, b in ((found.y, second.y), (found.tokens, second.tokens), *layers):
        if a is not None and not np.array_equal(a, b):
            raise ValueError(f"{name}: the two decoders do not agree")
    image = found.picture(model)
    return {
        "width": file.width,
        "height": file.height,
        "profile": file.settings.profile.name.lower(),
        "rate": file.settings.rate,
        "m": file.settings.m,
        "mask": file.settings.mask.label,
        "chunked": file.chunked,
        "cut": file.cut,
        "y": None if found.y is None else list(found.y.shape),
        "tokens": None if found.tokens is None else list(found.tokens.shape),
        "checksum": f"{second.checksum:04x}",
        "sha256": second.sha256,
        "means": coarse_means(image).round(1).tolist(),
    }


def sealed(body: bytes) -> bytes:
    """With the right CRC behind it: what is wrong is wrong on purpose."""
    return body + crc16(body).to_bytes(2, "little")


def changed(data: bytes, at: int, value: int) -> bytes:
    """One byte set to another value, the CRC made right again."""
    return sealed(data[:at] + bytes([value]) + data[at + 1 : -2])


def explicit(data: bytes, sections: list[tuple[int, bytes]], count: int | None = None) -> bytes:
    """The header of `data` with these (type byte, data) in the explicit layout. Lengths below 128."""
    number = len(sections) if count is None else count
    varint = bytes([number]) if number < 128 else bytes([number & 127 | 128, number >> 7])
    body = b"".join(bytes([kind, len(part)]) + part for kind, part in sections)
    return sealed(data[:3] + bytes([data[3] | EXPLICIT]) + data[4:14] + varint + body)


def stray_latent(model: Model, case: Case) -> bytes:
    """A continuous stream whose y has 32768 in it, which the coder can say and the format forbids."""
    geo = Geometry(case.width, case.height)
    z, y, _ = draw(case, model, np.random.default_rng(1))
    y[0, 0, 0] = latents.LIMIT + 1
    writer = latents._Writer()
    with suppress(FormatError):
        latents._run(model, geo, case.level or 0, writer, z, y)
    return writer.coder.finish()


def endless_escape(model: Model, level: int) -> bytes:
    """A continuous stream of one cell of z: an escape whose Exp-Golomb prefix has 21 zeros."""
    at = anchor(level, model.cfg.rates)
    mean, scale = (model.ops.numpy(t.rows)[at] for t in (model.latent.z_mean, model.latent.z_scale))
    ids = 8 * scale_index(scale, 3) + mean % 8
    coder = Encoder()
    coder.encode_tables(np.full(len(ids), 31), ids, np.array(LATENT))
    coder.encode_bits(np.zeros(22, int), 1)
    coder.encode_bits(np.array([1]), 1)
    return coder.finish()


def refused(model: Model) -> dict[str, tuple[str, str, str, bytes]]:
    """Name to (what is wrong, class of the error, what its message says, bytes)."""
    case = Case("", 60, 50, m=2, mask="1_2")
    data = make("refused", case, model)
    file = parse(data)
    one, three = (s.data for s in file.sections)
    flat = replace(case, level=None, width=16, height=16, m=1, chunked=True)
    stage = parse(make("refused_stage", flat, model))
    other = parse(make("refused_other", case, model))
    none = parse(make("refused_none", replace(case, mask="coded", token=0), model))
    stray = Section(Kind.INDEX, b"x")
    full_stages = (*stage.sections[:4], stray)
    alone = replace(file, settings=replace(file.settings, m=0, mask=schedule("none")))

    def flipped(bit: int) -> bytes:
        return bytes(b ^ (1 << bit % 8 if n == bit // 8 else 0) for n, b in enumerate(data))

    def continuous(section: bytes, size: int = 60) -> bytes:
        return serialize(replace(alone, width=size, height=size, sections=(Section(Kind.CONTINUOUS, section),)))

    critical, damaged = 0x80, "damaged: checksum mismatch"
    return {
        "empty": ("no bytes at all", "FormatError", "truncated", b""),
        "truncated_in_signature": ("two bytes", "FormatError", "truncated", data[:2]),
        "truncated_in_header": ("ten bytes", "FormatError", "truncated", data[:10]),
        "truncated_in_section": ("half of it", "FormatError", "truncated", data[: len(data) // 2]),
        "truncated_by_one": ("the last byte is missing", "FormatError", "truncated: 1 bytes missing", data[:-1]),
        "flipped_size": ("a bit of the width", "FormatError", damaged, flipped(8 * 4 + 1)),
        "flipped_section": ("a bit of the continuous stream", "FormatError", damaged, flipped(8 * 20 + 3)),
        "flipped_crc": ("a bit of the CRC", "FormatError", damaged, flipped(8 * len(data) - 1)),
        "foreign": ("a JPEG's signature", "FormatError", "not an hflow file", b"\xff\xd8\xff" + data[3:]),
        "version_0": ("version 0", "FormatError", "format version 0", changed(data, 3, data[3] & 0xF0)),
        "version_2": ("version 2", "FormatError", "format version 2", changed(data, 3, data[3] & 0xF0 | 2)),
        "reserved_flag": ("flag bit 7", "FormatError", "reserved flag", changed(data, 3, data[3] | 0x80)),
        "width_0": ("no columns", "FormatError", "the image is 0x50", sealed(data[:4] + bytes(2) + data[6:-2])),
        "height_0": ("no rows", "FormatError", "the image is 60x0", sealed(data[:6] + bytes(2) + data[8:-2])),
        "mask_6": ("mask schedule 6", "FormatError", "mask schedule 6 is reserved", changed(data, 11, 6 << 3 | 2)),
        "profile_3": ("profile 3", "FormatError", "profile 3 is reserved", changed(data, 11, data[11] | 0xC0)),
        "adacode": ("profile adacode", "FormatError", "needs a newer hflow", changed(data, 11, data[11] | 0x80)),
        "rate_65": ("rate 65", "FormatError", "rate 65 needs a newer hflow", changed(data, 10, 65)),
        "m_5": ("more sub-quantizers than the bundle has", "FormatError", "5 sub-quantizers, but bundle vectors has 4",
                changed(data, 11, data[11] & 0xF8 | 5)),
        "long_length": ("a length in two bytes that fits in one", "FormatError", "not written in its shortest form",
                        sealed(data[:14] + bytes([data[14] | 128, 0]) + data[15:-2])),
        "endless_length": ("a length of six bytes", "FormatError", "more than 5 bytes",
                           sealed(data[:14] + b"\x81\x80\x80\x80\x80\x01" + data[15:-2])),
        "huge_length": ("a length far beyond the end", "FormatError", "truncated",
                        sealed(data[:14] + b"\xff\xff\xff\xff\x7f" + data[15:-2])),
        "trailing": ("three bytes behind the CRC", "FormatError", "3 bytes after the end", data + bytes(3)),
        "missing_section": ("explicit, without an index chunk", "FormatError", "not those that the settings imply",
                            explicit(data, [(critical | 1, one)])),
        "swapped_sections": ("explicit, in the wrong order", "FormatError", "not those that the settings imply",
                             explicit(data, [(critical | 3, three), (critical | 1, one)])),
        "uncritical_section": ("explicit, a standard section not marked critical", "FormatError", "not marked critical",
                               explicit(data, [(1, one), (critical | 3, three)])),
        "unknown_critical": ("a critical section of unknown meaning", "FormatError", "critical section 99",
                             explicit(data, [(critical | 1, one), (critical | 99, b"?"), (critical | 3, three)])),
        "too_many_sections": ("1025 sections", "FormatError", "1025 sections, at most 1024",
                              explicit(data, [(critical | 1, one), (critical | 3, three)] + [(100, b"")] * 1023)),
        "too_many_pixels": ("65535 x 65535", "FormatError", "limit of 268435456 pixels",
                            serialize(replace(file, width=65535, height=65535))),
        "fingerprint": ("another build of the bundle", "BundleError", "another build of bundle vectors",
                        changed(data, 9, data[9] ^ 1)),
        "bundle": ("a bundle that is not there", "BundleError", "bundle 254 is not installed", changed(data, 8, 254)),
        "index_checksum": ("one bit of the index checksum", "FormatError", "do not match the file's checksum",
                           serialize(replace(file, index_checksum=file.index_checksum ^ 0x100))),
        "other_tokens": ("tokens of another file with the same settings", "FormatError", "do not match the file's",
                         serialize(replace(file, sections=(file.sections[0], other.sections[1])))),
        "stage_without_tokens": ("a chunk of a stage without tokens holds a byte", "FormatError", "is not empty",
                                 serialize(replace(stage, sections=full_stages))),
        "cut_stage_without_tokens": ("a chunk of a stage without tokens holds a byte, flag cut", "FormatError",
                                     "is not empty", serialize(replace(stage, cut=True, sections=full_stages))),
        "mask_without_tokens": ("a coded mask that sends nothing, and a byte in the chunk", "FormatError",
                                "is not empty", serialize(replace(none, sections=(*none.sections[:2], stray)))),
        "cut_before_z": ("the flag cut, and too little for z", "FormatError", "too short",
                         serialize(replace(alone, sections=(Section(Kind.CONTINUOUS, one[:1]),), cut=True))),
        "cut_to_nothing": ("the flag cut, profile pq, and no token", "FormatError", "too short",
                           serialize(replace(stage, sections=(Section(Kind.INDEX, b""),) * 5, cut=True))),
        "no_symbol": ("a quantile beyond 2^24", "FormatError", "what no encoder writes", continuous(b"\xff" * 9)),
        "enhancement_alone": ("an enhancement of nothing", "FormatError", "an enhancement stands before",
                              explicit(serialize(replace(file, settings=replace(file.settings, rate=0, m=0),
                                                         sections=())), [(critical | 8, b"\x01")])),
        "enhancement_first": ("an enhancement before the tokens", "FormatError", "an enhancement stands before",
                              explicit(data, [(critical | 1, one), (critical | 8, b"\x01"), (critical | 3, three)])),
        "uncritical_enhancement": ("an enhancement not marked critical", "FormatError", "not marked critical",
                                   explicit(data, [(critical | 1, one), (critical | 3, three), (8, b"\x01")])),
        "enhancement_rate_0": ("an enhancement of rate 0", "FormatError", "rate 0 of an enhancement needs a newer",
                               explicit(data, [(critical | 1, one), (critical | 3, three), (critical | 8, b"\x00")])),
        "endless_escape": ("an escape of more than 21 bits", "FormatError", "a latent is out of range",
                           continuous(endless_escape(model, 30))),
        "latent_32768": ("a latent that does not fit in 16 bits", "FormatError", "a latent is out of range",
                         continuous(stray_latent(model, replace(case, height=60)))),
    }  # fmt: skip


def text_of(manifest: dict[str, Any]) -> str:
    """JSON with a line for every file."""
    head = "".join(f"{json.dumps(k)}: {json.dumps(v)},\n" for k, v in manifest.items() if not isinstance(v, list))
    groups = [
        f"{json.dumps(k)}: [\n" + ",\n".join(json.dumps(e, ensure_ascii=False) for e in v) + "\n]"
        for k, v in manifest.items()
        if isinstance(v, list)
    ]
    return "{\n" + head + ",\n".join(groups) + "\n}\n"


def main() -> None:
    model = load(HERE / "bundle")
    path = HERE / "manifest.json"
    manifest: dict[str, Any] = {
        "format": 1,
        "bundle": {"number": model.number, "sha256": model.digest.hex()},
        "tolerance": TOLERANCE,
        "decoded": [],
        "refused": [],
    }
    if path.exists():
        manifest |= json.loads(path.read_text("utf-8"))
    if manifest["bundle"]["sha256"] != model.digest.hex():
        raise SystemExit("the files in manifest.json belong to another bundle")

    def add(group: str, name: str, says: str, make_bytes: Callable[[], bytes], **about: str) -> None:
        if f"{name}.hfc" in {entry["file"] for entry in manifest[group]}:
            return
        data = make_bytes()
        (HERE / group).mkdir(exist_ok=True)
        (HERE / group / f"{name}.hfc").write_bytes(data)
        facts = about or facts_of(name, data, model)
        manifest[group].append({"file": f"{name}.hfc", "says": says, "bytes": len(data), **facts})

    for name, case in cases().items():
        add("decoded", name, case.says, partial(make, name, case, model))
    for name, (says, case, share) in cuts().items():
        add("decoded", name, f"flag cut: {says}", partial(make_cut, name, case, share, model))
    file = make("explicit", Case("", 60, 50, mask="1_4"), model)
    plain = [(0x80 | s.kind, s.data) for s in parse(file).sections]
    add("decoded", "explicit", "explicit layout without need", partial(explicit, file, plain))
    for name, (says, error, text, data) in refused(model).items():
        add("refused", name, says, partial(bytes, data), error=error, text=text)
    path.write_text(text_of(manifest))


if __name__ == "__main__":
    main()
