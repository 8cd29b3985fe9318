"""Evaluating the anomaly maps of a class: from a folder, or from whatever else holds them.

`maps` reads and hands out, `evaluator` counts, `figures` turns counts into figures; `thresholds`,
`parts` and `intervals` each hold one group of figures.
"""

from loco_tools.evaluation.evaluation import Evaluation
from loco_tools.evaluation.evaluator import AnomalyMap, Evaluator, Settings, sample_key
from loco_tools.evaluation.map_evaluation import evaluate_folder, evaluate_maps
from loco_tools.evaluation.thresholds import ValidationMaps

__all__ = [
    "AnomalyMap",
    "Evaluation",
    "Evaluator",
    "Settings",
    "ValidationMaps",
    "evaluate_folder",
    "evaluate_maps",
    "sample_key",
]
