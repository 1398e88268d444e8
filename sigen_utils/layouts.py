"""Whose signature is a file? Folder layouts of people and of the public data sets, genuine and forged.

To teach it another data set, add a line to `NAMES` (a pattern of file names) or a word to `GENUINE`, `FORGED` or
`BETWEEN` (names of folders).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .images import is_picture


@dataclass(frozen=True)
class Names:
    """File names that say whose a signature is.

    Attributes
    ----------
    data_set
        Where such names come from.
    pattern
        Of the whole stem, ignoring case. Groups: ``who`` the person; ``forged`` takes part in a forgery's name only; or
        ``by``, the writer, who differs from ``who`` in a forgery.
    anywhere
        False: the name alone proves nothing (``001_01`` may be a person's own numbering), so it counts only in a folder
        that is no person's, or whose name begins with ``who``.
    """

    data_set: str
    pattern: str
    anywhere: bool = True


NAMES = (
    Names("CEDAR", r"(original|(?P<forged>forgeries))_(?P<who>\d+)_\d+"),
    Names("BHSig260", r"(?P<who>[BH]-S-\d+)-(G|(?P<forged>F))-\d+"),
    Names("GPDS", r"c(?P<forged>f)?-(?P<who>\d{3,5})-\d+"),
    Names("MCYT-75", r"(?P<who>\d{4})(v|(?P<forged>f))\d{2}"),
    Names("SigComp 2009", r"NFI-(?P<by>\d{3})\d{2}(?P<who>\d{3})"),
    Names("SigComp 2009", r"(?P<by>\d{3})\d{2}(?P<who>\d{3})", anywhere=False),  # as handed on without NFI
    Names("SigComp 2011", r"(?P<forged>\d{4})?(?P<who>\d{3})_\d{1,2}", anywhere=False),
)
GENUINE = set("genuine genuines real original originals org authentic true gen".split())
FORGED = set(
    "forged forg forge forgery forgeries fake fakes skilled simple simulated disguised false fraud imposter impostor "
    "opposite random imitation traced".split()
)
BETWEEN = set(  # in names of folders above or below a person's that are nobody's
    "train training trainingset test testing testset val valid validation reference references ref questioned data "
    "dataset image images picture pictures sign signature signatures scans offline full hand".split()
)
FORGED_OF = re.compile(r".[_-](forg|forge|forged|forgery|forgeries|fake)$", re.IGNORECASE)  # behind a person's name
NUMBERED = re.compile(r"(session|set|day|scan|part|batch|dataset)[ _-]?\d+")  # the same with a number
JUNK = {"__macosx", "__pycache__", "@eadir", "$recycle.bin", "system volume information", "lost+found", "thumbs.db",
        "desktop.ini", "ehthumbs.db"}  # fmt: skip
OWN = {"audit", "masks"}  # folders that `extract` and `synthesize` write
TEXT = {".csv", ".json", ".txt", ".md", ".npz"}  # what lies beside pictures for good reason


@dataclass
class Found:
    """Signatures of a folder.

    Attributes
    ----------
    genuine, forged
        (person, file) each; of a forgery the person it imitates.
    data_set
        Public data set whose names the files have; empty for ``<person>/<image>``.
    skipped
        Suffix -> number of files that are no pictures.
    """

    genuine: list[tuple[str, Path]] = field(default_factory=list)
    forged: list[tuple[str, Path]] = field(default_factory=list)
    data_set: str = ""
    skipped: Counter = field(default_factory=Counter)

    def skip(self, path: Path) -> None:
        """Count a file that is no picture, unless it lies beside pictures for good reason."""
        if path.suffix.lower() not in TEXT and path.stem.upper() not in ("README", "LICENSE"):
            self.skipped[path.suffix.lower() or "without suffix"] += 1

    def summary(self) -> str:
        """What was left out, in a line; empty if nothing was."""
        parts = []
        if self.forged:
            n, people = len(self.forged), len({who for who, _ in self.forged})
            names = f" by the names of {self.data_set}" if self.data_set else ""
            of = f"of {people} people" if people > 1 else "of one person"
            parts.append(f"{n} {'forgeries' if n > 1 else 'forgery'} {of}{names} left out")
        if self.skipped:
            kinds = ", ".join(f"{n} {suffix}" for suffix, n in sorted(self.skipped.items()))
            n = self.skipped.total()
            what = "files that are no pictures" if n > 1 else "file that is no picture"
            parts.append(f"{n} {what} left out ({kinds})")
        return "; ".join(parts)


def natural(name: str) -> list:
    """Sort key that puts 2 before 10."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name)]


def find_signatures(folder: Path) -> Found:
    """The signatures of a folder and whose they are.

    Parameters
    ----------
    folder
        ``<person>/<image>``, with ``genuine`` and ``forged`` folders above or below the person's if there are any, or
        one of the public layouts in `NAMES`. Hidden files and what computers leave behind are nobody's.

    Returns
    -------
    Found
        In natural order of people and files.
    """
    found = Found()
    pictures = []
    for path in _files(folder):
        if is_picture(path):
            pictures.append(path)
        else:
            found.skip(path)
    named = [(path, *_by_name(path, folder)) for path in pictures]
    sets = Counter(data_set for _, data_set, _, _ in named if data_set)
    found.data_set = sets.most_common(1)[0][0] if sets else ""
    groups = _groups(folder, [path for path, data_set, _, _ in named if not data_set])
    for path, data_set, who, forged in named:
        words = [part.lower() for part in path.relative_to(folder).parts[:-1]]
        if not data_set:
            who = groups.get(path, "")
            forged = _forged_stem(path.stem)
        if not who or (found.data_set and not data_set and len(words) < 2 and _nobodys(words)):
            continue  # a picture beside the people
        forged = forged or any(map(_forged_folder, words))
        (found.forged if forged else found.genuine).append((who, path))
    return found


def pictures_in(folder: Path) -> list[Path]:
    """All pictures of a folder and below, whosever they are, in natural order."""
    return [path for path in _files(folder) if is_picture(path)]


def _files(folder: Path) -> list[Path]:
    return sorted(_walk(folder), key=lambda path: natural(path.relative_to(folder).as_posix()))


def _walk(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """All files below a folder but for junk, hidden ones, and what `extract` writes beside signatures.

    A link to a folder `above` it, by which one would walk in a circle, is not followed.
    """
    above = (*above, folder.resolve())
    for path in folder.iterdir():
        name = path.name.lower()
        if name.startswith(".") or name in JUNK:
            continue
        if path.is_dir():
            if name not in OWN and path.resolve() not in above:
                yield from _walk(path, above)
        elif path.stem != "id":
            yield path


def _by_name(path: Path, folder: Path) -> tuple[str, str, bool]:
    """Data set, person and whether forged, by a file's name; empty where it says nothing."""
    parents = path.relative_to(folder).parts[:-1]
    for names in NAMES:
        match = re.fullmatch(names.pattern, path.stem, re.IGNORECASE)
        if not match:
            continue
        who, groups = match["who"], match.groupdict()
        if not names.anywhere:
            owner = parents[-1] if parents and not _nobodys([parents[-1].lower()]) else None
            if owner is not None and not re.fullmatch(rf"0*{int(who)}(_?forg\w*)?", owner, re.IGNORECASE):
                continue
        return names.data_set, who, bool(groups.get("forged")) or groups.get("by", who) != who
    return "", "", False


def _words(name: str) -> list[str]:
    """The words of a folder's name in lower case, without a count of its files: ``Offline Genuine (646)``."""
    return [word for word in re.split(r"[^a-z0-9]+", re.sub(r"\(\d+\)", "", name.lower())) if word]


def _nobodys(folders: list[str]) -> bool:
    """Whether folders of these names, in lower case, belong to no person."""
    known = GENUINE | FORGED | BETWEEN
    return all(NUMBERED.fullmatch(name) or (_words(name) and known.issuperset(_words(name))) for name in folders)


def _forged_folder(name: str) -> bool:
    """Forgeries of all people (``Offline Forgeries``) or of one (``001_forg``)."""
    return bool(FORGED.intersection(_words(name)) and (_nobodys([name]) or FORGED_OF.search(name)))


def _forged_stem(stem: str) -> bool:
    """A file that says of itself that it is forged: ``forged_3``, ``3-fake``."""
    return any(
        word in FORGED for word in re.split(r"[^a-z]+", stem.lower()) if word not in ("simple", "false", "skilled")
    )


def _groups(folder: Path, pictures: list[Path]) -> dict[Path, str]:
    """The person of each picture by the deepest folder that is somebody's.

    Where two folders of one name lie in different ones (``class A/1`` and ``class B/1``), both names are the person's.
    """
    chains = {}
    for path in pictures:
        chain = [part for part in path.relative_to(folder).parts[:-1] if not _nobodys([part.lower()])]
        if chain:
            match = FORGED_OF.search(chain[-1])
            last = chain[-1][: match.start() + 1] if match else chain[-1]
            chains[path] = (*chain[:-1], last)
    homes: dict[str, set] = {}
    for chain in chains.values():
        homes.setdefault(chain[-1], set()).add(chain[:-1])
    return {path: "_".join(chain) if len(homes[chain[-1]]) > 1 else chain[-1] for path, chain in chains.items()}
