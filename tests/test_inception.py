"""The standard Inception scores: torchmetrics fed rightly, and a clear word where its network cannot be had."""

from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import nn

from sigen_utils import metrics
from sigen_utils.metrics import inception


class Coarse(nn.Module):
    """Stands in for the network: the picture averaged to 3 x 3 numbers, or logits of the same."""

    num_features = 9

    def forward(self, x):
        assert x.dtype == torch.uint8 and x.shape[1:] == (3, 128, 128)
        return nn.functional.adaptive_avg_pool2d(x.float() / 255, 3).mean(1).flatten(1)


def pictures(n, seed, low=0.0):
    return torch.rand(n, 1, 128, 128, generator=torch.Generator().manual_seed(seed)).clamp(min=low)


def test_the_distance_is_ours_in_the_same_features():
    real, fake, network = pictures(40, 0), pictures(40, 1, low=0.3), Coarse()
    scores = metrics.inception_scores(real, fake, (network, network))
    seen = (network((255 - 255 * x).round().to(torch.uint8).expand(-1, 3, -1, -1)).numpy() for x in (real, fake))
    assert scores["fid"] == pytest.approx(metrics.frechet_distance(*seen), rel=0.02)
    assert scores["kid"] > 3 * scores["kid_std"] > 0 and scores["inception_score"] >= 1
    same = metrics.inception_scores(real, real, (network, network))
    assert same["fid"] < 1e-3 * scores["fid"] and abs(same["kid"]) < 0.1 * scores["kid"]
    assert metrics.inception_scores(real, fake, (network, network)) == scores and np.isfinite(scores["fid"])


def test_a_network_that_cannot_be_had_is_named(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise URLError("no route")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(metrics.InceptionUnavailable, match=r"cannot be downloaded.*no route.*put it into"):
        metrics.inception_networks(tmp_path)
    monkeypatch.setattr(inception.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(metrics.InceptionUnavailable, match="pip install"):
        metrics.inception_networks(tmp_path)
