"""What the models before version 2 draw, for `evaluate --drawn`; to run with that version's package:

    git worktree add build/v1 3109b09 && cp tools/draw_version_1.py build/v1
    cd build/v1 && python -m sigen_utils train vae --data DATA --run runs/vae     # and with --scratch, and gan
    python draw_version_1.py DATA UNSEEN OUT name=runs/vae ...

DATA and UNSEEN are folders of signatures, as for `evaluate`; OUT gets ``<name>.npz`` for each run. Those models
remember training signatures: a sample of a person is one of theirs, warped and drawn again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from sigen_utils.data import load_signatures
from sigen_utils.metrics.few_shot import DUPLICATES
from sigen_utils.sampling import adapters, offers
from sigen_utils.training.checkpoint import load_run

PER_PERSON, STRANGERS = 4, 64


def drawn(sampler, people: int, unseen: torch.Tensor) -> dict[str, np.ndarray]:
    """Answers to the questions that the sampler offers, uint8 ``[people, k, 128, 128]``."""
    most = max(DUPLICATES)
    one = unseen[:STRANGERS, :1].repeat_interleave(most, 0)
    asked = dict(
        new=(lambda g: sampler.new(len(unseen), PER_PERSON, g), len(unseen)),
        known=(lambda g: sampler.known(torch.arange(people).repeat_interleave(PER_PERSON), g), people),
        like=(lambda g: sampler.like(one, g), len(unseen[:STRANGERS])),
    )
    out = {}
    for name, (draw, rows) in asked.items():
        if offers(sampler, name):
            x = draw(torch.Generator().manual_seed(0)).clamp(0, 1)
            out[name] = (x.cpu() * 255).round().to(torch.uint8).view(rows, -1, 128, 128).numpy()
    return out


def main() -> None:
    data, strangers = (load_signatures(folder) for folder in sys.argv[1:3])
    each = int(strangers.labels.bincount().min())
    rows = torch.stack([(strangers.labels == person).nonzero()[:each, 0] for person in range(strangers.n_people)])
    for word in sys.argv[4:]:
        name, _, folder = word.partition("=")
        sampler = adapters(load_run(folder))[""]
        with torch.inference_mode():
            answers = drawn(sampler, data.n_people, strangers.x[rows])
        path = Path(sys.argv[3]) / f"{name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **answers)
        print(path, {question: list(x.shape) for question, x in answers.items()})


if __name__ == "__main__":
    main()
