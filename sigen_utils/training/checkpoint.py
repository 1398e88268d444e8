"""The folder of one training: what is in it, how it is written without loss, how a model is read back.

``config.json``         what was asked for: model, training, data, versions
``history.jsonl``       one line a logged step
``last.safetensors``    weights of the model that samples (averaged over the last steps)
``finished``            empty; there when all the others are as they will stay
``last.state.pt``       everything else an exact resume needs; tensors and numbers only, read with ``weights_only``
``samples/``            pictures of fixed noise at a few moments of the training
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import io
import json
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor, nn

from .. import paths
from ..data import to_image
from ..images import synthetic_note
from ..models.baselines import ReportVAE, ReportVAEConfig
from ..models.embedding import Embedding, EmbeddingConfig
from ..models.gan import GANConfig, Generator
from ..models.prior_gan import PriorGAN, PriorGANConfig
from ..models.prior_vae import PriorConfig, PriorVAE
from ..models.vae import VAE, VAEConfig
from ..notices import DataNotice
from .run import WEIGHTS, Run, RunError
from .tensors import halved, load_tensors, packed, save_tensors

STATE, CONFIG, HISTORY = "last.state.pt", "config.json", "history.jsonl"
CARD, FINISHED = "card.json", "finished"
OUTCOME = ("finished", "share")  # keys of a config that are results, not settings
NETWORKS = {  # a config's kind -> its network and that one's configuration
    "report_vae": (ReportVAE, ReportVAEConfig),
    "vae": (VAE, VAEConfig),
    "prior": (PriorVAE, PriorConfig),
    "gan": (Generator, GANConfig),
    "prior_gan": (PriorGAN, PriorGANConfig),
    "extractor": (Embedding, EmbeddingConfig),
}
PACKAGE = Path(__file__).parent.parent
CODE = ("augment.py", "data.py", "device.py", "render.py", "models/", "training/")  # what a trained model may depend on
READERS = ("training/checkpoint.py", "training/run.py")  # write and read it, and import every model


def code_fingerprint(trainer: type) -> str:
    """Twelve hex digits of the code that a model of `trainer` depends on; comments and docstrings do not count.

    That is the module of `trainer` and what it imports of `CODE`, so a change of the GAN leaves a VAE's run valid.
    """
    found, open_ = set(), [PACKAGE.parent / (trainer.__module__.replace(".", "/") + ".py")]
    while open_:
        path = open_.pop()
        name = path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else ""
        if path.is_file() and path not in found and name.startswith(CODE) and name not in READERS:
            found.add(path)
            open_ += _imports(path)
    return hashlib.sha256("".join(map(_statements, sorted(found))).encode()).hexdigest()[:12]


def _imports(path: Path) -> list[Path]:
    """Files that the relative imports of a file may mean: ``from ..a import b`` is a.py, or a/b.py."""
    out = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            module = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            out += [module.with_suffix(".py"), *(module / f"{name.name}.py" for name in node.names)]
    return out


def _statements(path: Path) -> str:
    """The code of a file without comments, docstrings and layout."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


