"""Scores of generated signatures, each beside what genuine ones get.

`questions.evaluate` judges models by three questions (``docs/protocol.md``); the other modules hold its parts.
"""

from .distances import compare, frechet_distance, top1_leave_one_out
from .features import FeatureExtractor, SignatureExtractor, find_weights
from .realism import compare_collections, spread_of_people
from .reconstruction import ink_f1, reconstruction_baselines, score_reconstruction, squared_error
from .seen import Eye
from .spectrum import radial_spectrum
from .strokes import STROKE_NAMES, compare_strokes, stroke_statistics
from .verification import equal_error_rate, verification

__all__ = [
    "STROKE_NAMES",
    "Eye",
    "FeatureExtractor",
    "SignatureExtractor",
    "compare",
    "compare_collections",
    "compare_strokes",
    "equal_error_rate",
    "find_weights",
    "frechet_distance",
    "ink_f1",
    "radial_spectrum",
    "reconstruction_baselines",
    "score_reconstruction",
    "spread_of_people",
    "squared_error",
    "stroke_statistics",
    "top1_leave_one_out",
    "verification",
]
