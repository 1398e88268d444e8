"""Half precision emulated on the CPU, and two processes beside one."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from killed import CODES, FEW, toy_corpus, train_flow, train_vae

from sigen_utils.data import batch_index
from sigen_utils.paths import REPO
from sigen_utils.recipes import RECIPES
from sigen_utils.training import checkpoint, loop
from sigen_utils.training.prior import PriorTrainer
from sigen_utils.training.progress import cosine, step_generator
from sigen_utils.training.vae import VAETrainer

CPU = torch.device("cpu")


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU multiplies in float16, as a T4 does: with a scaler of gradients."""
    monkeypatch.setattr(loop, "precision", lambda device: torch.float16)


def small_trainer() -> VAETrainer:
    return VAETrainer(toy_corpus(), CODES, replace(RECIPES["corpus_vae"].train, **FEW), CPU)


def weights(run) -> dict[str, torch.Tensor]:
    return checkpoint.load_tensors(run.run_dir / checkpoint.WEIGHTS)


def test_both_trainings_work_in_half_precision(half, tmp_path):
    codes = train_vae(tmp_path / "codes", 40)
    flow = train_flow(tmp_path / "flow", codes)
    for run in (codes, flow):
        assert all(value.isfinite().all() for value in weights(run).values())
        state = torch.load(run.run_dir / checkpoint.STATE, weights_only=True)
        assert state["parts"]["scaler"]["scale"] > 0
    assert codes.history[-1]["test_loss"] < 1.02 * codes.history[0]["test_loss"]


def test_a_step_that_overflows_is_skipped_and_the_scale_is_halved(half):
    trainer = small_trainer()
    scale = trainer.scaler.get_scale()
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    parts = dict(loss=sum(p.sum() for p in trainer.model.parameters()) * 1e38)
    assert trainer.update(parts, 1e-3)["gradient_norm"] == 0  # logged as 0, no number of the history is infinite
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())
    assert trainer.scaler.get_scale() == scale / 2
    trainer.update(dict(loss=sum(p.sum() for p in trainer.model.parameters())), 1e-3)
    assert any(not torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())


@pytest.mark.parametrize("kind", ["vae", "flow"])
def test_a_loss_that_is_no_number_stops_with_the_last_state_kept(tmp_path, monkeypatch, kind):
    codes = train_vae(tmp_path / "codes", 8)
    trainer = VAETrainer if kind == "vae" else PriorTrainer
    step = trainer.step

    def diverges(self, *rest):
        parts = step(self, *rest)
        return parts | dict(loss=parts["loss"] * torch.nan) if self.steps_done >= 4 else parts

    monkeypatch.setattr(trainer, "step", diverges)
    with pytest.raises(FloatingPointError, match="run: the loss is nan at step 6; lower the learning rate"):
        train_vae(tmp_path / "run") if kind == "vae" else train_flow(tmp_path / "run", codes)
    state = torch.load(tmp_path / "run" / checkpoint.STATE, weights_only=True)
    assert state["step"] == 5 and all(value.isfinite().all() for value in state["parts"]["model"].values())


TWO = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from killed import CODES, FEW, toy_corpus
from sigen_utils.recipes import RECIPES
torch.set_num_threads(1)
recipe = RECIPES["corpus_vae"].changed("model", CODES)
recipe = replace(recipe, train=replace(recipe.train, **FEW | dict(batch_size=2)))
recipe.fit(toy_corpus(), Path(sys.argv[1]), 8, progress=False)
"""


class OneForTwo(VAETrainer):
    """One process that draws what two would, each with its own half of the batch and its own random numbers."""

    def step(self, index, progress, generator):
        cfg, step = self.config, self.steps_done
        halves = []
        for rank in range(2):
            index = batch_index(self.n_items, cfg.batch_size // 2, step, cfg.seed, rank, 2)
            noise = step_generator(cfg.seed, rank, step, CPU)
            beta = self.model_config.beta * min(1.0, 0.05 + progress / self.model_config.warmup)
            halves.append(self.wrapped(self.ink(index), beta, noise))
        parts = {name: (halves[0][name] + halves[1][name]) / 2 for name in halves[0]}
        return self.update(parts, cfg.learning_rate * cosine(progress, cfg.rate_end, 1e-9))


def test_two_processes_train_what_one_does_on_the_same_batches(tmp_path):
    (tmp_path / "two.py").write_text(TWO)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | dict(PYTHONPATH=os.pathsep.join((str(REPO), str(REPO / "tests"))), OMP_NUM_THREADS="1")
    command += [str(tmp_path / "two.py"), str(tmp_path / "two")]
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    two = checkpoint.load_run(tmp_path / "two")
    train = replace(RECIPES["corpus_vae"].train, **FEW)
    one = loop.fit(OneForTwo, toy_corpus(), CODES, Path(tmp_path / "one"), 4, train=train, progress=False)
    assert two.config["world"] == 2 and two.history[-1]["images"] == one.history[-1]["images"] == 16
    theirs = weights(two)
    for name, value in weights(one).items():
        assert torch.allclose(value, theirs[name], rtol=1e-4, atol=1e-6), name
