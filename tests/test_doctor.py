"""`doctor`: what is missing is named with the command that brings it."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
from collections import namedtuple

import pytest

from sigen_utils.__main__ import main
from sigen_utils.commands import doctor
from sigen_utils.paths import REPO


def test_a_machine_that_runs_the_tests_lacks_nothing_required(capsys):
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "all that is required is here" in printed and "MISSING" not in printed
    for subject in ("python", "packages", "device", "memory", "disk", "fonts", "TeX", "Chromium", "HEIC"):
        assert f" {subject} " in printed, subject


def test_an_old_package_and_a_full_disk_are_required(monkeypatch, capsys):
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.1.2" if name == "scipy" else version(name))
    usage = namedtuple("usage", "total used free")(10e9, 9.9e9, 0.1e9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert main(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert "MISSING  scipy        0.1.2, 1.13 or newer is needed" in printed and 'pip install "scipy>=1.13"' in printed
    assert "0.1 GB free" in printed and "export SIGEN_HOME=" in printed and "2 required missing" in printed


def test_what_is_optional_changes_no_status(monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    for part in ("tex", "browser"):
        assert f"->  sudo sh {REPO}/tools/setup.sh {part}" in printed
        assert f"setup_{part}()" in (REPO / "tools" / "setup.sh").read_text()


@pytest.mark.parametrize("small, large", [("2.9", "2.11"), ("1.13.0", "2.0"), ("2.11.0+cpu", "2.11.1")])
def test_versions_are_compared_as_numbers(small, large):
    assert doctor._numbers(small) < doctor._numbers(large)


def test_every_message_in_the_troubleshooting_guide_is_one_of_the_code():
    rows = re.findall(r"^\| `(.+?)` \|", (REPO / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)
    files = [*(REPO / "sigen_utils").rglob("*.py"), REPO / "tools" / "setup.sh"]
    code = "\n".join(path.read_text() for path in files)
    assert len(rows) > 30 and [message for message in rows if message not in code] == []
