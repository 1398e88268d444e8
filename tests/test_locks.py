"""What keeps results whole: kills, Ctrl-C, full and vanished disks, two runs in one folder."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from killed import contents, train_flow, train_vae

from sigen_utils import locks, paths
from sigen_utils.__main__ import main
from sigen_utils.locks import LockedError, interruptible, locked
from sigen_utils.notices import DataNotice
from sigen_utils.paths import REPO
from sigen_utils.training import checkpoint, prior, vae
from sigen_utils.training.averaging import Average
from sigen_utils.training.progress import Budget

ENVIRONMENT = os.environ | dict(PYTHONPATH=str(REPO))
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@needs_fork
@pytest.mark.parametrize("job", ["flow", "extract"])  # of all a hundred times: tests/long
def test_a_kill_changes_nothing(job):
    command = [sys.executable, REPO / "tests" / "killed.py", job, "2"]
    run = subprocess.run(command, cwd=REPO, capture_output=True, text=True, env=ENVIRONMENT)
    assert run.returncode == 0, run.stdout + run.stderr
    counts = json.loads(run.stdout.splitlines()[-1])
    assert counts["kills"] == 2 and counts["equal"] == counts["rounds"], run.stdout


HOLDER = "import sys; from sigen_utils.locks import locked\nwith locked(sys.argv[1]): print('held', flush=1), input()"


def test_two_processes_in_one_folder_are_refused_until_the_first_is_gone(tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-c", HOLDER, folder]
    options = dict(cwd=REPO, text=True, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with subprocess.Popen(command, **options) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=rf"run: another process \({other.pid}\) writes there; wait for it"):
            train_vae(folder, 4)
        assert not folder.exists()
        other.kill()  # a crash: its file stays, its lock does not
    assert (tmp_path / ".run.lock").exists()
    assert train_vae(folder, 4).history[-1]["step"] == 1
    assert not (tmp_path / ".run.lock").exists()


@pytest.mark.skipif(locks.fcntl is None, reason="Windows locks in another way")
def test_a_file_system_without_locks_is_written_to_and_a_taken_lock_is_refused(tmp_path, monkeypatch):
    def refuse(number):
        def flock(handle, how):
            raise OSError(number, os.strerror(number))

        return flock

    monkeypatch.setattr(locks.fcntl, "flock", refuse(errno.ENOTSUP))
    with locked(tmp_path / "run"):
        pass
    monkeypatch.setattr(locks.fcntl, "flock", refuse(errno.EAGAIN))
    with pytest.raises(LockedError), locked(tmp_path / "run"):
        pass


def test_a_lock_outlives_a_folder_that_is_moved_aside(tmp_path):
    folder = tmp_path / "run"
    with locked(folder):
        folder.mkdir()
        folder.rename(tmp_path / "aside")
        with pytest.raises(LockedError), locked(folder):
            pass


@pytest.fixture
def listens_to_ctrl_c():
    """Python's own answer to Ctrl-C, which a shell switches off for what it runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_with_a_checkpoint_one_line_and_status_130(listens_to_ctrl_c, tmp_path, monkeypatch, capsys):
    update, steps = Average.update, []

    def pressed_in_the_third_step(self, *rest):
        update(self, *rest)
        steps.append(1)
        if len(steps) == 3:
            signal.raise_signal(signal.SIGINT)

    def command(args):
        train_vae(tmp_path / "run")
        return 0

    monkeypatch.setattr(Average, "update", pressed_in_the_third_step)
    monkeypatch.setattr("sigen_utils.commands.models.train", command)
    assert main(["train", "vae_alone"]) == 130
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and "stored after step 3; go on with the same command and --resume" in printed
    assert torch.load(tmp_path / "run" / checkpoint.STATE, weights_only=True)["step"] == 3
    train_vae(tmp_path / "run")
    train_vae(tmp_path / "whole")
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_ctrl_c_strikes_at_once_the_second_time_and_is_never_lost(listens_to_ctrl_c):
    with pytest.raises(KeyboardInterrupt), interruptible() as pressed:
        signal.raise_signal(signal.SIGINT)
        assert pressed()
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the second one did nothing")
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


