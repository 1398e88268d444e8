"""Kill -9 at random moments, and what is left: ``python tests/killed.py JOB KILLS`` prints counts as JSON.

A moment is one call of a Python or C function, drawn from a seed: no clock is read, so a failure can be repeated.
Workers are forks of this process, which has imported everything and computed nothing yet.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch._dynamo  # noqa: F401 an optimiser imports it when it is made, 3 million calls

from sigen_utils import __main__, metrics, paths, sheets, synthesis
from sigen_utils.data import SignatureSet
from sigen_utils.metrics import no_model, questions
from sigen_utils.metrics.seen import VERIFIER
from sigen_utils.models.prior import FlowConfig
from sigen_utils.models.vae import VAEConfig
from sigen_utils.recipes import RECIPES
from sigen_utils.synthesis import Corpus, sheet  # noqa: F401 the second is imported late otherwise
from sigen_utils.training import checkpoint

CODES = VAEConfig(width_fine=8, width_encoder=16, width_decoder=16)
FLOW = FlowConfig(widths=(16, 16, 16), embedding=16)
FEW = dict(batch_size=4, checks=2, snapshots=2, n_fixed=1, log_every=2, checkpoint_seconds=0.0)


def toy_corpus() -> Corpus:
    """Twelve writers of horizontal strokes, four signatures each; two writers are held out."""
    rng = np.random.default_rng(0)
    ink = np.zeros((12, 4, 128, 128), bool)
    for writer in ink:
        row = rng.integers(20, 100)
        for signature in writer:
            at = row + rng.integers(-2, 3)
            signature[at : at + 3, 10:118] = True
    return Corpus(np.packbits(ink, axis=-1), held_out=2)


def train_vae(folder: Path, images: int = 24, **options):
    """A tiny VAE, six steps by default."""
    recipe = RECIPES["corpus_vae"].changed("model", CODES)
    recipe = replace(recipe, train=replace(recipe.train, **FEW))
    return recipe.fit(toy_corpus(), folder, images, **dict(progress=False) | options)


def train_flow(folder: Path, start, images: int = 96, **options):
    """A tiny flow on the codes of the run `start`, six steps by default."""
    recipe = RECIPES["corpus_prior"].changed("model.flow", FLOW).for_class(toy_corpus(), start)
    recipe = replace(recipe, train=replace(recipe.train, **FEW))
    return recipe.fit(toy_corpus(), folder, images, start, **dict(progress=False) | options)


def train_gan(folder: Path, images: int = 24, **options):
    """A tiny GAN from noise, six steps by default."""
    small = dict(latent_dim=8, width=4)
    recipe = RECIPES["corpus_gan_alone"]
    few = FEW | dict(n_fixed=2)
    recipe = replace(recipe, model=replace(recipe.model, **small), train=replace(recipe.train, **few))
    return recipe.fit(toy_corpus(), folder, images, **dict(progress=False) | options)


def train_game(folder: Path, start, images: int = 48, **options):
    """A tiny GAN that begins as the run `start` of a prior, six steps by default."""
    recipe = replace(RECIPES["gan"], people=False)
    recipe = replace(recipe, model=replace(recipe.model, width=8, blocks=1, widths_d=(8, 8, 8, 8)))
    recipe = replace(recipe.for_class(toy_corpus(), start), train=replace(recipe.train, **FEW))
    return recipe.fit(toy_corpus(), folder, images, start, **dict(progress=False) | options)


class Squares(metrics.FeatureExtractor):
    """Features that cost nothing: ink averaged over squares, in the name of an extractor."""

    dim, version = 64, "0"

    def __init__(self, name: str):
        self.name, self.device, self._cache = name, torch.device("cpu"), {}

    def _compute(self, ink: torch.Tensor) -> np.ndarray:
        return torch.nn.functional.avg_pool2d(ink, 16).flatten(1).numpy()


# Each job: what is made once, what is killed (it gets the folder of `prepare` and one to write to), and its result


def _codes(folder: Path) -> None:
    train_vae(folder / "codes", 8)


def _prior(folder: Path) -> None:
    _codes(folder)
    train_flow(folder / "prior", checkpoint.load_run(folder / "codes"), 16)


def _sheets(folder: Path) -> None:
    synthesis.synthesize(folder / "sheets", synthesis.SynthesisConfig(people=4, per_person=2), None, workers=1)


def _vae_job(made: Path, out: Path) -> None:
    train_vae(out / "run")


def _flow_job(made: Path, out: Path) -> None:
    train_flow(out / "run", checkpoint.load_run(made / "codes"))


def _sample_job(made: Path, out: Path) -> None:
    words = ["sample", "--run", str(made / "prior"), "--new", "--n", "4", "--out", str(out / "drawn.npz")]
    assert __main__.main(words) == 0


def _gan_job(made: Path, out: Path) -> None:
    train_gan(out / "run")


def _game_job(made: Path, out: Path) -> None:
    train_game(out / "run", checkpoint.load_run(made / "prior"))


def _evaluate_job(made: Path, out: Path) -> None:
    """Judge copies, with numbers cached below `out`; what is measured again has to be the same."""
    images = 255 * (torch.rand(64, 128, 128, generator=torch.Generator().manual_seed(0)) < 0.1).to(torch.uint8)
    labels, names = torch.arange(16).repeat_interleave(4), [f"{k}.png" for k in range(64)]
    last, people = torch.arange(64) % 4 == 3, [str(k) for k in range(8)]
    halves = slice(0, 32), slice(32, 64)
    sets = [SignatureSet(images[half], labels[half] % 8, people, names[half], last[half]) for half in halves]
    eye = metrics.Eye([Squares("other"), Squares(VERIFIER)], folder=out / "cache")
    rows = {"copies": [no_model.Copies(sets[0].train)]}
    result = questions.evaluate(sets[0], rows, eye, sets[1], progress=lambda line: None)
    paths.write_json(out / "result.json", {name: part for name, part in result.items() if "seconds" not in name})


def _extract_job(made: Path, out: Path) -> None:
    sheets.extract(made / "sheets", out / "signatures", workers=1, progress=None)


JOBS: dict[str, tuple[Callable, Callable]] = dict(
    vae=(lambda folder: None, _vae_job), flow=(_codes, _flow_job),
    gan=(lambda folder: None, _gan_job), game=(_prior, _game_job),
    extract=(_sheets, _extract_job), sample=(_prior, _sample_job),
    evaluate=(lambda folder: None, _evaluate_job),
)  # fmt: skip
TIMED = (checkpoint.HISTORY, checkpoint.STATE)  # hold seconds; compared below without them


def contents(out: Path) -> dict[str, str]:
    """Name -> hash of everything below a folder but locks; of a run's state and history what is no time."""
    found = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file() and path.suffix != ".lock"):
        if path.name == checkpoint.STATE:
            state = torch.load(path, weights_only=True)
            data = repr({key: value for key, value in state.items() if key != "seconds"}).encode()
            data += b"".join(value.numpy().tobytes() for value in _tensors(state["parts"]))
        elif path.name == checkpoint.HISTORY:
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            data = json.dumps([{k: v for k, v in line.items() if k != "seconds"} for line in lines]).encode()
        else:
            data = path.read_bytes()
        found[path.relative_to(out).as_posix()] = hashlib.sha256(data).hexdigest()
    return found


