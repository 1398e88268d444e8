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

from sigen_utils import overrides, paths, registration
from sigen_utils.__main__ import main
from sigen_utils.augment import PERSON_WARPS, soften
from sigen_utils.device import precision
from sigen_utils.models import gan, people, vae
from sigen_utils.models.vae import VAEConfig
from sigen_utils.paths import REPO
from sigen_utils.recipes import RECIPES
from sigen_utils.render import pen
from sigen_utils.training import checkpoint, tensors
from sigen_utils.training.averaging import Average, Best
from sigen_utils.training.baselines import ReportGANTrainer, ReportVAETrainer
from sigen_utils.training.gan import GANTrainer
from sigen_utils.training.loop import TrainConfig, fit
from sigen_utils.training.progress import Budget, Moments, cosine
from sigen_utils.training.vae import VAETrainer

VAE_SMALL = VAEConfig(latent_dim=8, widths=(8, 8, 16, 16), components=3, n_people=6)
TINY_VAE = ("widths=[8,8,16,16]", "latent_dim=8", "detail=0")  # the same by --set
GAN_SMALL = replace(
    RECIPES["gan_alone"].model, latent_dim=320, detail=1, n_people=6, widths=(8, 8, 16, 16), embedding_dim=8
)
QUICK = TrainConfig(batch_size=4, log_every=3, checks=3, snapshots=3, n_fixed=4, checkpoint_seconds=0.0)


def small_fit(kind, run_dir, steps, **options):
    trainer, config = dict(vae=(VAETrainer, VAE_SMALL), gan=(GANTrainer, GAN_SMALL))[kind]
    train = options.pop("train", QUICK)
    if kind == "gan":
        train = replace(train, augment=PERSON_WARPS)
    return fit(trainer, toy_signatures(), config, run_dir, steps=steps, progress=False, train=train, **options)


def small_recipe(name, data, start=None, **settings):
    """A recipe for the class `data`, quick to train."""
    recipe = RECIPES[name].for_class(data, start)
    return replace(recipe, train=replace(recipe.train, batch_size=4, n_fixed=4, **settings))


def weights(run_dir):
    return load_file(run_dir / checkpoint.WEIGHTS)


def assert_same_weights(a, b):
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("kind", ["vae", "gan"])
def test_a_run_has_all_its_parts_and_samples(tmp_path, kind):
    run = small_fit(kind, tmp_path / "run", 9)
    assert {r["step"] for r in run.history} >= {3, 6, 9} and run.history[-1]["step"] == 9
    assert all(isinstance(v, int | float) for r in run.history for v in r.values())
    assert len(run.snapshots()) == 3 and run.snapshots()[0][1].shape == (4, 1, 128, 128)
    x, y = run.sample(12, seed=1)
    assert x.shape == (12, 1, 128, 128) and 0 <= x.min() and x.max() <= 1
    assert sorted(y.tolist()) == sorted(list(range(6)) * 2)  # people evenly
    assert torch.equal(x, run.sample(12, seed=1)[0]) and not torch.equal(x, run.sample(12, seed=2)[0])
    assert run.sample(3, person="4")[1].tolist() == [3, 3, 3]
    with pytest.raises(checkpoint.RunError, match="not in the training set"):
        run.sample(1, person="nobody")
    assert toy_signatures().matches(run.people, run.thumbnails())


@pytest.mark.parametrize("kind", ["vae", "gan"])
def test_training_moves_weights_and_is_repeatable(tmp_path, kind):
    to_the_end = dict(train=replace(QUICK, keep_best=False))
    small_fit(kind, tmp_path / "a", 3, **to_the_end)
    small_fit(kind, tmp_path / "b", 3, **to_the_end)
    small_fit(kind, tmp_path / "c", 6, **to_the_end)
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