FULL = """
import resource, sys
from pathlib import Path
from killed import train_vae
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    train_vae(Path(sys.argv[1]))
except OSError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no such limit")
def test_a_full_disk_is_named_and_the_last_good_state_stays(tmp_path, monkeypatch):
    with pytest.MonkeyPatch.context() as patch:  # a checkpoint of two steps, then the end
        patch.setattr(vae.VAETrainer, "step", _dies_in_step(3))
        with pytest.raises(RuntimeError, match="dies"):
            train_vae(tmp_path / "run")
    before = {name: (tmp_path / "run" / name).read_bytes() for name in (checkpoint.STATE, checkpoint.WEIGHTS)}
    room = str(len(before[checkpoint.STATE]) // 2)
    path = os.pathsep.join((str(REPO), str(REPO / "tests")))
    command = [sys.executable, "-c", FULL, tmp_path / "run", room]
    run = subprocess.run(command, cwd=REPO, capture_output=True, text=True, env=os.environ | dict(PYTHONPATH=path))
    assert run.stdout.startswith("WriteError") and "free some space there" in run.stdout, run.stdout + run.stderr
    assert str(tmp_path / "run") in run.stdout and "Traceback" not in run.stderr
    assert (tmp_path / "run" / checkpoint.STATE).read_bytes() == before[checkpoint.STATE]
    train_vae(tmp_path / "run")
    train_vae(tmp_path / "whole")
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def _dies_in_step(number: int):
    step = vae.VAETrainer.step

    def dies(self, *rest):
        if self.steps_done + 1 == number:
            raise RuntimeError("dies")
        return step(self, *rest)

    return dies


def test_a_folder_that_vanishes_is_named_and_nothing_is_written_in_its_place(tmp_path, monkeypatch):
    step = vae.VAETrainer.step

    def removed(self, *rest):
        if self.steps_done == 3:
            (tmp_path / "run").rename(tmp_path / "elsewhere")
        return step(self, *rest)

    monkeypatch.setattr(vae.VAETrainer, "step", removed)
    with pytest.raises(checkpoint.RunError, match="run: the folder went during the training; put it back"):
        train_vae(tmp_path / "run")
    assert not (tmp_path / "run").exists() and (tmp_path / "elsewhere" / checkpoint.STATE).exists()


def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(paths.WriteError, match="x.png: cannot be written .*; check that the folder is there"):
        with paths.atomic_write(tmp_path / "file" / "x.png"):
            pass
    with pytest.raises(paths.WriteError, match="SIGEN_HOME"), paths.writing("x.png"):
        raise PermissionError(13, "Permission denied")
    out = str(tmp_path / "file" / "corpus.npz")
    assert main(["corpus", "--writers", "2", "--workers", "1", "--out", out]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_run_that_minutes_cut_short_says_so_wherever_it_is_used(tmp_path, monkeypatch, capsys):
    codes = train_vae(tmp_path / "codes", 8)
    clock, step = [0.0], prior.PriorTrainer.step

    def slow(self, *rest):
        clock[0] += 20.0
        return step(self, *rest)

    monkeypatch.setattr(prior.PriorTrainer, "step", slow)
    monkeypatch.setattr(Budget, "seconds", property(lambda self: clock[0]))
    with pytest.warns(DataNotice, match="undertrained, 33% of its images; train it again without --minutes"):
        cut = train_flow(tmp_path / "cut", codes, minutes=0.5)
    assert cut.config["finished"] is False and cut.config["share"] == pytest.approx(1 / 3, abs=1e-3)
    words = ["sample", "--run", str(tmp_path / "cut"), "--new", "--n", "1", "--out", str(tmp_path / "drawn.npz")]
    assert main(words) == 0
    assert "undertrained, 33% of its images" in capsys.readouterr().err
    assert Path(tmp_path / "drawn.npz").exists()
