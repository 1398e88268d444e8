"""The protocol: copies are caught, genuine signatures pass, intervals decide what may be ranked."""

import json

import numpy as np
import pytest
import torch
from test_metrics import make_set

from sigen_utils import metrics, sampling
from sigen_utils.__main__ import main
from sigen_utils.commands.evaluation import show
from sigen_utils.data import SignatureSet
from sigen_utils.metrics import (
    copy_test,
    faults,
    few_shot,
    known_people,
    likelihood,
    new_people,
    no_model,
    questions,
    registering,
    scores,
)
from sigen_utils.metrics.drawn import Drawn
from sigen_utils.metrics.seen import VERIFIER, Eye
from sigen_utils.metrics.store import Store, keys_of
from sigen_utils.models.vae import VAE, VAEConfig


def identity(x):
    return x


class Tiny(metrics.FeatureExtractor):
    """Features that cost nothing: ink averaged over squares, in the name of the verifier or of another."""

    dim, version = 64, "0"

    def __init__(self, name):
        self.name, self.device, self._cache = name, torch.device("cpu"), {}

    def _compute(self, ink):
        return torch.nn.functional.avg_pool2d(ink, 16).flatten(1).numpy()


def open_eye(folder=None):
    return Eye([Tiny("other"), Tiny(VERIFIER)], identity, folder)


@pytest.fixture(scope="module")
def eye():
    return open_eye()


@pytest.fixture(scope="module")
def data():
    return make_set(people=12, each=4, seed=1)


@pytest.fixture(scope="module")
def unseen():
    return make_set(people=16, each=4, seed=2)


def bent(x, seed=0, far=0.12):
    """Pictures bent by an affine map and a smooth displacement of four by four random numbers."""
    generator = torch.Generator().manual_seed(seed)
    affine = torch.eye(2, 3) + 0.5 * far * torch.randn(len(x), 2, 3, generator=generator)
    return registering.warp(x, affine, 0.5 * far * torch.randn(len(x), 2, 4, 4, generator=generator))


# ------------------------------------------------------------------------------------------ registration, copies


def test_registration_undoes_a_bend_and_does_not_turn_one_person_into_another(data):
    x = data.x[::5]
    assert registering.misfit(x, x).max() < 1e-3
    deformed = bent(x)
    before = (deformed - x).square().sum((1, 2, 3)) / (deformed.square() + x.square()).sum((1, 2, 3))
    after, other = registering.misfit(x, deformed), registering.misfit(x, x.roll(1, 0))
    assert before.median() > 0.3 and after.median() < before.median() / 4
    assert other.median() > 4 * after.median()
    blank = torch.zeros_like(x[:2])
    assert registering.misfit(x[:2], blank).tolist() == [1, 1] and registering.misfit(blank, blank).tolist() == [1, 1]


def test_registering_one_pair_does_not_depend_on_the_others(data):
    x = data.x[:6]
    alone = torch.cat([registering.misfit(x[k : k + 1], x[5 - k : 6 - k]) for k in range(3)])
    torch.testing.assert_close(alone, registering.misfit(x[:3], x.flip(0)[:3]), atol=1e-4, rtol=1e-3)


def split(data):
    """Training and held-out pictures of each person."""
    return [[side.x[side.labels == person] for person in range(data.n_people)] for side in (data.train, data.test)]


