"""The table of metrics: how each is called, what it means, and how it is computed.

A metric is added in three places: its function in `loco_tools.metrics`, one entry of `METRICS`, and
its test. Evaluations, the records of benchmark cells, results.csv, the tables of the terminal and
the report's glossary all read this table.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loco_tools.metrics import roc
from loco_tools.metrics.roc import Ranking

EvaluationRecord = Mapping[str, Any]
"""The content of `Evaluation.metrics`, as `loco-tools evaluate --json` writes it."""


@dataclass(frozen=True)
class Metric:
    """One metric of a class of images; exactly one of the three functions is given.

    Attributes:
        name: what code calls it.
        title: what tables and reports call it.
        meaning: one or two sentences for readers of a report.
        guess: the expected value for random scores; None where it depends on the data.
        of_images: computes it from the image scores, good against all anomalous images.
        of_pixels: computes it from all pixels, defect-free against defective ones.
        of_evaluation: reads it from the other entries of an evaluation.
        question: what a headline metric answers; empty for the others.
        in_results: whether results.csv and the records of benchmark cells hold it.
    """

    name: str
    title: str
    meaning: str
    guess: float | None = None
    of_images: Callable[[Ranking], float] | None = None
    of_pixels: Callable[[Ranking], float] | None = None
    of_evaluation: Callable[[EvaluationRecord], float | None] | None = None
    question: str = ""
    in_results: bool = True

    @property
    def evaluation_key(self) -> str:
        """The key under "classification" or "localization" of an evaluation."""
        return _EVALUATION_KEYS.get(self.name, self.name)

    @property
    def cell_key(self) -> str:
        """The key under "figures" of a cell's result.json."""
        return _CELL_KEYS.get(self.name, self.name)

    @property
    def column(self) -> str:
        """The column of results.csv."""
        return _COLUMNS.get(self.name, self.name)

    def read(self, evaluation: EvaluationRecord) -> float | None:
        """The metric out of an evaluation; None where it does not apply to the class."""
        if self.of_evaluation is not None:
            return self.of_evaluation(evaluation)
        section = "localization" if self.of_images is None else "classification"
        value: float | None = evaluation.get(section, {}).get(self.evaluation_key)
        return value


# Files of earlier versions store these metrics under other names.
_EVALUATION_KEYS = {"image_average_precision": "average_precision", "image_f1_max": "f1_max"}
_CELL_KEYS = {"image_average_precision": "image_ap", "pixel_average_precision": "pixel_ap"}
_COLUMNS = {"au_pro": "au_pro_0.3", "au_spro": "au_spro_0.05"}


def _image_auroc(evaluation: EvaluationRecord, kind: str) -> float | None:
    """The official AUROC of one kind; MVTec AD's only kind is called "all" and is structural."""
    aurocs = evaluation.get("classification", {}).get("auc_roc", {})
    value: float | None = aurocs.get(f"{kind}_anomalies")
    return aurocs.get("all") if value is None and kind == "structural" else value


def _image_auroc_mean(evaluation: EvaluationRecord) -> float | None:
    official = evaluation.get("classification", {}).get("auc_roc", {}).get("mean")
    kinds = [_image_auroc(evaluation, kind) for kind in ("logical", "structural")]
    return _mean_over_kinds(official, kinds)


def _au_spro(evaluation: EvaluationRecord) -> float | None:
    by_kind = evaluation.get("localization", {}).get("auc_spro", {})
    areas = {kind: by_limit.get("0.05") for kind, by_limit in by_kind.items()}
    kinds = [areas.get(f"{kind}_anomalies") for kind in ("logical", "structural")]
    return _mean_over_kinds(areas.get("mean"), kinds)


def _mean_over_kinds(official: float | None, kinds: Sequence[float | None]) -> float | None:
    """The official mean, or else that of the kinds: a class with one kind has no official mean."""
    known = [value for value in kinds if value is not None]
    return official if official is not None or not known else sum(known) / len(known)


