"""What models remember of people: their ink, bit by bit, and how far their signatures differ."""

import pytest
import torch
from strokes import toy_signatures

from sigen_utils.moves import MOVE_NUMBERS, PERSON_MOVES, move_ink
from sigen_utils.people import Signatures, reach


def people_that_differ(strength, n_people=24, each=4):
    """A class whose people each write one signature again, moved so far: images uint8, and whose they are."""
    base = toy_signatures(n_people, 1)
    x, y = base.x.repeat_interleave(each, 0), base.labels.repeat_interleave(each)
    x = move_ink(x, PERSON_MOVES.times(strength), torch.Generator().manual_seed(5))
    return (x[:, 0] * 255).to(torch.uint8), y


def test_ink_is_kept_bit_by_bit_and_short_rows_repeat():
    toy = toy_signatures(3, 4)
    keep = torch.tensor([0, 1, 2, 4, 5])  # three of the first person, two of the second, none of the third
    signatures = Signatures(3, 3)
    signatures.remember(toy.images[keep], toy.labels[keep])
    y = torch.tensor([0, 0, 0, 1, 1, 1])
    shown = signatures(y, torch.tensor([0, 1, 2, 0, 1, 2]))
    assert torch.equal(shown, toy.x[[0, 1, 2, 4, 5, 4]])
    assert signatures(torch.tensor([2]), 0).sum() == 0


def test_noise_moves_signatures_and_none_leaves_them():
    toy = toy_signatures(4, 3)
    signatures = Signatures(4, 3)
    signatures.remember(toy.images, toy.labels)
    y = torch.zeros(2, dtype=torch.long)
    noise = torch.randn(2, MOVE_NUMBERS, generator=torch.Generator().manual_seed(0))
    moved = signatures(y, 0, noise)
    assert not torch.equal(moved[0], moved[1]) and set(moved.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(moved, signatures(y, 0, noise))
    assert torch.equal(signatures(y, 0), signatures(y, 0, torch.zeros(2, MOVE_NUMBERS)))


def test_what_is_kept_to_move_signatures_by_is_of_those_that_are_remembered():
    toy, y = toy_signatures(4, 3), torch.arange(4)
    noise = torch.randn(4, MOVE_NUMBERS, generator=torch.Generator().manual_seed(0))
    first, other = Signatures(4, 3), Signatures(4, 3)
    first.remember(toy.images, toy.labels)
    other.remember(toy.images, 3 - toy.labels)
    moved = [signatures(y, 1, noise) for signatures in (first, other)]
    assert not torch.equal(*moved)
    first.load_state_dict(other.state_dict())
    assert torch.equal(first(y, 1, noise), moved[1])
    first.remember(toy.images, toy.labels)
    assert torch.equal(first(y, 1, noise), moved[0])
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():  # as a model's samples are drawn
        first.forget_soft()
        assert torch.equal(first(y, 1, noise), moved[0])
    by_hand = move_ink(toy.x[1::3], first.moves, noise=noise)
    assert (moved[0] != by_hand).float().mean() < 1e-3  # but for the rounding of what is kept


def test_people_who_differ_more_are_moved_farther():
    near, far = (reach(*people_that_differ(strength)) for strength in (0.3, 0.8))
    assert 0.2 < near < far < 1.2 and far > 1.7 * near
    signatures = Signatures(24, 4)
    signatures.remember(*people_that_differ(0.3))
    assert signatures.moves.rotation == pytest.approx(near * PERSON_MOVES.rotation, rel=1e-5)
    assert signatures.moves.probability == PERSON_MOVES.probability


def test_one_signature_each_tells_nothing_of_how_people_differ():
    toy = toy_signatures(5, 1)
    assert reach(toy.images, toy.labels) == 1.0
