"""Rendering: ink stays, dust and haze go, faint ink joins."""

import cv2
import torch
from strokes import toy_signatures

from sigen_utils.render import LINK, find_ink, pen, pen_parts, render, sharpen


def test_a_pen_draws_what_rendering_shows_dust_included():
    x = toy_signatures(4, 2).x[:6]
    x[:, :, 3:5, 3:5] = 1  # too small for ink
    drawn, shown = pen(x), render(x)
    assert (drawn[..., 2:6, 2:6] > 0.5).any() and not shown[..., :8, :8].any()
    assert torch.equal(drawn[..., 8:, :], shown[..., 8:, :])
    assert torch.allclose(pen_parts(torch.ones(1, 1, 16, 16)), torch.ones(1))  # weights that sum to one


def test_render_keeps_ink_drops_dust_and_haze():
    toy = toy_signatures().x
    drawn = render(toy)
    assert drawn.min() >= 0 and drawn.max() <= 1 and 0.8 < drawn.sum() / toy.sum() < 1.25
    assert ((drawn > 0.5) == (toy > 0.5)).float().mean() > 0.985
    dirty = (toy + 0.3).clamp(0, 1)  # haze
    dirty[:, :, 2, 2] = 1  # dust
    clean = render(dirty)
    assert clean[:, :, :6, :6].sum() == 0
    assert render(torch.full((1, 1, 128, 128), 0.4)).sum() == 0


def test_ink_is_found_in_a_guess_and_binary_ink_is_kept():
    toy = toy_signatures().x
    assert (find_ink(toy) == (toy > 0.5)).all()
    line = torch.zeros(1, 1, 128, 128)
    line[..., 60:62, 30:90] = 1
    pale = 0.6 * cv2_blur(line, 1.0)  # a thin stroke that a model is unsure of: nowhere above one half
    assert pale.max() < 0.5 and find_ink(pale)[..., 60:62, 35:85].all()
    two = torch.zeros(1, 1, 128, 128)
    two[..., 50:53, 30:90] = two[..., 56:59, 30:90] = 1
    merged = cv2_blur(two, 2.0)  # two strokes that run into each other
    assert (merged[..., 54, 60] > 0.4).all() and not find_ink(merged)[..., 54, 60].any()
    assert torch.allclose(sharpen(torch.full((1, 1, 32, 32), 0.4)), torch.tensor(0.4), atol=1e-5)  # haze stays haze


def test_faint_ink_is_drawn_where_it_joins_two_pieces_and_nowhere_else():
    guess = torch.zeros(1, 1, 128, 128)
    guess[..., 60:62, 20:50] = guess[..., 60:62, 53:90] = guess[..., 90:110, 20:22] = 1
    guess[..., 60:62, 50:53] = 0.28  # between two pieces
    guess[..., 60:62, 90:96] = 0.2  # a faint end
    guess[..., 100:102, 40:60] = 0.2  # a faint stroke on its own
    guess[..., 96:98, 22:26] = 0.2  # a faint branch of one piece
    inked, strict = find_ink(guess), find_ink(guess, link=False)
    assert inked[..., 60:62, 20:90].all() and not strict[..., 60:62, 50:53].any()
    rest = torch.ones_like(inked)
    rest[..., 59:63, 49:54] = False
    assert torch.equal(inked & rest, strict & rest) and not inked[..., 100:102, 40:60].any()
    faint = sharpen(guess) > LINK
    assert faint[..., 100:102, 40:60].all() and faint[..., 60:62, 94:96].all() and faint[..., 97, 23:26].any()
    assert (render(guess) > 0.5)[..., 60:62, 21:89].all() and not (render(guess, link=False) > 0.5)[..., 50:52].any()


def cv2_blur(x, sigma):
    return torch.from_numpy(cv2.GaussianBlur(x[0, 0].numpy(), (0, 0), sigma))[None, None]