@pytest.mark.parametrize("kind", ["vae", "gan"])
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
    hot = TrainConfig(batch_size=4, learning_rate=float("inf"), log_every=1, checks=1)
    with pytest.raises(FloatingPointError, match="learning rate"):
        small_fit("vae", tmp_path / "run", steps=5, train=hot)


def test_a_budget_of_nothing_is_refused():
    for steps, minutes in ((0, None), (5, 0.0)):
        with pytest.raises(ValueError, match="trains nothing"):
            Budget(steps, minutes)
    half = Budget(10, 60.0, seconds_before=1800.0)
    assert half.progress(3, torch.device("cpu")) == pytest.approx(0.5, abs=0.01)  # minutes are further than steps, ...
    assert half.progress(8, torch.device("cpu")) == 0.8  # ... or steps than minutes


def test_a_gan_keeps_its_best_moment_not_its_last(tmp_path):
    run = small_fit("gan", tmp_path / "run", 12)
    checked = [r for r in run.history if "distance" in r]
    late = [r for r in checked if "kept" in r]
    best = min(late, key=lambda r: r["distance"])
    assert (
        len(checked) == 3
        and len(late) == 2
        and checked[-1]["kept"] == best["step"]
        and all(r["distance"] > 0 for r in checked)
    )
    shorter = small_fit("gan", tmp_path / "free", 12, train=replace(QUICK, keep_best=False))
    assert not any("kept" in r for r in shorter.history)
    assert [r["distance"] for r in shorter.history if "distance" in r] == [r["distance"] for r in checked]
    last = best["step"] == checked[-1]["step"]
    one, two = weights(run.run_dir), weights(shorter.run_dir)
    same = all(torch.equal(one[name], two[name]) for name in one)
    assert same == last, "without selection the last weights stay"


def test_best_survives_a_checkpoint():
    best, model = Best(), torch.nn.Linear(2, 1)
    best.offer(2.0, 10, model)
    kept = model.weight.detach().clone()
    with torch.no_grad():
        model.weight.add_(1)
    best.offer(3.0, 20, model)
    again = Best()
    again.load_state_dict(best.state_dict())
    assert (again.distance, again.step) == (2.0, 10) and torch.equal(again.weights["weight"], kept)


