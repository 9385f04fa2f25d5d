"""Image codecs in daily use, to compare with: each encodes to real bytes at a setting, and decodes from them.

A setting is a number from 0 (smallest file) to `settings - 1` (best picture); what it stands for is the codec's own.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, features

Picture = np.ndarray  # (H, W, 3) uint8


@dataclass(frozen=True)
class Peer:
    """A codec: `encode(picture, setting)` to bytes, `decode(bytes, (height, width))` to a picture of that size."""

    name: str
    version: str
    settings: int
    encode: Callable[[Picture, int], bytes]
    decode: Callable[[bytes, tuple[int, int]], Picture]


def _open(data: bytes, _size: tuple[int, int]) -> Picture:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _pillow(name: str, version: str, settings: int, options: Callable[[int], dict[str, Any]]) -> Peer:
    """A codec that Pillow, or a plug-in of it, writes."""

    def encode(x: Picture, setting: int) -> bytes:
        out = io.BytesIO()
        Image.fromarray(x).save(out, **options(setting))
        return out.getvalue()

    return Peer(name, version, settings, encode, _open)


def webp() -> Peer:
    return _pillow(
        "WebP", f"libwebp {features.version('webp')}", 101, lambda q: {"format": "WEBP", "quality": q, "method": 6}
    )


def avif() -> Peer:
    return _pillow(
        "AVIF", f"libavif {features.version('avif')}", 101, lambda q: {"format": "AVIF", "quality": q, "speed": 4}
    )


def jpeg2000() -> Peer:
    """A raw codestream, without the container; settings are compression ratios from 4000 down to 13."""

    def options(q: int) -> dict[str, Any]:
        ratio = 4000 / 1.05**q
        return {
            "format": "JPEG2000", "irreversible": True, "no_jp2": True, "quality_mode": "rates",
            "quality_layers": [ratio],
        }  # fmt: skip

    return _pillow("JPEG 2000", f"OpenJPEG {features.version('jpg_2000')}", 118, options)


def jpegxl() -> Peer:
    importlib.import_module("pillow_jxl")
    version = f"pillow-jxl-plugin {importlib.metadata.version('pillow-jxl-plugin')}"
    return _pillow("JPEG XL", version, 100, lambda q: {"format": "JXL", "quality": q, "effort": 7})


def _even(x: Picture) -> Picture:
    """Edges repeated up to even sides, which 4:2:0 needs."""
    return np.pad(x, ((0, x.shape[0] % 2), (0, x.shape[1] % 2), (0, 0)), mode="edge")


def _first_frame(data: bytes, fmt: str, size: tuple[int, int]) -> Picture:
    """The first picture of a raw video stream in BT.709, cut to (height, width)."""
    av = importlib.import_module("av")
    with av.open(io.BytesIO(data), format=fmt) as file:
        frame = next(file.decode(video=0))
        out = frame.reformat(format="rgb24", src_colorspace="ITU709", interpolation="LANCZOS").to_ndarray()
    return out[: size[0], : size[1]]


def _yuv(x: Picture) -> Any:
    """A 4:2:0 frame in BT.709."""
    av = importlib.import_module("av")
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(_even(x)), format="rgb24")
    return frame.reformat(format="yuv420p", dst_colorspace="ITU709", interpolation="LANCZOS")


def hevc() -> Peer:
    """One intra picture as a raw stream (x265): no container, no version note. Settings are QP 51 down to 0."""
    av = importlib.import_module("av")
    if "libx265" not in av.codecs_available:
        raise ImportError("this av has no libx265")

    def encode(x: Picture, setting: int) -> bytes:
        out, frame = io.BytesIO(), _yuv(x)
        with av.open(out, "w", format="hevc") as file:
            stream = file.add_stream("libx265", rate=Fraction(1))
            stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
            params = f"qp={51 - setting}:info=0:keyint=1:log-level=none"
            stream.options = {"preset": "slower", "tune": "psnr", "x265-params": params}
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                file.mux(packet)
        return out.getvalue()

    return Peer("HEVC", f"x265, av {av.__version__}", 52, encode, lambda d, size: _first_frame(d, "hevc", size))


def vvc() -> Peer:
    """One intra picture as a raw stream, where `vvencapp` (VVenC) is on the path. Settings are QP 63 down to 0."""
    program = shutil.which("vvencapp")
    if program is None:
        raise ImportError("vvencapp is not on the path")
    importlib.import_module("av")
    told = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout.split()

    def encode(x: Picture, setting: int) -> bytes:
        frame = _yuv(x)
        with tempfile.TemporaryDirectory() as folder:
            raw, out = Path(folder) / "in.yuv", Path(folder) / "out.266"
            raw.write_bytes(frame.to_ndarray().tobytes())
            size = f"{frame.width}x{frame.height}"
            settings = ["--preset", "medium", "--qp", str(63 - setting), "--qpa", "0", "--internal-bitdepth", "8"]
            command = [program, "-i", str(raw), "-s", size, "--frames", "1", *settings, "-o", str(out)]
            subprocess.run(command, check=True, capture_output=True)
            return out.read_bytes()

    return Peer("VVC", f"VVenC {told[-1]}", 64, encode, lambda d, size: _first_frame(d, "vvc", size))


ALL: dict[str, Callable[[], Peer]] = {
    "webp": webp, "avif": avif, "jxl": jpegxl, "jp2": jpeg2000, "hevc": hevc, "vvc": vvc,
}  # fmt: skip


def available(names: list[str]) -> tuple[list[Peer], list[str]]:
    """The peers of that name (keys of ALL), and a line for each that is not installed."""
    found, missing = [], []
    for name in names:
        try:
            found.append(ALL[name]())
        except ImportError as error:
            missing.append(f"{name}: {error}")
    return found, missing


@dataclass(frozen=True)
class Coded:
    """A picture as a peer codes it: at full size (scale 1) or half, brought back to full size."""

    data: bytes
    scale: int
    setting: int
    picture: Picture


@dataclass
class Fitter:
    """A peer on one picture; remembers what it has encoded."""

    peer: Peer
    picture: Picture
    files: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def _scaled(self, scale: int) -> Picture:
        if scale == 1:
            return self.picture
        h, w = self.picture.shape[:2]
        small = Image.fromarray(self.picture).resize((-(-w // scale), -(-h // scale)), Image.Resampling.LANCZOS)
        return np.asarray(small)

    def file(self, scale: int, setting: int) -> bytes:
        if (scale, setting) not in self.files:
            self.files[scale, setting] = self.peer.encode(self._scaled(scale), setting)
        return self.files[scale, setting]

    def fit(self, budget: int, scale: int) -> Coded | None:
        """The best setting whose file is at most `budget` bytes; None if there is none."""
        low, high = -1, self.peer.settings - 1
        while low < high:
            mid = (low + high + 1) // 2
            low, high = (mid, high) if len(self.file(scale, mid)) <= budget else (low, mid - 1)
        return self.decoded(scale, low) if low >= 0 else None

    def decoded(self, scale: int, setting: int) -> Coded:
        data = self.file(scale, setting)
        h, w = self.picture.shape[:2]
        x = self.peer.decode(data, (-(-h // scale), -(-w // scale)))
        if scale > 1:
            x = np.asarray(Image.fromarray(x).resize((w, h), Image.Resampling.BICUBIC))
        return Coded(data, scale, setting, x)
