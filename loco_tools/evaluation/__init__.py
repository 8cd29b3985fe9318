"""Evaluation of the anomaly maps of a class, from a folder or from memory.

`map_evaluation` reads maps and distributes them over processes, `evaluator` and `counts` reduce
each map to counts, and `evaluation` computes the metrics from the counts. `metric_table` lists all
metrics; `thresholds`, `parts` and `intervals` each compute one group of them.
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
