"""Try the commands on a folder of cases: what was expected, what came out, and whether that is right.

    python tools/try_cases.py CASES [--expected FILE] [--work DIR] [--only NAME]

Every folder of CASES is a case: one with ``sheets`` is extracted, one with ``data`` is checked, a ``script.py`` is run
in a copy of the folder. What is right stands in its ``expected.json``, or under its name in FILE; every field may be
left out:

    {"people": 12, "signatures": 48, "ids": ["1", "2"], "status": [0, 3], "says": "pip install", "command": [...]}

``people`` and ``signatures`` count what is filed (sheets) or read as somebody's own (data), ``ids`` are those people,
``status`` is the exit status or several that will do, and ``says`` has to stand in what is printed. ``command`` is
tried instead, with ``{case}`` and ``{out}`` for folders. A traceback is always wrong. The status of this script is 1
if a case comes out wrong.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run_case(case: Path, expected: dict, out: Path) -> subprocess.CompletedProcess:
    """The command that a case is about, with its output and status."""
    sigen, where = [sys.executable, "-m", "sigen_utils"], ROOT
    if "command" in expected:
        command = sigen + [word.format(case=case, out=out) for word in expected["command"]]
    elif (case / "script.py").exists():
        where = out
        shutil.copytree(case, out)
        command = [sys.executable, "script.py"]
    elif (case / "data").is_dir():
        command = [*sigen, "check", str(case / "data"), "--out", str(out) + ".png"]
    else:
        command = [*sigen, "extract", "--sheets", str(case / "sheets"), "--out", str(out), "--workers", "1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, cwd=where, env=environment, check=False)


def filed(case: Path, out: Path, said: str) -> list[str]:
    """Whose each signature is that the command has read."""
    manifest = next((path for path in (out / "manifest.csv", out / "out/manifest.csv") if path.exists()), None)
    if manifest:
        with open(manifest, newline="", encoding="utf-8") as handle:
            return [row["person_id"] for row in csv.DictReader(handle) if row["file"]]
    lines = [line.split() for line in said.splitlines() if line.startswith(("good ", "look "))]
    return [line[1] for line in lines if line[1] != "-" and not line[1].endswith("!")]


def try_case(case: Path, expected: dict, work: Path) -> tuple[dict, list[str]]:
    """What came out of a case, and which fields of `expected` it contradicts."""
    out = work / case.name
    done = run_case(case, expected, out)
    said = done.stdout + done.stderr
    (work / f"{case.name}.txt").write_text(said, encoding="utf-8")
    signatures = filed(case, out, said)
    people = list(dict.fromkeys(signatures))
    got = {"people": len(people), "signatures": len(signatures), "ids": people, "status": done.returncode}
    wrong = [field for field in ("people", "signatures") if field in expected and got[field] != expected[field]]
    if "ids" in expected and sorted(people) != sorted(expected["ids"]):
        wrong.append("ids")
    statuses = expected.get("status", [0, 3])
    if done.returncode not in (statuses if isinstance(statuses, list) else [statuses]):
        wrong.append("status")
    if expected.get("says", "") not in said or "Traceback" in said:
        wrong.append("says")
    return got, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--expected", type=Path)
    parser.add_argument("--work", type=Path, help="folder to keep what comes out in; what it holds is replaced")
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    known = json.loads(args.expected.read_text(encoding="utf-8")) if args.expected else {}
    with tempfile.TemporaryDirectory() as folder:
        work, tried, bad = (args.work or Path(folder)).resolve(), 0, 0
        print(f"{'case':<34} {'expected':<28} {'got':<28} verdict")
        for case in sorted(path for path in args.cases.resolve().iterdir() if path.is_dir()):
            own = case / "expected.json"
            expected = json.loads(own.read_text(encoding="utf-8")) if own.is_file() else known.get(case.name)
            if expected is None or args.only not in case.name:
                continue
            shutil.rmtree(work / case.name, ignore_errors=True)
            work.mkdir(parents=True, exist_ok=True)
            got, wrong = try_case(case, expected, work)
            tried, bad = tried + 1, bad + bool(wrong)
            cells = [
                f"{d.get('people', '-')} people, {d.get('signatures', '-')} filed, {d.get('status', '0/3')}"
                for d in (expected, got)
            ]
            verdict = "WRONG: " + ", ".join(wrong) if wrong else "ok"
            print(f"{case.name:<34} {cells[0]:<28} {cells[1]:<28} {verdict}", flush=True)
    print(f"{tried} cases, " + (f"{bad} wrong" if bad else "all as expected"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