_ENTRIES = (
    Metric(
        "image_auroc_mean",
        "image AUROC",
        "The probability that a defective image gets a higher score than a good one, averaged over "
        "logical and structural anomalies. 0.5 is guessing, 1 is perfect.",
        0.5,
        of_evaluation=_image_auroc_mean,
        question="Is the part defective?",
    ),
    Metric(
        "image_auroc_logical",
        "AUROC logical",
        "Image AUROC of logical anomalies against good images.",
        0.5,
        of_evaluation=lambda evaluation: _image_auroc(evaluation, "logical"),
    ),
    Metric(
        "image_auroc_structural",
        "AUROC structural",
        "Image AUROC of structural anomalies against good images.",
        0.5,
        of_evaluation=lambda evaluation: _image_auroc(evaluation, "structural"),
    ),
    Metric(
        "image_auroc_pooled",
        "AUROC pooled",
        "Image AUROC of all anomalies together against good images.",
        0.5,
        of_evaluation=lambda evaluation: evaluation.get("classification", {}).get("auc_roc_pooled"),
    ),
    Metric(
        "pixel_auroc",
        "pixel AUROC",
        "The probability that a defective pixel scores higher than a defect-free one. Large "
        "defects dominate it, so it flatters; read it together with AU-sPRO or AU-PRO.",
        0.5,
        of_pixels=roc.auroc,
    ),
    Metric(
        "au_pro",
        "AU-PRO 0.3",
        "The share of each defective region that the map covers, while at most 30 % of the "
        "defect-free area is marked by mistake. 0.15 is guessing, 1 is perfect. The headline "
        "metric of MVTec AD.",
        0.15,
        of_evaluation=lambda e: e.get("localization", {}).get("au_pro", {}).get("0.3"),
        question="Where is the defect?",
    ),
    Metric(
        "au_spro",
        "AU-sPRO 0.05",
        "The share of each defect that the map covers, while at most 5 % of the defect-free area "
        "is marked by mistake. A defect counts as found once its saturation area is covered. 0.025 "
        "is guessing, 1 is perfect. The headline metric of MVTec LOCO AD.",
        0.025,
        of_evaluation=_au_spro,
        question="Where is the defect?",
    ),
    Metric(
        "image_average_precision",
        "image AP",
        "Average precision, the area under the precision-recall curve (AU-PR): precision averaged "
        "over recall, for images. Guessing gives the share of anomalous images, so it cannot be "
        "compared between classes.",
        of_images=roc.average_precision,
    ),
    Metric(
        "pixel_average_precision",
        "pixel AP",
        "Average precision over pixels. Guessing gives the share of defective pixels.",
        of_pixels=roc.average_precision,
    ),
    Metric(
        "image_f1_max",
        "best image F1 (oracle threshold)",
        "The best F1 score of images over all thresholds; no threshold chosen in advance reaches "
        "more.",
        of_images=roc.f1_max,
        in_results=False,
    ),
    Metric(
        "pixel_f1_max",
        "best pixel F1 (oracle threshold)",
        "The best F1 score of pixels over all thresholds; no threshold chosen in advance reaches "
        "more.",
        of_pixels=roc.f1_max,
        in_results=False,
    ),
    Metric(
        "pixel_iou_max",
        "best pixel IoU (oracle threshold)",
        "The best intersection over union over all thresholds; no threshold chosen in advance "
        "reaches more.",
        of_pixels=roc.iou_max,
        in_results=False,
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ENTRIES}
"""Every metric by its name, in the order of the columns of results.csv."""

HEADLINES = tuple(METRICS[name] for name in ("image_auroc_mean", "au_spro", "au_pro"))
"""The metrics that methods are compared on."""


def result_metrics() -> list[Metric]:
    """The metrics that results.csv and the records of benchmark cells hold."""
    return [metric for metric in METRICS.values() if metric.in_results]


def metrics_by_cell_key(evaluation: EvaluationRecord) -> dict[str, float | None]:
    """The metrics of an evaluation under the keys of a cell's result.json; None where one is not.

    >>> metrics_by_cell_key({"classification": {"auc_roc": {"all": 0.9}}})["image_auroc_mean"]
    0.9
    """
    return {metric.cell_key: metric.read(evaluation) for metric in result_metrics()}
