"""Scores of generated signatures, each beside what genuine ones get.

`questions.evaluate` judges models by three questions (``docs/protocol.md``); the other modules hold its parts.
"""

from .distances import frechet_distance, kernel_distance, prdc, real_floor, top1_leave_one_out
from .features import EfficientNetLite0, FeatureExtractor, SignatureExtractor, find_weights
from .inception import InceptionUnavailable, inception_networks, inception_scores
from .realism import compare_collections, spread_of_people
from .reconstruction import ink_f1, reconstruction_baselines, score_reconstruction, squared_error
from .seen import Eye
from .spectrum import radial_spectrum
from .strokes import STROKE_NAMES, compare_strokes, stroke_statistics
from .verification import equal_error_rate, verification

__all__ = [
    "STROKE_NAMES",
    "EfficientNetLite0",
    "Eye",
    "FeatureExtractor",
    "InceptionUnavailable",
    "SignatureExtractor",
    "compare_collections",
    "compare_strokes",
    "equal_error_rate",
    "find_weights",
    "frechet_distance",
    "inception_networks",
    "inception_scores",
    "ink_f1",
    "kernel_distance",
    "prdc",
    "radial_spectrum",
    "real_floor",
    "reconstruction_baselines",
    "score_reconstruction",
    "spread_of_people",
    "squared_error",
    "stroke_statistics",
    "top1_leave_one_out",
    "verification",
]
