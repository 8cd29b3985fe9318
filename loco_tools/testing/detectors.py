"""What every detector must do, as checks that need no pytest.

`check_detector` runs them on a plug-in; `tests/conformance/test_detectors.py` runs them on every
shipped detector.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import cv2
import numpy as np
import torch

from loco_tools.datasets.images import Pixels
from loco_tools.errors import MethodError
from loco_tools.methods import create, load_detector, method_class
from loco_tools.methods.backbones import named_backbone
from loco_tools.methods.batch import Batch
from loco_tools.methods.detector import Category, Detector, Prediction, SingleDetector
from loco_tools.methods.map_adapter import as_detector_class
from loco_tools.methods.plugins import register_plugin

if TYPE_CHECKING:
    from loco_tools.methods import MapDetector

SIZE = (64, 96)
DEFECT_PX = 14


def make_image(seed: int, size: tuple[int, int] = SIZE) -> Pixels:
    """A grey gradient with stripes and noise: the good images of these checks."""
    noise = np.random.default_rng(seed).normal(0, 4, (*size, 3))
    y, x = np.mgrid[: size[0], : size[1]]
    texture = 120 + 20 * np.sin(x / 3) + 0.3 * y
    image: Pixels = np.clip(texture[..., None] + noise, 0, 255).astype(np.uint8)
    return image


def with_defect(image: Pixels, top: int, left: int, side: int = DEFECT_PX) -> Pixels:
    """A copy of the image with a red square."""
    marked = image.copy()
    marked[top : top + side, left : left + side] = (250, 40, 30)
    return marked


TRAIN = [make_image(seed) for seed in range(8)]
VALIDATION = [make_image(seed) for seed in range(20, 24)]
GOOD = [make_image(seed) for seed in range(30, 33)]


class Subject:
    """A detector under test.

    Attributes:
        make: returns an unfitted detector; of an ensemble with fitted members.
        make_briefly: the same with a training so short that it need not be good.
        load: loads what the detector's `save` wrote.
        slack: factor on the tolerance of positions in the map, for detectors with coarse maps.
    """

    def __init__(
        self,
        make: Callable[[], Detector],
        *,
        make_briefly: Callable[[], Detector] | None = None,
        load: Callable[[Path], Detector],
        slack: float = 1.0,
    ) -> None:
        self.make, self.load, self.slack = make, load, slack
        self.make_briefly = make_briefly or make

    @cached_property
    def fitted(self) -> Detector:
        """The detector, fitted once on `TRAIN`."""
        return fit(self.make())


def fit(detector: Detector, seed: int = 0) -> Detector:
    """Fit a detector on the good images of these checks."""
    return detector.fit(copies(TRAIN), copies(VALIDATION), seed=seed)


def copies(images: Sequence[Pixels]) -> list[Pixels]:
    """Images for a detector that may, against the rules, write into them."""
    return [image.copy() for image in images]


def check_detector(
    detector: "str | type[MapDetector] | type[SingleDetector]",
    *,
    settings: Mapping[str, Any] | None = None,
    backbone: str = "scattering",
) -> None:
    """Run the conformance suite on a detector: a plug-in or a shipped one.

    It takes a few fits on eight images of 64 x 96 px.

    Args:
        detector: a name as for `--methods` ("my_file:MyDetector"), or the class itself.
        settings: fields of its configuration, for example fewer training steps.
        backbone: name of the backbone, if it needs one.

    Raises:
        AssertionError: lists every check that failed, with the reason.
        MethodError: the detector cannot be imported or is incomplete.
    """
    if isinstance(detector, str):
        name = detector
        method_class(name)
    else:
        name = f"{detector.__module__}:{detector.__qualname__}"
        register_plugin(name, as_detector_class(detector, name))

    def make() -> Detector:
        return create(
            name,
            backbone=named_backbone(backbone) if method_class(name).needs_backbone else None,
            overrides=settings,
            input_size_px=64,
        )

    subject = Subject(make, load=lambda folder: load_detector(folder, device="cpu"))
    failures = []
    for check in CHECKS:
        try:
            check(subject)
        except Exception as error:  # whatever the detector raises
            reason = str(error).strip() or type(error).__name__
            failures.append(f"- {check.__name__.replace('_', ' ')}: {reason}")
    if failures:
        raise AssertionError(
            f"{name} fails {len(failures)} of {len(CHECKS)} checks:\n" + "\n".join(failures)
        )


def its_category_is_known(subject: Subject) -> None:
    """`category` is one of `Category`."""
    category = subject.make().category
    expect(category in get_args(Category), f"expected one of {get_args(Category)}, got {category}")


def fit_returns_the_detector(subject: Subject) -> None:
    """`fit` returns self."""
    detector = subject.make_briefly()
    expect(fit(detector) is detector, "expected fit to return the detector itself")


def the_same_seed_gives_the_same_predictions(subject: Subject) -> None:
    """Two fits with one seed agree."""
    assert_equal_predictions(fit(subject.make_briefly()), fit(subject.make_briefly()))


def images_are_not_modified(subject: Subject) -> None:
    """Neither fitting nor predicting writes into the images."""
    images = copies(TRAIN)
    detector = subject.make_briefly().fit(images, [], seed=0)
    list(detector.predict(images))
    same = all(np.array_equal(a, b) for a, b in zip(images, TRAIN, strict=True))
    expect(same, "expected the images to stay as they were; next step: work on a copy")


def scores_are_finite_and_vary(subject: Subject) -> None:
    """Images get different scores, and maps are not flat."""
    predictions = list(subject.fitted.predict(copies(GOOD)))
    scores = [p.score for p in predictions]
    expect(bool(np.isfinite(scores).all()), f"expected finite scores, got {scores}")
    expect(all(np.isfinite(p.map).all() for p in predictions), "expected finite maps")
    expect(len(set(scores)) > 1, f"expected different scores, got {scores}")
    expect(all(p.map.std() > 0 for p in predictions), "expected maps that vary, got a constant one")


def planted_defects_score_highest_and_their_maps_peak_on_them(subject: Subject) -> None:
    """A red square anywhere scores above every good image, with the map's maximum on it."""
    detector = subject.fitted
    corners = [(top, left) for top in (6, 40) for left in (8, 42, 72)]
    bad = [with_defect(GOOD[0], *corner) for corner in corners]
    best = max(p.score for p in detector.predict(copies(GOOD)))
    with torch.inference_mode():
        cell_px = SIZE[0] / detector.score_batch(Batch(copies(GOOD[:1]))).patches.shape[1]
    slack = max(4.0, cell_px) * subject.slack
    for (top, left), prediction in zip(corners, detector.predict(bad), strict=True):
        expect(
            prediction.score > best,
            f"expected a red square at row {top}, column {left} to score above {best:.4g}, the "
            f"highest score of a good image, got {prediction.score:.4g}",
        )
        y, x = peak(prediction)
        expect(
            top - slack <= y < top + DEFECT_PX + slack
            and left - slack <= x < left + DEFECT_PX + slack,
            f"expected the map's maximum on the red square at row {top}, column {left}, got it at "
            f"row {y}, column {x}",
        )


