"""Scores of generated signatures, each beside its floor: what it is between two halves of the real ones.

`FeatureExtractor` turns pictures into features, `evaluate_runs` scores models by one protocol, and `defect_panel`
shows which score sees which fault.
"""

from .defects import DEFECTS, damage, defect_panel
from .distances import (
    authenticity,
    compare,
    copying_z,
    frechet_distance,
    half_splits,
    interval,
    kernel_distance,
    nearest_train,
    prdc,
    real_floor,
    share_interval,
    top1,
    top1_leave_one_out,
)
from .features import EfficientNetLite0, FeatureExtractor, SignatureExtractor, find_weights
from .inception import InceptionUnavailable, inception_networks, inception_scores
from .protocol import (
    COPIES,
    FAR_COPIES,
    AugmentedCopies,
    Reference,
    copies,
    evaluate_runs,
    evaluate_samples,
    make_reference,
    moved_copies,
    rendered,
    score_features,
)
from .realism import compare_collections, spread_of_people
from .reconstruction import ink_f1, reconstruction_baselines, score_reconstruction, squared_error
from .spectrum import radial_spectrum
from .strokes import STROKE_NAMES, compare_strokes, stroke_statistics
from .usefulness import (
    PersonClassifier,
    acceptance,
    classification_scores,
    duplicates_study,
    enrol,
    measure_usefulness,
    verify,
)
from .verification import equal_error_rate, verification

__all__ = [
    "COPIES",
    "DEFECTS",
    "FAR_COPIES",
    "STROKE_NAMES",
    "AugmentedCopies",
    "EfficientNetLite0",
    "InceptionUnavailable",
    "PersonClassifier",
    "Reference",
    "FeatureExtractor",
    "SignatureExtractor",
    "acceptance",
    "authenticity",
    "classification_scores",
    "compare",
    "compare_collections",
    "compare_strokes",
    "copies",
    "copying_z",
    "damage",
    "defect_panel",
    "duplicates_study",
    "enrol",
    "equal_error_rate",
    "evaluate_runs",
    "evaluate_samples",
    "find_weights",
    "frechet_distance",
    "half_splits",
    "inception_networks",
    "inception_scores",
    "ink_f1",
    "interval",
    "kernel_distance",
    "make_reference",
    "measure_usefulness",
    "moved_copies",
    "nearest_train",
    "prdc",
    "radial_spectrum",
    "real_floor",
    "reconstruction_baselines",
    "rendered",
    "score_features",
    "score_reconstruction",
    "share_interval",
    "spread_of_people",
    "squared_error",
    "stroke_statistics",
    "top1",
    "top1_leave_one_out",
    "verification",
    "verify",
]
