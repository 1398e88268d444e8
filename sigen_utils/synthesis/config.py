"""What a synthetic class is made of: how many people, and how hard the photographs are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_STREAMS = {"writer": 1, "signature": 2, "sheet": 3}


@dataclass(frozen=True)
class SynthesisConfig:
    """A class of people who sign, and the camera that sees their sheets.

    Every hardship has a unit, and 0 (100 for `jpeg_quality`) switches it off. The defaults resemble photographs of a
    signed page by students' phones.

    Raises
    ------
    ValueError
        If a field is out of its range; the message names the field and the range.
    """

    people: int = 184  # writers; the last sheet has what is left over
    per_person: int = 4  # signature columns
    rows_per_sheet: int = 12  # people a sheet
    seed: int = 0
    first_id: int = 1  # printed ID of the first person
    variation: float = 1.0  # differences between signatures of one person; 1 is like people, 0 repeats exactly

    table_width: tuple[int, int] = (870, 1000)  # table's width in the photograph, px: drawn from this range
    tight_share: float = 0.35  # share of photographs cropped at the table's outer lines
    turn: int = 0  # whole quarter turns of the camera, counter-clockwise
    crop: float = 0.0  # how far inside its outer lines the picture ends, photo px
    rotation: float = 0.8  # largest turn of the page, degrees
    rotation_least: float = 0.0  # smallest turn of the page, degrees
    perspective: float = 0.012  # largest shift of a table corner, share of the table's width
    curl: float = 5.0  # largest bow of a line, photo px
    shadow: float = 0.16  # depth of the soft shadows, share of the light
    half_shadow: float = 0.0  # depth of a shadow with an edge over half of the picture, share of the light
    cast: float = 1.0  # colour cast of light and paper; 0 is neutral grey
    texture: float = 1.0  # grain, creases and pressure dents of the paper
    bleed: float = 0.10  # contrast of the back page's ink showing through, share of ink's own
    line_fade: float = 0.0  # how far the printed lines are faded, 0 to 1
    noise: float = 1.2  # sensor noise, standard deviation in grey levels
    jpeg_quality: int = 88
    two_level: bool = False  # a scanner that knows black and white only

    def __post_init__(self):
        lowest, highest = self.table_width
        rules = {
            "people": (self.people >= 1, "at least 1"),
            "per_person": (1 <= self.per_person <= 12, "between 1 and 12"),
            "rows_per_sheet": (1 <= self.rows_per_sheet <= 40, "between 1 and 40"),
            "seed": (self.seed >= 0, "0 or more"),
            "first_id": (self.first_id >= 0, "0 or more"),
            "variation": (0 <= self.variation <= 5, "between 0 and 5"),
            "table_width": (100 <= lowest <= highest <= 8000, "an increasing pair between 100 and 8000"),
            "tight_share": (0 <= self.tight_share <= 1, "between 0 and 1"),
            "turn": (self.turn in (0, 1, 2, 3), "0, 1, 2 or 3"),
            "crop": (0 <= self.crop <= 60, "between 0 and 60 px"),
            "rotation": (0 <= self.rotation <= 45, "between 0 and 45 degrees"),
            "rotation_least": (0 <= self.rotation_least <= self.rotation, "between 0 and rotation"),
            "perspective": (0 <= self.perspective <= 0.2, "between 0 and 0.2"),
            "curl": (0 <= self.curl <= 40, "between 0 and 40 px"),
            "shadow": (0 <= self.shadow < 1, "between 0 and 1"),
            "half_shadow": (0 <= self.half_shadow < 1, "between 0 and 1"),
            "cast": (0 <= self.cast <= 4, "between 0 and 4"),
            "texture": (0 <= self.texture <= 10, "between 0 and 10"),
            "bleed": (0 <= self.bleed <= 1, "between 0 and 1"),
            "line_fade": (0 <= self.line_fade <= 1, "between 0 and 1"),
            "noise": (0 <= self.noise <= 50, "between 0 and 50 grey levels"),
            "jpeg_quality": (1 <= self.jpeg_quality <= 100, "between 1 and 100"),
        }
        for name, (holds, words) in rules.items():
            if not holds:
                raise ValueError(f"SynthesisConfig: {name}={getattr(self, name)!r} must be {words}")

    @property
    def n_sheets(self) -> int:
        """Number of photographs."""
        return -(-self.people // self.rows_per_sheet)

    def ids(self, sheet: int) -> list[int]:
        """Person IDs of sheet number `sheet` (from 0), top to bottom."""
        first = sheet * self.rows_per_sheet
        return [self.first_id + k for k in range(first, min(first + self.rows_per_sheet, self.people))]

    def stream(self, kind: str, *key: int) -> np.random.Generator:
        """Random stream of one thing, ``"writer"``, ``"signature"`` or ``"sheet"``, whatever else is drawn.

        A person's streams hang on the seed and the ID alone, so person 37 is the same in a class of 40 as in
        one of 400.
        """
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(_STREAMS[kind], *key)))
