"""Registration of a person's signatures with one another, and warps made of it."""

import pytest
import torch
from strokes import toy_signatures

from sigen_utils import registration
from sigen_utils.augment import PERSON_WARPS, WARP_NUMBERS, AugmentConfig, soften, warp_ink
from sigen_utils.registration import displacements_to_others, register

NEARLY_STILL = PERSON_WARPS.times(1e-3)


def a_person_differently(n_people=6, each=3):
    """Ink ``[n_people * each, 1, 128, 128]`` of people who each write one signature differently, and whose each is."""
    base = toy_signatures(n_people, 1)
    x, y = base.x.repeat_interleave(each, 0), base.labels.repeat_interleave(each)
    return warp_ink(x, PERSON_WARPS.times(0.6), torch.Generator().manual_seed(3)), y


def warp_towards_others(x, displacements, config, seed=0):
    noise = torch.randn(len(x), WARP_NUMBERS + displacements.shape[1], generator=torch.Generator().manual_seed(seed))
    return registration.warp_towards_others(x, displacements, config, noise, soften(x))


def apart(a, b):
    return (torch.nn.functional.avg_pool2d(a - b, 4)).square().sum((1, 2, 3))


def test_a_signature_is_mapped_onto_the_other():
    x, _ = a_person_differently(each=2)
    a, b = x[0::2], x[1::2]
    displacements, left = register(a, b)
    warped = warp_towards_others(a, displacements[:, None], NEARLY_STILL)
    assert set(warped.unique().tolist()) == {0.0, 1.0}
    assert (apart(warped, b) < 0.7 * apart(a, b)).all() and (left < 0.35).all()
    assert (warped.sum((1, 2, 3)) / a.sum((1, 2, 3)) - 1).abs().max() < 0.3  # a pen stays a pen


def test_nothing_is_mapped_onto_itself_or_without_ink():
    x, _ = a_person_differently(each=1)
    x = torch.cat([x, torch.zeros_like(x[:1])])
    displacements, left = register(x, x)
    assert displacements.abs().max() < 0.5 and left.max() < 1e-3
    assert torch.isfinite(register(x[-1:], x[:1])[0]).all()


def test_everybody_is_registered_with_the_others_of_the_own_person():
    x, y = a_person_differently(4, 3)
    keep = torch.tensor([3, 0, 1, 2, 4, 6, 5, 11])  # three, three, one, and one of the four people, in disorder
    x, y = x[keep], y[keep]
    displacements = displacements_to_others(x, y)
    assert displacements.shape == (8, 2, 2, 5, 5)
    by_hand = register(x[[1, 1]], x[[2, 3]])[0]
    torch.testing.assert_close(displacements[1], by_hand, atol=0.05, rtol=0)
    alone = displacements[torch.tensor([5, 7])]
    assert alone.abs().max() < 0.5 < displacements[torch.tensor([0, 1, 2, 3, 4, 6])].abs().amax((1, 2, 3, 4)).min()


def test_the_generator_decides_and_nobody_needs_others():
    x, y = a_person_differently(2, 3)
    displacements = displacements_to_others(x, y)
    first, again, other = (warp_towards_others(x, displacements, PERSON_WARPS, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    none = displacements_to_others(x[:1], y[:1])
    assert none.shape[:2] == (1, 0) and warp_towards_others(x[:1], none, NEARLY_STILL).sum() > 0


def test_warped_among_each_other_they_lie_nearer_to_the_next_one_than_at_random():
    """At the same distance from the original, a warp along the person's displacements is nearer to new signatures."""
    x, y = a_person_differently(12, 6)
    new, known = x[::6], torch.arange(len(x)) % 6 != 0
    x, y = x[known], y[known]
    among = warp_towards_others(x, displacements_to_others(x, y), NEARLY_STILL)
    goal = apart(among, x).mean()
    far, warped = 0.0, x
    while apart(warped, x).mean() < goal:
        far += 0.05
        warped = warp_ink(x, PERSON_WARPS.times(far), torch.Generator().manual_seed(0))
    target = new.repeat_interleave(5, 0)
    assert apart(among, target).mean() < 0.9 * apart(warped, target).mean()


def test_a_warp_without_an_elastic_part_is_refused():
    x, y = a_person_differently(1, 2)
    displacements = displacements_to_others(x, y)
    for config in (PERSON_WARPS.times(0), AugmentConfig(probability=0.9)):
        with pytest.raises(ValueError, match="elastic"):
            warp_towards_others(x, displacements, config)
