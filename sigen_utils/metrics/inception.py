"""The standard Inception scores (FID, KID, IS) by torchmetrics, where its network can be had.

They are what other papers print and nothing that ranks signatures: the network knows photographs in colour at 299
pixels. Hence a second opinion beside our feature extractors, asked for on purpose: the weights are a download of 91 MB.

References: Salimans et al. 2016 (IS); Heusel et al. 2017 (FID); Binkowski et al. 2018 (KID).
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn

WEIGHTS = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
PREFIX = "6726825d"  # of the SHA-256 of the file


class InceptionUnavailable(RuntimeError):
    """The standard network cannot be had here; the message says what is missing and the remedy."""


def inception_networks(folder: str | Path | None = None) -> tuple[nn.Module, nn.Module]:
    """The Inception network twice: to its 2048 pooled features, and to its 1008 logits.

    Parameters
    ----------
    folder
        Where the weights are kept; PyTorch's cache by default.

    Raises
    ------
    InceptionUnavailable
        If torchmetrics or torch-fidelity is not installed, or the weights cannot be downloaded.
    """
    if not all(importlib.util.find_spec(name) for name in ("torchmetrics", "torch_fidelity")):
        raise InceptionUnavailable('torchmetrics is not installed; pip install "torchmetrics[image]"')
    from torchmetrics.image.fid import NoTrainInceptionV3

    file = Path(folder or Path(torch.hub.get_dir()) / "checkpoints") / WEIGHTS.rsplit("/", 1)[1]
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(WEIGHTS, str(file), hash_prefix=PREFIX, progress=False)
        except (URLError, OSError, RuntimeError) as error:  # RuntimeError: the file is not the one that was asked for
            raise InceptionUnavailable(
                f"{WEIGHTS} cannot be downloaded ({error}); put it into {file.parent}"
            ) from error
    # The library would unpickle the download. Tensors only are read here, and it is given a file of our own making.
    state = torch.load(file, map_location="cpu", weights_only=True)
    with tempfile.TemporaryDirectory() as own:
        path = str(Path(own) / "inception.pth")
        torch.save(state, path)
        made = (NoTrainInceptionV3("inception-v3-compat", [name], path) for name in ("2048", "logits_unbiased"))
        return tuple(made)


def inception_scores(
    real: Tensor, fake: Tensor, networks: tuple[nn.Module, nn.Module] | None = None, seed: int = 0, batch: int = 32
) -> dict[str, float]:
    """FID, KID and IS of rendered pictures by torchmetrics.

    Parameters
    ----------
    real, fake
        Rendered ink ``[n, 1, H, W]`` and ``[m, 1, H, W]`` in [0, 1], ink = 1; shown black on white in three channels.
    networks
        As `inception_networks` gives them (the default): uint8 ``[n, 3, H, W]`` to features and to logits.
    seed, batch
        Of the random subsets; pictures at a time.

    Returns
    -------
    dict
        ``fid``, ``kid`` and ``kid_std`` (over subsets), ``inception_score`` and ``inception_score_std``.

    Raises
    ------
    InceptionUnavailable
        See `inception_networks`.
    """
    features, logits = networks or inception_networks()
    from torchmetrics.image import FrechetInceptionDistance, InceptionScore, KernelInceptionDistance

    fid = FrechetInceptionDistance(feature=features)
    kid = KernelInceptionDistance(feature=features, subset_size=min(100, len(real), len(fake)), subsets=50)
    score = InceptionScore(feature=logits, splits=min(10, len(fake)))
    for x, is_real in ((real, True), (fake, False)):
        for part in x.split(batch):
            picture = (255 - 255 * part.clamp(0, 1)).round().to(torch.uint8).expand(-1, 3, -1, -1)
            fid.update(picture, real=is_real)
            kid.update(picture, real=is_real)
            if not is_real:
                score.update(picture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        (kid_mean, kid_std), (mean, std) = kid.compute(), score.compute()
    values = dict(fid=fid.compute(), kid=kid_mean, kid_std=kid_std, inception_score=mean, inception_score_std=std)
    return {name: value.item() for name, value in values.items()}
