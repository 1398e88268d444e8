"""The own feature extractor: its loss, what it sees, its training, and the error rates that judge it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from strokes import toy_signatures

from sigen_utils import metrics
from sigen_utils.__main__ import main
from sigen_utils.models import embedding
from sigen_utils.models.embedding import Embedding, EmbeddingConfig
from sigen_utils.training import checkpoint

SMALL = EmbeddingConfig(widths=(8, 8, 16, 16), dim=8, per_writer=2)


def test_loss_by_hand():
    """Two writers of two signatures: the share of the partner among the three others, by a loop."""
    e = torch.nn.functional.normalize(torch.randn(4, 3), dim=1)
    y, temperature = torch.tensor([0, 0, 1, 1]), 0.5
    by_hand = 0.0
    for i, partner in enumerate((1, 0, 3, 2)):
        others = [math.exp(float(e[i] @ e[j]) / temperature) for j in range(4) if j != i]
        by_hand -= math.log(math.exp(float(e[i] @ e[partner]) / temperature) / sum(others)) / 4
    assert embedding.contrastive_loss(e, y, temperature).item() == pytest.approx(by_hand, rel=1e-5)


def test_loss_prefers_writers_apart_and_ignores_the_lonely():
    apart = torch.eye(4).repeat_interleave(2, 0)
    mixed = torch.eye(4).repeat(2, 1)
    y = torch.arange(4).repeat_interleave(2)
    good, bad = (embedding.contrastive_loss(e, y, 0.1) for e in (apart, mixed))
    assert good < 0.01 < 5 < bad
    lonely = torch.cat([apart, -torch.ones(1, 4) / 2])
    assert torch.isfinite(embedding.contrastive_loss(lonely, torch.cat([y, torch.tensor([9])]), 0.1))


def test_width_varies_in_order_of_the_level_and_embeddings_have_length_one():
    x = toy_signatures(3, 2).x
    bold, thin = (embedding.vary_width(x, level, level).sum() for level in (0.15, 0.6))
    assert thin < x.sum() < bold
    network = Embedding(SMALL).eval()
    assert torch.allclose(network(x).norm(dim=1), torch.ones(6), atol=1e-5)
    with pytest.raises(ValueError, match="at least two"):
        EmbeddingConfig(per_writer=1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Crowd of curves, a run on it, its publication."""
    folder = tmp_path_factory.mktemp("extractor")
    crowd = toy_signatures(16, 4, seed=3)
    np.savez_compressed(folder / "crowd.npz", x=crowd.images.numpy(), y=crowd.labels.numpy().astype(str))
    train = ["train", "extractor", "--data", str(folder / "crowd.npz"), "--run", str(folder / "run")]
    small = ["--steps", "25", "--set", "widths=[8,8,16,16]", "dim=8", "batch_size=16", "learning_rate=0.004"]
    settings = ["checkpoint_seconds=0", "per_writer=2"]
    assert main([*train, *small, *settings]) == 0
    publish = ["publish", "--run", str(folder / "run"), "--out", str(folder / "out")]
    assert main([*publish, "--crowd", "toy", "--device", "none"]) == 0
    return folder


def test_training_tells_unseen_writers_apart(trained):
    history = checkpoint.read_history(trained / "run")
    assert history[-1]["loss"] < history[0]["loss"] and history[-1]["test_top1"] > 2 / 16
    strangers = toy_signatures(12, 4, seed=8)
    extractor = metrics.SignatureExtractor(trained / "out")
    score = metrics.verification(extractor.features(strangers.x), strangers.labels.numpy(), n_boot=20)
    assert score["eer"] < 0.4 and score["eer_low"] <= score["eer"] + 0.05 and score["people"] == 12


def test_publication_measures_the_same_and_names_nobody(trained, capsys):
    x = toy_signatures(4, 2).x
    whole, half = (metrics.SignatureExtractor(trained / name).features(x) for name in ("run", "out"))
    assert np.abs(whole - half).max() < 5e-3 and whole.shape == (8, 8)
    assert json.loads((trained / "out" / "config.json").read_text())["data"]["people"] == []
    assert main(["verify", "--data", str(trained / "crowd.npz"), "--extractor", str(trained / "out")]) == 0
    printed = capsys.readouterr().out
    assert "efflite0_block10: EER" in printed and "signature_crowd: EER" in printed and "16 people" in printed


def test_what_is_no_extractor_is_refused(tmp_path, capsys):
    assert main(["train", "extractor", "--data", "x.npz", "--run", str(tmp_path), "--start", "y"]) == 2
    assert "begins at random" in capsys.readouterr().err
    with pytest.raises(checkpoint.RunError, match="no config.json"):
        metrics.SignatureExtractor(tmp_path)


def test_equal_error_rate_of_known_distances():
    assert metrics.equal_error_rate(np.array([1.0, 2, 3]), np.array([4.0, 5]))[0] == 0
    rng = np.random.default_rng(0)
    same = rng.normal(0, 1, 20_000)
    assert metrics.equal_error_rate(same, rng.normal(0, 1, 20_000))[0] == pytest.approx(0.5, abs=0.01)
    rate, threshold = metrics.equal_error_rate(same, rng.normal(2, 1, 20_000))
    assert rate == pytest.approx(0.1587, abs=0.01) and threshold == pytest.approx(1.0, abs=0.05)  # 1 - Phi(1)
    with pytest.raises(ValueError, match="pairs"):
        metrics.equal_error_rate(same, [])
