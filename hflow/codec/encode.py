"""Image to `.hfc` bytes: analysis, choice of settings, container."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection

import numpy as np
from PIL import Image

from hflow import bundles, images
from hflow.codec import complexity, pixels, regions
from hflow.codec.checksum import index_checksum
from hflow.codec.geometry import Geometry
from hflow.codec.lagrangian import choose_rd
from hflow.codec.pixels import Progress
from hflow.codec.progressive import choose_progressive, ys
from hflow.codec.rate import Choice, Coder, Mask, at_quality, choose
from hflow.codec.refine import STEPS, TUNES, Watch, refine
from hflow.container import Container, Kind, Profile, Section, Settings, serialize
from hflow.container.metadata import cost, sections
from hflow.container.model import implied_kinds
from hflow.errors import InputError, TargetError
from hflow.masks import LABELS
from hflow.metadata import packed
from hflow.nets.bundle import Model, load, pick_device

Roi = np.ndarray | tuple[int, int, int, int]


def encode(
    image: Image.Image | np.ndarray,
    bpp: float | None = None,
    *,
    size: int | None = None,
    quality: float | None = None,
    roi: Roi | None = None,
    masking: str = "auto",
    progressive: bool = False,
    device: str = "auto",
    bundle: str | None = None,
    metadata: Collection[str] = (),
    effort: int = 0,
    tune: str = "balanced",
    time_limit: float | None = None,
    progress: Progress = None,
    refining: Watch | None = None,
) -> bytes:
    """Encodes a picture into a file of a given size, everything counted, or a given quality.

    image: a PIL image of any mode, which becomes what `images.as_srgb` makes of it: upright by its EXIF orientation, in
    sRGB, deep samples scaled to 8 bits and transparent pixels on white; or an array (H, W, 3) uint8. One of bpp: at
    most so many bits per pixel, default 0.03; size: at most so many bytes; quality: 0 to 100, where the size follows
    the picture. roi: where bits count for more at the same size, of the upright picture: a mask (H, W), bool or in
    0..1, or a rectangle (x, y, width, height) in pixels. masking: which tokens are sent; auto: what the bundle's ladder
    says for the size, complexity: more where the picture is harder to guess; rd: where tokens take away more error than
    the same bits in the continuous stream, which is tried (slower); or a schedule for the whole picture (none, 1_16,
    1_9, 1_4, 1_2, all), these with one sub-quantizer. progressive: in layers, so that the beginning of the file, and
    what `truncate` makes of it, is nearly as good as a file of that size; the whole is a little less good. bundle: name
    of an installed bundle, default the newest. metadata: what of exif, xmp and icc the file keeps of the image; it
    counts like everything else, icc keeps the colours of an RGB profile instead of making them sRGB, and what cannot be
    read is dropped with a UserWarning. effort: 0 to 9, how long to refine the continuous stream for this picture. tune:
    what refinement minimises, psnr, balanced or perceptual. time_limit: seconds, all told, after which refinement ends
    with the best file so far. progress: called with the share done, 0 to 1. refining: called after every step of
    refinement with the share done, the cost of the best file so far and of the first; False ends it. Raises InputError
    for a picture or option that cannot be used, TargetError where no file is small enough, BundleError for a missing
    bundle.
    """
    began = time.monotonic()
    rgb = as_rgb(image, metadata)
    check_effort(effort, tune, time_limit, roi)
    check_progressive(progressive, masking, effort)
    geo = Geometry(rgb.shape[1], rgb.shape[0])
    budget = check_target(bpp, size, quality, geo)
    region = None if roi is None else region_of(roi, geo)
    mask = None if masking == "rd" else mask_of(masking, rgb)
    model = load(bundles.find(bundle) if bundle else bundles.default(), pick_device(device))
    coder = Coder(model, geo, pixels.trunk(model, rgb), region)
    if progress:
        progress(0.3)
    extra = sections(packed(image, metadata)) if isinstance(image, Image.Image) else ()

    def search(size: int) -> Choice:
        if progressive:
            return choose_progressive(coder, size)
        return choose_rd(coder, rgb, size) if masking == "rd" else choose(coder, size, mask)

    if quality is None:
        choice = beside(search, budget, cost(extra))
    else:
        choice = at_quality(coder, quality)
        choice = search(choice.size) if progressive else choice

    def in_time() -> bool:
        return time_limit is None or time.monotonic() - began < time_limit

    if effort and in_time():

        def go_on(share: float, now: float, start: float) -> bool:
            if progress:
                progress(0.3 + 0.7 * share)
            wanted = refining is None or refining(share, now, start)
            return wanted and in_time()

        most = budget - cost(extra) if quality is None else choice.size
        choice = refine(model, geo, rgb, coder.found, choice, most, STEPS[effort], TUNES[tune], go_on)
    if progress:
        progress(1.0)
    return pack(model, geo, choice, extra)


def check_effort(effort: int, tune: str, time_limit: float | None, roi: Roi | None) -> None:
    """InputError for settings of refinement that cannot be."""
    if effort not in range(len(STEPS)):
        raise InputError(f"effort is a whole number from 0 to {len(STEPS) - 1}, not {effort}")
    if tune not in TUNES:
        raise InputError(f"tune is one of {', '.join(TUNES)}, not {tune}")
    if time_limit is not None and not time_limit >= 0:
        raise InputError(f"a time limit is a number of seconds, not {time_limit}")
    if effort and roi is not None:
        raise InputError("effort treats all of a picture alike, so it does not go with roi")


def check_progressive(progressive: bool, masking: str, effort: int) -> None:
    """InputError for what does not go with layers."""
    if progressive and masking not in ("auto", "none"):
        raise InputError("a progressive file has no tokens, so it does not go with a way to choose them")
    if progressive and effort:
        raise InputError("effort refines a latent in one layer, so it does not go with progressive")


def mask_of(masking: str, rgb: np.ndarray) -> Mask | None:
    """A kind of masking as a mask for this picture, None for the ladder's. InputError for one that is not known."""
    if masking == "auto":
        return None
    if masking == "complexity":
        return complexity.mask(rgb)
    if masking not in LABELS:
        raise InputError(f"masking is auto, rd, complexity or one of {', '.join(LABELS)}, not {masking}")
    return masking


