"""Fits the guess of a stream's size (hflow.codec.guess) to the default bundle on training photos.

python -m hflow.train.guess SHARD.tar [PHOTOS]
"""

from __future__ import annotations

import io
import math
import sys
import tarfile

import numpy as np
from PIL import Image

from hflow import bundles
from hflow.codec import guess, latents, pixels
from hflow.codec.geometry import LEVELS, RATE_ONE, Geometry
from hflow.nets.bundle import load


def main() -> None:
    model = load(bundles.default())
    rows, truth = [], []
    with tarfile.open(sys.argv[1]) as shard:
        for member in shard.getmembers()[: int(sys.argv[2]) if len(sys.argv) > 2 else 60]:
            file = shard.extractfile(member)
            if file is None:
                continue
            rgb = np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB"))
            geo = Geometry(rgb.shape[1], rgb.shape[0])
            found = pixels.trunk(model, rgb)
            for level in range(15, LEVELS, 6):
                bits = latents.measure(model, geo, level, *pixels.latents(model, found, level))
                rows.append(guess.terms(model, found[1], level / RATE_ONE))
                truth.append(math.log(bits / (geo.h * geo.w)))
    fit, *_ = np.linalg.lstsq(np.array(rows), np.array(truth), rcond=None)
    print("FIT =", tuple(round(float(v), 4) for v in fit))
    print(f"error {np.std(np.array(truth) - np.array(rows) @ fit):.3f} of the logarithm")


if __name__ == "__main__":
    main()
