"""imageio plugin: after `import hflow.imageio`, imageio reads and writes `.hfc` files.

>>> pixels = iio.imread("photo.hfc")  # (H, W, 3) uint8
>>> iio.imwrite("again.hfc", pixels, bpp=0.03)

It goes through imageio's Pillow plugin, and `imwrite` takes what `hflow.encode` takes. imageio knows no entry points,
so that a program, or a `sitecustomize`, has to import this.
"""

from __future__ import annotations

from imageio.config import known_extensions
from imageio.config.extensions import FileExtension

from hflow.pillow import SUFFIX

known_extensions[SUFFIX] = [FileExtension(extension=SUFFIX, priority=["pillow"], name="hflow")]
