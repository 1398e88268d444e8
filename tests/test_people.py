"""What models remember of people: their ink, bit by bit, and how far their signatures differ."""

import pytest
import torch
from strokes import toy_signatures

from sigen_utils.augment import PERSON_WARPS, warp_ink
from sigen_utils.models import people
from sigen_utils.models.people import Signatures, warp_strength
from sigen_utils.registration import displacements_to_others, warp_towards_others


def people_that_differ(strength, n_people=24, each=4):
    """A class whose people each write one signature again, moved so far: images uint8, and whose they are."""
    base = toy_signatures(n_people, 1)
    x, y = base.x.repeat_interleave(each, 0), base.labels.repeat_interleave(each)
    x = warp_ink(x, PERSON_WARPS.times(strength), torch.Generator().manual_seed(5))
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


def test_signatures_come_in_turn():
    y = torch.tensor([2, 0, 2, 2, 0, 2, 2, 2, 1])
    assert people.occurrence(y).tolist() == [0, 0, 1, 2, 1, 3, 4, 5, 0]
    some = [people.in_turn(y, 3, torch.Generator().manual_seed(seed)) for seed in range(200)]
    for which in some:
        assert sorted(which[y == 2][:3].tolist()) == sorted(which[y == 2][3:].tolist()) == [0, 1, 2]
        assert len(set(which[y == 0].tolist())) == 2
    each = torch.stack(some).flatten().bincount() / (200 * len(y))
    assert (each - 1 / 3).abs().max() < 0.03  # evenly, each for itself
    assert len({tuple(which.tolist()) for which in some}) > 50


def test_noise_moves_signatures_and_none_leaves_them():
    toy = toy_signatures(4, 3)
    signatures = Signatures(4, 3)
    signatures.remember(toy.images, toy.labels)
    y = torch.zeros(2, dtype=torch.long)
    noise = torch.randn(2, signatures.numbers, generator=torch.Generator().manual_seed(0))
    moved = signatures(y, 0, noise)
    assert not torch.equal(moved[0], moved[1]) and set(moved.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(moved, signatures(y, 0, noise))
    assert torch.equal(signatures(y, 0), toy.x[[0, 0]])


def test_what_is_kept_to_move_signatures_by_is_of_those_that_are_remembered():
    toy, y = toy_signatures(4, 3), torch.arange(4)
    first, other = Signatures(4, 3), Signatures(4, 3)
    noise = torch.randn(4, first.numbers, generator=torch.Generator().manual_seed(0))
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
    by_hand = warp_towards_others(toy.x[1::3], displacements_to_others(toy.x, toy.labels)[1::3], first.moves, noise)
    assert (moved[0] != by_hand).float().mean() < 1e-3  # but for the rounding of what is kept


def test_ways_lead_to_other_signatures_of_the_same_person():
    toy = toy_signatures(4, 3)
    keep = torch.tensor([0, 1, 2, 3, 4, 6])  # three of the first person, two of the second, one of the third
    signatures = Signatures(4, 3)
    signatures.remember(toy.images[keep], toy.labels[keep])
    ways = signatures.ways.float()
    own = displacements_to_others(toy.x[:3], toy.labels[:3])
    assert torch.allclose(ways[0], own, atol=0.01) and own.abs().amax((1, 2, 3, 4)).min() > 0.5
    there = displacements_to_others(
        toy.x[3:5], toy.labels[3:5]
    )  # the second person's two, each to the other, and once more
    assert torch.allclose(ways[1, 0], there[0].expand(2, -1, -1, -1), atol=0.01)
    assert ways[2:].abs().max() == 0  # there is no other, or nobody


def test_nobodys_ways_are_known_in_a_crowd(monkeypatch):
    monkeypatch.setattr(people, "SOFTENED", 11)
    toy = toy_signatures(4, 3)
    signatures = Signatures(4, 3)
    signatures.remember(toy.images, toy.labels)
    assert signatures.ways.abs().max() == 0 and float(signatures.reach) == pytest.approx(
        warp_strength(toy.images, toy.labels)
    )


def test_people_who_differ_more_are_moved_farther():
    near, far = (warp_strength(*people_that_differ(strength)) for strength in (0.3, 0.8))
    assert 0.2 < near < far < 1.2 and far > 1.7 * near
    signatures = Signatures(24, 4)
    signatures.remember(*people_that_differ(0.3))
    images, y = people_that_differ(0.3)
    besides = warp_strength(images, y, displacements_to_others(images[:, None].float() / 255, y))
    assert besides < near  # the ways to others are a part of how people differ
    assert signatures.moves.rotation == pytest.approx(besides * PERSON_WARPS.rotation, rel=1e-5)
    assert signatures.moves.probability == PERSON_WARPS.probability


def test_one_signature_each_tells_nothing_of_how_people_differ():
    toy = toy_signatures(5, 1)
    assert warp_strength(toy.images, toy.labels) == 1.0
