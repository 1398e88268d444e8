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


def corpus(args: argparse.Namespace) -> int:
    from ..models.prior import MAX_REFERENCES
    from ..overrides import parse_overrides
    from ..paths import display
    from ..synthesis import Corpus, CrowdConfig

    config = CrowdConfig(writers=args.writers, per_writer=MAX_REFERENCES + 1, seed=args.seed)
    drawn = Corpus.draw(parse_overrides(config, args.set), workers=args.workers)
    print(f"{len(drawn)} signatures of {drawn.n_writers} writers -> {display(drawn.save(args.out))}")
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


def check(args: argparse.Namespace) -> int:
    from pathlib import Path

    from ..images import DOUBTS, FLAGS, REMEDIES, ImageError, clean_signature, contact_sheet, read_pages, shown
    from ..layouts import find_signatures, pictures_in
    from ..paths import atomic_write, display

    folder = Path(args.folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; name one with pictures of signatures")
    found = find_signatures(folder)
    people = dict((path, who) for who, path in found.genuine) | dict((path, f"{who}!") for who, path in found.forged)
    words = FLAGS | DOUBTS | REMEDIES
    tiles, counts = [], dict(good=0, look=0, out=0)
    for path in pictures_in(folder):
        where = "/".join(map(shown, path.relative_to(folder).parts))
        who = people.get(path, "-")
        try:
            for page in read_pages(path):
                read = clean_signature(page)
                name = where + page.name.removeprefix(shown(path))
                verdict = "out" if read.problem else "look" if read.doubts else "good"
                done = "; ".join((*read.notes, *(words[flag] for flag in read.flags)))
                print(f"{verdict:5}{shown(who):12} {name}  {done}")
                counts[verdict] += 1
                tiles.append((page.image, read.image, name, verdict + " " + " ".join(read.flags)))
        except ImageError as error:
            print(f"out  {shown(who):12} {where}  {error}")
            counts["out"] += 1
    if args.out and tiles:
        with atomic_write(args.out) as temporary:
            contact_sheet(tiles).save(temporary)
        print(f"each picture beside its ink -> {display(args.out)}")
    persons = len({who for who, _ in found.genuine})
    kind = f", names of {found.data_set}" if found.data_set else ""
    left_out = found.summary()
    print(f"{persons} people, {len(found.genuine)} signatures{kind}" + (left_out and f"; {left_out}"))
    print(f"{counts['good']} read, {counts['look']} to look at (doubts), {counts['out']} left out")
    return 1 if counts["out"] or not sum(counts.values()) else 0


def stress(args: argparse.Namespace) -> int:
    from ..paths import display
    from ..sheets import stress

    results = stress.stress(args.out, seeds=args.seeds, workers=args.workers)
    faults = [fault for result in results for fault in result.faults]
    print(f"{sum(r.found for r in results)} of {sum(r.cells for r in results)} cells found -> {display(args.out)}")
    for fault in faults:
        print(f"fails: {fault}", file=sys.stderr)
    return 1 if faults else 0
