"""The arrays of a bundle (decoding.md, section 1)."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zstandard

from hflow.errors import BundleError

DTYPES = {"I8": "<i1", "I16": "<i2", "I32": "<i4", "F16": "<f2"}


class Layer(NamedTuple):
    """weight (N, K), bias (N,) and the number of fractional bits of the sums."""

    weight: np.ndarray
    bias: np.ndarray
    acc_bits: int


@dataclass(frozen=True)
class Bundle:
    """The numbers and integer arrays that decide indices. Names of arrays are without `int.`."""

    number: int
    digest: bytes
    channels: int  # C
    slices: tuple[int, ...]  # c_0, c_1, ...
    passes: tuple[int, ...]  # of each slice; () for two of each, without layers of their own
    scales: int  # E
    hyper: int  # Z
    rates: int  # R
    m_max: int  # M
    codewords: int  # V
    arrays: dict[str, np.ndarray]
    gains: np.ndarray  # (R, C), logarithms in units of 2^-16

    def layer(self, name: str) -> Layer:
        return Layer(self.array(f"{name}.weight"), self.array(f"{name}.bias"), int(self.array(f"{name}.acc_bits")))

    def rows(self, name: str) -> np.ndarray:
        return self.array(f"{name}.rows")

    def array(self, name: str) -> np.ndarray:
        """int64. BundleError if the bundle has none of this name."""
        if name not in self.arrays:
            raise BundleError(f"the bundle has no array int.{name}")
        return self.arrays[name]

    def count(self, group: str) -> int:
        """How many members group.0, group.1, ... there are."""
        return len({name.split(".")[2] for name in self.arrays if name.startswith(group + ".")})


def load(folder: Path) -> Bundle:
    """Reads a bundle folder. BundleError if it is not one, or if its digest is not the one it states."""
    try:
        about = json.loads((folder / "bundle.json").read_text("utf-8"))
        raw = weights(folder)
        net, stated, number = about["net"], str(about["sha256"]), int(about["number"])
        sizes = [int(net[name]) for name in ("latent", "hyper", "rates", "m_max", "codewords")]
        slices = tuple(int(c) for c in net["slices"])
        passes = tuple(int(n) for n in net.get("passes", ()))
        scales = int(net.get("scales", 40))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{folder}: not a readable bundle ({type(error).__name__}: {error})") from error
    digest = hashlib.sha256(raw).digest()
    if digest.hex() != stated:
        raise BundleError(f"{folder}: the weights are not the ones that bundle.json names")
    if len(passes) not in (0, len(slices)) or not set(passes) <= {1, 2, 4} or scales not in (40, 48):
        raise BundleError(f"{folder}: passes or scales that this version does not have")
    channels, hyper, rates, m_max, codewords = sizes
    return Bundle(
        number, digest, channels, slices, passes, scales, hyper, rates, m_max, codewords, integers(raw), gains(raw)
    )


def weights(folder: Path) -> bytes:
    """The safetensors file, unpacked if it is compressed. OSError or ValueError if it can't be read."""
    packed = folder / "weights.safetensors.zst"
    if not packed.exists():
        return (folder / "weights.safetensors").read_bytes()
    try:
        return zstandard.ZstdDecompressor().decompress(packed.read_bytes())
    except zstandard.ZstdError as error:
        raise ValueError(error) from error


def integers(raw: bytes) -> dict[str, np.ndarray]:
    """The arrays `int.*` of a safetensors file, as int64."""
    return {n.removeprefix("int."): a.astype(np.int64) for n, a in arrays(raw, "int.").items()}


def gains(raw: bytes) -> np.ndarray:
    """Section 3.6: the half-precision numbers of `float.gain.log_gain`, in units of 2^-16, rounded down."""
    stored = arrays(raw, "float.gain.log_gain")["float.gain.log_gain"]
    return np.floor(stored.astype(np.float64) * 65536).astype(np.int64)


def arrays(raw: bytes, prefix: str) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file whose names begin so."""
    length = int.from_bytes(raw[:8], "little")
    header: dict[str, Any] = json.loads(raw[8 : 8 + length])
    data = raw[8 + length :]
    found = {}
    for name, entry in header.items():
        if name.startswith(prefix):
            start, end = entry["data_offsets"]
            found[name] = np.frombuffer(data[start:end], DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return found


def find(number: int) -> Path:
    """The installed bundle of this number: in HFLOW_MODELS, beside the package or in a source checkout."""
    package = Path(__file__).resolve().parent.parent
    named = [Path(item) for item in os.environ.get("HFLOW_MODELS", "").split(os.pathsep) if item]
    for folder in (*named, package / "models", package.parent / "models"):
        for file in sorted(folder.glob("*/bundle.json")):
            try:
                here = json.loads(file.read_text("utf-8"))["number"]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise BundleError(f"{file}: not a bundle description ({type(error).__name__}: {error})") from error
            if here == number:
                return file.parent
    raise BundleError(f"bundle {number} is not installed (HFLOW_MODELS may name more folders)")