def maps_have_the_size_of_their_images(subject: Subject) -> None:
    """Maps are (H, W) float32 at the images' own sizes, square or not."""
    sizes = [(90, 50), (33, 201), SIZE]
    images = [make_image(n, size) for n, size in enumerate(sizes)]
    predictions = list(subject.fitted.predict(images))
    shapes = [p.map.shape for p in predictions]
    expect(shapes == sizes, f"expected maps of sizes {sizes}, got {shapes}")
    dtypes = {str(p.map.dtype) for p in predictions}
    expect(dtypes == {"float32"}, f"expected float32 maps, got {sorted(dtypes)}")


def a_defect_keeps_its_position_when_images_have_other_sizes(subject: Subject) -> None:
    """Geometry survives another aspect ratio than that of the training images."""
    bad = with_defect(GOOD[0], 40, 20)
    wide = cv2.resize(bad, (240, 80), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    (prediction,) = subject.fitted.predict([wide])
    y, x = peak(prediction)
    expect(
        abs(y / 80 - 47 / 64) < 0.15 and abs(x / 240 - 27 / 96) < 0.15,
        f"expected the map's maximum near row 59, column 68 of 80 x 240, got row {y}, column {x}",
    )


def the_batch_size_does_not_change_predictions(subject: Subject) -> None:
    """An image gets the same prediction alone and in a batch."""
    detector = subject.fitted
    images = [*copies(GOOD), with_defect(GOOD[1], 10, 10)]
    together = detector.predict_batch(Batch(images))
    alone = [detector.predict_batch(Batch([image]))[0] for image in images]
    np.testing.assert_allclose([p.score for p in together], [p.score for p in alone], rtol=1e-3)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.map, other.map, rtol=1e-3, atol=1e-3)


