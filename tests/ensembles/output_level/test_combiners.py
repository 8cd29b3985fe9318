import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import expit

from loco_tools.ensembles import create_ensemble
from loco_tools.ensembles.output_level import COMBINERS, combiner_class, gives_probabilities
from loco_tools.ensembles.output_level.combiners import (
    Cawpe,
    Combiner,
    RankMean,
    Vote,
    WeightedMean,
    cross_validated_accuracy,
    squashed_mean,
)
from loco_tools.ensembles.output_level.learned_combiners import (
    Boost,
    Forest,
    Stack,
    leaf_values,
    tree_arrays,
)
from loco_tools.ensembles.output_level.logistic import fit_logistic, labelled
from loco_tools.errors import MethodError
from loco_tools.methods import create
from loco_tools.methods.backbones import named_backbone

Scores = npt.NDArray[np.float64]
SHIFTS = (3.0, 1.5, 0.0)


def make_scores(seed: int = 0, good: int = 60, anomalous: int = 50) -> tuple[Scores, Scores]:
    """Scores of three members: a good one, a fair one, and one at chance."""
    draw = np.random.default_rng(seed)
    return draw.normal(0, 1, (good, 3)), draw.normal(SHIFTS, 1, (anomalous, 3))


def fitted(name: str, seed: int = 0) -> Combiner:
    return combiner_class(name)().fit(*make_scores(seed))


@pytest.mark.parametrize("name", COMBINERS)
def test_the_members_are_the_last_axis_of_any_shape(name: str) -> None:
    scores = np.random.default_rng(1).normal(0, 2, (2, 4, 5, 3))
    combiner = fitted(name)
    together = combiner.combine(scores)
    assert together.shape == (2, 4, 5)
    np.testing.assert_allclose(together[1, 2], combiner.combine(scores[1, 2]))


@pytest.mark.parametrize("name", [name for name in COMBINERS if name != "boost"])
@pytest.mark.parametrize("seed", range(3))
def test_a_higher_score_of_a_member_never_lowers_the_combined_score(name: str, seed: int) -> None:
    combiner = fitted(name, seed)
    scores = np.random.default_rng(seed).normal(0, 3, (200, 3))
    for member in range(3):
        raised = scores.copy()
        raised[:, member] += 1.5
        for combine in (combiner.combine, combiner.margin):
            assert (combine(raised) >= combine(scores) - 1e-12).all()


@pytest.mark.parametrize("name", COMBINERS)
def test_a_combiner_is_restored_from_its_state(name: str) -> None:
    combiner = fitted(name)
    assert all(isinstance(value, np.ndarray) for value in combiner.state.values())
    scores = np.random.default_rng(2).normal(0, 2, (30, 3))
    again = combiner_class(name)(combiner.state)
    np.testing.assert_array_equal(again.combine(scores), combiner.combine(scores))
    np.testing.assert_array_equal(again.margin(scores), combiner.margin(scores))


@pytest.mark.parametrize("name", [n for n, c in COMBINERS.items() if c.needs_anomalies])
def test_combiners_fitted_to_anomalies_separate_better_than_the_mean(name: str) -> None:
    from sklearn.metrics import roc_auc_score

    good, anomalous = make_scores(9, 2000, 2000)
    labels = np.repeat([0, 1], 2000)
    rows = np.concatenate([good, anomalous])
    combiner = combiner_class(name)().fit(*make_scores(0, 400, 400))
    area = roc_auc_score(labels, combiner.combine(rows))
    assert area > roc_auc_score(labels, rows.mean(axis=1))


@pytest.mark.parametrize("name", [n for n, c in COMBINERS.items() if c.needs_anomalies])
def test_missing_anomalous_scores_are_an_error(name: str) -> None:
    with pytest.raises(MethodError, match=r"expected anomalous scores \(N, members\)"):
        combiner_class(name)().fit([[1.0, 2.0]])


def test_mean_median_and_maximum_by_hand() -> None:
    row = np.array([[1.0, 2.0, 9.0]])
    got = {name: fitted(name).combine(row).tolist() for name in ("mean", "median", "max")}
    assert got == {"mean": [4], "median": [2], "max": [9]}


def test_votes_count_more_than_the_mean_score() -> None:
    vote = Vote(vote_quantile=0.5).fit([[0.0, 0.0], [2.0, 2.0]])  # thresholds 1 and 1
    scores = np.array([[1.1, 1.1], [900.0, 1.0], [2.0, 1.0], [1.0, 0.9], [-900.0, 0.0]])
    got = vote.combine(scores)
    assert (got * 3).astype(int).tolist() == [2, 1, 1, 0, 0]
    assert (np.diff(got) < 0).all()  # the mean score breaks ties


