"""Augmentation: pictures change as stated, warped ink stays ink of the same size with a pen's edges."""

import cv2
import numpy as np
import pytest
import torch
from strokes import toy_signatures

from sigen_utils import augment as augmentation
from sigen_utils.augment import PERSON_WARPS, AugmentConfig, augment, warp_ink
from sigen_utils.render import _blurring, sharpen


def test_augmentation_changes_pictures_but_not_their_kind():
    x, g = toy_signatures().x, torch.Generator().manual_seed(1)
    y = augment(x, AugmentConfig(), g)
    assert y.shape == x.shape and y.min() >= 0 and y.max() <= 1
    assert ((y - x).square().sum((1, 2, 3)) > 10).float().mean() > 0.7  # most are warped
    assert 0.7 < y.sum() / x.sum() < 1.3  # ink neither made nor lost


def test_augmentation_of_nothing_is_the_identity():
    still = AugmentConfig(rotation=0, scale=0, shear=0, translation=0, elastic=0, noise=0)
    x = toy_signatures().x
    assert torch.allclose(augment(x, still), x, atol=1e-4)


def test_augmentation_shifts_by_the_stated_pixels():
    x = torch.zeros(200, 1, 128, 128)
    x[:, :, 60:68, 60:68] = 1
    warped = augment(x, AugmentConfig(0, 0, 0, 4.0, 0, 0, 1.0), torch.Generator().manual_seed(0))
    places = torch.arange(128.0)
    shift = (warped.sum((1, 2)) @ places) / warped.sum((1, 2, 3)) - 63.5
    assert 3.5 < shift.abs().max() <= 4.05


def test_augmentation_lets_gradients_through():
    x = toy_signatures().x.requires_grad_()
    augment(x, AugmentConfig(elastic=0.0), torch.Generator().manual_seed(0)).sum().backward()
    assert torch.isfinite(x.grad).all() and x.grad.abs().sum() > 0