def test_the_command_line_scores_runs_and_searches(tmp_path, capsys):
    folder = tmp_path / "signatures"
    write_folder(folder, toy_signatures())
    train = ["train", "vae", "--data", str(folder), "--train-per-person", "2", "--scratch", "--steps", "3"]
    small = ["--set", "latent_dim=4", "detail=0", "widths=[8,8]", "components=2", "batch_size=4", "snapshots=1"]
    assert main([*train, "--run", str(tmp_path / "a"), *small]) == 0
    scored = ["--data", str(folder), "--runs", str(tmp_path / "a"), "--train-per-person", "2"]
    kept = ["--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "e.json")]
    assert main(["evaluate", *scored, *kept]) == 0
    rows = json.loads((tmp_path / "e.json").read_text())["known"]["rows"]
    assert rows.keys() >= {"a", "blank", "copies", "warps", "fresh_writers"}
    assert rows["copies"]["scores"]["copy_auc"]["value"] == 0 < rows["blank"]["scores"]["copy_auc"]["value"]
    two = [*scored[:2], "--runs", f"twice={tmp_path / 'a'},{tmp_path / 'a'}", *scored[4:]]
    assert main(["evaluate", *two, *kept]) == 0
    found = json.loads((tmp_path / "e.json").read_text())["known"]["rows"]["twice"]["scores"]["copy_auc"]
    assert found["seeds"][0] == found["seeds"][1] == rows["a"]["scores"]["copy_auc"]["value"]
    out = ["--out", str(tmp_path / "u.json")]
    assert main(["usefulness", *scored, "--duplicates", "1", "2", *out]) == 0
    found = json.loads((tmp_path / "u.json").read_text())
    assert found["train_per_person"] == 2 and found["duplicates"]["models"]["a"].keys() == {"1", "2"}
    assert "one genuine reference" in capsys.readouterr().out
    page = ["blind-test", "--data", str(folder), "--run", str(tmp_path / "a"), "--out", str(tmp_path / "p.html")]
    for command in (["usefulness", *scored[:-2], *out], ["evaluate", *scored[:-2], *out], page):
        assert main(command) == 2  # another split than in the training
        assert "another split" in capsys.readouterr().err
    twice = [*scored[:3], str(tmp_path / "a"), *scored[3:]]
    assert main(["evaluate", *twice, *out]) == 2 and "two models of one name" in capsys.readouterr().err
    assert main(["sample", "--run", str(REPO / "weights/extractor"), "--n", "1", *out]) == 2
    assert "a feature extractor measures" in capsys.readouterr().err


def test_the_reports_models_train_as_written(tmp_path):
    run = RECIPES["report_gan"].fit(toy_signatures(), tmp_path / "g", 128, progress=False)
    assert run.history[-1]["step"] == 2 and run.kind == "gan"
    assert run.config["training"]["batch_size"] == 64 and run.sample(3)[1] is None
    with pytest.raises(checkpoint.RunError, match="does not know people"):
        run.sample(1, person="1")
    with pytest.raises(checkpoint.RunError, match="encoder"):
        run.reconstruct(toy_signatures().x[:1])
    trained = torch.load(tmp_path / "g" / checkpoint.STATE, weights_only=True)["parts"]["generator"]
    assert_same_weights(trained, weights(tmp_path / "g"))  # nothing was averaged


def test_the_reports_vae_sees_moved_and_noisy_pictures_at_a_fixed_rate(monkeypatch):
    recipe = RECIPES["report_vae"]
    trainer = ReportVAETrainer(toy_signatures(), recipe.model, recipe.train, torch.device("cpu"))
    seen = []
    monkeypatch.setattr(trainer, "bound", lambda x, *rest: seen.append(x) or vae.elbo(trainer.model, x))
    index = torch.arange(8)
    for progress in (0.0, 1.0):
        trainer.step(index, progress, torch.Generator().manual_seed(0))
        assert trainer.optimizer.param_groups[0]["lr"] == 1e-5
    paper = seen[0][trainer.ink(index) == 0]
    assert 0.01 < paper.mean() < 0.2 and not torch.equal(seen[0], trainer.ink(index))
    assert trainer.optimizer.param_groups[0]["weight_decay"] == 0


def test_two_processes_train_one_model(tmp_path):
    write_folder(tmp_path / "signatures", toy_signatures())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "sigen_utils"]
    command += ["train", "gan", "--data", str(tmp_path / "signatures"), "--folder", str(tmp_path / "run")]
    command += ["--scratch", "--steps", "4", "--set", "widths=[8,8,16,16]", "batch_size=4", "n_fixed=4"]
    command += ["latent_dim=320", "detail=1"]
    subprocess.run(command, cwd=REPO, check=True, timeout=120, env=dict(os.environ, OMP_NUM_THREADS="1"))
    run = checkpoint.load_run(tmp_path / "run")
    assert run.history[-1]["step"] == 4 and run.history[-1]["images"] == 32 and run.config["world"] == 2


