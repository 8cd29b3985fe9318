"""Holding out training images as a validation split, for layouts without one."""

import random
from dataclasses import replace

from loco_tools.datasets.sample import DatasetClass, Sample
from loco_tools.errors import DatasetError


def hold_out_validation(dataset: DatasetClass, share: float = 0.1, seed: int = 0) -> DatasetClass:
    """Move a share of the good training images to validation, the same ones at every call.

    Where parts are known, all images of a part are moved together. At least one part (or image) is
    moved and at least one stays. The split of the moved samples becomes "validation".

    Args:
        dataset: the class; it is returned unchanged if it has a validation split.
        share: share of the parts (or images) to move, between 0 and 1.
        seed: random seed of the choice.

    Raises:
        DatasetError: there are fewer than two parts (or images).
    """
    if not 0 < share < 1:
        raise ValueError(f"expected a share between 0 and 1, got {share}")
    if dataset.validation:
        return dataset
    groups: dict[str, list[Sample]] = {}
    for sample in dataset.train:
        groups.setdefault(
            f"image {sample.id}" if sample.part is None else f"part {sample.part}", []
        ).append(sample)
    if len(groups) < 2:
        raise DatasetError(
            f"{dataset.path}: expected at least 2 training images (of different parts) to hold "
            f"some out for validation, got {len(groups)}; next step: add images to train/good or "
            "validation/good"
        )
    count = min(max(1, round(share * len(groups))), len(groups) - 1)
    chosen = set(random.Random(seed).sample(sorted(groups), count))
    held = {sample for name in chosen for sample in groups[name]}
    return replace(
        dataset,
        train=tuple(sample for sample in dataset.train if sample not in held),
        validation=tuple(replace(s, split="validation") for s in dataset.train if s in held),
    )