class RunFolder:
    """Writes one run, each file whole or not at all."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def begin(self, config: dict, resume: bool, restart: bool) -> dict[str, Any] | None:
        """Prepare the folder; return the state to resume from, or None for a fresh start.

        Raises
        ------
        RunError
            If the folder holds a run and `resume` is False, or one of another configuration and `restart` is
            False. With `restart` the other run is moved aside to ``<name>.replaced``.
        """
        path = self.path / CONFIG
        if path.exists():
            there, new = _read_config(self.path), json.loads(json.dumps(config))
            there = {name: value for name, value in there.items() if name not in OUTCOME}
            if there != new:
                if not restart:
                    differs = ", ".join(sorted(k for k in there.keys() | new.keys() if there.get(k) != new.get(k)))
                    raise RunError(
                        f"{self.path}: holds another run (it differs in {differs}); delete it or name another folder"
                    )
                self._move_aside()
            elif not resume:
                raise RunError(f"{self.path}: holds a run already; continue it with --resume or name another folder")
        if not path.exists():
            with paths.atomic_write(path) as temporary:
                temporary.write_text(json.dumps(config, indent=1))
        return self._read_state()

    def _move_aside(self) -> None:
        old = self.path.with_name(self.path.name + ".replaced")
        if old.exists():
            shutil.rmtree(old)
        self.path.rename(old)

    def _read_state(self) -> dict[str, Any] | None:
        state_file = self.path / STATE
        if not state_file.exists():
            (self.path / HISTORY).unlink(missing_ok=True)
            return None
        try:
            state = torch.load(state_file, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
            why = f"damaged, or no state of a training ({type(error).__name__})"
            raise RunError(f"{state_file}: {why}; delete the folder and train again") from error
        records = [r for r in read_history(self.path) if r["step"] <= state["step"]]
        with paths.atomic_write(self.path / HISTORY) as temporary:  # lines after the checkpoint are done again
            temporary.write_text("".join(json.dumps(r) + "\n" for r in records))
        return state

    def log(self, record: dict) -> None:
        """Append one line to the history."""
        self._refuse_gone()
        with paths.writing(self.path / HISTORY), open(self.path / HISTORY, "a") as file:
            file.write(json.dumps(record) + "\n")

    def _refuse_gone(self) -> None:
        """Stop where the folder was removed or moved: what is left of the run would be no run."""
        if not (self.path / CONFIG).exists():
            raise RunError(f"{self.path}: the folder went during the training; put it back and resume, or train again")

    def save(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Write weights, then state: a kill in between leaves the older state, which is still consistent."""
        self._refuse_gone()
        save_tensors(self.path / WEIGHTS, weights)
        stream = io.BytesIO()  # torch's own writer hides what the operating system says
        torch.save(state, stream)
        with paths.atomic_write(self.path / STATE) as temporary:
            temporary.write_bytes(stream.getbuffer())

    def finish(self, steps: int) -> None:
        """Mark the run as complete, and store in its config which share of the `steps` asked for it made."""
        path, done = self.path / CONFIG, read_history(self.path)[-1]["step"]
        outcome = dict(finished=done >= steps, share=round(min(1.0, done / steps), 4))
        with paths.atomic_write(path) as temporary:
            temporary.write_text(json.dumps(json.loads(path.read_text()) | outcome, indent=1))
        with paths.atomic_write(self.path / FINISHED) as temporary:
            temporary.touch()

    def save_samples(self, step: int, x: Tensor, ncols: int = 8) -> None:
        """Write ink ``[n, 1, 128, 128]`` as one picture ``samples/step_<step>.png``, `ncols` in a row."""
        self._refuse_gone()
        pictures, ncols = to_image(x), min(ncols, len(x))
        paper = np.full((-len(pictures) % ncols, *pictures.shape[1:]), 255, np.uint8)  # fills the last row
        pictures = np.concatenate([pictures, paper])
        rows = [np.concatenate(list(pictures[i : i + ncols]), axis=1) for i in range(0, len(pictures), ncols)]
        with paths.atomic_write(self.path / "samples" / f"step_{step:07d}.png") as temporary:
            Image.fromarray(np.concatenate(rows)).save(temporary, pnginfo=synthetic_note())


def read_history(run_dir: str | Path) -> list[dict]:
    """The logged steps of a run; a last line cut short by a kill is left out."""
    path = Path(run_dir) / HISTORY
    if not path.exists():
        return []
    try:
        lines = path.read_text().split("\n")
        return [dict(json.loads(line)) for line in lines[:-1] if line]  # what follows the last newline is incomplete
    except (ValueError, TypeError, RecursionError) as error:
        raise RunError(f"{path}: a line is no record ({error}); remove the line, or train again") from error


