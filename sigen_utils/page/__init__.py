"""A static page that signs: the VAE and its learned prior as ONNX graphs, which a browser runs by itself.

`write_site` exports four graphs and their settings beside ``index.html``, ``app.js`` and ``style.css``. The steps of
the flow, the guidance and the search for connected strokes are in ``app.js``; all else is exported.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import paths, render
from ..images import normalise
from ..models.prior import MAX_REFERENCES, STEPS, Person, time_grid
from ..models.prior_vae import PriorVAE
from ..training.checkpoint import Run, RunError
from ..training.tensors import STEP, packed, unpacked

ASSETS = ("index.html", "app.js", "style.css")
ORT, ORT_VERSION = "onnxruntime-web", "1.30.0"  # the package of npm that runs the graphs
ORT_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
PREVIEW = 2  # steps without guidance while a slider moves: nearer to the picture of all steps than two guided ones
DIRECTIONS = 6  # sliders
OPSET = 17


class Graph(nn.Module):
    """A function of the model and tensors, to be exported."""

    def __init__(self, model: PriorVAE, function: Callable[..., Tensor | tuple[Tensor, ...]]):
        super().__init__()
        self.model, self.function = model, function

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.function(self.model, *inputs)


def encoder(model: PriorVAE, ink: Tensor) -> tuple[Tensor, Tensor]:
    """Ink ``[N, 1, 128, 128]`` to codes in the flow's scale, and to descriptions ``[N, person]``."""
    code = model.vae.encode(ink)[0]
    return code / model.flow.scale, model.flow.describe(code)


def velocity(model: PriorVAE, z: Tensor, t: Tensor, description: Tensor, count: Tensor) -> Tensor:
    """`Flow.forward`, its person as two tensors."""
    return model.flow(z, t, Person(description, count))


def decoder(model: PriorVAE, z: Tensor) -> tuple[Tensor, Tensor]:
    """Codes in the flow's scale to raw ink ``[N, 1, 128, 128]``, and to the same sharpened."""
    ink = torch.sigmoid(model.vae.decode(z * model.flow.scale))
    return ink, render.sharpen(ink)


def pen(model: PriorVAE, ink: Tensor) -> Tensor:
    """Binary ink ``[N, 1, 128, 128]`` to strokes with round edges, 0 or 1, ``[N, 1, 512, 512]``, dust included."""
    return F.pixel_shuffle((render.pen_parts(ink) > render.PEN).to(ink.dtype), render.SUBPIXELS)


