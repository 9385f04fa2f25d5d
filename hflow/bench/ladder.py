"""Which token settings are worth their bits: the same size spent with and without tokens. The bundle's ladder follows.

    hflow bench ladder FOLDER --bpp 0.012,0.03,0.06 [--metrics DIR] [--limit N]

Use pictures that are neither trained nor evaluated on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.table import Table

from hflow.bench.measure import lpips, psnr, read
from hflow.codec import pixels
from hflow.codec.geometry import Geometry
from hflow.codec.rate import Coder
from hflow.nets.bundle import Model

SETTINGS = ((0, "none"), (1, "none"), (1, "1_16"), (1, "1_4"), (1, "1_2"), (1, "all"), (2, "1_4"), (2, "all"))


def table(model: Model, paths: list[Path], bpps: list[float], metrics: Path | None) -> Table:
    """Means of each token setting at each target, over the pictures on which it fits."""
    distance = lpips(metrics)
    table = Table("bpp", "M", "mask", "pictures", "mean bpp", "rate level", "PSNR dB", "LPIPS-Alex")
    for bpp in bpps:
        rows: dict[tuple[int, str], list[tuple[float, ...]]] = {s: [] for s in SETTINGS}
        for path in paths:
            rgb = read(path)
            geo = Geometry(rgb.shape[1], rgb.shape[0])
            coder = Coder(model, geo, pixels.trunk(model, rgb))
            area = geo.width * geo.height
            for m, mask in SETTINGS:
                c = coder.fit(int(bpp * area / 8), m, mask)
                if c is not None and c.level is not None:
                    out = pixels.synthesize(model, geo, c.level, c.y, c.tokens, c.sent)
                    score = distance(rgb, out) if distance else float("nan")
                    rows[m, mask].append((8 * c.size / area, c.level, psnr(rgb, out), score))
        for (m, mask), found in rows.items():
            if found:
                a, b, c4, d = np.mean(found, 0)
                table.add_row(
                    f"{bpp:g}", str(m), mask, str(len(found)), f"{a:.4f}", f"{b:.1f}", f"{c4:.2f}", f"{d:.4f}"
                )
    return table
