"""Registering signatures of one person with one another, the plain way and ours, side by side in one run.

Plain: a pair at a time, at the full 128 x 128 pixels, the grid of displacements enlarged by `interpolate` each step.
Ours (`registration.register`): all pairs at once, at 32 x 32, the enlargement as two small matrix products. Grid, steps
and stiffness are the same. Both are judged alike: what share of the difference between the blurred pictures is left.

    python benchmarks/registration_speed.py [--people 60] [--plain 20]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sigen_utils import registration  # noqa: E402
from sigen_utils.augment import GRID_POINTS  # noqa: E402
from sigen_utils.device import pick_device  # noqa: E402
from sigen_utils.render import blur  # noqa: E402
from sigen_utils.synthesis.crowd import CrowdConfig, draw_crowd  # noqa: E402


def moved(a: Tensor, ways: Tensor) -> Tensor:
    """Pictures ``[N, 1, H, H]``, each place looked up where `ways` ``[N, 2, k, k]`` say, in pixels."""
    still = F.affine_grid(torch.eye(2, 3, device=a.device).expand(len(a), 2, 3), list(a.shape), align_corners=False)
    large = F.interpolate(ways * (2 / a.shape[-1]), a.shape[-2:], mode="bicubic", align_corners=True)
    return F.grid_sample(a, still + large.permute(0, 2, 3, 1), align_corners=False)


def plain(a: Tensor, b: Tensor) -> Tensor:
    """`registration.register` of one pair ``[1, 1, 128, 128]`` without its shortcuts."""
    ways = torch.zeros(1, 2, GRID_POINTS, GRID_POINTS, device=a.device, requires_grad=True)
    optimizer, coarser = torch.optim.Adam([ways], registration.RATE, betas=(0.9, 0.9)), a.shape[-1] // registration.SIDE
    for sigma in registration.SIGMAS:
        near_a, near_b = blur(a, coarser * sigma), blur(b, coarser * sigma)
        for _ in range(registration.STEPS):
            left = (moved(near_a, ways) - near_b).square().sum() / (near_a.square() + near_b.square()).sum()
            stretch = sum(ways.diff(dim=axis).square().mean() for axis in (2, 3))
            optimizer.zero_grad()
            (left + registration.STIFFNESS * stretch).backward()
            optimizer.step()
    return ways.detach()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=60, help="writers, of four signatures each")
    parser.add_argument("--plain", type=int, default=20, help="pairs that are registered the plain way")
    args = parser.parse_args()
    device = pick_device()
    images, _ = draw_crowd(CrowdConfig(writers=args.people, per_writer=4), progress=None)
    x = (torch.from_numpy(images) > 127)[:, None].float().to(device)
    order = torch.arange(len(x), device=device).view(-1, 4)
    a, b = (torch.cat([x[order[:, k]] for k in turn]) for turn in ((0, 1, 2, 3), (1, 2, 3, 0)))

    def timed(pairs: int, register) -> tuple[float, float]:
        """Milliseconds a pair, and the share of the difference that is left."""
        register()  # what is made only once
        began = time.perf_counter()
        ways = register().cpu().to(device)  # waits for the device
        seconds = time.perf_counter() - began
        soft_a, soft_b = blur(a[:pairs], 3.0), blur(b[:pairs], 3.0)
        before, after = ((s - soft_b).square().sum().item() for s in (soft_a, moved(soft_a, ways)))
        return 1000 * seconds / pairs, after / before

    few = min(args.plain, len(a))
    one = timed(few, lambda: torch.cat([plain(a[k : k + 1], b[k : k + 1]) for k in range(few)]))
    ours = timed(len(a), lambda: registration.register(a, b)[0])
    print(f"{'':8}{'pairs':>8}{'ms a pair':>12}{'left':>8}   {device.type}")
    for name, pairs, (took, left) in (("plain", few, one), ("ours", len(a), ours)):
        print(f"{name:8}{pairs:8d}{took:12.2f}{left:8.2f}")
    print(f"ratio   {one[0] / ours[0]:28.0f}")


if __name__ == "__main__":
    main()
