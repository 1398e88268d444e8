"""Commands: sheets, the people who sign them, and reading them.

Each takes the parsed arguments and returns the process's status. Heavy imports are inside, so that help is quick.
"""

from __future__ import annotations

import argparse
import sys


def synthesize(args: argparse.Namespace) -> int:
    from ..synthesis import SynthesisConfig, synthesize

    config = SynthesisConfig(people=args.people, per_person=args.per_person, seed=args.seed)
    synthesize(args.out, config, workers=args.workers)
    return 0


def crowd(args: argparse.Namespace) -> int:
    from ..overrides import parse_overrides
    from ..synthesis import CrowdConfig, write_crowd

    config = CrowdConfig(writers=args.writers, per_writer=args.per_writer, seed=args.seed)
    write_crowd(args.out, parse_overrides(config, args.set), workers=args.workers)
    return 0


def extract(args: argparse.Namespace) -> int:
    from ..sheets import ExtractionConfig, extract, read_ids, read_layout

    config = ExtractionConfig(layout=read_layout(args.columns), ids=read_ids(args.ids))
    result = extract(args.sheets, args.out, config, workers=args.workers, corrections=args.corrections)
    for line in result.errors:
        print(f"error: {line}", file=sys.stderr)
    print(
        f"{result.n_sheets} sheets, {result.n_people} people, {result.n_signatures} signatures, "
        f"{len(result.doubts)} to check, {len(result.errors)} errors"
    )
    return result.status


def stress(args: argparse.Namespace) -> int:
    from ..paths import display
    from ..sheets import stress

    results = stress.stress(args.out, seeds=args.seeds, workers=args.workers)
    faults = [fault for result in results for fault in result.faults]
    print(f"{sum(r.found for r in results)} of {sum(r.cells for r in results)} cells found -> {display(args.out)}")
    for fault in faults:
        print(f"fails: {fault}", file=sys.stderr)
    return 1 if faults else 0
