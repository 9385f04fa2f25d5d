"""Which losses pull where the yardstick wants to go."""

from __future__ import annotations

import torch

from hflow.train.merit import across, jackknife, merits, products


def gradients(noise: float) -> list[torch.Tensor]:
    """Yardstick, PSNR, squared error, a loss that helps the yardstick and one that is against it, in eight batches."""
    torch.manual_seed(0)
    alex, psnr = torch.eye(2, 300)
    good = torch.zeros(300)
    good[0] = 1
    losses = torch.stack([alex - 0.5 * psnr, psnr, 0.1 * psnr, good, -good])
    return [losses + noise * torch.randn(300) for _ in range(8)]  # all losses have their noise in common


def test_noise_in_common_is_no_agreement() -> None:
    gram = products(gradients(1.0))
    c = across(gram)
    truth = across(products(gradients(0.0)))
    within = torch.stack([gram[i, :, i] for i in range(8)]).mean(0)
    assert (within - truth).abs().min() > 100  # what one batch would have told
    assert (c - truth).abs().max() < 30
    error = jackknife(gram, lambda g: across(g)[3])
    assert (error > 0).all()


def test_merit_is_what_squared_error_could_not_have_bought() -> None:
    found = merits(products(gradients(0.0)), 0, 1, 2)
    assert abs(float(found[1])) < 1e-5
    assert abs(float(found[2])) < 1e-5  # the currency itself
    assert float(found[3]) > 0.9
    assert float(found[4]) < -0.9
    assert float(found[0]) > 0
