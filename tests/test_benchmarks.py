"""The benchmarks: their statistics, their reports and their page. No speed is asserted."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from sigen_utils.metrics.distances import frechet_distance

REPO = Path(__file__).resolve().parent.parent
sys.path.append(str(REPO / "benchmarks"))

import cases  # noqa: E402
import plain  # noqa: E402
import record  # noqa: E402
import run  # noqa: E402


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "SHORT", 0.0)


def nothing() -> int:
    return 1


def missing() -> int:
    raise ModuleNotFoundError("No module named 'elsewhere'")


def broken() -> int:
    raise TypeError("another version")


def a_line(benchmark: str, speed_up: float, **changes) -> dict:
    """A line of the history, as `run.main` makes it."""
    ours = dict(median=1234.5, rounds=5, speed_up=speed_up, low=speed_up - 1, high=speed_up + 1, notes={"left": 0.25})
    first = dict(median=0.0314, rounds=5, speed_up=1.0, low=1.0, high=1.0, notes={})
    ways = {"plain": first, "ours": ours, "other": dict(problem="not installed: pip install other")}
    on = dict(cpu="Abacus", gpu="", cores=2, threads=2, load=1.9)
    about = dict(date="2026-01-02", commit="0123456789ab", machine=on, number_type="float32", versions=dict(torch="2"))
    return dict(benchmark=benchmark, what="beads moved", unit="images a second", ways=ways) | about | changes


def test_names_are_unique_and_units_known():
    names = [one.name for one in cases.BENCHMARKS]
    assert len(names) == len(set(names)) >= 9
    assert {one.unit for one in cases.BENCHMARKS} <= set(cases.UNITS)


def test_ways_take_turns_for_five_rounds_at_least():
    calls: list[str] = []
    runs = {name: lambda name=name: calls.append(name) or 2 for name in "abc"}
    found = run.take_turns(runs, 0.0, lambda: None)
    assert "".join(calls) == "abc" * (1 + run.ROUNDS)
    assert {len(times) for times in found.values()} == {run.ROUNDS}


def test_a_speed_up_is_the_median_of_the_rounds_with_their_percentiles():
    plain_times = [float(k) for k in range(1, 12)]
    assert run.speed_up(plain_times, [1.0] * 11) == dict(speed_up=6.0, low=2.0, high=10.0)


def test_a_round_in_which_the_machine_was_slow_changes_nothing():
    assert run.speed_up([1, 9, 1, 1, 1], [0.5, 4.5, 0.5, 0.5, 0.5]) == dict(speed_up=2.0, low=2.0, high=2.0)


def test_an_alternative_that_is_missing_or_broken_is_reported():
    ways = {"plain": cases.Way(nothing), "ours": cases.Way(nothing, notes=lambda: {"left": 0.5})}
    ways |= {"other": cases.Way(missing, "other-package"), "old": cases.Way(broken, "old-package")}
    found = run.measure(ways, "ms a pair", 0.0)
    assert found["other"] == dict(problem="not installed: pip install other-package")
    assert found["old"] == dict(problem="failed: TypeError: another version")
    assert found["ours"]["notes"] == {"left": 0.5} and found["plain"]["speed_up"] == 1.0
    text = record.as_text(dict(benchmark="b", what="w", unit="ms a pair", ways=found))
    assert "pip install other-package" in text and len(text.splitlines()) == 5


def test_our_own_failure_is_no_row_of_the_table():
    with pytest.raises(TypeError):
        run.measure({"plain": cases.Way(nothing), "ours": cases.Way(broken)}, "ms a pair", 0.0)


def test_without_a_package_its_row_says_how_to_install_it(monkeypatch):
    few = cases.features(60, 8)
    monkeypatch.setattr(cases, "features", lambda: few)
    monkeypatch.setattr(cases, "import_module", lambda name: missing())
    problems = {name: run.problem_of(way) for name, way in cases.frechet_ways(None).items()}
    wanted = {name: f"not installed: pip install {name}" for name in ("torch-fidelity", "clean-fid")}
    assert problems == {"plain": "", "ours": ""} | wanted


def test_alternatives_are_optional_with_lower_bounds_and_their_versions_recorded():
    lines = (REPO / "benchmarks" / "requirements.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines if not line.startswith("#")]
    assert {one.name for one in found} == set(record.ALTERNATIVES)
    assert all(part.operator == ">=" for one in found for part in one.specifier)


def test_the_page_is_made_of_the_last_line_of_every_benchmark(tmp_path):
    page, history = tmp_path / "speed.md", tmp_path / "results.jsonl"
    page.write_text(f"before\n{record.START}\nold numbers\n{record.END}\nafter\n")
    idle = dict(cpu="Abacus", gpu="", cores=2, threads=2, load=0.1)
    for line in (a_line("beads", 3.0), a_line("rods", 5.0), a_line("beads", 7.0, machine=idle)):
        record.append(line, history)
    for _ in range(2):  # the second time changes nothing
        record.write_page(page, history)
        text = page.read_text()
        assert text.startswith("before\n") and text.endswith("\nafter\n") and "old numbers" not in text
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert len(rows) == 2 + 3 + 3 and rows[2].startswith("| `beads`") and rows[5].startswith("| `rods`")
        assert "**ours** | 1,234 images a second | 7 [6, 8] | left 0.25 |" in rows[3]
        assert (
            "other | not installed: pip install other |" in rows[4] and "0.0314" in rows[2] and "3 [2, 4]" not in text
        )
        assert " ".join(text.split()).count("the machine was busy") == 1  # when the rods were measured


def test_every_machine_has_a_table_of_its_own():
    other = dict(cpu="Abacus", gpu="Large abacus", cores=2, threads=2, load=None)
    text = record.table([a_line("beads", 3.0), a_line("beads", 9.0, machine=other)])
    assert text.count("| benchmark |") == 2 and "3 [2, 4]" in text and "9 [8, 10]" in text and "Large abacus" in text


def test_the_page_in_the_repository_is_made_of_the_recorded_numbers(tmp_path):
    page = tmp_path / "speed.md"
    page.write_text(record.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    record.write_page(page)
    assert page.read_text(encoding="utf-8") == record.PAGE.read_text(encoding="utf-8"), "benchmarks/run.py --page"


def test_a_recorded_line_says_where_it_comes_from():
    line = record.machine(run.pick_device())
    assert {"date", "commit", "machine", "number_type", "versions"} == set(line) and json.dumps(line)
    assert line["machine"]["cpu"] and line["versions"]["torch"] and line["versions"]["torchvision"]


def test_plain_and_our_frechet_distance_agree():
    a, b = cases.features(200, 32)
    assert frechet_distance(a, b) == pytest.approx(plain.frechet(a, b), rel=1e-3)
