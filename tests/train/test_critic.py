"""The adversarial part of a loss."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from hflow.train.critic import Critic, critic_loss, with_adversary


def critic() -> Critic:
    torch.manual_seed(0)
    return Critic(16)


def test_it_learns_to_tell_noise_from_flat_pictures() -> None:
    net = critic()
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(40):
        real, made = torch.rand(4, 3, 32, 32), torch.rand(4, 3, 1, 1).expand(-1, -1, 32, 32)
        opt.zero_grad()
        critic_loss(net, real, made).backward()
        opt.step()
    assert float(net(real).detach().mean()) > float(net(made).detach().mean()) + 0.3


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_its_share_of_the_gradient_is_the_weight(weight: float) -> None:
    net = critic()
    made, target = torch.rand(2, 3, 32, 32, requires_grad=True), torch.rand(2, 3, 32, 32)
    loss = F.mse_loss(made, target)
    (own,) = torch.autograd.grad(loss, made, retain_graph=True)
    total = with_adversary(loss, made, net, weight)
    assert total.item() == pytest.approx(loss.item())
    total.backward()
    assert made.grad is not None
    rest = made.grad - own
    assert float(rest.norm()) == pytest.approx(weight * float(own.norm()), rel=1e-3, abs=1e-7)
    assert all(p.grad is None for p in net.parameters())
    if weight:
        with torch.no_grad():
            better = net(made - 10 * rest / rest.norm() * 0.1).mean()
            assert better > net(made).mean()
