"""Ensembles that combine the scores and anomaly maps of their members.

To add a combiner, write its class in `combiners` or `learned_combiners`, its line in `COMBINERS`
and its test. The first line of the class's docstring is its description.
"""

from loco_tools.ensembles.output_level.calibrators import calibrator_class
from loco_tools.ensembles.output_level.combiners import (
    Cawpe,
    Combiner,
    Maximum,
    Mean,
    Median,
    RankMean,
    Vote,
    WeightedMean,
)
from loco_tools.ensembles.output_level.learned_combiners import Boost, Forest, Stack
from loco_tools.errors import MethodError, did_you_mean

COMBINERS: dict[str, type[Combiner]] = {
    "mean": Mean,
    "weighted": WeightedMean,
    "max": Maximum,
    "median": Median,
    "vote": Vote,
    "rank": RankMean,
    "stack": Stack,
    "forest": Forest,
    "boost": Boost,
    "cawpe": Cawpe,
}
"""Combiners by the name that settings use."""


def combiner_class(name: str) -> type[Combiner]:
    """The class of a name in `COMBINERS`; MethodError with the nearest name when unknown."""
    if name not in COMBINERS:
        raise MethodError(f'unknown combiner "{name}"; {did_you_mean(name, COMBINERS)}')
    return COMBINERS[name]


def gives_probabilities(calibrator: str, combiner: str) -> bool:
    """Whether the scores of a combiner after a calibrator are probabilities of an anomaly."""
    implementation = combiner_class(combiner)
    return implementation.gives_probabilities or (
        implementation.keeps_probabilities and calibrator_class(calibrator).needs_anomalies
    )