def a_saved_detector_gives_equal_predictions(subject: Subject) -> None:
    """`save` and loading keep configuration, log, parameters and predictions."""
    detector = subject.fitted
    with tempfile.TemporaryDirectory() as folder:
        detector.save(Path(folder) / "saved")
        loaded = subject.load(Path(folder) / "saved")
        expect(loaded.config == detector.config, "expected the same configuration after loading")
        expect(loaded.training_log == detector.training_log, "expected the same training log")
        counts = (detector.parameter_count(), loaded.parameter_count())
        expect(counts[0] == counts[1], f"expected as many parameters after loading, got {counts}")
        assert_equal_predictions(detector, loaded)


def using_it_before_fit_is_an_error(subject: Subject) -> None:
    """Predicting and saving raise a MethodError that says to fit first."""
    detector = subject.make()
    expected = f"{detector.name} has not been fitted; next step: call fit"
    expect_error(lambda: list(detector.predict(copies(GOOD))), expected)
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "saved"
        expect_error(lambda: detector.save(saved), "has not been fitted")
        expect(not saved.exists(), "expected that nothing is saved before fit")


def fitting_on_no_images_is_an_error(subject: Subject) -> None:
    """`fit` without images raises a MethodError."""
    expected = "expected good images to train on, got none"
    expect_error(lambda: subject.make().fit([], [], seed=0), expected)


def features_have_the_shape_of_their_cut(subject: Subject) -> None:
    """Every cut gives finite features of its declared shape; an unknown cut is an error."""
    detector = subject.fitted
    height, width = detector.input_size
    for cut in detector.cuts:
        channels, stride = detector.cut_shape(cut)
        (features,) = detector.features(copies(GOOD), cut)
        expected = (len(GOOD), channels, height // stride, width // stride)
        shape = tuple(features.shape)
        expect(shape == expected, f'cut "{cut}": expected features {expected}, got {shape}')
        expect(bool(features.isfinite().all()), f'cut "{cut}": expected finite features')
    expect_error(lambda: detector.cut_shape("logits"), 'has no cut "logits"')
    expect_error(lambda: next(detector.features(GOOD, "logits")), 'has no cut "logits"')


CHECKS: tuple[Callable[[Subject], None], ...] = (
    its_category_is_known,
    fit_returns_the_detector,
    the_same_seed_gives_the_same_predictions,
    images_are_not_modified,
    scores_are_finite_and_vary,
    planted_defects_score_highest_and_their_maps_peak_on_them,
    maps_have_the_size_of_their_images,
    a_defect_keeps_its_position_when_images_have_other_sizes,
    the_batch_size_does_not_change_predictions,
    a_saved_detector_gives_equal_predictions,
    using_it_before_fit_is_an_error,
    fitting_on_no_images_is_an_error,
    features_have_the_shape_of_their_cut,
)
"""Every check, in the order in which `check_detector` runs them."""


def peak(prediction: Prediction) -> tuple[int, int]:
    """Row and column of the map's maximum."""
    y, x = np.unravel_index(prediction.map.argmax(), prediction.map.shape)
    return int(y), int(x)


def assert_equal_predictions(first: Detector, second: Detector) -> None:
    """Raise an AssertionError unless two detectors agree on the good images."""
    before, after = list(first.predict(copies(GOOD))), list(second.predict(copies(GOOD)))
    np.testing.assert_allclose([p.score for p in before], [p.score for p in after], rtol=1e-5)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one.map, other.map, rtol=1e-4, atol=1e-5)


def expect(condition: bool, message: str) -> None:
    """Raise an AssertionError with the message unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def expect_error(action: Callable[[], object], message: str) -> None:
    """Raise an AssertionError unless the action raises a MethodError that contains the message."""
    try:
        action()
    except MethodError as error:
        expect(message in str(error), f'expected an error with "{message}", got "{error}"')
        return
    raise AssertionError(f'expected a MethodError with "{message}", got none')
