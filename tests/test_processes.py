"""Scripts without a guard get one process and a true word."""

import subprocess
import sys

import pytest

SCRIPT = "from sigen_utils.processes import can_spawn\nprint(can_spawn())\n"


@pytest.mark.parametrize("script, answer", [
    (SCRIPT, "False"),
    (SCRIPT.replace("print(can_spawn())", 'if __name__ == "__main__":\n    print(can_spawn())'), "True"),
])  # fmt: skip
def test_a_script_without_a_guard_is_told(tmp_path, script, answer):
    (tmp_path / "script.py").write_text(script)
    run = subprocess.run(
        [sys.executable, tmp_path / "script.py"], capture_output=True, text=True, env={"PYTHONPATH": "."}
    )
    assert run.stdout.strip() == answer
    assert ("script.py has no `if __name__" in run.stderr) == (answer == "False")
