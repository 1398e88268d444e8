"""Many trainings: the search over settings, and seeds that converge or do not."""

import json
from dataclasses import fields, is_dataclass, replace

import pytest
import torch
from strokes import toy_signatures

from sigen_utils import figures
from sigen_utils.experiments import ablation, search, seeds, studies
from sigen_utils.models.vae import VAEConfig
from sigen_utils.profiles import PROFILES
from sigen_utils.recipes import LEARNED_PRIOR, PRETRAINED, RECIPES
from sigen_utils.training.checkpoint import load_pretrained
from sigen_utils.training.loop import TrainConfig

SMALL = replace(
    RECIPES["vae"],
    model=VAEConfig(latent_dim=4, widths=(8, 8), components=2),
    train=TrainConfig(batch_size=4),
)


TINY = search.StudyConfig(latent_dim=(4, 8), detail=(0, 1), batch_size=(4,), images=(8, 24), widths=(8, 8))


def test_validation_never_sees_the_held_out_signatures():
    data = toy_signatures()
    split = search.validation_split(data)
    assert set(split.files).isdisjoint(data.test.files) and set(split.files) == set(data.train.files)
    assert split.test.labels.bincount().tolist() == [1] * data.n_people
    one_each = data.subset(torch.arange(0, len(data), 4))
    with pytest.raises(ValueError, match="two training signatures"):
        search.validation_split(one_each)


@pytest.mark.parametrize("kind", ["vae", "gan"])
def test_a_study_goes_on_where_it_stopped(tmp_path, kind):
    storage, lines = f"sqlite:///{tmp_path / 'study.db'}", []
    search.run_study(kind, toy_signatures(), storage, 2, TINY, lines.append)
    found = search.run_study(kind, toy_signatures(), storage, 3, TINY, lines.append)
    assert len(found.trials) == 5 == len(lines)
    asked = {"vae": {"learning_rate", "beta", "detail"}, "gan": {"learning_rate_g", "learning_rate_d", "detail"}}[kind]
    assert asked < set(found.trials[0].params) and len({t.params["images"] for t in found.trials}) > 1
    assert found.best_value == min(t.value for t in found.trials if t.value is not None) > 0
    kept = search.summary(found, kind)
    assert json.loads(json.dumps(kept)) == kept and len(kept["trials"]) == 5
    assert kept["best"] == dict(value=found.best_value, params=found.best_params)
    if kept["importance"]:  # so short a training of a GAN may keep its first moment every time
        assert sum(kept["importance"].values()) == pytest.approx(1)
    fig = search.study_figure(kept)
    assert isinstance(fig, figures.ShownOnce)  # which a notebook shows without pyplot
    assert fig.axes[0].get_xlabel() and len(fig.axes[1].collections) == 2
    none = search.study_figure(dict(kind=kind, trials=[], importance={}, best=None))
    assert "no trial" in none.axes[1].texts[0].get_text()


def test_a_wrong_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match="choose vae or gan"):
        search.run_study("diffusion", toy_signatures(), f"sqlite:///{tmp_path / 's.db'}", 1)


def test_seeds_are_judged_by_distance_and_coverage(tmp_path):
    lines = []
    options = dict(images=128, seeds=range(2), start=load_pretrained(), alone_images=48, alone_seeds=range(1))
    found = seeds.repeat_training(toy_signatures(), tmp_path, **options, progress=lines.append)
    assert {name: len(entries) for name, entries in found["arms"].items()} == {"ours": 2, "from noise": 1, "report": 2}
    assert seeds.collapsed(found["arms"]["report"]) == 2
    assert len(lines) == 5 and not any(e["converged"] for e in found["arms"]["report"])
    assert found["arms"]["from noise"][0]["images"] == 3 * 16
    limits = found["limits"]
    with pytest.raises(ValueError, match="no arm 'from noise'"):
        seeds.repeat_training(toy_signatures(), tmp_path, 32, range(1), only=["from noise"])
    for entry in found["arms"]["ours"]:
        good = entry["frechet_floors"] <= limits["floors"] and entry["coverage"] >= limits["coverage"]
        assert entry["converged"] == good and entry["curve"][-1][1] == 128
    again = seeds.repeat_training(toy_signatures(), tmp_path, **options, progress=None)
    assert again == found  # loaded, not trained again
    fig = seeds.convergence_figure(found)
    assert isinstance(fig, figures.ShownOnce) and len(fig.axes[0].lines) == 5 + 5 + 1  # curves, last steps, limit


