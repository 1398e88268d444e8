"""The models that are compared: trained once, loaded after that, and never mixed up."""

import pytest
import torch
from strokes import toy_signatures

from sigen_utils import paths
from sigen_utils.experiments import comparison
from sigen_utils.profiles import PROFILES
from sigen_utils.recipes import RECIPES
from sigen_utils.training import checkpoint


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGEN_HOME", str(tmp_path))
    monkeypatch.setenv("SIGEN_PROFILE", "smoke")
    return tmp_path


def test_a_model_is_trained_once_and_then_loaded():
    data, smoke = toy_signatures(), PROFILES["smoke"]
    watched: dict[str, list[dict]] = {}
    first = comparison.obtain(
        data, smoke, ["report_vae", "report_gan"], watch=lambda folder, _: watched.setdefault(folder.name, []).append
    )
    assert all(watched[name][-1] == run.history[-1] for name, run in first.items())  # the rows with a check
    assert list(first) == ["report_vae", "report_gan"] and first["report_vae"].kind == "report_vae"
    written = (paths.runs_dir() / "report_vae" / checkpoint.WEIGHTS).stat().st_mtime_ns
    before = first["report_vae"].fingerprint()
    assert comparison.obtain(data, smoke, ["report_vae"])["report_vae"].fingerprint() == before
    assert (paths.runs_dir() / "report_vae" / checkpoint.WEIGHTS).stat().st_mtime_ns == written
    other = comparison.obtain(toy_signatures(seed=1), smoke, ["report_vae"])["report_vae"]  # other signatures
    assert other.fingerprint() != before


def test_a_prior_of_the_class_alone_brings_the_vae_whose_codes_it_learns():
    found = comparison.obtain(toy_signatures(), PROFILES["smoke"], ["prior_alone"])
    assert list(found) == ["prior_alone"]
    begin = checkpoint.load_run(paths.runs_dir() / "vae_alone")
    assert found["prior_alone"].config["start"] == begin.fingerprint()
    weights = begin.model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in found["prior_alone"].model.vae.state_dict().items())


def test_a_gan_alone_begins_with_nothing():
    run = comparison.obtain(toy_signatures(), PROFILES["smoke"], ["gan_alone"])["gan_alone"]
    assert "start" not in run.config and run.kind == "gan" and not run.conditional
    assert run.config["steps"] == RECIPES["gan_alone"].steps(RECIPES["gan_alone"].images["smoke"])


def test_another_model_in_the_place_of_one_is_not_taken_for_it():
    data, smoke = toy_signatures(), PROFILES["smoke"]
    comparison.obtain(data, smoke, ["report_vae"])
    (paths.runs_dir() / "report_vae").rename(paths.runs_dir() / "vae")
    assert comparison.finished("vae", data) is None
    (paths.runs_dir() / "vae").rename(paths.runs_dir() / "report_vae")
    assert comparison.finished("report_vae", data)
    (paths.runs_dir() / "report_vae" / checkpoint.FINISHED).unlink()
    assert comparison.finished("report_vae", data) is None


def test_the_outlook_names_what_is_there_and_what_is_made_and_how_long_that_takes():
    profile, cpu, gpu = PROFILES["cpu"], torch.device("cpu"), torch.device("cuda")
    nothing = comparison.outlook(profile, cpu, ["report_vae", "vae"])
    assert nothing.startswith(
        "found: nothing of earlier notebooks; to make: data/signatures, runs/report_vae, runs/vae"
    )
    data = toy_signatures()
    comparison.obtain(data, PROFILES["smoke"], ["report_vae"])
    paths.signatures_dir().mkdir(parents=True)
    (paths.signatures_dir() / "manifest.csv").touch()
    some = comparison.outlook(profile, cpu, ["report_vae", "vae"], unseen=True)
    assert "found: data/signatures, runs/report_vae; to make: data/.signatures_unseen, runs/vae, about" in some
    assert comparison.outlook(profile, cpu, ["report_vae"]).endswith("nothing is to be made")
    before, after = (int(line.split(" min in all")[0].split()[-1]) for line in (nothing, some))
    assert before > after > 0 and "two CPU cores" in some
    assert "on a T4" in comparison.outlook(PROFILES["gpu"], gpu, ["vae"])
    assert set(comparison.SPEED) == set(comparison.NAMES) - set(comparison.COMMITTED)
    assert "\n" not in nothing + some


def test_further_seeds_have_folders_of_their_own_and_share_a_row():
    data, smoke = toy_signatures(), PROFILES["smoke"]
    first = comparison.obtain(data, smoke, ["vae_alone"])
    assert comparison.samplers_of(first, data).keys() == {"vae_alone", comparison.GAUSSIANS}
    second = comparison.obtain(data, smoke, ["vae_alone"], seed=1)["vae_alone"]
    assert second.run_dir == paths.runs_dir() / "vae_alone_seed1"
    assert second.fingerprint() != first["vae_alone"].fingerprint()
    rows = comparison.samplers_of(first, data)
    assert [len(rows[name]) for name in ("vae_alone", comparison.GAUSSIANS)] == [2, 2]
    assert comparison.further_seeds("vae_alone", data, second) == []  # a row holds no training twice
    assert comparison.further_seeds("vae_alone", toy_signatures(seed=1), first["vae_alone"]) == []  # other signatures


def test_an_unknown_model_is_refused():
    with pytest.raises(ValueError, match="no model 'diffusion'"):
        comparison.obtain(toy_signatures(), PROFILES["smoke"], ["diffusion"])