def _read_config(run_dir: Path) -> dict:
    """The ``config.json`` of a run; RunError if it is none."""
    try:
        return dict(json.loads((run_dir / CONFIG).read_text()))
    except (ValueError, TypeError, RecursionError) as error:
        raise RunError(f"{run_dir / CONFIG}: damaged ({error}); copy it again, or train again") from error


def build_model(kind: str, config: dict) -> nn.Module:
    """The network of a run, from the ``kind`` and ``model`` of its config."""
    network, settings = NETWORKS[kind]
    return network(settings(**config))


def load_run(run_dir: str | Path, device: str | torch.device = "cpu") -> Run:
    """Read a run back, ready to sample.

    Raises
    ------
    RunError
        If the folder is not a run, is incomplete, or its weights do not fit its configuration. Only safetensors
        and JSON are read: nothing here can run code hidden in a download.
    """
    run_dir = Path(run_dir)
    if not (run_dir / CONFIG).exists():
        raise RunError(f"{run_dir}: no {CONFIG} in it; name a folder made by `python -m sigen_utils train`")
    if not (run_dir / WEIGHTS).exists():
        raise RunError(f"{run_dir}: no {WEIGHTS} yet; the training ended before its first checkpoint, resume it")
    if not any((run_dir / name).exists() for name in (FINISHED, CARD)):
        raise RunError(f"{run_dir}: its training was stopped half-way; go on with the same command and --resume")
    config = _read_config(run_dir)
    try:
        weights, people = load_tensors(run_dir / WEIGHTS), list(config["data"]["people"])
        if not all(value.isfinite().all() for value in weights.values()):
            raise ValueError("weights that are no numbers")
        model = build_model(config["kind"], config["model"])
        model.load_state_dict(weights)
        share = float(config.get("share", 1.0))
    except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError, MemoryError) as error:
        why = " ".join(str(error).split())[:300]
        raise RunError(
            f"{run_dir}: config or weights are damaged or of another version ({why}); train again"
        ) from error
    if not config.get("finished", True):
        message = f"{run_dir}: undertrained, {share:.0%} of its images; train it again without --minutes"
        warnings.warn(message, DataNotice, stacklevel=2)
    model.eval().to(device, memory_format=torch.channels_last)  # convolutions are a third faster
    return Run(model, config["kind"], config, read_history(run_dir), people, run_dir)


def publish(run: Run, folder: str | Path, card: dict) -> None:
    """Write what others need of a network that was trained on a corpus of synthetic writers, small enough to commit.

    Weights (`tensors.packed`; those of a feature extractor in half precision, so that scores stay comparable), history,
    `card` (JSON-serialisable: device, minutes) and the configuration without people, which is written last, so that an
    incomplete folder is no run.

    Raises
    ------
    RunError
        If the run knows people: what it keeps of them is not to be published.
    """
    if run.conditional:
        raise RunError(f"{run.run_dir}: it knows people; publish a network that was trained on a corpus")
    folder = Path(folder)
    (folder / CONFIG).unlink(missing_ok=True)
    save_tensors(folder / WEIGHTS, (halved if run.kind == "extractor" else packed)(run.model.state_dict()))
    history = "".join(json.dumps(record) + "\n" for record in run.history)
    config = run.config | dict(data=run.config["data"] | dict(people=[]))
    for name, text in {
        HISTORY: history,
        CARD: json.dumps(card, indent=1),
        CONFIG: json.dumps(config, indent=1),
    }.items():
        with paths.atomic_write(folder / name) as temporary:
            temporary.write_text(text)


def config_dict(trainer: type, model: Any, training: Any, data, extra: dict | None = None) -> dict:
    """The content of ``config.json``: enough to tell whether two runs are the same."""
    return dict(
        kind=trainer.kind,
        model=dataclasses.asdict(model),
        training=dataclasses.asdict(training),
        data=dict(people=data.people, fingerprint=data.fingerprint(), n_train=int((~data.is_test).sum())),
        code=code_fingerprint(trainer),
        **(extra or {}),
    )