def leaves(config, at="") -> dict[str, object]:
    """Every field of nested dataclasses, by its place."""
    if not is_dataclass(config) or isinstance(config, type):
        return {at: config}
    return {place: leaf for one in fields(config)
            for place, leaf in leaves(getattr(config, one.name), f"{at}.{one.name}".strip(".")).items()}  # fmt: skip


@pytest.mark.parametrize("kind", ablation.KINDS)
@pytest.mark.parametrize("scratch", [False, True])
def test_an_arm_is_ours_with_exactly_one_field_changed_or_another_recipe(kind, scratch):
    arms = ablation.arms_of(kind, scratch)
    ours = arms.pop("ours")
    assert len(arms) > 6 and ours == RECIPES[ours.name]
    for name, arm in arms.items():
        mine, its = leaves(ours), leaves(arm)
        differ = [place for place in mine.keys() | its.keys() if mine.get(place, "none") != its.get(place, "none")]
        assert len(differ) == 1 or (arm == RECIPES[arm.name] and name in ablation.OTHERS[kind]), (name, differ)


def test_a_recipe_is_changed_in_a_field_that_it_has():
    recipe = RECIPES["gan_alone"]
    assert recipe.changed("train.augment.elastic", 3.0).train.augment.elastic == 3.0
    for field, value in (("model.betta", 1.0), ("train.augment.warp", 1.0), ("model.penalty", recipe.model.penalty)):
        with pytest.raises(ValueError, match="no field|already"):
            recipe.changed(field, value)


def test_a_recipe_says_how_long_it_takes_in_every_profile():
    for recipe in RECIPES.values():
        assert recipe.images.keys() == PROFILES.keys()
        assert recipe.steps(recipe.images["smoke"]) <= 8 < recipe.steps(recipe.images["cpu"])
        assert recipe.start in (None, PRETRAINED, LEARNED_PRIOR, *RECIPES)


def test_arms_are_trained_scored_and_told(tmp_path):
    data = toy_signatures()
    arms = {
        "ours": SMALL,
        "other prior": SMALL.changed("prior", "normal"),
        "mse": SMALL.changed("model.likelihood", "mse"),
    }
    found = ablation.train_arms(data, arms, tmp_path, 8, (0, 1), progress=None)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mse_0", "mse_1", "ours_0", "ours_1"]  # a training for both
    assert found["arms"]["ours"][0]["percent_of_blank"] == found["arms"]["other prior"][0]["percent_of_blank"]
    assert found["arms"]["other prior"][0]["top1"] is None is not found["arms"]["ours"][0]["top1"]
    lines = ablation.in_lines(found)
    assert len(lines) == 4 and "±" in lines[1] and lines[2].startswith("mse") and lines[3].startswith("other prior")
    kept = ablation.summary(found)
    assert json.loads(json.dumps(kept)) == kept and kept["arms"]["mse"][0]["stroke_width"] > 0
    assert 0 <= kept["arms"]["ours"][0]["active"] <= 1
    assert ablation.means(kept, ["top1"])["other prior"] == [None]
    mean, spread = ablation.means(kept, ["percent_of_blank"])["ours"][0]
    both = [entry["percent_of_blank"] for entry in kept["arms"]["ours"]]
    assert mean == pytest.approx(sum(both) / 2) and spread == pytest.approx(abs(both[0] - both[1]) / 2**0.5)
    fig = ablation.time_figure(kept, ["ours", "mse"])
    assert isinstance(fig, figures.ShownOnce) and len(fig.axes[0].lines) == 5  # two seeds each, and the blank page


