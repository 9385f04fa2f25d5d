"""Layers that keep what they made of frozen weights give what the library's would."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hflow.nets.blocks import Conv, Up, conv


def in_bf16(layer: nn.Module, x: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        out: Tensor = layer(x)
    return out


def library(layer: Conv, x: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return F.conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 6, 8, 10, generator=torch.Generator().manual_seed(0))


def test_frozen_weights_may_change(x: Tensor) -> None:
    layer = conv(6, 4).requires_grad_(False)
    for change in (
        lambda: None,
        lambda: layer.weight.mul_(1.5),
        lambda: layer.bias.add_(1),
        lambda: layer.load_state_dict(conv(6, 4).state_dict()),
        lambda: layer.to(memory_format=torch.channels_last),
        lambda: setattr(layer.weight, "data", 2 * layer.weight),
    ):
        change()
        assert torch.equal(in_bf16(layer, x), library(layer, x))
        assert torch.equal(layer(x), F.conv2d(x, layer.weight, layer.bias, padding=1))


def test_weights_that_are_trained_get_their_gradients(x: Tensor) -> None:
    layer = conv(6, 4, stride=2)
    for net in (layer, library):
        layer.zero_grad()
        out = in_bf16(layer, x) if net is layer else library(layer, x)
        out.float().square().sum().backward()
        assert layer.weight.grad is not None
        assert layer.bias is not None
        assert layer.bias.grad is not None
        if net is layer:
            first = layer.weight.grad.clone(), layer.bias.grad.clone()
    assert torch.equal(first[0], layer.weight.grad)
    assert torch.equal(first[1], layer.bias.grad)


def test_what_was_kept_without_gradients_serves_those_who_want_them(x: Tensor) -> None:
    layer = conv(6, 4).requires_grad_(False)
    with torch.inference_mode():
        in_bf16(layer, x)
    x.requires_grad_(True)
    (slope,) = torch.autograd.grad(in_bf16(layer, x).float().sum(), x)
    assert slope.abs().max() > 0


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("factor", [2, 4])
def test_sub_pixels_are_where_a_pixel_shuffle_puts_them(x: Tensor, factor: int, frozen: bool) -> None:
    layer = Up(6, 3, factor, 3).requires_grad_(not frozen)
    nn.init.normal_(layer.proj.weight)
    for of in (x, x.contiguous(memory_format=torch.channels_last)):
        inputs = [of.clone().requires_grad_(True), *([] if frozen else layer.parameters())]
        plain = F.pixel_shuffle(F.conv2d(inputs[0], layer.proj.weight, layer.proj.bias, padding=1), factor)
        found, weights = layer(inputs[0]), torch.randn_like(plain)
        assert torch.allclose(found, plain, atol=1e-5)
        slopes = [torch.autograd.grad((out * weights).sum(), inputs) for out in (found, plain)]
        for ours, theirs in zip(*slopes, strict=True):
            assert torch.allclose(ours, theirs, atol=1e-3)
