"""What repeats from cell to cell goes, and nothing else does."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_bundle import picture
from torch import Tensor

import hflow
from hflow.codec import pixels
from hflow.codec.decode import indices
from hflow.container import parse
from hflow.nets.bundle import Model
from hflow.nets.lattice import without_lattice

PHOTO = Path(__file__).parents[2] / "docs" / "photo.png"


def photo(cells: int = 12) -> Tensor:
    with Image.open(PHOTO) as im:
        pixels = np.asarray(im.convert("RGB"), dtype=np.float32)[: 32 * cells, : 32 * cells] / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def marks(cells: int, strength: float) -> Tensor:
    """Fine marks, the same in each of so many cells each way, of this root mean square."""
    one = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    one = one - one.mean(2, keepdim=True)
    one = one - one.mean(3, keepdim=True)
    return (strength * one / one.square().mean().sqrt()).repeat(1, 1, cells, cells)


def error(a: Tensor, b: Tensor) -> float:
    """Root mean square, in steps of 255."""
    return 255 * float((a - b).square().mean().sqrt())


def test_marks_on_a_plain_surface_fade() -> None:
    plain, lattice = torch.full((1, 3, 256, 256), 0.4), marks(8, 4 / 255)
    assert error(plain + lattice, plain) == pytest.approx(4, rel=1e-3)
    assert error(without_lattice(plain + lattice, 2), plain) < 0.6 * 4


def test_specks_in_every_cell_go_down_to_the_grain_around_them() -> None:
    x = torch.full((1, 3, 256, 256), 0.4) + marks(8, 2 / 255)
    specks = x.clone()
    specks[:, :, 11::32, 5::32] += 40 / 255
    left = without_lattice(specks, 2) - without_lattice(x, 2)
    assert 255 * float(left.abs().max()) < 12


def test_a_photo_stays() -> None:
    assert error(without_lattice(photo(), 2), photo()) < 0.1


def test_marks_in_a_photo_fade_the_more_the_plainer_they_are() -> None:
    left = [error(without_lattice(photo() + marks(12, k / 255), 2), photo()) / k for k in (4, 8, 16)]
    assert 0.9 > left[0] > left[1] > left[2]
    assert left[2] < 0.6


def test_marks_of_one_half_of_a_picture_are_no_business_of_the_other() -> None:
    x = photo()
    half = marks(12, 12 / 255)
    half[..., 192:] = 0
    found = without_lattice(x + half, 2)
    assert error(found[..., 256:], without_lattice(x, 2)[..., 256:]) < 1e-3
    assert error(found[..., :192], x[..., :192]) < 0.75 * 12


def stripes(axis: int, strength: float) -> Tensor:
    """Waves of 4 pixels across the axis, of this root mean square."""
    wave = strength * 2**0.5 * torch.sin(torch.arange(256) * (torch.pi / 2) + 0.5)
    return (wave[:, None] if axis == 2 else wave[None]).expand(1, 3, 256, 256)


@pytest.mark.parametrize("axis", [2, 3])
def test_faint_stripes_that_repeat_fade_and_a_fence_stays(axis: int) -> None:
    x = torch.full((1, 3, 256, 256), 0.5)
    inside = (slice(None), slice(None), slice(64, 192), slice(64, 192))  # at the border there is less to compare
    assert error(without_lattice(x + stripes(axis, 2 / 255), 2)[inside], x[inside]) < 0.7 * 2
    fence = x + stripes(axis, 0.2)
    assert error(without_lattice(fence, 2), fence) < 0.01


@pytest.mark.parametrize("axis", [2, 3])
def test_a_line_through_many_cells_stays(axis: int) -> None:
    x = torch.full((1, 3, 256, 256), 0.5)
    x.select(axis, 101).add_(3 / 255)
    assert torch.allclose(without_lattice(x, 2), x, atol=0.5 / 255)


@pytest.mark.parametrize("cells", [(1, 1), (1, 12), (2, 4), (12, 2)])
def test_too_few_cells_tell_nothing(cells: tuple[int, int]) -> None:
    h, w = (32 * n for n in cells)
    x = photo()[:, :, :h, :w]
    found = without_lattice(x, 2)
    assert error(found, x) < 0.3
    assert torch.isfinite(found).all()


def test_pictures_of_a_batch_are_on_their_own() -> None:
    x = torch.cat([photo(8), photo(8).flip(3) + marks(8, 4 / 255)])
    alone = torch.cat([without_lattice(part, 2) for part in x.split(1)])
    assert torch.allclose(without_lattice(x, 2), alone, atol=1e-5)


def test_gradients_reach_everything_but_the_lattice() -> None:
    x = torch.cat([torch.full((1, 3, 256, 256), 0.4), torch.zeros(1, 3, 256, 256)])
    lattice = marks(8, 4 / 255)
    x = (x + lattice * torch.tensor([1.0, 0.0]).view(2, 1, 1, 1)).requires_grad_(True)
    photos = photo(8).expand(2, -1, -1, -1)
    (without_lattice(x, 2) * photos).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert torch.equal(x.grad[1], photos[1])  # nothing was there to be taken
    x.grad = None
    (without_lattice(x, 2) * lattice).sum().backward()
    assert float((x.grad[0] * lattice[0]).sum()) < 0.6 * float(lattice.square().sum())


def test_a_decoder_shows_its_picture_without(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny.nets.decoder, "lattice", 2)
    found = indices(tiny, parse(hflow.encode(picture(224, 160), 1.0, masking="none")))
    geo, level, y = found.geometry, found.level, found.y
    assert level is not None and y is not None
    planes = pixels.token_planes(tiny, geo, None, None)
    with torch.no_grad():
        cont = tiny.nets.decoder.correction(*pixels.dequantised(tiny, y, level))
        whole = tiny.nets.decoder(planes, cont, depth=tiny.nets.decoder.depth)  # as the first look is, as it is
    shown = pixels.synthesize_cells(tiny, geo, level, y, planes)
    want = without_lattice(whole, 2)[0].permute(1, 2, 0).clamp(0, 1) * 255
    assert np.abs(shown - want.numpy()).max() <= 1
    assert np.abs(shown - whole[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255).max() > 1


def test_large_pictures_have_no_seams_for_it(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tile's margin shows it the same neighbours."""
    monkeypatch.setattr(tiny.nets.decoder, "lattice", 2)
    found = indices(tiny, parse(hflow.encode(picture(640, 96), 1.0, masking="none")))
    whole = found.picture(tiny).astype(int)
    monkeypatch.setattr(pixels, "WHOLE", 1)
    monkeypatch.setattr(pixels, "TILE", 192)
    tiled = found.picture(tiny).astype(int)
    assert np.abs(tiled - whole).max() <= 1