def beside(search: Callable[[int], Choice], budget: int, metadata: int) -> Choice:
    """What `search` finds for a file of at most `budget` bytes of which so many are metadata."""
    if not metadata:
        return search(budget)
    try:
        return search(max(0, budget - metadata))
    except TargetError as error:
        raise TargetError(f"beside metadata of {metadata} bytes, {error}") from error


def check_target(bpp: float | None, size: int | None, quality: float | None, geo: Geometry) -> int:
    """The most bytes that a file may have; 0 where a quality is given. TargetError unless at most one target is."""
    if sum(v is not None for v in (bpp, size, quality)) > 1:
        raise TargetError("bpp, size and quality exclude each other")
    if quality is not None:
        if not 0 <= quality <= 100:
            raise TargetError(f"quality is a number from 0 to 100, not {quality}")
        return 0
    if size is not None:
        return size
    bpp = 0.03 if bpp is None else bpp
    if not (math.isfinite(bpp) and bpp > 0):
        raise TargetError(f"bpp must be a positive number, not {bpp}")
    return int(bpp * geo.width * geo.height / 8)


def region_of(roi: Roi, geo: Geometry) -> regions.Region:
    """A mask or rectangle as a region. InputError for one that does not fit the picture."""
    if isinstance(roi, tuple):
        return regions.rectangle(*roi, geo)
    return regions.Region.of(roi, geo)


def pack(model: Model, geo: Geometry, choice: Choice, extra: tuple[Section, ...] = ()) -> bytes:
    """A choice of settings, already coded, as a file. extra: sections beside the standard ones."""
    settings = Settings(
        rate=0 if choice.level is None else 1 + choice.level,
        m=choice.m,
        mask=choice.schedule,
        profile=Profile.PQ if choice.level is None else Profile.HYBRID,
    )
    chunked = len(choice.chunks) > 1
    kinds = implied_kinds(settings, chunked)
    return serialize(
        Container(
            width=geo.width,
            height=geo.height,
            bundle=model.number,
            fingerprint=model.fingerprint,
            settings=settings,
            index_checksum=index_checksum(model.digest, choice.y, choice.tokens, ys(choice)),
            chunked=chunked,
            sections=(
                *(Section(k, data) for k, data in zip(kinds, choice.sections, strict=True)),
                *(Section(Kind.ENHANCEMENT, data) for *_, data in choice.layers),
                *extra,
            ),
        )
    )


def as_rgb(image: Image.Image | np.ndarray, keep: Collection[str] = ()) -> np.ndarray:
    """(H, W, 3) uint8 of a PIL image (`images.as_srgb`, with icc to keep in its profile's colours) or an array.

    InputError for other shapes, types and sizes, and for images that cannot be read.
    """
    if isinstance(image, Image.Image):
        return np.asarray(images.as_srgb(image, keep)[0])
    try:
        image = np.asarray(image)
    except (TypeError, ValueError) as error:  # a ragged list, a tensor on a GPU
        raise InputError(f"expected an array (H, W, 3) of uint8, not this {type(image).__name__} ({error})") from error
    if image.dtype.kind in "OSU":
        raise InputError("expected a PIL image or an array (H, W, 3) of uint8, not text or objects")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(f"expected an array (H, W, 3) of uint8, not {image.shape} of {image.dtype}")
    if not (0 < image.shape[0] < 65536 and 0 < image.shape[1] < 65536):
        raise InputError(f"a picture is 1 to 65535 pixels on a side, not {image.shape[1]}x{image.shape[0]}")
    return image