def test_the_copy_test_sees_bent_copies_and_passes_genuine_signatures():
    data = make_set(people=16, each=4, seed=3)
    misfits = copy_test.Misfits()
    reference = copy_test.copy_reference(*split(data), misfits)
    times = scores.draws_of_people(16)
    y = np.repeat(np.arange(16), 3)
    own = torch.stack([reference.references[p, j] for p in range(16) for j in range(3)])
    source = np.tile(np.arange(3), 16)
    bad = copy_test.copy_test(reference, misfits(reference.references[y], bent(own, 5)), y, times, source)
    assert bad["copy_auc"].value < 0.1 and bad["copy_z"].value < -5 and bad["copy_named"].value > 0.9
    assert bad["copy_below_tenth"].value > 0.8 and bad["copy_margin_auc"].value > 0.8
    assert bad["copy_z_leave_one_out"].value < -5
    good = copy_test.copy_test_of_genuine(reference, times)
    assert abs(good["copy_z_leave_one_out"].value) < 2
    low, high = good["copy_auc"].interval()
    assert abs(good["copy_z"].value) < 2 and low < 0.5 < high and "copy_named" not in good
    stranger = copy_test.copy_test(reference, misfits(reference.references[y], own.roll(3, 0)), y, times)
    assert stranger["copy_auc"].value > 0.9 and stranger["copy_below_median"].value < 0.1
    half = np.where(np.arange(64)[:, None] % 2, 0.0, 9.0) + np.zeros((64, 3))  # every other sample is a copy
    mixed = copy_test.copy_test(reference, half, np.repeat(np.arange(16), 4), times)
    assert mixed["copy_auc"].value == pytest.approx(0.5) and mixed["copy_below_tenth"].value == 0.5
    with pytest.raises(ValueError, match="every person"):
        copy_test.copy_test(reference, half[:4], y[:4], times)


def test_the_z_score_is_that_of_a_mann_whitney_test_in_each_person():
    from scipy.stats import mannwhitneyu

    rng = np.random.default_rng(0)
    genuine, samples = rng.normal(size=(1, 9, 1)), rng.normal(size=(7, 1)) - 1
    both = copy_test.CopyReference(torch.zeros(1, 1, 1, 8, 8), list(genuine), list(genuine))
    found = copy_test.copy_test(both, samples, np.zeros(7, int), scores.draws_of_people(1))
    u = mannwhitneyu(samples[:, 0], genuine[0, :, 0], method="asymptotic", use_continuity=False).statistic
    assert found["copy_z"].value == pytest.approx((u - 31.5) / np.sqrt(7 * 9 * 17 / 12))
    assert found["copy_auc"].value == pytest.approx(u / 63)


