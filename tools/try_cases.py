"""Try `extract` on a folder of cases: what was expected, what came out, and whether that is right.

    python tools/try_cases.py CASES [--expected FILE] [--work DIR] [--only NAME]

Every folder of CASES that has a folder ``sheets`` is a case. What is right stands in its ``expected.json``, or
under its name in FILE; every field may be left out:

    {"people": 12, "signatures": 48, "ids": ["1", "2"], "status": [0, 3], "says": "pip install"}

``people`` and ``signatures`` count what is filed, ``ids`` are those filed, ``status`` is the exit status or several
that will do, and ``says`` has to stand in what is printed. The status of this script is 1 if a case comes out wrong.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def try_case(case: Path, expected: dict, work: Path) -> tuple[dict, list[str]]:
    """What came out of a case, and which fields of `expected` it contradicts."""
    out = work / case.name
    command = [sys.executable, "-m", "sigen_utils", "extract", "--sheets", str(case / "sheets"), "--out", str(out),
               "--workers", "1"]  # fmt: skip
    for option in ("columns", "ids"):
        command += [f"--{option}", expected[option + "_option"]] if option + "_option" in expected else []
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    rows = []
    if (out / "manifest.csv").exists():
        with open(out / "manifest.csv", newline="", encoding="utf-8") as handle:
            rows = [row for row in csv.DictReader(handle) if row["file"]]
    people = list(dict.fromkeys(row["person_id"] for row in rows))
    said = done.stdout + done.stderr
    got = {"people": len(people), "signatures": len(rows), "ids": people, "status": done.returncode, "says": said}
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
    parser.add_argument("--work", type=Path)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    known = json.loads(args.expected.read_text(encoding="utf-8")) if args.expected else {}
    with tempfile.TemporaryDirectory() as folder:
        work, bad = args.work or Path(folder), 0
        print(f"{'case':<34} {'expected':<28} {'got':<28} verdict")
        for case in sorted(path.parent for path in args.cases.resolve().glob("*/sheets")):
            own = case / "expected.json"
            expected = json.loads(own.read_text(encoding="utf-8")) if own.is_file() else known.get(case.name)
            if expected is None or args.only not in case.name:
                continue
            got, wrong = try_case(case, expected, work.resolve())
            bad += bool(wrong)
            cells = [
                f"{d.get('people', '-')} people, {d.get('signatures', '-')} filed, {d.get('status', '0/3')}"
                for d in (expected, got)
            ]
            verdict = "WRONG: " + ", ".join(wrong) if wrong else "ok"
            print(f"{case.name:<34} {cells[0]:<28} {cells[1]:<28} {verdict}", flush=True)
    print(f"{bad} wrong" if bad else "all as expected")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
