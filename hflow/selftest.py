"""Runs the conformance files of formats/vectors: proof, on the machine at hand, that files decode as they should."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import hflow
from hflow import errors
from hflow.container import parse
from hflow.errors import HflowError

if TYPE_CHECKING:
    from hflow.codec.decode import Indices
    from hflow.nets.bundle import Model

GRID = 4  # parts a side
TOLERANCE = 1.0  # steps of 255


@dataclass(frozen=True)
class Result:
    """What became of one file. wrong: in a line what is not as it should be, None if all is.

    exact: whether the indices are the right ones. difference: of the pixels from the manifest's means, in steps of 255;
    None where there are no pixels.
    """

    file: str
    wrong: str | None
    exact: bool = False
    difference: float | None = None


def folder() -> Path:
    """Where the files are: in the installed package, or in a source checkout."""
    package = Path(__file__).resolve().parent
    for path in (package / "vectors", package.parent / "formats" / "vectors"):
        if (path / "manifest.json").is_file():
            return path
    raise HflowError("the conformance files are not installed")


def coarse_means(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) to means (rows, columns, 3) over at most GRID by GRID parts, 0..255; part i of n begins at i H // n."""
    rows, cols = (np.arange(n) * size // n for size, n in ((s, min(GRID, s)) for s in image.shape[:2]))
    sums = np.add.reduceat(np.add.reduceat(image.astype(np.float64), rows, 0), cols, 1)
    areas = np.outer(np.diff([*rows, image.shape[0]]), np.diff([*cols, image.shape[1]]))
    return sums / areas[..., None]


def run(device: str = "cpu") -> tuple[list[Result], list[Result]]:
    """The results of the files that are to be decoded, and of those that are to be refused, as the manifest lists them.

    HflowError if the files are not there.
    """
    path = folder()
    manifest = json.loads((path / "manifest.json").read_text("utf-8"))

    def results(group: str, check: Callable[[dict[str, Any], bytes, str], Result]) -> list[Result]:
        return [check(entry, (path / group / entry["file"]).read_bytes(), device) for entry in manifest[group]]

    with searched(path):
        return results("decoded", decoded), results("refused", refused)


@contextmanager
def searched(path: Path) -> Iterator[None]:
    """HFLOW_MODELS with the bundle of the conformance files in front."""
    before = os.environ.get("HFLOW_MODELS")
    os.environ["HFLOW_MODELS"] = os.pathsep.join([str(path), *([before] if before else [])])
    try:
        yield
    finally:
        if before is None:
            del os.environ["HFLOW_MODELS"]
        else:
            os.environ["HFLOW_MODELS"] = before


def decoded(entry: dict[str, Any], data: bytes, device: str) -> Result:
    """A file that is to be decoded: indices bit for bit, pixels within a step of what they were."""
    try:
        image, sha256 = np.asarray(hflow.decode(data, device=device)), indices_sha256(data, device)
    except HflowError as error:
        return Result(entry["file"], f"refused: {error}")
    if image.shape != (entry["height"], entry["width"], 3):
        return Result(entry["file"], f"a picture of {image.shape[1]} x {image.shape[0]}")
    difference = float(np.abs(coarse_means(image) - entry["means"]).max())
    if sha256 != entry["sha256"]:
        return Result(entry["file"], "other indices", False, difference)
    return Result(entry["file"], "other pixels" if difference > TOLERANCE else None, True, difference)


def indices_sha256(data: bytes, device: str) -> str:
    """The SHA-256 of a file's indices."""
    from hflow.codec.decode import indices
    from hflow.nets.bundle import for_file, pick_device

    file = parse(data)
    model = for_file(file.bundle, file.fingerprint, pick_device(device))
    return sha256_of(model, indices(model, file))


def sha256_of(model: Model, found: Indices) -> str:
    """The SHA-256 of indices; formats/decoding.md, section 6, says of which bytes."""
    from hflow.codec.checksum import serialized

    parts = serialized(model.digest, found.y, found.tokens, [layer.y for layer in found.layers])
    return hashlib.sha256(b"".join(parts)).hexdigest()


def refused(entry: dict[str, Any], data: bytes, device: str) -> Result:
    """A file that is to be refused, and how."""
    try:
        hflow.decode(data, device=device)
    except HflowError as error:
        name, text = type(error), str(error)
        if issubclass(name, getattr(errors, entry["error"])) and entry["text"] in text and "\n" not in text:
            return Result(entry["file"], None)
        return Result(entry["file"], f"another error: {name.__name__}: {text}")
    return Result(entry["file"], "not refused")