def test_the_command_line_begins_a_gan_as_a_vae(tmp_path, capsys):
    write_folder(tmp_path / "signatures", toy_signatures())
    data, vae_run, gan_run = (str(tmp_path / name) for name in ("signatures", "vae", "gan"))
    small = ["--data", data, "--steps", "1", "--set", "batch_size=4"]
    assert main(["train", "vae", "--scratch", "--run", vae_run, *small, *TINY_VAE]) == 0
    assert main(["train", "gan", "--run", gan_run, "--start", vae_run, *small]) == 0
    config = checkpoint.load_run(gan_run).config
    assert config["model"]["latent_dim"] == 8 and config["start"] and config["recipe"] == "gan"
    for wrong in (["train", "gan", "--start", gan_run], ["train", "vae", "--scratch", "--start", vae_run]):
        assert main([*wrong, "--run", str(tmp_path / "other"), *small]) == 2
        assert "--start" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_published_run_draws_the_same_signatures(tmp_path):
    run = small_fit("gan", tmp_path / "run", 3)
    checkpoint.publish(run, tmp_path / "weights", dict(device="none"))
    other = checkpoint.load_run(tmp_path / "weights")
    assert other.people == run.people and other.history == run.history and other.config == run.config
    assert torch.equal(other.thumbnails(), run.thumbnails())
    stored = load_file(tmp_path / "weights" / checkpoint.WEIGHTS)
    kept = {v.dtype for k, v in stored.items() if not k.endswith(tensors.STEP)}
    assert kept == {torch.float16, torch.int8, torch.uint8}  # the last: signatures of people, a bit a pixel
    assert (other.sample(6)[0] - run.sample(6)[0]).abs().max() < 0.02
    assert not list((tmp_path / "weights").glob("*.pt"))
    (run.run_dir / "class.safetensors").unlink()
    with pytest.raises(checkpoint.RunError, match="class.safetensors"):
        checkpoint.publish(run, tmp_path / "again", {})


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


def test_a_setting_of_sampling_can_be_published(tmp_path):
    run = small_fit("vae", tmp_path / "run", 3)
    assert checkpoint.reconfigured(run, []) is run
    wide = checkpoint.reconfigured(run, ["bandwidth=1.5"])
    checkpoint.publish(wide, tmp_path / "weights", dict(device="none"))
    assert checkpoint.load_run(tmp_path / "weights").model.config.bandwidth == 1.5
    assert not torch.equal(wide.sample(4)[0], run.sample(4)[0])
    with pytest.raises(checkpoint.RunError, match="other settings"):
        checkpoint.reconfigured(run, ["latent_dim=9"])


def test_a_reference_model_stands_beside_shorter_runs_only(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint.paths, "weights_dir", lambda: tmp_path)
    data, long = toy_signatures(), small_fit("gan", tmp_path / "run", 6)
    assert checkpoint.load_reference("gan", data) is None
    checkpoint.publish(long, tmp_path / "gan", dict(device="none"))
    assert checkpoint.load_reference("gan", data).people == data.people
    assert checkpoint.load_reference("gan", data, beyond=small_fit("gan", tmp_path / "short", 3)) is not None
    assert checkpoint.load_reference("gan", data, beyond=long) is None, "the same model twice"
    assert checkpoint.load_reference("gan", toy_signatures(seed=1)) is None, "another class"


def write_crowd_archive(path, people=8, each=4):
    """An archive as `crowd` writes it, of toy people."""
    toy = toy_signatures(people, each, seed=5)
    np.savez_compressed(path, x=toy.images.numpy(), y=toy.labels.numpy().astype(str))
    return path


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """Small networks, trained for a moment on a toy crowd and published by the commands."""
    folder = tmp_path_factory.mktemp("pretrained")
    crowd = str(write_crowd_archive(folder / "crowd.npz"))
    vae_run, gan_run, out = (str(folder / name) for name in ("vae", "gan", "out"))
    small = ["--data", crowd, "--steps", "2", "--set", "batch_size=4"]
    assert main(["train", "vae", "--recipe", "corpus", "--run", vae_run, *small, *TINY_VAE]) == 0
    game = ["train", "gan", "--recipe", "corpus", "--start", vae_run, "--run", gan_run, *small, "embedding_dim=8"]
    assert main(game) == 0
    publish = ["publish-pretrained", "--vae", vae_run, "--gan", gan_run, "--out", out]
    assert main([*publish, "--crowd", "toy", "--device", "none"]) == 0
    return folder