def test_several_workers_find_what_one_does(tmp_path):
    arms = {"ours": SMALL, "other prior": SMALL.changed("prior", "normal"), "mse": SMALL.changed("train.noise", 0.0)}
    one, two = (
        ablation.train_arms(toy_signatures(), arms, tmp_path / str(n), 8, (0, 1), progress=None, workers=n)
        for n in (1, 2)
    )
    assert one["floor"] == two["floor"] and list(one["arms"]) == list(two["arms"])
    clock = ("minutes", "curve")
    for name in arms:
        of_one, of_two = ([{k: v for k, v in e.items() if k not in clock} for e in f["arms"][name]] for f in (one, two))
        assert of_one == of_two and [e["seed"] for e in of_one] == [0, 1]
    with pytest.raises(ValueError, match="workers=0"):
        ablation.train_arms(toy_signatures(), arms, tmp_path, 8, progress=None, workers=0)


def test_a_training_that_diverges_is_an_outcome(tmp_path):
    hot = replace(SMALL, train=TrainConfig(batch_size=4, learning_rate=float("inf"), log_every=1))
    arms = {"hot": hot, "ours": SMALL}
    lines: list[str] = []
    for _ in range(2):  # and stays one, when it is loaded
        found = ablation.summary(ablation.train_arms(toy_signatures(), arms, tmp_path, 16, progress=lines.append))
    (entry,) = found["arms"]["hot"]
    assert entry["diverged"] and "frechet_floors" not in entry and "hot, seed 0: diverged" in lines[0]
    assert json.loads(json.dumps(found)) == found
    assert ablation.means(found, ["frechet_floors"])["hot"] == [None]
    assert seeds.collapsed([entry]) == 1 and len(ablation.in_lines(found)) == 3


def test_arms_may_have_seeds_of_their_own(tmp_path):
    arms = {"ours": SMALL, **{f"beta {b:g}": SMALL.changed("model.beta", b) for b in (0.1, 4.0)}}
    seeds = {"ours": range(2), "beta 0.1": (0,), "beta 4": (0,)}
    found = ablation.train_arms(toy_signatures(), arms, tmp_path, 8, seeds, progress=None)
    assert [len(entries) for entries in found["arms"].values()] == [2, 1, 1]
    fig = ablation.beta_figure(found)
    assert isinstance(fig, figures.ShownOnce)
    line = fig.axes[0].lines[0]
    assert list(line.get_xdata()) == [0.1, 1.0, 4.0]


def test_a_study_is_kept_with_where_it_came_from(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGEN_HOME", str(tmp_path))
    data = toy_signatures()
    assert studies.recorded("search_vae", data) is None
    found = dict(kind="vae", trials=[], importance={}, best=None)
    studies.record("search_vae", found, data, "study vae --trials 0")
    kept = studies.recorded("search_vae", data)
    assert kept["command"] == "study vae --trials 0" and kept["provenance"]["data_fingerprint"] == data.fingerprint()
    assert studies.recorded("search_vae", data.subset(torch.arange(8))) is None, "other signatures"
    assert studies.recorded("search_gan", data) is None
    with pytest.raises(ValueError, match="choose one of"):
        studies.record("search_extractor", found, data, "")


def test_arms_measured_later_join_those_that_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGEN_HOME", str(tmp_path))
    data = toy_signatures()
    studies.record("ablation_vae", dict(arms={"ours": [1], "mse": [2]}), data, "ablate vae")
    studies.record("ablation_vae", dict(arms={"mse": [3], "beta 4": [4]}), data, "ablate vae --arms mse", part=True)
    kept = studies.recorded("ablation_vae", data)
    assert kept["arms"] == {"ours": [1], "mse": [3], "beta 4": [4]}
    told = {arm: source["command"] for arm, source in kept["sources"].items()}
    assert told == {"ours": "ablate vae", "mse": "ablate vae --arms mse", "beta 4": "ablate vae --arms mse"}
    other = data.subset(torch.arange(8))
    studies.record("ablation_vae", dict(arms={"mse": [5]}), other, "ablate vae --arms mse", part=True)
    assert studies.recorded("ablation_vae", other)["arms"] == {"mse": [5]}, "arms of other signatures are no part of it"
    studies.record("ablation_vae", dict(arms={"ours": [6]}), other, "ablate vae")
    assert list(studies.recorded("ablation_vae", other)["arms"]) == ["ours"], "a whole study replaces the other"
