"""Training: exact resume after a kill, no lost files, honest errors, budgets, several processes."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from strokes import toy_signatures
from test_data import write_folder

from sigen_utils import overrides, paths
from sigen_utils.__main__ import main
from sigen_utils.augment import AugmentConfig
from sigen_utils.device import precision
from sigen_utils.models.gan import GANConfig
from sigen_utils.models.prior import FlowConfig
from sigen_utils.models.prior_vae import PriorConfig
from sigen_utils.models.vae import VAEConfig
from sigen_utils.paths import REPO
from sigen_utils.recipes import RECIPES
from sigen_utils.training import checkpoint, tensors
from sigen_utils.training.averaging import Average
from sigen_utils.training.gan import GANTrainer
from sigen_utils.training.loop import TrainConfig, fit
from sigen_utils.training.prior import PriorTrainConfig, PriorTrainer
from sigen_utils.training.progress import Budget, Moments, cosine
from sigen_utils.training.vae import ModelTrainConfig, VAETrainer

VAE_SMALL = VAEConfig(width_fine=8, width_encoder=16, width_decoder=16)
GAN_SMALL = GANConfig(latent_dim=8, width=8)
PRIOR_SMALL = PriorConfig(VAE_SMALL, FlowConfig(widths=(16, 16, 16), embedding=16), n_people=6)
TINY_VAE = ("width_fine=8", "width_encoder=16", "width_decoder=16")  # the same by --set
QUICK = dict(batch_size=4, log_every=3, checks=3, snapshots=3, n_fixed=4, checkpoint_seconds=0.0)

KINDS = ("vae", "gan", "prior")


def small_fit(kind, run_dir, steps, **options):
    """A short training of a small network on toy signatures; the prior's on the codes of an untrained VAE."""
    settings = QUICK | options.pop("train", {})
    if kind == "gan":
        parts = GANTrainer, GAN_SMALL, TrainConfig(**settings, augment=AugmentConfig(noise=0.1))
    elif kind == "vae":
        parts = VAETrainer, VAE_SMALL, ModelTrainConfig(**settings)
    else:
        parts = PriorTrainer, PRIOR_SMALL, PriorTrainConfig(**settings | dict(batch_size=3), replay_writers=0)
        options["start"] = small_fit("vae", run_dir.parent / "codes", 1)
    trainer, config, train = parts
    return fit(trainer, toy_signatures(), config, run_dir, steps=steps, progress=False, train=train, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_has_all_its_parts_and_samples(tmp_path, kind):
    run = small_fit(kind, tmp_path / "run", 9)
    assert {r["step"] for r in run.history} >= {3, 6, 9} and run.history[-1]["step"] == 9
    assert all(isinstance(v, int | float) for r in run.history for v in r.values())
    assert len(run.snapshots()) == 3 and run.snapshots()[0][1].shape == (4, 1, 128, 128)
    x = run.sample(3, seed=1)
    assert x.shape == (3, 1, 128, 128) and 0 <= x.min() and x.max() <= 1
    assert torch.equal(x, run.sample(3, seed=1)) and not torch.equal(x, run.sample(3, seed=2))
    assert run.reconstruct(toy_signatures().x[:2]).shape == (2, 1, 128, 128)
    if kind == "prior":
        assert run.sample(2, person="4").shape == (2, 1, 128, 128)
        with pytest.raises(checkpoint.RunError, match="not in the training set"):
            run.sample(1, person="nobody")
    else:
        with pytest.raises(checkpoint.RunError, match="does not know people"):
            run.sample(1, person="4")


@pytest.mark.parametrize("kind", KINDS)
def test_a_runs_folder_holds_no_picture_of_a_person(tmp_path, kind):
    """Weights are networks and what is kept of people; fixed samples are drawn, of a VAE held-out reconstructions."""
    run, toy = small_fit(kind, tmp_path / "run", 3), toy_signatures()
    files = {path.name for path in run.run_dir.iterdir()}
    assert files == {"config.json", "finished", "history.jsonl", "last.safetensors", "last.state.pt", "samples"}
    stored = torch.cat([value.flatten().float() for value in weights(run.run_dir).values()])
    per_person = PRIOR_SMALL.flow.person + 1 if kind == "prior" else 0
    networks = type(run.model)(replace(run.model.config, n_people=0) if kind == "prior" else run.model.config)
    size = sum(value.numel() for value in networks.state_dict().values())
    assert len(stored) == size + per_person * toy.n_people and per_person < 1000


def weights(run_dir):
    return load_file(run_dir / checkpoint.WEIGHTS)


def assert_same_weights(a, b):
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("kind", KINDS)
def test_training_moves_weights_and_is_repeatable(tmp_path, kind):
    for name, steps in dict(a=3, b=3, c=6).items():
        small_fit(kind, tmp_path / name, steps)
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert_same_weights(a, b)
    assert any(not torch.equal(a[k], c[k]) for k in a)


SCRIPT = """
import sys; sys.path.insert(0, {tests!r})
import torch; torch.set_num_threads(1)
from pathlib import Path
from test_training import small_fit
small_fit({kind!r}, Path({run!r}), {steps})
"""


def start(kind, run_dir, steps):
    code = SCRIPT.format(tests=str(REPO / "tests"), kind=kind, run=str(run_dir), steps=steps)
    return subprocess.Popen([sys.executable, "-c", code], cwd=REPO, env=dict(os.environ, PYTHONPATH=str(REPO)))


@pytest.mark.parametrize("kind", KINDS)
def test_resume_after_kill_9_is_bit_equal(tmp_path, kind):
    steps = 40
    process = start(kind, tmp_path / "killed", steps)
    state = tmp_path / "killed" / checkpoint.STATE
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if state.exists() and torch.load(state, weights_only=True)["step"] >= 5:
            break
        time.sleep(0.02)
    assert process.poll() is None, "the training ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 5 <= torch.load(state, weights_only=True)["step"] < steps
    resumed = small_fit(kind, tmp_path / "killed", steps)
    whole = small_fit(kind, tmp_path / "whole", steps)
    assert_same_weights(weights(tmp_path / "killed"), weights(tmp_path / "whole"))
    drop = ("seconds",)
    strip = [[{k: v for k, v in r.items() if k not in drop} for r in run.history] for run in (resumed, whole)]
    assert strip[0] == strip[1]
    assert not list((tmp_path / "killed").glob(".*")), "what the kill left half written was not swept"


KILLED_WRITER = """
import os, signal, torch
from sigen_utils import paths
from sigen_utils.training import tensors
def killed(temporary, content):
    open(temporary, "wb").write(content[:100])
    os.kill(os.getpid(), signal.SIGKILL)
type(paths.REPO).write_bytes = killed
tensors.save_tensors({path!r}, dict(weight=torch.zeros(64)))
"""


def test_a_run_is_of_the_code_that_its_training_uses(tmp_path, monkeypatch):
    shutil.copytree(checkpoint.PACKAGE, tmp_path / "sigen_utils", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(checkpoint, "PACKAGE", tmp_path / "sigen_utils")
    names = ("vae_alone", "vae", "gan", "extractor")

    def after(path: str, line: str) -> set[str]:
        """Recipes whose code a line at the end of a file changes."""
        before = {name: checkpoint.code_fingerprint(RECIPES[name].trainer) for name in names}
        with open(tmp_path / "sigen_utils" / path, "a", encoding="utf-8") as file:
            file.write(line)
        return {name for name in names if checkpoint.code_fingerprint(RECIPES[name].trainer) != before[name]}

    assert after("models/gan.py", "\n# A comment\n") == set()
    assert after("models/gan.py", "\nANOTHER = 1\n") == {"gan"}
    assert after("models/prior.py", "\nANOTHER = 1\n") == {"vae", "gan"}
    assert after("training/loop.py", "\nANOTHER = 1\n") == set(names)
    assert after("training/checkpoint.py", "\nANOTHER = 1\n") == set()


def test_half_a_file_is_hidden_and_swept(tmp_path):
    (tmp_path / ".kept").write_text("someone else's")
    code = KILLED_WRITER.format(path=str(tmp_path / "last.safetensors"))
    assert subprocess.run([sys.executable, "-c", code], cwd=REPO).returncode == -signal.SIGKILL
    assert not (tmp_path / "last.safetensors").exists() and len(list(tmp_path.iterdir())) == 2
    paths.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".kept"]


def test_a_finished_run_is_loaded_not_trained_again(tmp_path):
    small_fit("vae", tmp_path / "run", 3)
    before = (tmp_path / "run" / checkpoint.WEIGHTS).stat().st_mtime_ns
    small_fit("vae", tmp_path / "run", 3)
    assert (tmp_path / "run" / checkpoint.WEIGHTS).stat().st_mtime_ns == before


def test_another_configuration_is_refused_or_moved_aside(tmp_path):
    small_fit("vae", tmp_path / "run", 3)
    with pytest.raises(checkpoint.RunError, match="differs in steps"):
        small_fit("vae", tmp_path / "run", 4)
    with pytest.raises(checkpoint.RunError, match="--resume"):
        small_fit("vae", tmp_path / "run", 3, resume=False)
    assert small_fit("vae", tmp_path / "run", 4, restart=True).history[-1]["step"] == 4
    assert checkpoint.load_run(tmp_path / "run.replaced").history[-1]["step"] == 3


class Bomb:
    def __reduce__(self):
        return (print, ("a pickle was executed",))


def test_pickles_are_refused(tmp_path, capsys):
    small_fit("vae", tmp_path / "run", 3)
    (tmp_path / "run" / checkpoint.WEIGHTS).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(checkpoint.RunError, match="damaged"):
        checkpoint.load_run(tmp_path / "run")
    state = torch.load(tmp_path / "run" / checkpoint.STATE, weights_only=True)
    torch.save(state | dict(done=False, bomb=Bomb()), tmp_path / "run" / checkpoint.STATE)
    with pytest.raises(checkpoint.RunError, match="no state of a training"):
        small_fit("vae", tmp_path / "run", 3)
    assert "executed" not in capsys.readouterr().out


def test_incomplete_runs_are_named(tmp_path):
    with pytest.raises(checkpoint.RunError, match="config.json"):
        checkpoint.load_run(tmp_path)
    small_fit("vae", tmp_path / "run", 3)
    (tmp_path / "run" / checkpoint.FINISHED).unlink()  # written last: a kill before that leaves no prior
    with pytest.raises(checkpoint.RunError, match="half-way.*--resume"):
        checkpoint.load_run(tmp_path / "run")
    (tmp_path / "run" / checkpoint.WEIGHTS).unlink()
    with pytest.raises(checkpoint.RunError, match="resume"):
        checkpoint.load_run(tmp_path / "run")
    (tmp_path / "history.jsonl").write_text('{"step": 1}\n{"step": 2, "lo')  # cut short by a kill
    assert checkpoint.read_history(tmp_path) == [{"step": 1}]


def test_a_loss_that_is_no_number_stops_the_training(tmp_path):
    hot = dict(learning_rate=float("inf"), log_every=1, checks=1)
    with pytest.raises(FloatingPointError, match="learning rate"):
        small_fit("vae", tmp_path / "run", steps=5, train=hot)


def test_a_budget_of_nothing_is_refused():
    for steps, minutes in ((0, None), (5, 0.0)):
        with pytest.raises(ValueError, match="trains nothing"):
            Budget(steps, minutes)
    half = Budget(10, 60.0, seconds_before=1800.0)
    assert half.progress(3, torch.device("cpu")) == pytest.approx(0.5, abs=0.01)  # minutes are further than steps, ...
    assert half.progress(8, torch.device("cpu")) == 0.8  # ... or steps than minutes


def test_two_processes_train_one_model(tmp_path):
    write_folder(tmp_path / "signatures", toy_signatures())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "sigen_utils"]
    command += ["train", "gan_alone", "--data", str(tmp_path / "signatures"), "--folder", str(tmp_path / "run")]
    command += ["--steps", "4", "--set", "width=8", "batch_size=4", "n_fixed=4"]
    subprocess.run(command, cwd=REPO, check=True, timeout=120, env=dict(os.environ, OMP_NUM_THREADS="1"))
    run = checkpoint.load_run(tmp_path / "run")
    assert run.history[-1]["step"] == 4 and run.history[-1]["images"] == 32 and run.config["world"] == 2


