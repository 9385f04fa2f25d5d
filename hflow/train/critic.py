"""Patch discriminator: tells photos from decoded pictures by their texture (adversarial stage, PQ-MIM 4.1).

Perceptual distances alone are met best by regular textures, a lattice of dots where there should be grass: their
features are nearest to the mean of all the textures that could be there. A discriminator is not content with a mean.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hflow.nets.blocks import conv, to_depth


class Critic(nn.Module):
    """Pictures (B, 3, H, W) in [0, 1] to a score for every 8x8 pixels, (B, 1, H/8, W/8): high for photos.

    Spectral normalisation keeps its slope bounded (Miyato et al., ICLR 2018). A score sees 60 x 60 pixels.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        layers = conv(48, width), conv(width, 2 * width, stride=2), conv(2 * width, 2 * width), conv(2 * width, 1)
        self.layers = nn.ModuleList(nn.utils.parametrizations.spectral_norm(k) for k in layers)

    def forward(self, x: Tensor) -> Tensor:
        x = to_depth(x * 2 - 1, 4)
        for k, layer in enumerate(self.layers):
            x = layer(F.leaky_relu(x, 0.2) if k else x)
        return x.float()


def critic_loss(critic: Critic, real: Tensor, made: Tensor) -> Tensor:
    """Hinge loss of the critic itself (Lim and Ye, 2017); no gradient reaches the pictures."""
    a, b = critic(torch.cat([real, made]).detach()).chunk(2)
    return F.relu(1 - a).mean() + F.relu(1 + b).mean()


def with_adversary(loss: Tensor, made: Tensor, critic: Critic, weight: float) -> Tensor:
    """A stand-in for `loss` whose gradient on the pictures `made` also asks the critic for a higher score.

    That part has `weight` times the norm of the loss's own gradient: nothing to tune anew when losses change (after
    the adaptive weight of VQGAN, Esser et al., CVPR 2021, 3.1). The critic gets no gradient.
    """
    (own,) = torch.autograd.grad(loss, made, retain_graph=True)
    score = critic(made).mean()
    (up,) = torch.autograd.grad(score, made)
    scale = weight * own.norm() / up.norm().clamp_min(1e-12)
    stand_in = (made * (own - scale * up).detach()).sum()
    return stand_in + (loss - stand_in).detach()
