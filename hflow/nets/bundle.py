"""A released model: float networks and integer parameters, read from safetensors, nothing executed.

Files: `bundle.json` (name, number, sha256 of the weights, sizes, ladder, card) and `weights.safetensors`, compressed
or not (`hflow.bundles.weights`), with `float.<name>` (int8 with `float.<name>.scale` per output channel, or fp16) and
`int.<latent|predictor>.<name>`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hflow import bundles
from hflow.errors import BundleError, InputError
from hflow.forks import Lock
from hflow.integer.export import bound
from hflow.integer.fast import TorchOps
from hflow.integer.params import tree
from hflow.integer.scales import ACC_LIMIT
from hflow.integer.twin import QLinear, QTable
from hflow.nets.analysis import Analysis, Gain, HyperAnalysis, TokenHead
from hflow.nets.caller import alone
from hflow.nets.config import NetConfig
from hflow.nets.continuous import LatentTwin, Local, by_source, tables
from hflow.nets.feedback import Feedback
from hflow.nets.fusion import FusionDecoder
from hflow.nets.predictor import PredictorConfig, PredictorTwin
from hflow.nets.tokenizer import ProductQuantizer

_LOADING = Lock()


class FloatNets(nn.Module):
    """Everything that only makes pixels or only runs in the encoder."""

    def __init__(self, cfg: NetConfig) -> None:
        super().__init__()
        self.analysis, self.gain, self.hyper, self.head = Analysis(cfg), Gain(cfg), HyperAnalysis(cfg), TokenHead(cfg)
        self.pq = ProductQuantizer(cfg.m_max, cfg.codewords, cfg.dims)
        self.decoder = FusionDecoder(cfg)
        self.feedback = Feedback(cfg) if cfg.feedback else None


@dataclass(frozen=True)
class Model:
    """A loaded bundle on one device. `latent` and `predictor` are trees of integers in `ops`' arrays.

    tables: the activations. local: the layers `local` of the slices of `latent`, by what they look at.
    kept: what others make of it to use again.
    """

    path: Path
    name: str
    number: int
    digest: bytes
    cfg: NetConfig
    nets: FloatNets
    ops: Any
    tables: dict[str, Any]
    latent: Any
    local: Local
    predictor: Any
    ladder: tuple[dict[str, Any], ...]
    device: torch.device
    kept: dict[Any, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    @property
    def fingerprint(self) -> int:
        return self.digest[0]


class Unfilled(TorchFunctionMode):
    """Makes networks without initial values: for their shapes, or to be loaded into.

    Not on the meta device: its operations load a good part of torch's compiler, which takes longer than all the rest.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == nn.init.__name__:
            return None
        return (torch.empty if func is torch.randn else func)(*args, **(kwargs or {}))