def test_pretrained_networks_hold_no_people_and_meet_a_class(pretrained, tmp_path):
    start = checkpoint.load_pretrained(pretrained / "out")
    assert start.card["vae"]["steps"] == 2 and start.model.config.n_people == 0 and start.discriminator
    files = [f for f in (pretrained / "out").iterdir() if f.suffix != ".json"]
    assert {f.name for f in files} == {"vae.safetensors", "discriminator.safetensors"}
    kept = {v.dtype for f in files for k, v in load_file(f).items() if not k.endswith(tensors.STEP)}
    assert kept == {torch.float16, torch.int8}
    toy = toy_signatures()
    recipe = small_recipe("gan", toy, start)
    config = recipe.model
    run = recipe.fit(toy, tmp_path / "gan", 4, start, progress=False)
    codes = vae.posterior_means(start.model, toy.train.images)
    own = codes[toy.train.labels == 2].float()
    held = torch.cat([run.model.encode_person(torch.tensor([2]), k) for k in range(config.exemplars)])
    assert torch.allclose(held, own, atol=1e-5)  # a person is signatures, and their codes are not learned
    x, _ = run.sample(24, person="3")
    assert x.shape == (24, 1, 128, 128)
    assert torch.cdist(x.flatten(1), x.flatten(1)).fill_diagonal_(9e9).min() > 0  # more than there are signatures
    with torch.no_grad():  # of all codes of the person, the one that draws the signature best
        still, x = torch.zeros(1, config.latent_dim), toy.x[toy.labels == 2][:1]
        losses = [gan.reconstruction_loss(run.model.net(run.model.code(still, code[None])), x) for code in held]
        assert torch.allclose(run.nearest_codes(x, torch.tensor([2]))[0], held[torch.stack(losses).argmin()], atol=1e-5)
    run = RECIPES["vae_pretrained"].for_class(toy, start).fit(toy, tmp_path / "vae", 32, start, progress=False)
    error = (run.reconstruct(toy.x[:4]) - start.model.reconstruct(toy.x[:4])).abs().mean()
    assert 0 < error < 0.05  # one step from where it began


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
    options = dict(train=TrainConfig(batch_size=4, checks=20, snapshots=2))
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


def of_recipe(name, data, start=None):
    """Configurations of the model and the training of a recipe for the class `data`."""
    recipe = RECIPES[name].for_class(data, start)
    return recipe.model, recipe.train


def test_a_signature_is_judged_beside_another_one_of_its_writer(pretrained):
    start, toy = checkpoint.load_pretrained(pretrained / "out"), toy_signatures()
    config, settings = of_recipe("gan", toy, start)
    cpu = torch.device("cpu")
    trainer = GANTrainer(toy, config, settings, cpu, 0, 1, start.model, start.discriminator)
    assert config.warped
    trainer.model_config = replace(config, warped=False)
    index, seen = torch.arange(len(toy.train)), set()
    codes = trainer.codes_of(toy.train.x)
    for seed in range(20):
        others = trainer.others(index, torch.Generator().manual_seed(seed))
        gap, which = torch.cdist(others, codes).min(1)
        assert gap.max() < 1e-2 and (which != index).all()
        assert torch.equal(toy.train.labels[which], toy.train.labels)
        seen.add(int(which[0]))
    assert seen == {1, 2}  # any of the others
    trainer.model_config = config
    others = [trainer.others(index, torch.Generator().manual_seed(seed)) for seed in range(2)]
    assert (torch.cdist(others[0], others[1]).diagonal() > 0).all()  # moved anew each time
    assert torch.allclose(trainer.codes_of_people(toy.train.labels[:1]), codes[:1], atol=1e-2)
    with pytest.raises(ValueError, match="needs a VAE"):
        GANTrainer(toy, config, settings, cpu)


