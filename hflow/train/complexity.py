"""The ranges of the complexity measures on training photos: 5th and 95th percentiles over their regions.

python -m hflow.train.complexity SHARD.tar [SHARD.tar ...]
"""

from __future__ import annotations

import io
import sys
import tarfile

import numpy as np
from PIL import Image

from hflow.codec.complexity import SIDE, measures


def main() -> None:
    found: dict[str, list[np.ndarray]] = {}
    for path in sys.argv[1:]:
        with tarfile.open(path) as shard:
            for member in shard:
                file = shard.extractfile(member)
                if file is None:
                    continue
                rgb = np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB"))
                whole = rgb[: rgb.shape[0] // SIDE * SIDE, : rgb.shape[1] // SIDE * SIDE]
                for name, values in measures(whole).items():
                    found.setdefault(name, []).append(values.ravel())
    for name, parts in found.items():
        low, high = np.percentile(np.concatenate(parts), (5, 95))
        print(f"{name}: {low:.2f} to {high:.2f}")


if __name__ == "__main__":
    main()
