import numpy as np
import pytest

from loco_tools.metrics import ranks

stats = pytest.importorskip("scipy.stats")


def test_friedman_without_ties_is_that_of_scipy() -> None:
    figures = np.random.default_rng(3).normal(size=(9, 5))
    assert ranks.friedman(figures).chi_square == pytest.approx(
        stats.friedmanchisquare(*figures.T).statistic
    )


def test_data_sets_that_all_agree_give_a_p_value_of_0() -> None:
    found = ranks.friedman([[3, 2, 1]] * 4)
    assert found.chi_square == pytest.approx(8)
    assert found.p == 0.0


@pytest.mark.parametrize("shape", [(1, 3), (5, 2)])
def test_too_little_to_rank_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="2 data sets and 3 methods or more"):
        ranks.friedman(np.zeros(shape))


def test_critical_differences_use_the_published_quantiles() -> None:
    published = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 10: 3.164}
    for methods, q in published.items():
        expected = q * np.sqrt(methods * (methods + 1) / 60)
        assert ranks.critical_difference(methods, 10) == pytest.approx(expected, rel=5e-4)


def test_the_signed_rank_test_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for count in range(1, 21):
        for shift in (0.0, 0.5, 2.0):
            values = rng.normal(shift, 1, count)
            expected = stats.wilcoxon(values, method="exact").pvalue
            assert ranks.signed_rank_p(values) == pytest.approx(expected)


def test_ties_and_zeros_are_counted_over_all_signs() -> None:
    values = np.array([1.0, 1.0, -1.0, 2.0, 0.0, 3.0])
    kept = values[values != 0]
    places = stats.rankdata(np.abs(kept))
    signs = np.array(np.meshgrid(*[[0, 1]] * kept.size)).reshape(kept.size, -1)
    sums = places @ signs
    seen = min(places[kept > 0].sum(), places[kept < 0].sum())
    assert ranks.signed_rank_p(values) == pytest.approx(2 * np.mean(sums <= seen))
    assert ranks.signed_rank_p([0.0, 0.0]) == 1.0


def test_holm_multiplies_the_smallest_most_and_never_falls() -> None:
    assert ranks.holm([0.04, 0.001, 0.03]) == pytest.approx([0.06, 0.003, 0.06])
    assert ranks.holm([]) == []
    assert ranks.holm([0.9, 0.8]) == [1.0, 1.0]


def test_groups_are_as_large_as_they_can_be_and_none_lies_in_another() -> None:
    assert ranks.indistinct_groups([1, 1.2, 1.4, 3, 3.1], 0.5) == [(0, 2), (3, 4)]
    assert ranks.indistinct_groups([1, 2, 3], 5.0) == [(0, 2)]
    assert ranks.indistinct_groups([1, 2, 3], 0.5) == []