def test_ranks_are_those_among_good_scores_and_do_not_tie_above_them() -> None:
    ranks = RankMean().fit([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    got = ranks.combine(np.array([[0.0, 5.0], [2.5, 15.0], [4.0, 31.0], [5.0, 31.0]]))
    assert (got * 7).astype(int).tolist() == [0, 3, 6, 6]
    assert (np.diff(got) > 0).all()


def test_ranks_among_many_good_patches_are_computed_from_quantiles() -> None:
    ranks = RankMean().fit(np.arange(50_000.0)[:, None])
    assert len(ranks.state["good"]) == 1000
    assert ranks.combine(np.array([[25_000.0]])) == pytest.approx(0.5, abs=2e-3)


def test_weights_are_the_normal_deviates_of_the_areas_but_for_the_shrinkage() -> None:
    good, anomalous = make_scores(good=4000, anomalous=4000)
    weights = WeightedMean().fit(good, anomalous).state["weights"]
    # An AUROC is Phi(shift / sqrt 2), so that weights go as the shifts: 2 to 1 to nothing.
    assert weights.tolist() == pytest.approx([2 / 3, 1 / 3, 0], abs=0.03)


def test_few_images_leave_the_weights_near_equal() -> None:
    good, anomalous = make_scores(good=2, anomalous=2)
    weights = WeightedMean().fit(good, anomalous + 5).state["weights"]
    assert weights.tolist() == pytest.approx([1 / 3] * 3, abs=0.1)


def test_members_that_are_all_below_chance_weigh_the_same() -> None:
    good, _ = make_scores()
    assert WeightedMean().fit(good, good - 1).state["weights"].tolist() == pytest.approx(
        [1 / 3] * 3
    )


def test_cawpe_weights_by_the_fourth_power_of_the_accuracy() -> None:
    good = np.array([[0.0, 0.0]] * 20)
    anomalous = np.array([[1.0, 0.0]] * 20)
    weights = Cawpe().fit(good, anomalous).state["weights"]
    assert weights.tolist() == pytest.approx([1 / (1 + 0.5**4), 0.5**4 / (1 + 0.5**4)])
    assert Cawpe(alpha=0).fit(good, anomalous).state["weights"].tolist() == [0.5, 0.5]


def test_the_accuracy_is_that_of_the_best_threshold_on_the_other_folds() -> None:
    draw = np.random.default_rng(0)
    good, anomalous = draw.normal(0, 1, 3000), draw.normal(2, 1, 3000)
    assert cross_validated_accuracy(good, anomalous) == pytest.approx(0.841, abs=0.015)
    assert cross_validated_accuracy(good[:1], anomalous[:1]) in (0, 1)


def test_stacking_is_scikit_learns_regression_where_no_weight_would_be_negative() -> None:
    from sklearn.linear_model import LogisticRegression

    good, anomalous = make_scores(good=50, anomalous=50)
    good, anomalous = good[:, :2], anomalous[:, :2]
    rows, targets, _ = labelled(good, anomalous)
    standardised = (rows - rows.mean(axis=0)) / good.std(axis=0)
    exact = LogisticRegression(C=1, tol=1e-8).fit(standardised, targets)
    stack = Stack().fit(good, anomalous)
    np.testing.assert_allclose(
        stack.combine(rows), exact.predict_proba(standardised)[:, 1], atol=2e-3
    )


def test_an_anomaly_far_away_does_not_blur_the_border_of_the_rest() -> None:
    good, anomalous = make_scores()
    plain = Stack().fit(good, anomalous).state["weights"]
    far = Stack().fit(good, np.concatenate([anomalous, [[5000.0, 5000, 5000]]])).state["weights"]
    np.testing.assert_allclose(far, plain, atol=0.05)


def test_stacking_gives_a_member_with_reversed_scores_almost_no_weight() -> None:
    good, anomalous = make_scores()
    stack = Stack().fit(good * [1, -1, 1], anomalous * [1, -1, 1])
    assert 0 < stack.state["weights"][1] < 0.002
    assert stack.state["weights"][0] > 0.3


def test_the_stacks_margin_does_not_saturate_where_its_probability_does() -> None:
    far = np.array([[1e3, 0, 0], [2e3, 0, 0]])
    stack = fitted("stack")
    assert stack.combine(far).tolist() == [1, 1]
    margins = stack.margin(far)
    assert margins[1] > margins[0]
    assert expit(stack.margin(far[:, ::-1])) == pytest.approx(stack.combine(far[:, ::-1]))


def test_trees_as_arrays_predict_like_those_of_scikit_learn() -> None:
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier

    rows, targets, weights = labelled(*make_scores())
    unseen = np.random.default_rng(5).normal(0, 3, (500, 3))
    forest = RandomForestClassifier(30, random_state=0).fit(rows, targets, sample_weight=weights)
    votes = leaf_values(tree_arrays(forest.estimators_), unseen).mean(axis=1)
    np.testing.assert_allclose(votes, forest.predict_proba(unseen)[:, 1], atol=1e-12)
    boost = GradientBoostingClassifier(n_estimators=30, init="zero", random_state=0)
    boost.fit(rows, targets)
    steps = leaf_values(tree_arrays([tree for (tree,) in boost.estimators_]), unseen)
    np.testing.assert_allclose(
        expit(0.1 * steps.sum(axis=1)), boost.predict_proba(unseen)[:, 1], atol=1e-12
    )


def test_the_forest_is_scikit_learns_with_the_settings_it_states() -> None:
    from sklearn.ensemble import RandomForestClassifier

    good, anomalous = make_scores()
    rows, targets, weights = labelled(good, anomalous)
    exact = RandomForestClassifier(
        200, max_depth=4, min_samples_leaf=3, monotonic_cst=[1, 1, 1], random_state=3
    ).fit(rows, targets, sample_weight=weights)
    unseen = np.random.default_rng(5).normal(0, 3, (100, 3))
    votes = 200 * exact.predict_proba(unseen)[:, 1] + squashed_mean(unseen)
    np.testing.assert_allclose(
        Forest(seed=3).fit(good, anomalous).combine(unseen), votes / 201, atol=1e-12
    )


@pytest.mark.parametrize("name", ["forest", "boost"])
def test_scores_beyond_the_last_split_do_not_tie(name: str) -> None:
    far = np.array([[9.0, 9.0, 9.0], [10.0, 9.0, 9.0], [100.0, 90.0, 90.0]])
    assert (np.diff(fitted(name).combine(far)) > 0).all()


@pytest.mark.parametrize("combiner", [Forest, Boost, Stack])
def test_many_copies_of_the_anomalies_do_not_make_anomalies_likelier(
    combiner: type[Combiner],
) -> None:
    good, anomalous = make_scores(good=400, anomalous=400)
    rows = np.concatenate([good, anomalous])
    once = combiner().fit(good, anomalous).combine(rows)
    often = combiner().fit(good, np.tile(anomalous, (5, 1))).combine(rows)
    assert often.mean() == pytest.approx(once.mean(), abs=0.03)


def test_weights_may_not_go_below_their_bound() -> None:
    rows = np.array([[0.0], [1.0]])
    slope, _ = fit_logistic(rows, np.array([1.0, 0.0]), np.ones(2), lowest=0.25)
    assert slope.tolist() == [0.25]


def test_the_normal_deviate_of_a_perfect_area_is_bounded() -> None:
    weights = WeightedMean().fit([[0.0, 0.0]] * 30, [[1.0, -1.0]] * 30).state["weights"]
    assert weights.tolist() == pytest.approx([1 - 10 / 40 / 2, 10 / 40 / 2])


def test_which_combinations_give_probabilities() -> None:
    assert not gives_probabilities("z_score", "mean")
    assert gives_probabilities("platt", "mean")
    assert gives_probabilities("z_score", "forest")
    assert gives_probabilities("platt", "cawpe")
    assert not gives_probabilities("platt", "vote")


def test_an_unknown_combiner_is_answered_with_the_nearest() -> None:
    with pytest.raises(MethodError, match='unknown combiner "medain"; did you mean "median"'):
        combiner_class("medain")


@pytest.mark.parametrize("name", COMBINERS)
def test_every_combiner_has_one_line_of_description(name: str) -> None:
    docstring = COMBINERS[name].__doc__
    assert docstring is not None
    assert docstring.partition("\n")[0].endswith((".", ")"))


class Minimum(Combiner):
    """Minimum over members."""

    keeps_probabilities = True

    def combine(self, scores: Scores) -> Scores:
        """See `Combiner.combine`."""
        return np.asarray(scores.min(axis=-1))


def test_a_new_combiner_needs_its_class_and_one_line_in_the_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(COMBINERS, "min", Minimum)
    assert fitted("min").combine(np.array([[1.0, 2.0, 9.0]])).tolist() == [1]
    members = {
        name: create("patchcore", backbone=named_backbone("scattering"), input_size_px=32)
        for name in ("first", "second")
    }
    images = list(np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3), dtype=np.uint8))
    for member in members.values():
        member.fit(images, [], seed=0)
    ensemble = create_ensemble(members, "ensemble-mean", overrides={"combiner": "min"})
    ensemble.fit(images, images, seed=0)
    assert len(list(ensemble.predict(images))) == 4
