"""Makes the conformance files that manifest.json does not list yet, and lists them. README.md says what they are.

python formats/vectors/make.py

What is listed stays as it is: the manifest says what every later decoder has to find. To replace a file, delete its
entry.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from random_files import Case, make
from refused import explicit, refused

from hflow.codec.decode import decoded, indices
from hflow.codec.truncate import truncate
from hflow.container import Profile, Section, parse, serialize
from hflow.container.model import Kind
from hflow.nets.bundle import Model, load
from hflow.reference import decode
from hflow.selftest import TOLERANCE, coarse_means, searched

HERE = Path(__file__).parent
PQ = Profile.PQ


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
        "level_63": Case("the level of the last anchor rate, with tokens", 90, 70, level=63, mask="1_2", spread=2),
        "level_64": Case("first level beyond it", 90, 70, level=64, m=0, mask="none", spread=2),
        "level_79": Case("highest rate level, with tokens", 90, 70, level=79, mask="1_4", spread=4),
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
    found["enhanced_beyond"] = Case("an enhancement beyond the last anchor rate", 90, 60, 50, 0, "none", layers=(79,))
    found["enhanced_tokens"] = Case("an enhancement behind tokens", 70, 50, 25, 2, "1_4", extra=notes[:1], layers=(40,))
    return found


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


def in_passes() -> dict[str, Case]:
    """What is to be decoded with the bundle that has slices of one, two and four passes, and the finer tables."""
    return {
        "passes": Case("slices of 4, 1 and 2 passes", 300, 250, 40, 0, "none"),
        "passes_1x1": Case("one cell: three of four passes are empty", 1, 1, m=0, mask="none"),
        "passes_row": Case("one row of cells: two of four passes are empty", 200, 20, m=1, mask="1_4"),
        "passes_column": Case("one column of cells", 30, 170, m=2, mask="1_2"),
        "passes_zeros": Case("all latents are 0", 260, 200, 10, 0, "none", spread=0),
        "passes_escapes": Case("many escaped latents", 130, 140, m=0, mask="none", spread=60),
        "passes_enhanced": Case("an enhancement, under narrowed tables", 150, 90, 20, 0, "none", layers=(45,)),
        "passes_level_0": Case("lowest rate level", 190, 170, level=0, m=0, mask="none", spread=0.3),
    }


def facts_of(name: str, data: bytes, model: Model) -> dict[str, Any]:
    """What the manifest says of a file that is to be decoded. Both decoders have to agree on it."""
    file = parse(data)
    found, second = indices(model, file), decode(data, model.path)
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

    def add(
        group: str, name: str, says: str, make_bytes: Callable[[], bytes], model: Model = model, **about: str
    ) -> None:
        if f"{name}.hfc" in {entry["file"] for entry in manifest[group]}:
            return
        data = make_bytes()
        (HERE / group).mkdir(exist_ok=True)
        (HERE / group / f"{name}.hfc").write_bytes(data)
        facts = about or facts_of(name, data, model)
        where = {"file": f"{name}.hfc", "says": says, "bytes": len(data), "bundle": model.path.name}
        manifest[group].append(where | facts)

    for name, case in cases().items():
        add("decoded", name, case.says, partial(make, name, case, model))
    for name, (says, case, share) in cuts().items():
        add("decoded", name, f"flag cut: {says}", partial(make_cut, name, case, share, model))
    file = make("explicit", Case("", 60, 50, mask="1_4"), model)
    plain = [(0x80 | s.kind, s.data) for s in parse(file).sections]
    add("decoded", "explicit", "explicit layout without need", partial(explicit, file, plain))
    for name, (says, error, text, data) in refused(model).items():
        add("refused", name, says, partial(bytes, data), error=error, text=text)
    finer = load(HERE / "bundle_253")
    for name, case in in_passes().items():
        add("decoded", name, case.says, partial(make, name, case, finer), finer)
    cut = partial(make_cut, "cut_passes", Case("", 200, 170, m=0, mask="none"), 0.4, finer)
    add("decoded", "cut_passes", "flag cut: y ends within a slice", cut, finer)
    path.write_text(text_of(manifest))


if __name__ == "__main__":
    main()
