"""Files that no decoder may accept, each with one thing wrong."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np
from random_files import Case, draw, make, schedule

from hflow.codec import latents
from hflow.codec.geometry import Geometry, anchor
from hflow.container import Section, parse, serialize
from hflow.container.crc import crc16
from hflow.container.model import EXPLICIT, Kind
from hflow.entropy import Encoder, Tables
from hflow.errors import FormatError
from hflow.nets.bundle import Model
from hflow.reference.ops import scale_index
from hflow.reference.tables import LATENT


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
    writer = latents._Writer(model)
    with suppress(FormatError):
        latents._run(model, geo, case.level or 0, writer, z, y)
    return writer.coder.finish()


def endless_escape(model: Model, level: int) -> bytes:
    """A continuous stream of one cell of z: an escape whose Exp-Golomb prefix has 21 zeros."""
    at = anchor(level, model.cfg.rates)
    mean, scale = (model.ops.numpy(t.rows)[at] for t in (model.latent.z_mean, model.latent.z_scale))
    ids = 8 * scale_index(scale, 3, 40) + mean % 8
    coder = Encoder()
    coder.encode_tables(np.full(len(ids), 31), ids, Tables(np.array(LATENT[40])))
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
        "rate_81": ("rate 81", "FormatError", "rate 81 needs a newer hflow", changed(data, 10, 81)),
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
