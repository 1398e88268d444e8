"""Power of pictures by spatial frequency: where smoke, dust and lattices show that the eye passes over.

Reference: Durall et al. 2020 (spectra of generated pictures).
"""

from __future__ import annotations

import numpy as np
import torch


def radial_spectrum(x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean power spectrum of pictures, averaged over directions.

    Parameters
    ----------
    x
        Ink ``[N, 1, H, H]``, square.

    Returns
    -------
    frequency, power
        float64 ``[H // 2]`` each: 1 to H / 2 periods a picture (the mean, 0 periods, says only how much ink there
        is), and the mean of ``|FFT|^2 / H^2`` over pictures and over all directions of that frequency, rounded.

    Raises
    ------
    ValueError
        If the pictures are not square.
    """
    size = x.shape[-1]
    if x.shape[-2] != size:
        raise ValueError(f"square pictures are needed, not {tuple(x.shape[-2:])}")
    power = torch.fft.fft2(x.detach().double().cpu().reshape(-1, size, size)).abs().square().mean(0) / size**2
    along = torch.fft.fftfreq(size, 1 / size, dtype=torch.float64)
    radius = torch.hypot(along[:, None], along[None]).round().long().flatten()  # [size * size]
    total, count = torch.bincount(radius, power.flatten()), torch.bincount(radius)
    frequency = np.arange(1, size // 2 + 1, dtype=np.float64)
    return frequency, (total / count)[1 : size // 2 + 1].numpy()
