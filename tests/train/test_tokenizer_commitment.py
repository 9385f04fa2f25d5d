"""What pulls the tokenizer's vectors to their codewords."""

from __future__ import annotations

import torch

from hflow.nets.tokenizer import ProductQuantizer


def test_only_sub_quantizers_in_use_are_pulled() -> None:
    torch.manual_seed(0)
    pq = ProductQuantizer(3, 16, 4).eval()
    x = torch.randn(2, 12, 5, 6, requires_grad=True)
    used = torch.tensor([[True, False, False], [True, True, False]])
    commit = pq(x, used)[2]
    commit.backward()
    assert x.grad is not None
    pulled = x.grad.view(2, 3, 4, 30).abs().sum((2, 3)) > 0
    assert torch.equal(pulled, used)
    assert float(pq(x.detach(), torch.zeros(2, 3, dtype=torch.bool))[2]) == 0
    assert 0 < float(commit.detach()) < 2