@pytest.mark.parametrize("begin", ["pretrained", "noise"])
def test_both_sides_of_a_pair_lie_equally_far_from_what_the_discriminator_is_told(pretrained, begin, monkeypatch):
    start, toy = checkpoint.load_pretrained(pretrained / "out"), toy_signatures()
    config, settings = of_recipe("gan", toy, start) if begin == "pretrained" else of_recipe("gan_alone", toy)
    first = (start.model, start.discriminator) if begin == "pretrained" else ()
    trainer = GANTrainer(toy, config, settings, torch.device("cpu"), 0, 1, *first)
    trainer.model_config = replace(config, warped=False)
    draw, update, seen = trainer.wrapped_g, trainer.update_discriminator, {}

    def drawing(z, y, *rest):
        return draw(z, seen.setdefault("drawn", y), *rest)

    def judging(real, fake, y, *rest):
        return update(real, fake, seen.setdefault("told", y), *rest)

    monkeypatch.setattr(trainer, "wrapped_g", drawing)
    monkeypatch.setattr(trainer, "update_discriminator", judging)
    index, codes = torch.arange(len(toy.train)), trainer.codes_of(toy.train.x)
    trainer.step(index, 0.5, torch.Generator().manual_seed(0))
    assert torch.allclose(seen["drawn"], codes, atol=1e-2)  # of the very signature that is shown as the genuine one
    gap, told = torch.cdist(seen["told"], codes).min(1)
    assert gap.max() < 1e-2 and (told != index).all()
    assert torch.equal(toy.train.labels[told], toy.train.labels)


def test_genuine_signatures_are_shown_with_a_pens_edges_and_moved_as_generated_ones_are(pretrained):
    start, toy = checkpoint.load_pretrained(pretrained / "out"), toy_signatures()
    config, settings = of_recipe("gan", toy, start)
    index, cpu = torch.arange(4), torch.device("cpu")

    def shown(model, trained, *begin):
        trainer = GANTrainer(toy, model, trained, cpu, 0, 1, *begin)
        return trainer, trainer.genuine(index, torch.Generator().manual_seed(0))

    _, still = shown(config, settings, start.model, start.discriminator)
    assert torch.equal(still, pen(toy.train.x[:4])) and settings.augment.probability == 0
    _, moved = shown(config, replace(settings, augment=PERSON_WARPS), start.model, start.discriminator)
    assert not torch.allclose(moved, still, atol=0.1)
    trainer, alone = shown(*of_recipe("gan_alone", toy))
    ways = registration.displacements_to_others(toy.train.x, toy.train.labels)
    reach = people.warp_strength(toy.train.images, toy.train.labels, ways)
    x, soft = toy.train.x[:4], soften(toy.train.x[:4]).half()
    noise = torch.randn(4, trainer.generator.signatures.numbers, generator=torch.Generator().manual_seed(0))
    by_hand = registration.warp_towards_others(x, ways[:4].half(), PERSON_WARPS.times(reach), noise, soft)
    assert torch.equal(alone, pen(by_hand))
    assert trainer.warp_strength == pytest.approx(reach) and trainer.start is None
    report = RECIPES["report_gan"]
    trainer = ReportGANTrainer(toy, report.model, report.train, cpu)
    report = trainer.genuine(index, torch.Generator().manual_seed(0))
    grey = [((x > 0.02) & (x < 0.98)).float().mean() for x in (alone, report)]
    assert grey[0] < 0.7 * grey[1]  # the reports resampled pictures, which blurs


