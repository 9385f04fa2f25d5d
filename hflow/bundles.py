"""Finding model bundles on disk: a bundle is a folder with bundle.json and weights.safetensors, often compressed."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hflow.errors import BundleError

WEIGHTS = "weights.safetensors"
PACKED = WEIGHTS + ".zst"  # the same file, compressed: of every eight bits seven are left


@dataclass(frozen=True)
class Bundle:
    """A bundle that was found. number: the one that files carry. sha256: of the weights. path: its folder."""

    name: str
    number: int
    sha256: str
    path: Path
    licence: str


def folders() -> list[Path]:
    """The folders searched: HFLOW_MODELS, then an installed package's models, then a source checkout's."""
    package = Path(__file__).resolve().parent
    chosen = [Path(item) for item in os.environ.get("HFLOW_MODELS", "").split(os.pathsep) if item]
    return [*chosen, package / "models", package.parent / "models"]


def listing() -> list[Bundle]:
    """All bundles by number; where folders hold the same number, the folder searched first wins."""
    found: dict[int, Bundle] = {}
    for bundle in _scan():
        found.setdefault(bundle.number, bundle)
    return [found[number] for number in sorted(found)]


def find(which: int | str) -> Path:
    """The folder of the bundle with this number or this name."""
    bundles = listing()
    for bundle in bundles:
        if which in (bundle.number, bundle.name):
            return bundle.path
    have = ", ".join(f"{b.name} ({b.number})" for b in bundles) or "none"
    raise BundleError(f"bundle {which} is not installed (installed: {have}; HFLOW_MODELS may name more folders)")


def default() -> Path:
    """The folder of the newest bundle: the one with the highest number."""
    bundles = listing()
    if not bundles:
        raise BundleError(f"no model bundle is installed (searched {', '.join(map(str, folders()))})")
    return bundles[-1].path


def weights_file(folder: Path) -> Path:
    """The file with a bundle's weights, as it lies there; it need not exist."""
    packed = folder / PACKED
    return packed if os.path.exists(packed) else folder / WEIGHTS


def weights(folder: Path) -> bytes:
    """What `weights.safetensors` says. OSError where there is none, ValueError where it does not unpack."""
    file = weights_file(folder)
    data = file.read_bytes()
    if file.name != PACKED:
        return data
    import zstandard  # not for commands that only name bundles

    try:
        return zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError as error:
        raise ValueError(f"{file.name}: {error}") from error


def _scan() -> Iterator[Bundle]:
    for folder in folders():
        # Unlike pathlib's, this glob passes over folders that cannot be searched.
        for file in sorted(folder / name for name in glob.glob("*/bundle.json", root_dir=folder, include_hidden=True)):
            try:
                about = json.loads(file.read_text("utf-8"))
                licence = str(about.get("license", "not stated"))
                yield Bundle(str(about["name"]), int(about["number"]), str(about["sha256"]), file.parent, licence)
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise BundleError(f"{file}: not a bundle description ({type(error).__name__}: {error})") from error
