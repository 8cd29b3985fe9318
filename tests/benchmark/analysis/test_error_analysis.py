from pathlib import Path

import numpy as np
import pytest
from finished_runs import make_run

from loco_tools.benchmark.analysis import error_analysis
from loco_tools.benchmark.analysis.error_analysis import analyse_errors
from loco_tools.errors import BenchmarkError

GOOD, BAD = [0.1] * 8, [2.0] * 8
"""Below and above the threshold of 0.95 that `finished_runs.VALIDATION` gives."""


def scores(alarms: tuple[int, ...] = (), misses: tuple[int, ...] = ()) -> list[float]:
    """Of 8 good and 8 defective images; those named are wrong."""
    good = [2.0 if i in alarms else 0.1 for i in range(8)]
    return good + [0.1 if i in misses else 2.0 for i in range(8)]


def test_errors_are_those_at_the_threshold_of_validation_images(tmp_path: Path) -> None:
    data = make_run(
        tmp_path,
        [
            {"method": "a", "scores": scores(alarms=(0,), misses=(0, 1))},
            {"method": "b", "scores": scores(alarms=(0, 1), misses=(1,))},
        ],
    )
    found = analyse_errors(data, data.classes[0])
    assert found is not None
    assert [round(one.threshold, 6) for one in found.decisions] == [0.95, 0.95]
    assert np.flatnonzero(found.wrong[0]).tolist() == [0, 8, 9]
    assert np.flatnonzero(found.wrong[1]).tolist() == [0, 1, 9]
    assert found.hardest()[:2] == [0, 9], "those that both are wrong about come first"
    assert found.overlap() == pytest.approx(np.array([[1, 2 / 4], [2 / 4, 1]]))
    assert list(error_analysis.methods_wrong(found, 8)) == ["a"]


def test_what_errors_share_is_counted_per_kind_and_size(tmp_path: Path) -> None:
    data = make_run(tmp_path, [{"method": "a", "scores": scores(misses=(0, 1, 4))}])
    found = analyse_errors(data, data.classes[0])
    assert found is not None
    sizes = {error_analysis.key_of(found.images[8 + i]): 0.01 * (i + 1) for i in range(8)}
    groups = found.groups(sizes)
    shares = {
        name.split(" (")[0]: share[0]
        for name, share in error_analysis.shares_wrong(found.wrong, groups).items()
    }
    assert shares["all good"] == 0
    assert shares["all logical"] == pytest.approx(2 / 4)
    assert shares["all structural"] == pytest.approx(1 / 4)
    assert [int(members.sum()) for name, members in groups.items() if " of the image" in name] == [
        *(3, 2, 3)
    ]
    assert shares["small"] == pytest.approx(2 / 3)
    assert shares["large"] == 0
    assert not any("of the image" in name for name in found.groups({}))


def test_methods_without_any_error_have_no_overlap(tmp_path: Path) -> None:
    data = make_run(
        tmp_path, [{"method": "a", "scores": scores()}, {"method": "b", "scores": scores()}]
    )
    found = analyse_errors(data, data.classes[0])
    assert found is not None
    assert np.isnan(found.overlap()).all()
    assert found.hardest() == []


def test_without_validation_scores_there_is_nothing_to_say(tmp_path: Path) -> None:
    data = make_run(tmp_path, [{"method": "a", "scores": GOOD + BAD, "validation": None}])
    assert analyse_errors(data, data.classes[0]) is None


def test_scores_of_other_images_are_refused(tmp_path: Path) -> None:
    data = make_run(tmp_path, [{"method": name, "scores": GOOD + BAD} for name in ("a", "b")])
    path = tmp_path / "cells" / "b" / "plate" / "0" / "scores.csv"
    path.write_text(path.read_text().replace("000,good", "999,good"))
    with pytest.raises(BenchmarkError, match="same test images as of the other methods"):
        analyse_errors(data, data.classes[0])