def export(model: PriorVAE, folder: Path) -> None:
    """Write ``encoder.onnx``, ``velocity.onnx``, ``decoder.onnx`` and ``pen.onnx``, for any number of pictures.

    Raises
    ------
    ImportError
        Without the package onnx.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError(f"the page's graphs need onnx: pip install onnx ({error})") from error
    ink, z = torch.rand(2, 1, normalise.SIZE, normalise.SIZE), torch.randn(2, *model.vae.config.shape)
    flow_inputs = (z, torch.rand(2), torch.randn(2, model.flow.config.person), torch.tensor([0.0, 1.0]))
    for function, inputs, names, outputs in (
        (encoder, (ink,), ["ink"], ["z", "description"]),
        (velocity, flow_inputs, ["z", "t", "description", "count"], ["velocity"]),
        (decoder, (z,), ["z"], ["ink", "sharp"]),
        (pen, (ink.round(),), ["ink"], ["strokes"]),
    ):
        graph, file = Graph(model, function), folder / f"{function.__name__}.onnx"
        any_number = {name: {0: "n"} for name in names + outputs}
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # this exporter is the older one: it needs no more packages, and is quick
            graph(*inputs)  # `render` keeps its filters from the first call on: so they are exported as numbers
            torch.onnx.export(graph.eval(), inputs, str(file), input_names=names, output_names=outputs,
                              dynamic_axes=any_number, opset_version=OPSET, dynamo=False)  # fmt: skip
        onnx.save(_packed(onnx.load(file)), file)


def _packed(graph):
    """An ONNX model, the weights in it packed where that loses nothing: bytes, times the step size of their row.

    Weights that were published have been rounded to bytes before, see `tensors.packed`. Others stay as they are.
    """
    from onnx import helper, numpy_helper

    whole = {one.name: one for one in graph.graph.initializer}
    exact = {name: torch.from_numpy(numpy_helper.to_array(one).copy()) for name, one in whole.items()}
    small = packed(exact)
    again, nodes = unpacked(small), []
    for name in whole:
        if name + STEP not in small or not torch.allclose(again[name], exact[name], rtol=1e-5, atol=0):
            continue
        rows, step = small[name], small[name + STEP].reshape(-1, *[1] * (small[name].dim() - 1))
        graph.graph.initializer.remove(whole[name])
        for part, value in ((f"{name}.bytes", rows), (name + STEP, step)):
            graph.graph.initializer.append(numpy_helper.from_array(value.numpy(), part))
        nodes.append(helper.make_node("Cast", [f"{name}.bytes"], [f"{name}.float"], to=1))
        nodes.append(helper.make_node("Mul", [f"{name}.float", name + STEP], [name]))
    for k, node in enumerate(nodes):
        graph.graph.node.insert(k, node)
    return graph


@torch.no_grad()
def directions(model: PriorVAE, people: int, steps: int = STEPS, seed: int = 0) -> tuple[Tensor, list[str]]:
    """Principal axes of the descriptions of new people, one standard deviation long, ``[k, person]``; their names.

    A name is that of the measure which goes with the direction, where one does; it then grows to the right.
    """
    pictures = model.draw(model.flow.nobody_in(people), torch.Generator().manual_seed(seed), steps)
    described = model.describe(pictures)
    centred, names, measures = described - described.mean(0), [], _measures(pictures)
    _, sizes, axes = torch.linalg.svd(centred, full_matrices=False)
    axes, sizes = axes[:DIRECTIONS], sizes[:DIRECTIONS] / (people - 1) ** 0.5
    for k, place in enumerate((centred @ axes.T).T.numpy()):
        found = {name: np.nan_to_num(np.corrcoef(place, value)[0, 1]) for name, value in measures.items()}
        name = max(found, key=lambda one: abs(found[one]))
        axes[k] *= np.sign(found[name]) or 1
        names.append(f"direction {k + 1}" + (f": {name}" if abs(found[name]) > 0.5 else ""))
    return axes * sizes[:, None], names


def _measures(pictures: Tensor) -> dict[str, np.ndarray]:
    """What an eye sees first, of raw ink ``[N, 1, H, W]``: each ``[N]``."""
    ink = render.find_ink(pictures)[:, 0].numpy()
    rows, columns = ink.any(2).sum(1), ink.any(1).sum(1)
    y, x = (place - np.average(place) for place in np.mgrid[: ink.shape[1], : ink.shape[2]].astype(float))
    rise = [-np.polyfit(x[one], y[one], 1)[0] if one.sum() > 1 else 0.0 for one in ink]
    return dict(height=rows, width=columns, ink=ink.sum((1, 2)), rise=np.array(rise))


def settings(model: PriorVAE, people: int, steps: int = STEPS) -> dict:
    """What ``app.js`` has to know of the model and of `render`, JSON-serialisable."""
    axes, names = directions(model, people, steps)
    return dict(
        code=model.vae.config.shape, side=normalise.SIZE, guidance=model.flow.config.guidance,
        nobody=model.flow.nobody[0].tolist(), references=MAX_REFERENCES, steps=STEPS, preview=PREVIEW,
        times={steps: time_grid(steps, torch.device("cpu")).tolist() for steps in (PREVIEW, STEPS)},
        directions=[dict(name=n, axis=[round(v, 5) for v in a.tolist()]) for n, a in zip(names, axes, strict=True)],
        ink=render.INK, link=render.LINK, speck=render.SPECK, parts=render.SUBPIXELS,
        longest=normalise.LONGEST, stroke=sum(normalise.STROKE) / 2, fine=normalise.FINE,
    )  # fmt: skip


def fetch_ort(into: Path) -> Path:
    """The folder of onnxruntime-web's files, taken from npm on the first call.

    Raises
    ------
    ValueError
        If npm, or the package, cannot be had.
    """
    if all((into / name).is_file() for name in ORT_FILES):
        return into
    remedy = f"install npm and connect to the network, or name its folder dist, of {ORT_VERSION}: --ort DIR"
    with tempfile.TemporaryDirectory() as folder:
        try:
            command = [shutil.which("npm") or "npm", "pack", "--silent", f"{ORT}@{ORT_VERSION}"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=600)
            archive = next(Path(folder).glob("*.tgz"))
            with tarfile.open(archive) as packed_files:
                for name in ORT_FILES:
                    with paths.atomic_write(into / name) as file:
                        file.write_bytes(packed_files.extractfile(f"package/dist/{name}").read())
        except (OSError, subprocess.SubprocessError, StopIteration, KeyError, tarfile.TarError) as error:
            words = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
            raise ValueError(f"{ORT} cannot be had from npm ({words[-1] if words else error}); {remedy}") from error
    return into


def write_site(run: Run, out: Path, ort: str = "", people: int = 128, steps: int = STEPS) -> None:
    """Write the page to a folder; `ort` names a folder or a URL of onnxruntime-web's files, else npm brings them.

    Raises
    ------
    RunError
        If the run is no VAE with a learned prior, or met a class: a page is published, people are not.
    ValueError, ImportError
        If onnxruntime-web or onnx cannot be had.
    """
    if run.kind != "prior":
        raise RunError(f"{run.run_dir}: holds a {run.kind}; name a run of `train prior`, for instance weights/prior")
    if run.conditional:
        raise RunError(f"{run.run_dir}: it knows people; a page shows a network that was trained on a corpus")
    online = "://" in ort
    source = None if online else Path(ort) if ort else fetch_ort(paths.home() / "build" / "ort")
    if source and not all((source / name).is_file() for name in ORT_FILES):
        raise ValueError(f"{source}: lacks one of {', '.join(ORT_FILES)}; name the folder dist of {ORT}")
    out.mkdir(parents=True, exist_ok=True)
    export(run.model, out)
    found = settings(run.model, people, steps) | dict(ort=ort.rstrip("/") + "/" if online else "./ort/")
    (out / "settings.json").write_text(json.dumps(found))
    for name in ASSETS:
        shutil.copyfile(Path(__file__).with_name(name), out / name)
    for name in ORT_FILES if source else ():
        (out / "ort").mkdir(exist_ok=True)
        shutil.copyfile(source / name, out / "ort" / name)
