"""Integer frequency coding; formats/container.md is the specification of the byte stream."""

from hflow.entropy.coder import Decoder, Encoder
from hflow.entropy.cut import CutDecoder
from hflow.entropy.latents import MAX_LATENT, Bounds, decode_latents, encode_latents
from hflow.entropy.narrow import narrowed
from hflow.entropy.tables import TOTAL, Tables

__all__ = [
    "MAX_LATENT",
    "TOTAL",
    "Bounds",
    "CutDecoder",
    "Decoder",
    "Encoder",
    "Tables",
    "decode_latents",
    "encode_latents",
    "narrowed",
]