def test_a_gan_from_noise_begins_at_random_and_is_conditioned_on_thumbnails():
    toy = toy_signatures()
    config, settings = of_recipe("gan_alone", toy)
    assert config.by_thumbnails and RECIPES["gan_alone"].start is None
    trainer = GANTrainer(toy, config, settings, torch.device("cpu"))
    assert trainer.start is None and not list(trainer.generator.encoder.parameters())
    x = toy.train.x[:4]
    code = trainer.codes_of(x)
    assert torch.equal(code, gan.Thumbnail(config.detail)(x)) and code.shape == (4, config.latent_dim)
    own = trainer.others(torch.arange(4), torch.Generator().manual_seed(0))
    assert own.shape == code.shape and not torch.equal(own, code)  # another signature of each, moved
    parts = trainer.step(torch.arange(16) % len(toy.train), 0.5, torch.Generator().manual_seed(0))
    assert all(torch.isfinite(part).all() for part in parts.values()) and "reconstruction" in parts
    with pytest.raises(ValueError, match="needs a VAE to start from"):
        GANTrainer(toy, replace(config, conditioning="codes"), settings, torch.device("cpu"))


def test_the_command_trains_a_gan_from_noise_and_refuses_what_would_have_no_part_in_it(pretrained, tmp_path, capsys):
    networks, vae_run, crowd = (str(pretrained / name) for name in ("out", "vae", "crowd.npz"))
    alone = ["--data", crowd, "--steps", "1", "--set", "batch_size=4", "watch=false"]
    assert main(["train", "gan", "--scratch", "--run", str(tmp_path / "noise"), *alone]) == 0
    noise = checkpoint.load_run(tmp_path / "noise")
    assert noise.model.config.by_thumbnails and "start" not in noise.config
    capsys.readouterr()
    for start in (vae_run, networks):
        for recipe in ("scratch", "report"):
            words = ["train", "gan", "--recipe", recipe, "--start", start, "--run", str(tmp_path / "other")]
            assert main([*words, *alone]) == 2
            assert "begins at random" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_what_does_not_fit_is_refused(pretrained, tmp_path, capsys):
    vae_run, gan_run, data = (str(pretrained / name) for name in ("vae", "gan", "crowd.npz"))
    stranger = str(tmp_path / "vae")
    small = ["--data", data, "--steps", "1", "--set", "batch_size=4"]
    assert main(["train", "vae", "--start", vae_run, "--run", stranger, *small]) == 0  # a VAE goes on from a run too
    publish = ["publish-pretrained", "--out", str(tmp_path / "out"), "--crowd", "toy", "--device", "none"]
    assert main([*publish, "--vae", stranger, "--gan", gan_run]) == 2 and "did not start" in capsys.readouterr().err
    assert main([*publish, "--vae", gan_run]) == 2 and "holds a gan" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert checkpoint.load_pretrained(pretrained / "out").fingerprint() != checkpoint.load_run(vae_run).fingerprint()
    assert main(["train", "gan", "--recipe", "corpus", "--run", str(tmp_path / "other"), *small]) == 2
    assert "--start" in capsys.readouterr().err and not (tmp_path / "other").exists()
    with pytest.raises(checkpoint.RunError, match="no config.json"):
        checkpoint.load_pretrained(tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(pretrained / "out", broken)
    (broken / "discriminator.safetensors").write_bytes(b"not weights")
    with pytest.raises(checkpoint.RunError, match="damaged"):
        checkpoint.load_pretrained(broken)


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
    changed = overrides.parse_overrides(TrainConfig(), ["batch_size=8", "noise=0.2"])
    assert changed.batch_size == 8 and changed.noise == 0.2
    with pytest.raises(ValueError, match="choose one of"):
        overrides.parse_overrides(TrainConfig(), ["bath_size=8"])
    for pair in ("batch_size=many", "noise=[1]", "watch=1", "augment=0.3", "seed=0.5"):
        with pytest.raises(ValueError, match="of that kind"):
            overrides.parse_overrides(TrainConfig(), [pair])
    assert overrides.parse_overrides(VAE_SMALL, ["widths=[4,4]", "beta=2"]).widths == (4, 4)
    assert json.loads(json.dumps(checkpoint.config_dict("vae", VAE_SMALL, changed, toy_signatures())))["kind"] == "vae"
    assert RECIPES["report_vae"].train.learning_rate == 1e-5
