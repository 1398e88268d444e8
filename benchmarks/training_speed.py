"""Images a second of the plain way and of ours, side by side in one run, with the ratio.

Plain is what the student reports and most course solutions do: a Dataset that opens a PNG with Pillow, torchvision
transforms one picture at a time, float32 in the default memory layout. Ours: uint8 on the device, augmentation of
whole batches there, channels-last, the fast number type where the chip has one. The same networks, the same batch.

    python benchmarks/training_speed.py [--seconds 6] [--people 24]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sigen_utils.augment import AugmentConfig, augment  # noqa: E402
from sigen_utils.data import SignatureSet, batch_index, load_signatures
from sigen_utils.device import pick_device, precision  # noqa: E402
from sigen_utils.models.baselines import ReportVAE, ReportVAEConfig  # noqa: E402
from sigen_utils.training.progress import step_generator  # noqa: E402
from sigen_utils.training.vae import ModelTrainConfig, ReportVAETrainer  # noqa: E402

BATCH = 64


def random_signatures(folder: Path, people: int) -> Path:
    """Four PNGs of random lines a person: for a timing any picture of the right size and sparsity does."""
    generator = torch.Generator().manual_seed(0)
    for person in range(people):
        (folder / str(person)).mkdir()
        for k in range(4):
            ink = torch.rand(128, 128, generator=generator) < 0.05
            Image.fromarray((255 - ink.to(torch.uint8) * 255).numpy()).save(folder / str(person) / f"{k + 1}.png")
    return folder


class PlainDataset(Dataset):
    """One picture at a time: open, augment, convert."""

    def __init__(self, folder: Path):
        self.files = sorted(folder.glob("*/*.png"))
        self.transform = transforms.Compose(
            [
                transforms.RandomRotation(6, fill=255),
                transforms.RandomResizedCrop(128, scale=(0.8, 1.0), ratio=(0.9, 1.1)),
                transforms.ToTensor(),
                transforms.Lambda(lambda x: ((1 - x) + 0.1 * torch.randn_like(x)).clamp(0, 1)),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, k: int) -> torch.Tensor:
        with Image.open(self.files[k]) as picture:
            return self.transform(picture.convert("L"))


def rate(step: Callable[[], int], seconds: float, device: torch.device) -> float:
    """Median images a second over the calls of `step` that fit into `seconds`, after one warm-up call."""
    step()
    rates, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(rates) < 3:
        started = time.perf_counter()
        images = step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        rates.append(images / (time.perf_counter() - started))
    return statistics.median(rates)


def endless(loader: DataLoader):
    while True:
        yield from loader


def plain_steps(folder: Path, device: torch.device) -> tuple[Callable[[], int], Callable[[], int]]:
    """(load a batch, load a batch and train the reports' VAE on it), the plain way."""
    batches = endless(DataLoader(PlainDataset(folder), BATCH, shuffle=True, drop_last=True))
    model = ReportVAE().to(device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-5)

    def load() -> int:
        return len(next(batches).to(device))

    def train() -> int:
        x = next(batches).to(device)
        loss = model(x)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        return len(x)

    return load, train


def our_steps(data: SignatureSet, device: torch.device) -> tuple[Callable[[], int], Callable[[], int]]:
    """The same two, our way: the package's own augmentation and the package's own training step."""
    data = data.to(device)
    state = dict(step=0)
    settings = ModelTrainConfig(batch_size=BATCH)
    trainer = ReportVAETrainer(data, ReportVAEConfig(), settings, device, rank=0, world=1)

    def index_and_generator():
        state["step"] += 1
        index = batch_index(len(trainer.train_set), BATCH, state["step"], 0)
        return index.to(device), step_generator(0, 0, state["step"], device)

    def load() -> int:
        index, generator = index_and_generator()
        return len(augment(trainer.train_set.images[index][:, None].float() / 255, AugmentConfig(noise=0.1), generator))

    def train() -> int:
        index, generator = index_and_generator()
        trainer.step(index, 0.5, generator)
        return BATCH

    return load, train


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=6.0, help="for each of the measurements")
    options.add_argument("--people", type=int, default=24)
    args = options.parse_args()
    device = pick_device()
    with tempfile.TemporaryDirectory() as folder:
        root = random_signatures(Path(folder), args.people)
        plain, ours = plain_steps(root, device), our_steps(load_signatures(root), device)
        print(f"device {device}, {torch.get_num_threads()} threads, our number type {precision(device)}, batch {BATCH}")
        print(f"{'images a second':34}{'plain':>10}{'ours':>10}{'ratio':>8}")
        for name, a, b in zip(("batch, augmented", "reports' VAE, end to end"), plain, ours, strict=True):
            slow, fast = rate(a, args.seconds, device), rate(b, args.seconds, device)
            print(f"{name:34}{slow:10.0f}{fast:10.0f}{fast / slow:8.2f}")


if __name__ == "__main__":
    main()
