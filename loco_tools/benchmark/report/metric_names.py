"""The figures that the report is about: their names, meanings, and what guessing earns."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shown:
    """A field of `Figures` as the report shows it; `guess` is what scores at random earn."""

    field: str
    name: str
    question: str
    meaning: str
    guess: float | None


HEADLINES = (
    Shown(
        "image_auroc_mean",
        "image AUROC",
        "Is the part defective?",
        "The chance that a defective image gets a higher score than a good one, the mean over "
        "logical and structural anomalies. 0.5 is guessing, 1 is perfect.",
        0.5,
    ),
    Shown(
        "au_spro",
        "AU-sPRO 0.05",
        "Where is the defect?",
        "How much of each defect is covered by the map, while at most 5 % of the defect-free area "
        "lights up by mistake. A defect counts as found once its saturation area is covered. 0.025 "
        "is guessing, 1 is perfect. The headline figure of MVTec LOCO AD.",
        0.025,
    ),
    Shown(
        "au_pro",
        "AU-PRO 0.3",
        "Where is the defect?",
        "How much of each defective region is covered by the map, while at most 30 % of the "
        "defect-free area lights up by mistake. 0.15 is guessing, 1 is perfect. The headline "
        "figure of MVTec AD.",
        0.15,
    ),
)
"""What methods are compared on, and what is tested for chance."""

MORE = (
    Shown(
        "image_auroc_logical",
        "AUROC logical",
        "",
        "Image AUROC of logical anomalies against good images.",
        0.5,
    ),
    Shown(
        "image_auroc_structural",
        "AUROC structural",
        "",
        "Image AUROC of structural anomalies against good images.",
        0.5,
    ),
    Shown(
        "image_ap",
        "image AP",
        "",
        "Average precision, the area under the precision-recall curve (AU-PR): the precision of "
        "the alarms, averaged over how many of the anomalies are found. Guessing earns the share "
        "of anomalous images, so it cannot be compared between classes.",
        None,
    ),
    Shown(
        "pixel_auroc",
        "pixel AUROC",
        "",
        "The chance that a defective pixel scores higher than a defect-free one. Large defects "
        "dominate it, so it flatters; read it beside the coverage figures.",
        0.5,
    ),
    Shown(
        "pixel_ap",
        "pixel AP",
        "",
        "Average precision over pixels. Guessing earns the share of defective pixels.",
        None,
    ),
)
"""What stands beside them."""

BY_FIELD = {shown.field: shown for shown in (*HEADLINES, *MORE)}
