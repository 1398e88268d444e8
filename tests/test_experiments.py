"""Studies: arms that differ in one field, scores of every seed, results that are kept with where they came from."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from test_metrics import make_set
from test_questions import Tiny, identity

from sigen_utils import report
from sigen_utils.experiments import studies
from sigen_utils.metrics.seen import VERIFIER, Eye
from sigen_utils.models.vae import VAEConfig
from sigen_utils.recipes import RECIPES
from sigen_utils.synthesis import Corpus


def flat(config, prefix=""):
    out = {}
    for name, value in config.items():
        out |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return out


def differing(a, b):
    a, b = (flat(dict(model=asdict(one.model), train=asdict(one.train), start=one.start)) for one in (a, b))
    return {name for name in a.keys() | b.keys() if a.get(name) != b.get(name)}


@pytest.mark.parametrize("study", ["reports", "repair", "gan", "beta", "writers"])
def test_an_arm_differs_from_its_neighbour_or_the_first_in_one_field(study):
    arms = studies.arms_of(study)
    arms.pop("more writers", None)  # the last recipe again, on other signatures
    recipes = list(arms.values())
    before = recipes[:-1] if study == "repair" else [recipes[0]] * (len(recipes) - 1)
    pairs = (
        [(recipes[0], recipes[1]), (recipes[2], recipes[3])]
        if study == "reports"
        else list(zip(before, recipes[1:], strict=True))
    )
    assert all(len(differing(a, b)) == 1 for a, b in pairs)
    with pytest.raises(ValueError, match="choose reports"):
        studies.arms_of("rates")


def test_a_recipe_is_changed_in_a_field_that_it_has():
    ours = RECIPES["vae_alone"]
    assert ours.changed("model.beta", 3.0).model.beta == 3.0 and ours.model.beta != 3.0
    for field, message in (("model.bta", "no field"), ("model.beta", "already")):
        with pytest.raises(ValueError, match=message):
            ours.changed(field, ours.model.beta)


def test_a_recipe_says_how_long_it_takes_in_every_profile():
    for recipe in RECIPES.values():
        assert set(recipe.images) == {"smoke", "cpu", "gpu"} and min(recipe.images.values()) > 0


class Quick(studies.Judge):
    """With features that cost nothing."""

    def __init__(self, data, unseen):
        eye = Eye([Tiny("efflite0_block10"), Tiny(VERIFIER)], identity)
        self.data, self.eye = data, eye
        known = {name: eye(data.train.x).features[name] for name in eye.names}
        self.reference = studies.new_people.strangers(eye(unseen.x), unseen.n_people, known)


@pytest.fixture(scope="module")
def judge():
    return Quick(make_set(people=10, each=4, seed=1), make_set(people=10, each=2, seed=2))


def test_arms_are_trained_scored_and_shown_and_a_divergence_is_an_outcome(judge, tmp_path):
    ours = RECIPES["vae_alone"].changed("model", VAEConfig(width_fine=8, width_encoder=16, width_decoder=16))
    ours = replace(ours, train=replace(ours.train, batch_size=4, n_fixed=2, log_every=1))
    arms = {"ours": ours, "hot": ours.changed("train.learning_rate", float("inf")), "more writers": ours}
    found = studies.train_arms(judge, arms, tmp_path, 8, seeds=(0, 1), progress=None)
    assert set(found["arms"]) == {"ours", "hot"}, "without a corpus the last arm is left out"
    assert [entry["seed"] for entry in found["arms"]["ours"]] == [0, 1]
    assert found["arms"]["ours"][0]["frechet"] != found["arms"]["ours"][1]["frechet"]
    assert all(entry.get("diverged") for entry in found["arms"]["hot"])
    assert {"converged", "coverage", "strokes", "curve", "minutes"} <= found["arms"]["ours"][0].keys()
    json.dumps(found, allow_nan=False)
    lines = studies.in_lines(found)
    assert lines[0].startswith("ours") and "of 2 converge" in lines[0] and "0 of 2" in lines[1]
    bits = (torch.rand(4, 4, 128, 16) * 255).to(torch.uint8).numpy()
    more = studies.train_arms(judge, {"more writers": ours}, tmp_path, 8, corpus=Corpus(bits, 1), progress=None)
    assert len(more["arms"]["more writers"]) == 1


def test_a_study_is_kept_with_where_it_came_from(judge):
    found = dict(images=8, n=20, scores={}, arms={"ours": []})
    studies.record("beta", found, judge.data, "ablate beta --images 8")
    stored = studies.recorded("beta", judge.data)
    assert stored["command"] == "ablate beta --images 8" and stored["provenance"]["commit"]
    assert report.load_results()["studies"]["beta"]["images"] == 8
    assert studies.recorded("beta", make_set(people=10, each=4, seed=7)) is None


def test_stored_samples_come_back_as_ink():
    ink = (torch.rand(2, 1, 128, 128, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    ink = torch.nn.functional.max_pool2d(ink, 9, 1, 4).round()  # no specks, which rendering removes
    ink[:, :, ::32] = 0
    again = studies.unpack(studies.pack(ink))
    assert again.shape == ink.shape and (again - ink).abs().mean() < 0.01