def test_nothing_is_measured_twice_and_the_cache_outlives_the_process(data, tmp_path, monkeypatch):
    first = open_eye(tmp_path)
    features = first(data.x[:6]).features[VERIFIER]
    left = first.misfits(data.x[None, :3].expand(2, -1, -1, -1, -1), data.x[4:6])
    first.save()
    again = open_eye(tmp_path)
    monkeypatch.setattr(registering, "misfit", None)
    monkeypatch.setattr(Tiny, "_compute", None)
    np.testing.assert_array_equal(again(data.x[:6]).features[VERIFIER], features)
    np.testing.assert_array_equal(again.misfits(data.x[None, :3].expand(2, -1, -1, -1, -1), data.x[4:6]), left)
    assert len(set(keys_of(data.x[:6]))) == 6
    (tmp_path / "broken.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="broken.npz.*delete it"):
        Store(tmp_path / "broken.npz")


# ------------------------------------------------------------------------------------------------ scores


def score(value, spread, seeds=(), seed=0):
    return scores.Score(value, value + spread * np.random.default_rng(seed).normal(size=200), 200, seeds)


def test_paired_intervals_decide_what_may_be_ranked():
    less, half = scores.Goal("less", less=True), scores.Goal("one half", 0.5)
    people = np.random.default_rng(0).normal(size=200)  # the same people are hard for both rows
    a, b = (scores.Score(v, v + 0.5 * people, 200) for v in (1.0, 1.1))
    assert a.interval()[1] > b.interval()[0] and scores.may_rank(a, b, less) and not scores.may_rank(b, a, less)
    c = scores.Score(1.1, 1.1 + 0.5 * np.random.default_rng(1).normal(size=200), 200)
    assert not scores.may_rank(a, c, less) and not scores.may_rank(c, a, less)
    assert scores.may_rank(score(0.55, 0.01), score(0.2, 0.01, seed=1), half)
    assert not scores.may_rank(score(0.4, 0.02), score(0.6, 0.02, seed=1), half)  # as far away on either side
    with pytest.raises(ValueError, match="not paired"):
        scores.may_rank(a, scores.Score(2.0, np.zeros(3), 3), less)


def test_seeds_widen_the_interval_and_may_forbid_a_ranking():
    trainings = [score(value, 0.01, seed=k) for k, value in enumerate((1.0, 1.4, 1.9))]
    together = scores.over_seeds(trainings)
    low, high = together.interval()
    assert together.value == pytest.approx(1.4333, abs=1e-3) and together.as_dict()["seeds"] == [1.0, 1.4, 1.9]
    assert high - low > 20 * (trainings[0].interval()[1] - trainings[0].interval()[0])
    rival, less = score(1.6, 0.01, seed=9), scores.Goal("less", less=True)
    assert scores.may_rank(trainings[0], rival, less) and not scores.may_rank(together, rival, less)


def test_sentences_rank_only_what_the_intervals_part():
    less = scores.Goal("less is better", less=True)
    rows = {"a": {"s": score(1.0, 0.1)}, "b": {"s": score(1.1, 0.1, seed=1)}, "c": {"s": score(3.0, 0.1, seed=2)}}
    pairs = scores.rankings(rows, {"s": less})["s"]
    assert sorted(pairs) == [["a", "c"], ["b", "c"]]
    values = {row: about["s"].value for row, about in rows.items()}
    text = scores.in_words("s", values, pairs, {"a": "Alpha"}, less.words)
    assert "no row is better than Alpha (1), b (1.1)" in text and "Worse than each of these: c (3)" in text
    assert "rank no two rows" in scores.in_words("s", values, [], {}, less.words)
    only_a = scores.in_words("s", values, [["a", "c"]], {}, less.words)
    assert "Worse than some of these only: c" in only_a


def test_the_bootstrap_over_people_has_the_spread_of_people():
    rng = np.random.default_rng(0)
    people = rng.normal(size=400)
    found = scores.mean_over_people(people, scores.draws_of_people(400), (-9, 9))
    low, high = found.interval()
    assert high - low == pytest.approx(2 * 1.96 * people.std() / 20, rel=0.2)
    ratio = scores.ratio_over_people(2 * np.abs(people), np.abs(people), scores.draws_of_people(400))
    assert ratio.value == pytest.approx(2) and np.ptp(ratio.interval()) < 1e-6  # resampled together
    wins = scores.wins_by_people(np.array([[1.0, 2.0], [3.0, 3.0]]), np.array([[2.0, 0.0]]))
    assert wins.tolist() == [[0.625], [1.0]]


# ------------------------------------------------------------------------------------------------ tables


def table_a(eye, data, unseen, sampler):
    train = eye(data.train.x)
    known = {name: train.features[name] for name in eye.names}
    reference = new_people.strangers(eye(unseen.x), unseen.n_people, known)
    made = eye(sampler.new(unseen.n_people, 4, torch.Generator().manual_seed(0)))
    return reference, new_people.score_new(reference, made)


def test_other_strangers_are_near_and_copies_are_not_new(eye, data, unseen):
    others = make_set(people=16, each=4, seed=7).x.view(16, 4, 1, 128, 128)
    reference, good = table_a(eye, data, unseen, no_model.Writers(others))
    goals = new_people.goals(reference)
    assert goals.keys() == good.keys()
    for name in ("other/frechet", f"{VERIFIER}/frechet", f"{VERIFIER}/kernel", f"{VERIFIER}/top1"):
        assert 0.4 < good[name].value < 2.5, name  # 16 toy people show no more than the order of magnitude
    assert good[f"{VERIFIER}/novelty_auc"].value > 0.25  # 16 toy people: far from the 0 of copies is all that holds
    _, bad = table_a(eye, data, unseen, no_model.Copies(data.train))
    assert bad[f"{VERIFIER}/novelty_auc"].value == 0 and bad["near_tenth"].value == 1
    _, blank = table_a(eye, data, unseen, no_model.Blank())
    assert blank["other/frechet"].value > good["other/frechet"].value and blank["collisions"].interval()[0] > 0.3
    assert blank[f"{VERIFIER}/between"].value == 0  # one picture: nobody differs from anybody
    _, equal = table_a(eye, data, unseen, faults.IgnoresNoise(others, others))
    assert equal[f"{VERIFIER}/within"].value == 0 and equal[f"{VERIFIER}/novelty_auc"].value > 0.2
    assert all(np.isfinite(one.replicates).all() for row in (good, bad, blank) for one in row.values())
    with pytest.raises(ValueError, match="needed"):
        new_people.score_new(reference, eye(unseen.x[:8]))


def table_b(eye, data, x, y):
    sides = [eye(side.x) for side in (data.train, data.test)]
    reference = known_people.known_people(
        sides[0], data.train.labels.numpy(), sides[1], data.test.labels.numpy(), eye.misfits
    )
    return reference, known_people.score_known(reference, eye(x), y, eye.misfits)


def test_the_same_people_on_another_day_score_one_and_others_do_not(eye, data):
    again = make_set(people=12, each=4, seed=1, day=1)
    y = again.labels.numpy()
    reference, good = table_b(eye, data, again.x, y)
    low, high = good[f"{VERIFIER}/energy"].interval()
    assert low < 1.1 and high > 0.9 and good[f"{VERIFIER}/top1"].value > 0.8
    _, swapped = table_b(eye, data, again.x, (y + 1) % 12)
    assert swapped[f"{VERIFIER}/energy"].value > 1.5 * good[f"{VERIFIER}/energy"].value
    assert swapped[f"{VERIFIER}/top1"].value < 0.2 and swapped["copy_auc"].value > 0.8
    _, equal = table_b(eye, data, again.x[::4].repeat_interleave(4, 0), y)
    assert equal[f"{VERIFIER}/within"].value == 0 and equal[f"{VERIFIER}/energy"].value > 1.2
    genuine = known_people.score_genuine(reference)
    assert genuine[f"{VERIFIER}/energy"].value == 1 and genuine.keys() == good.keys()


def strangers_in_space(rng, people=24, each=8, dim=12, spread=0.6):
    place = rng.normal(size=(people, 1, dim))
    return place + spread * rng.normal(size=(people, each, dim))


def test_good_duplicates_help_verifiers_and_strangers_do_harm():
    rng = np.random.default_rng(0)
    x, cohort = strangers_in_space(rng), strangers_in_space(rng, people=60)
    tried = few_shot.trial(x, cohort)
    assert tried.references.shape == (24, 4, 12) and tried.genuine.shape[1] == 4
    rows = few_shot.rows_without_a_model(tried)
    assert rows["none"].shape[1] == 1 and rows["genuine, 4 in all"].shape[1] == 4
    control = next(name for name in rows if "control" in name)
    found = {name: few_shot.score_enrolled(tried, rows[name]) for name in ("none", "genuine, 4 in all", control)}
    good = few_shot.with_duplicates(tried, "good", x[:, 4:].repeat(4, 1))["good, 16"]
    bad = few_shot.with_duplicates(tried, "bad", np.roll(x, 1, 0).repeat(2, 1))["bad, 16"]
    found |= {name: few_shot.score_enrolled(tried, values) for name, values in (("good", good), ("bad", bad))}
    for verifier in few_shot.VERIFIERS:
        error = {name: row[f"{verifier}/global"].value for name, row in found.items()}
        assert 0.02 < error["none"] < 0.45 and error["genuine, 4 in all"] < error["none"] < error["bad"], verifier
        assert found["none"][f"{verifier}/person"].value < error["none"]  # their own thresholds can only help
    name = "euclidean/global"
    gain = few_shot.saved(found["none"][name], found["good"][name])
    assert gain.interval()[0] > 0 and few_shot.saved(found["none"][name], found["none"][name]).interval() == (0, 0)
    assert found[control][name].value < found["none"][name].value  # a mean saves error and generates nothing
    with pytest.raises(ValueError, match="table C"):
        few_shot.trial(x[:, :3], cohort)


def test_equal_error_rates_agree_with_the_plain_ones():
    rng = np.random.default_rng(1)
    genuine, impostor = rng.normal(1, 1, (10, 6)), rng.normal(-0.5, 1, (10, 20))
    found = few_shot._global_rate(genuine, impostor, scores.draws_of_people(10))
    assert found.value == pytest.approx(metrics.equal_error_rate(-genuine, -impostor)[0], abs=1e-9)
    ties = few_shot._global_rate(np.zeros((3, 2)), np.zeros((3, 2)), scores.draws_of_people(3))
    assert ties.value == pytest.approx(0.5)


# ------------------------------------------------------------------------------------------------ likelihood


def test_a_context_coder_learns_what_repeats_and_is_a_probability():
    rng = np.random.default_rng(0)
    noise = rng.random((6, 16, 16)) < 0.5
    assert likelihood.ContextCoder(noise[:5], 10).nats(noise[5:])[0] == pytest.approx(256 * np.log(2), rel=0.3)
    stripes = np.zeros((5, 16, 16), bool)
    stripes[:, ::4] = True
    assert likelihood.ContextCoder(stripes, 40).nats(stripes[:1])[0] < 5
    # Over all pictures of three by three pixels the probabilities sum to one
    every = (np.arange(512)[:, None] >> np.arange(9) & 1).astype(bool).reshape(-1, 3, 3)
    assert np.exp(-likelihood.ContextCoder(noise, 20).nats(every)).sum() == pytest.approx(1)
    assert all(len(set(likelihood.template(n))) == n for n in likelihood.TEMPLATES)
    assert likelihood.template(40)[:20] == likelihood.template(20)


def test_the_bound_is_below_the_codes_own_and_above_nothing():
    """With one code a signature it is -log p(x|z) - log p(z) + log q(z|x); more codes bring it nearer to the truth."""
    torch.manual_seed(0)
    vae = VAE(VAEConfig(width_fine=8, width_encoder=16, width_decoder=16)).eval()
    some = make_set(people=2, each=2)
    x, y = some.x, some.labels
    nats = likelihood.importance_weighted(sampling.sampler_of(vae), x, y)
    bound = torch.stack([vae(one[None], 1.0, torch.Generator().manual_seed(k))["loss"] for one in x for k in range(20)])
    assert len(nats) == 4 and nats.mean() < bound.mean()
    assert likelihood.importance_weighted(no_model.Blank(), x, y) is None


def test_signatures_are_stratified_over_what_they_are_made_from():
    y = torch.tensor([2, 0, 2, 2, 0, 2, 2, 2, 1])
    assert no_model.occurrence(y).tolist() == [0, 0, 1, 2, 1, 3, 4, 5, 0]
    some = [no_model.stratified(y, 3, torch.Generator().manual_seed(seed)) for seed in range(200)]
    for which in some:
        assert sorted(which[y == 2][:3].tolist()) == sorted(which[y == 2][3:].tolist()) == [0, 1, 2]
        assert len(set(which[y == 0].tolist())) == 2
    each = torch.stack(some).flatten().bincount() / (200 * len(y))
    assert (each - 1 / 3).abs().max() < 0.03  # evenly, each for itself


# ------------------------------------------------------------------------------------------------ all of it


class OfPeople:
    """A sampler that knows known people only, from a pool of their signatures on another day."""

    def __init__(self, pool):
        self.pool = pool

    def known(self, y, generator):
        return self.pool[y, torch.randint(self.pool.shape[1], (len(y),), generator=generator)]


def test_all_tables_by_rows_that_can_fill_them(data, unseen, capsys, monkeypatch):
    monkeypatch.setattr(questions, "_draws", lambda data: 2)
    eye = open_eye()
    again = make_set(people=12, each=4, seed=1, day=1).x.view(12, 4, 1, 128, 128)
    writers = make_set(people=24, each=4, seed=5).x.view(24, 4, 1, 128, 128)
    vae = VAE(VAEConfig(width_fine=8, width_encoder=16, width_decoder=16)).eval()
    rows = no_model.rows_without_a_model(data.train, writers, lambda x: eye(x, strokes=False).features[VERIFIER], vae)
    samplers = {"two seeds": [OfPeople(again), OfPeople(again.flip(1))]} | {k: [v] for k, v in rows.items()}
    result = questions.evaluate(data, samplers, eye, unseen, writers, progress=lambda line: None)
    json.dumps(result, allow_nan=False)
    assert "two seeds" not in result["new"]["rows"] and "two seeds" in result["known"]["rows"]
    assert len(result["known"]["rows"]["two seeds"]["scores"]["copy_auc"]["seeds"]) == 2
    known = {row: about["scores"] for row, about in result["known"]["rows"].items()}
    assert known["copies"]["copy_named"]["value"] == 1 and known["copies"]["copy_auc"]["value"] == 0
    assert known["warps"]["copy_named"]["value"] > 0.6  # chance: a third
    assert ["two seeds", "copies"] in result["known"]["rank"]["copy_auc"]
    assert result["like"]["rows"]["none"]["saved"]["s_norm/global"]["value"] == 0
    assert result["n"]["unseen"] == [16, 4] and set(result["likelihood"]) == {"context_10", "context_20", "context_40"}
    show(result)
    shown = capsys.readouterr().out
    assert "A. New people" in shown and "registration warps" in shown and "context_20" in shown
    alone = questions.evaluate(data, {"blank": [no_model.Blank()]}, eye, progress=lambda line: None)
    assert alone["new"] is None and alone["like"] is None
    with pytest.raises(ValueError, match="also in the training data"):
        questions.evaluate(data, {}, eye, data, progress=lambda line: None)


def test_what_another_program_drew_is_judged_like_a_model(tmp_path, data, unseen, monkeypatch):
    monkeypatch.setattr(questions, "_draws", lambda data: 2)
    rows = {"copies": [no_model.Copies(data.train)]}
    asked: dict[str, torch.Tensor] = {}
    for name, shape in dict(new=(16, 4), known=(data.n_people, 2), like=(16, 16)).items():
        generator = torch.Generator().manual_seed(0)  # as `evaluate` asks with seed 0
        one = unseen.x.view(16, 4, 1, 128, 128)[:, 0].repeat_interleave(16, 0)[:, None]
        y = torch.arange(data.n_people).repeat_interleave(2)
        whom = dict(new=shape, known=(y,), like=(one,))[name]
        asked[name] = getattr(rows["copies"][0], name)(*whom, generator).view(*shape, 128, 128)
    np.savez(tmp_path / "theirs.npz", **{name: (x * 255).to(torch.uint8).numpy() for name, x in asked.items()})
    eye, writers = open_eye(), make_set(people=24, each=4, seed=5).x.view(24, 4, 1, 128, 128)
    samplers = rows | {"theirs": [Drawn(tmp_path / "theirs.npz")]}
    result = questions.evaluate(data, samplers, eye, unseen, writers, progress=lambda line: None)
    for table in ("new", "known"):
        mine, theirs = (result[table]["rows"][row]["scores"] for row in ("copies", "theirs"))
        assert {name: mine[name]["value"] for name in theirs} == {name: one["value"] for name, one in theirs.items()}
    like = result["like"]["rows"]
    assert like["theirs, 16"]["scores"] == like["copies, 16"]["scores"]


def test_files_of_drawn_signatures_that_do_not_fit_are_refused(tmp_path):
    for name, arrays, why in (
        ("none", dict(x=np.zeros(3)), "none of the arrays"),
        ("grey", dict(new=np.zeros((2, 4, 128, 128))), "not uint8"),
    ):
        np.savez(tmp_path / f"{name}.npz", **arrays)
        with pytest.raises(ValueError, match=why):
            Drawn(tmp_path / f"{name}.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(ValueError, match="not an archive"):
        Drawn(tmp_path / "text.npz")
    np.savez(tmp_path / "few.npz", new=np.zeros((2, 4, 128, 128), np.uint8))
    few = Drawn(tmp_path / "few.npz")
    assert sampling.offers(few, "new") and not sampling.offers(few, "known")
    with pytest.raises(ValueError, match="4 signatures of 2 people, asked for are 4 of 3"):
        few.new(3, 4)


def test_what_a_code_costs_is_measured_with_training_signatures_drawn_again(data):
    eye = open_eye()
    held_out = [data.test.x[data.test.labels == person] for person in range(data.n_people)]
    train = [data.train.x[data.train.labels == person] for person in range(data.n_people)]
    reference = copy_test.copy_reference(train, held_out, eye.misfits)
    times = scores.draws_of_people(data.n_people, 0)

    def auc(redraw):
        return copy_test.copy_test_of_redrawn(reference, held_out, redraw, eye.misfits, times).value

    genuine = copy_test.copy_test_of_genuine(reference, times)["copy_auc"].value
    assert auc(lambda x: x) == pytest.approx(genuine)  # a perfect code costs nothing
    assert auc(lambda x: x.flip(-1)) > max(0.9, genuine)  # a mirrored signature is like nobody's


def test_a_grey_model_is_also_scored_without_rendering():
    grey = torch.full((2, 1, 128, 128), 0.25)
    eye = Eye([Tiny(VERIFIER)], render=torch.zeros_like)
    assert torch.equal(eye(grey, rendered=False).x, grey) and not eye(grey).x.any()


def test_planted_faults_are_seen(monkeypatch):
    monkeypatch.setattr(faults, "STEPS", 20)

    class Smudge(torch.nn.Module):
        """In the place of a VAE: the code of a picture is the picture, a little blurred."""

        def __init__(self):
            super().__init__()
            self.anchor = torch.nn.Parameter(torch.zeros(1))

        def encode(self, x):
            return torch.nn.functional.avg_pool2d(x, 3, 1, 1), None

        def decode(self, z):
            return torch.logit(z, 1e-4)

        def reconstruct(self, x):
            return self.encode(x)[0]

    x = make_set(people=36, each=8, seed=4).x.view(36, 8, 1, 128, 128)
    panel = faults.fault_panel(x, open_eye(), Smudge())
    assert set(panel) == {faults.PERFECT, *faults.FAULTS}
    assert abs(panel[faults.PERFECT]["B copy_z"]["value"]) < 2
    for fault in ("warped copy", "redrawn copy"):
        assert panel[fault]["B copy_z"]["value"] < -5, fault
    for fault in faults.FAULTS:
        assert max(cell["intervals"] for cell in panel[fault].values()) > faults.SEEN, fault
    assert len(faults.fault_figure(panel).axes) == 1
    with pytest.raises(ValueError, match="8 of 24"):
        faults.fault_panel(x[:6], open_eye(), Smudge())


def test_a_sampler_need_not_answer_every_question():
    assert sampling.offers(no_model.Blank(), "like") and not sampling.offers(OfPeople(None), "new")


def test_people_without_a_second_signature_are_named(data, eye):
    one = data.train.subset(torch.arange(0, len(data.train), 4))
    with pytest.raises(ValueError, match="two training signatures"):
        no_model.Copies(one)
    assert isinstance(one, SignatureSet) and main(["evaluate", "--data", "nowhere", "--out", "x.json"]) == 2


def test_a_packed_corpus_is_read_for_what_counts_as_known(tmp_path):
    from sigen_utils.commands.evaluation import _corpus
    from sigen_utils.synthesis import Corpus

    bits = np.random.default_rng(0).integers(0, 256, (4, 2, 128, 16), np.uint8)
    x = _corpus(str(Corpus(bits, 0).save(tmp_path / "corpus.npz")))
    assert x.shape == (8, 1, 128, 128)
    assert torch.equal(x.float(), Corpus(bits).ink(torch.arange(8)))