def restore(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """The stored float tensors in fp32: int8 ones times their scale per first axis."""
    out = {}
    for name, a in arrays.items():
        if name.endswith(".scale"):
            continue
        t = torch.from_numpy(a.astype(np.float32))
        if a.dtype == np.int8:
            scale = torch.from_numpy(arrays[f"{name}.scale"].astype(np.float32))
            t = t * scale.view(-1, *[1] * (t.dim() - 1))
        out[name] = t
    return out


def predictor_size(arrays: dict[str, np.ndarray]) -> PredictorConfig:
    """The predictor's sizes, read off its parameters. KeyError if they are not there."""
    hidden, width = arrays["blocks.0.up.weight"].shape
    blocks = len({k.split(".")[1] for k in arrays if k.startswith("blocks.")})
    return PredictorConfig(width, int(arrays["blocks.0.bias.rows"].shape[1]), blocks, hidden)


def latent_size(arrays: dict[str, np.ndarray]) -> tuple[int, int]:
    """The rate model's hidden features and those inside a slice, read off its parameters. KeyError or ValueError."""
    (_, hidden), (wide, _) = arrays["rate.rows"].shape, arrays["slices.0.local.weight"].shape
    return hidden, wide


def local_weights(cfg: NetConfig) -> Iterator[tuple[str, int]]:
    """In a rate model, the names of the slices' `local` weights, and how many channels of y each of them can know."""
    for s, known in enumerate(np.cumsum(cfg.slices).tolist()):
        yield f"slices.{s}.local.weight", known - cfg.slices[s] if cfg.passes else known


def widened(arrays: dict[str, np.ndarray], cfg: NetConfig) -> dict[str, np.ndarray]:
    """Of a rate model, with the columns that its file leaves out: those of channels to come, which only meet zeros.

    KeyError or ValueError for shapes that cannot be.
    """
    arrays, hidden = dict(arrays), latent_size(arrays)[0]
    for name, known in local_weights(cfg):
        taps = arrays[name].reshape(len(arrays[name]), 9, -1)
        if taps.shape[2] == hidden + known:
            arrays[name] = np.pad(taps, ((0, 0), (0, 0), (0, cfg.latent - known))).reshape(len(taps), -1)
        elif cfg.passes:
            raise ValueError(f"{name} has another shape")
    return arrays


def check_integers(arrays: dict[str, np.ndarray], twin: Callable[[], nn.Module]) -> None:
    """KeyError or ValueError unless every parameter of the twin is there, in its shape and within the proven bound."""
    with Unfilled():
        parts = list(twin().named_modules())
    for name, part in parts:
        if isinstance(part, QLinear):
            weight, bias, bits = (arrays[f"{name}.{k}"] for k in ("weight", "bias", "acc_bits"))
            if weight.shape != tuple(part.w.shape) or bias.shape != tuple(part.b.shape) or int(bits) != part.acc_bits:
                raise ValueError(f"{name} has another shape")
            if bound(weight, bias) + 2 ** (int(bits) + 1) >= ACC_LIMIT:
                raise ValueError(f"sums of {name} could reach 2^24")
        elif isinstance(part, QTable) and arrays[f"{name}.rows"].shape != tuple(part.t.shape):
            raise ValueError(f"{name} has another shape")


def split(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The entries below `prefix.`, with the prefix cut off."""
    return {k[len(prefix) + 1 :]: v for k, v in arrays.items() if k.startswith(prefix + ".")}


def load(path: Path, device: str = "cpu", ops: Any = None) -> Model:
    """Reads and checks a bundle folder. BundleError where it is missing, damaged or not what its description says."""
    with _LOADING:  # threads that need a bundle at the same time share it
        return _load(Path(path), str(device), ops)


@lru_cache(maxsize=4)
@alone
def _load(path: Path, device: str, ops: Any) -> Model:
    try:
        about = json.loads((path / "bundle.json").read_text("utf-8"))
        weights = bundles.weights(path)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: not a readable bundle ({error})") from error
    digest = hashlib.sha256(weights).digest()
    if digest.hex() != about.get("sha256"):
        raise BundleError(f"{path}: the weights are not the ones that bundle.json names")
    try:
        name, number, ladder = str(about["name"]), int(about["number"]), tuple(about["ladder"])
        arrays = load_arrays(weights)
        cfg = NetConfig.of(about["net"])
        size = predictor_size(split(arrays, "int.predictor"))
        integers = widened(split(arrays, "int.latent"), cfg)
        hidden, wide = latent_size(integers)
        check_integers(integers, lambda: LatentTwin(cfg, hidden, wide))
        check_integers(split(arrays, "int.predictor"), lambda: PredictorTwin(cfg, size))
        with Unfilled():
            nets = FloatNets(cfg)
        counts = torch.zeros(nets.pq.counts.shape, dtype=torch.float32)  # of training only
        nets.load_state_dict({"pq.counts": counts, **restore(split(arrays, "float"))}, assign=True)
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path}: damaged bundle ({str(error).splitlines()[0]})") from error
    nets = nets.to(device).eval().requires_grad_(False).to(memory_format=torch.channels_last)
    ops = ops or TorchOps(device)
    latent = tree(integers, ops.const)
    return Model(
        path=path, name=name, number=number, digest=digest, cfg=cfg, nets=nets, ops=ops,
        tables=tables(ops), latent=latent, local=by_source(ops, latent, cfg),
        predictor=tree(split(arrays, "int.predictor"), ops.const), ladder=ladder, device=torch.device(device),
    )  # fmt: skip


def pick_device(device: str) -> str:
    """`auto`, `cpu` or `cuda` to a torch device name. InputError for a GPU that is not there."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError("device cuda: no CUDA device is available")
    return device


def for_file(number: int, fingerprint: int, device: str, ops: Any = None) -> Model:
    """The installed bundle that a file names."""
    model = load(bundles.find(number), device, ops)
    if model.fingerprint != fingerprint:
        raise BundleError(
            f"the file was made with another build of bundle {model.name} "
            f"(fingerprint {fingerprint:02x}, installed {model.fingerprint:02x})"
        )
    return model