def _tensors(value) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for part in parts for tensor in _tensors(part)]


def forked(work: Callable[[], None], moment: int | None, counter: Path | None = None) -> bool:
    """Run `work` in a fork, which kills itself at its call number `moment`; whether it came to its end.

    With a `counter` the fork writes there how many calls there were.
    """
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        assert killed or status == 0, f"the worker ended with status {status}"
        return not killed
    calls = 0

    def count(frame, event, argument) -> None:
        nonlocal calls
        calls += 1
        if calls == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.setprofile(count)
        work()
        sys.setprofile(None)
        if counter:
            counter.write_text(str(calls))
        os._exit(0)
    except BaseException:
        sys.setprofile(None)
        traceback.print_exc()
        os._exit(1)


def main(job: str, kills: int) -> dict[str, int]:
    """Kill a job so often, finishing it each time, and compare with a run that nobody killed."""
    prepare, work = JOBS[job]
    rng = random.Random(job)
    done = rounds = equal = 0
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        made, whole, out = (root / part for part in ("made", "whole", "out"))
        for folder in (made, whole):
            folder.mkdir()
        assert forked(lambda: prepare(made), None)
        assert forked(lambda: work(made, whole), None, root / "calls")
        expected, calls = contents(whole), int((root / "calls").read_text())
        again = job in ("extract", "sample", "evaluate")  # replace what is there; a finished training is only loaded
        while done < kills:
            if not again or not out.exists():
                shutil.rmtree(out, ignore_errors=True)
                out.mkdir()
            while not forked(lambda: work(made, out), rng.randrange(1, calls * 3 // 2) if done < kills else None):
                done += 1
                finished = [path for path in contents(out) if not _hidden(path)] if again else ()
                assert set(finished) in (set(), set(expected)), f"half of a result is visible: {finished}"
            rounds += 1
            found = {path: value for path, value in contents(out).items() if not _hidden(path)}
            equal += found == expected
            if found != expected:
                print("differs:", [p for p in found.keys() | expected.keys() if found.get(p) != expected.get(p)])
    return dict(kills=done, rounds=rounds, equal=equal, calls=calls)


def _hidden(path: str) -> bool:
    return any(part.startswith(".") for part in Path(path).parts)


if __name__ == "__main__":
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