def extent(x):
    """Longer side of the ink and its middle, in pixels, of each of ``[N, 1, H, W]``: ``[N, 3]``."""
    out = []
    for picture in x[:, 0].numpy() > 0.5:
        rows, columns = np.flatnonzero(picture.any(1)), np.flatnonzero(picture.any(0))
        longer = max(np.ptp(rows), np.ptp(columns)) + 1
        out.append((longer, (rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2))
    return np.array(out)


def test_warped_ink_is_ink_of_the_same_size_at_the_same_place():
    toy = toy_signatures()
    x, far = toy.x, AugmentConfig(rotation=12, scale=0.25, shear=0.2, translation=15, elastic=2.5, probability=1)
    y = warp_ink(x, far, torch.Generator().manual_seed(1))
    assert set(y.unique().tolist()) == {0, 1} and y.dtype == x.dtype
    assert (np.abs(extent(y) - extent(x)) <= (2, 1, 1)).all()  # though shifted by up to 15 px and cut by no edge
    assert ((y - x).square().sum((1, 2, 3)) > 50).all() and 0.7 < y.sum() / x.sum() < 1.3


@pytest.mark.parametrize("width, least", [(1, 0.55), (2, 1.0)])
def test_warped_ink_keeps_fine_strokes(width, least):
    line = torch.zeros(100, 1, 128, 128)
    line[..., 64 : 64 + width, 10:118] = 1

    def unbroken(x):
        """Share of the lines that are in one piece."""
        return np.mean([cv2.connectedComponents(picture.astype(np.uint8))[0] == 2 for picture in x[:, 0].numpy() > 0.5])

    y = warp_ink(line, PERSON_WARPS, torch.Generator().manual_seed(0))
    assert unbroken(y) >= least
    assert 0.9 < y.sum() / line.sum() < 1.2  # no stroke fattened


def test_edges_of_broad_strokes_stay_smooth_when_they_are_turned(monkeypatch):
    rows, columns = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    bar = ((rows - 0.15 * (columns - 64) - 62).abs() < 2.5) & ((columns - 64).abs() < 56)
    x = bar.float().expand(64, 1, 128, 128)
    noise = torch.randn(64, augmentation.WARP_NUMBERS, generator=torch.Generator().manual_seed(0))

    def roughness() -> torch.Tensor:
        """Mean squared distance of the upper edge from a straight line, beyond that of the pixels, by picture."""
        turned = warp_ink(x, AugmentConfig(rotation=25.0, scale=0, shear=0, elastic=0, probability=1), noise=noise)
        edge = turned[:, 0].argmax(1)[:, 24:104].double()  # [64, 80], the row at which each column begins
        line = torch.stack([torch.ones(80), torch.arange(80.0)], 1).double()
        left = edge.T - line @ torch.linalg.lstsq(line, edge.T).solution
        return left.square().mean(0) - 1 / 12

    ours = roughness()
    monkeypatch.setattr(augmentation, "soften", lambda x: x)
    assert (ours < roughness()).float().mean() > 0.9 and ours.median() < 0.65 * roughness().median()


def test_softened_ink_is_straight_along_a_stroke_and_parts_where_ink_did():
    rows, columns = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    line = ((rows - 0.15 * (columns - 64) - 64).abs() < 1.5) & ((columns - 64).abs() < 56)
    x = torch.cat([line.float()[None, None], line.float().T[None, None], toy_signatures().x[:5]])
    soft = augmentation.soften(x)
    assert soft.shape == x.shape and ((soft > 0.5) == (x > 0.5))[2:].float().mean() > 0.99
    assert torch.allclose(soft[0, 0], soft[1, 0].T, atol=1e-3)  # no direction is preferred

    def place(picture):
        """Where ink lies in each column, of what is next to the line."""
        weight = picture * ((rows - 0.15 * (columns - 64) - 64).abs() < 4)
        return ((weight * rows).sum(0) / weight.sum(0))[20:108]

    ideal = (0.15 * (columns[0] - 64) + 64)[20:108]
    off = [(place(picture) - ideal).square().mean() for picture in (soft[0, 0], x[0, 0])]
    assert off[0] < 0.2 * off[1]  # the staircase is gone
    noise = torch.randn(7, augmentation.WARP_NUMBERS, generator=torch.Generator().manual_seed(0))
    warped = warp_ink(x, PERSON_WARPS, noise=noise)
    assert torch.equal(warped, warp_ink(x, PERSON_WARPS, noise=noise, soft=soft)) and not torch.equal(warped, x)
    assert augmentation.soften(torch.zeros(2, 1, 16, 16)).equal(torch.zeros(2, 1, 16, 16))
    assert augmentation.soften(torch.zeros(0, 1, 16, 16)).shape == (0, 1, 16, 16)


@pytest.mark.parametrize("size", [0.9, 1.1])
def test_a_warped_pen_keeps_its_width(size, monkeypatch):
    x = toy_signatures().x
    still = torch.zeros(len(x), augmentation.WARP_NUMBERS)
    grid, step, far = augmentation._warp_grid(x, AugmentConfig(probability=0.0), still)
    monkeypatch.setattr(augmentation, "_warp_grid", lambda *_: (grid / size, step / size, torch.ones_like(far)))
    left = warp_ink(x, PERSON_WARPS).sum() / x.sum()
    assert abs(left - size) < abs(left - size**2)  # strokes that are shorter, not thinner as well


def test_ink_that_is_not_warped_stays_as_it_is():
    x, still = toy_signatures().x, AugmentConfig(probability=0.0)
    assert warp_ink(x, still).equal(x)
    assert warp_ink(torch.zeros_like(x), PERSON_WARPS).sum() == 0  # an empty picture has no size to keep


def test_what_was_first_sharpened_without_gradients_can_be_learned_from_later():
    _blurring.cache_clear()
    x = torch.rand(2, 1, 24, 40)
    with torch.inference_mode():
        before = sharpen(x)
    y = x.clone().requires_grad_()
    after = sharpen(y)
    after.sum().backward()
    assert torch.equal(before, after) and y.grad.isfinite().all()
    flat = torch.full((1, 1, 24, 40), 0.5)
    assert torch.allclose(sharpen(flat), flat, atol=1e-6)  # what is beyond the frame is as at its edge


def test_a_shift_is_by_whole_pixels_and_lets_the_gradient_through():
    x = toy_signatures(4, 2).x[:6].requires_grad_()
    out = augmentation.shift(x, 5, torch.Generator().manual_seed(0))
    was, now = (part.flatten(1).sum(1) for part in (x, out))
    assert torch.allclose(was, now) and set(out.detach().unique().tolist()) == {0.0, 1.0}  # still binary, none lost
    found = [
        (dy, dx)
        for k in range(6)
        for dy in range(-5, 6)
        for dx in range(-5, 6)
        if torch.equal(torch.roll(x[k], (dy, dx), (-2, -1)), out[k])
    ]
    assert len(found) == 6 and len(set(found)) > 3  # each its own
    out.sum().backward()
    assert (x.grad[..., 5:-5, 5:-5] == 1).all()  # what is shifted out has no say
    assert torch.equal(augmentation.shift(x, 0), x)