def test_the_reports_gan_trains_as_written(tmp_path):
    run = RECIPES["report_gan"].fit(toy_signatures(), tmp_path / "g", 128, progress=False)
    assert run.history[-1]["step"] == 2 and run.kind == "gan"
    assert run.config["training"]["batch_size"] == 64
    trained = torch.load(tmp_path / "g" / checkpoint.STATE, weights_only=True)["parts"]["generator"]
    assert_same_weights(trained, weights(tmp_path / "g"))  # nothing was averaged


def test_the_command_line_trains_samples_and_judges(tmp_path, capsys):
    folder = tmp_path / "signatures"
    write_folder(folder, toy_signatures())
    split = ["--data", str(folder), "--train-per-person", "2"]
    run = str(tmp_path / "a")
    small = ["--steps", "3", "--set", *TINY_VAE, "batch_size=4", "snapshots=1"]
    assert main(["train", "vae_alone", *split, "--run", run, *small]) == 0
    kept = ["--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "e.json")]
    assert main(["evaluate", *split, "--runs", run, *kept]) == 0
    rows = json.loads((tmp_path / "e.json").read_text())["known"]["rows"]
    assert rows.keys() >= {"blank", "copies", "warps", "fresh_writers"}
    assert rows["copies"]["scores"]["copy_auc"]["value"] == 0 < rows["blank"]["scores"]["copy_auc"]["value"]
    page = ["blind-test", "--data", str(folder), "--run", run, "--out", str(tmp_path / "p.html")]
    for command in (["evaluate", "--data", str(folder), "--runs", run, *kept], page):
        assert main(command) == 2  # another split than in the training
        assert "another split" in capsys.readouterr().err
    assert main(["evaluate", *split, "--runs", run, run, *kept]) == 2
    assert "two models of one name" in capsys.readouterr().err
    out = str(tmp_path / "new.npz")
    assert main(["sample", "--run", run, "--n", "3", "--new", "--out", out]) == 0
    with np.load(out) as archive:
        assert archive["x"].shape == (3, 128, 128) and archive["y"].tolist() == ["new-1", "new-2", "new-3"]
    for wrong, message in (
        (["--run", str(REPO / "weights/extractor"), "--new"], "a feature extractor measures"),
        (["--run", run], "say who is to sign"),
        (["--run", run, "--person", "1"], "does not know people"),
        (["--run", run, "--like", str(folder / "1" / "1.png")], "learned prior"),
    ):
        assert main(["sample", "--n", "1", "--out", out, *wrong]) == 2
        assert message in capsys.readouterr().err
    assert main(["sample", "--run", run, "--n", "0", "--new", "--out", out]) == 2


def test_the_models_of_the_lesson_begin_from_committed_weights_and_answer_all_questions(tmp_path, capsys):
    folder, vae, gan = (str(tmp_path / name) for name in ("signatures", "vae", "gan"))
    write_folder(tmp_path / "signatures", toy_signatures())
    small = ["--data", folder, "--steps", "1", "--set", "batch_size=2", "n_fixed=2", "replay_writers=0"]
    assert main(["train", "vae", "--run", vae, *small]) == 0
    assert main(["train", "gan", "--run", gan, "--start", vae, *small, "rounds=1"]) == 0
    for run in (vae, gan):
        for who in (["--new", "--per-person", "2"], ["--person", "3"], ["--like", f"{folder}/1/1.png"]):
            assert main(["sample", "--run", run, "--n", "2", *who, "--out", f"{run}/drawn"]) == 0
    place = tmp_path / "gan" / "drawn"
    drawn = {path.relative_to(place).as_posix() for path in place.rglob("*.png")}
    assert {"new-1/1.png", "new-1/2.png", "3/1.png", "like/2.png"} <= drawn
    wrong = ["train", "vae_alone", "--start", vae, "--run", str(tmp_path / "other"), "--data", folder]
    assert main(wrong) == 2 and "begins at random" in capsys.readouterr().err
    assert main(["train", "novae", "--data", folder]) == 2 and "no recipe" in capsys.readouterr().err
    with pytest.raises(checkpoint.RunError, match="it knows people"):
        checkpoint.publish(checkpoint.load_run(vae), tmp_path / "weights", {})


def test_a_published_run_draws_the_same_signatures(tmp_path):
    run = small_fit("vae", tmp_path / "run", 3)
    checkpoint.publish(run, tmp_path / "weights", dict(device="none"))
    other = checkpoint.load_run(tmp_path / "weights")
    assert other.people == [] and other.history == run.history
    stored = load_file(tmp_path / "weights" / checkpoint.WEIGHTS)
    assert {v.dtype for k, v in stored.items() if not k.endswith(tensors.STEP)} <= {torch.float16, torch.int8}
    assert (other.sample(6) - run.sample(6)).abs().max() < 0.02
    assert not list((tmp_path / "weights").glob("*.pt"))


def test_packed_weights_are_small_and_at_most_half_a_step_off(tmp_path):
    generator = torch.Generator().manual_seed(0)
    kernel = torch.randn(64, 32, 3, 3, generator=generator) * torch.logspace(-4, 2, 64)[:, None, None, None]
    kernel[5] = 0  # a dead row has no step to be divided by
    state = dict(kernel=kernel, bias=torch.randn(64, generator=generator), seen=torch.arange(5000).view(2, 2500))
    small = tensors.packed(state)
    assert {small["kernel"].dtype, small["bias"].dtype, small["seen"].dtype} == {torch.int8, torch.float16, torch.int64}
    tensors.save_tensors(tmp_path / "small.safetensors", small)
    back = tensors.load_tensors(tmp_path / "small.safetensors")
    assert back.keys() == state.keys() and torch.equal(back["seen"], state["seen"])
    largest = kernel.flatten(1).abs().amax(1)
    error = (back["kernel"] - kernel).flatten(1).abs().amax(1)
    assert (error <= largest / 254 * 1.001).all() and (error[torch.arange(64) != 5] > 0).all()
    assert back["kernel"].dtype == torch.float32 and not back["kernel"][5].any()
    assert small["kernel"].nbytes + small["kernel" + tensors.STEP].nbytes < 0.26 * kernel.nbytes
    same = tensors.unpacked(state)
    assert all(torch.equal(value, same[name]) for name, value in state.items()), "not packed: as it is"


def test_committed_weights_are_small_enough_to_commit():
    committed = sorted(checkpoint.paths.weights_dir().glob("*/*.safetensors"))
    assert committed and all(file.stat().st_size < 8e6 for file in committed)


def test_checks_leave_most_of_the_minutes_to_the_training_and_the_last_one_never_falls_out(tmp_path, monkeypatch):
    clock, spent = [0.0], []

    def slow(self):
        spent.append(self.share)
        clock[0] += 0.4
        return dict(test_loss=0.0)

    def counted(self, *rest):
        clock[0] += 0.02
        return step(self, *rest)

    step = VAETrainer.step
    monkeypatch.setattr(VAETrainer, "step", counted)
    monkeypatch.setattr(VAETrainer, "check", slow)
    monkeypatch.setattr(Budget, "seconds", property(lambda self: clock[0]))
    options = dict(train=dict(checks=20, snapshots=2))
    small_fit("vae", tmp_path / "minutes", 10_000, minutes=0.06, **options)
    assert spent[-1] == 1 and len(spent) <= 5
    spent.clear()
    small_fit("vae", tmp_path / "steps", 6, **options)
    assert len(spent) == 6  # steps are counted and not timed: the same checks on every machine


def test_a_run_that_minutes_cut_short_says_so(tmp_path, monkeypatch):
    clock, step = [0.0], VAETrainer.step

    def slow(self, *rest):
        clock[0] += 20.0
        return step(self, *rest)

    monkeypatch.setattr(VAETrainer, "step", slow)
    monkeypatch.setattr(Budget, "seconds", property(lambda self: clock[0]))
    whole = small_fit("vae", tmp_path / "whole", 4, minutes=60.0)
    assert whole.config["finished"] is True and whole.config["share"] == 1
    clock[0] = 0.0
    cut = small_fit("vae", tmp_path / "cut", 4, minutes=0.5)
    assert cut.config["finished"] is False and cut.config["share"] == 0.5 and cut.history[-1]["step"] == 2
    assert small_fit("vae", tmp_path / "cut", 4, minutes=0.5).config == cut.config  # loaded, not trained again


def test_average_follows_and_moments_come_once():
    model = torch.nn.Linear(2, 1)
    average = Average(model, half_life=10)
    torch.nn.init.constant_(model.weight, 3.0)
    for k in range(200):
        average.update(model, 10 * k, 10)
    assert torch.allclose(average.model.weight, model.weight, atol=1e-3)
    moments = Moments(5, 0.0, 0)
    assert sum(moments.due(k / 100) for k in range(1, 101)) == 5
    after = Moments(5, 0.5, 50)
    assert sum(after.due(k / 100) for k in range(51, 101)) == 2


def test_rates_and_precision():
    assert cosine(0.5, 0.0) == pytest.approx(0.5) and cosine(1.0, 0.1) == pytest.approx(0.1) and cosine(0.0, 0.1) < 0.1
    assert precision(torch.device("cpu")) in (torch.float32, torch.bfloat16)


def test_overrides_are_checked():
    changed = overrides.parse_overrides(TrainConfig(), ["batch_size=8", "rate_end=0.2"])
    assert changed.batch_size == 8 and changed.rate_end == 0.2
    with pytest.raises(ValueError, match="choose one of"):
        overrides.parse_overrides(TrainConfig(), ["bath_size=8"])
    for pair in ("batch_size=many", "rate_end=[1]", "augment=0.3", "seed=0.5"):
        with pytest.raises(ValueError, match="of that kind"):
            overrides.parse_overrides(TrainConfig(), [pair])
    assert overrides.parse_overrides(GAN_SMALL, ["rates=[1e-3,2e-3]", "latent_dim=2"]).rates == (1e-3, 2e-3)
    described = checkpoint.config_dict(RECIPES["vae_alone"].trainer, VAE_SMALL, changed, toy_signatures())
    assert json.loads(json.dumps(described))["kind"] == "vae"
    assert RECIPES["report_vae"].train.learning_rate == 1e-5
