"""The small base class of plug-in detectors. Importing it needs neither numpy nor torch."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from loco_tools.errors import MethodError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from loco_tools.datasets.images import Pixels


class MapDetector(ABC):
    """A detector in two methods: `fit` learns from good images, `score` gives an anomaly map.

    Written in `my_file.py` it runs as `loco-tools bench --methods my_file:MyDetector` in the folder
    of that file, alone and as a member of every ensemble. Images are (H, W, 3) uint8 RGB arrays at
    their original size.

    What `fit` keeps as attributes is saved with the detector: numpy arrays, torch tensors, numbers,
    strings, booleans, None, and lists, tuples and dictionaries of these.

    Example:
        The distance of every pixel's colour to the mean colour of good images:

        >>> import numpy as np
        >>> class Colour(MapDetector):
        ...     def fit(self, images, *, seed):
        ...         self.mean = np.mean([image.mean(axis=(0, 1)) for image in images], axis=0)
        ...
        ...     def score(self, image):
        ...         return np.linalg.norm(image - self.mean, axis=2)
        >>> detector = Colour()
        >>> detector.fit([np.full((4, 6, 3), 200, np.uint8)], seed=0)
        >>> float(detector.score(np.full((4, 6, 3), 197, np.uint8)).max().round(2))
        5.2

    Attributes:
        name: for messages; the class's name unless set.
        category: one of `loco_tools.methods.detector.Category`; groups methods in reports.
        needs_backbone: true makes `backbone_features` available.
        cuts: intermediate features for feature-level ensembles, name -> number of channels, see
            `features`. Without any an ensemble uses the score map as a feature of one channel.
    """

    name: ClassVar[str] = ""
    category: ClassVar[str] = "other"
    needs_backbone: ClassVar[bool] = False
    cuts: ClassVar[Mapping[str, int]] = {}
    _extract: "Callable[[Pixels], npt.NDArray[np.float32]] | None" = None

    @abstractmethod
    def fit(self, images: "Sequence[Pixels]", *, seed: int) -> Any:
        """Learn from good images.

        Args:
            images: (H, W, 3) uint8 each; sizes may differ. They are decoded when they are accessed,
                so iterate over them instead of holding all of them.
            seed: the same seed must give the same detector.
        """

    @abstractmethod
    def score(self, image: "Pixels") -> "npt.ArrayLike":
        """The anomaly map (H, W) of an image (H, W, 3); higher is more anomalous.

        A map may also be smaller than its image; it is then upsampled bilinearly.
        """

    def score_images(self, images: "Sequence[Pixels]") -> "Iterable[npt.ArrayLike]":
        """The anomaly maps of a batch of images; override it where a batch is faster."""
        return [self.score(image) for image in images]

    def image_score(self, image: "Pixels", score_map: "npt.NDArray[np.float32]") -> float:
        """The score of an image with the map that `score` gave: its maximum unless overridden."""
        del image
        return float(score_map.max())

    def features(self, image: "Pixels", cut: str) -> "npt.ArrayLike":
        """The features (h, w, channels) of an image at one of `cuts`, on a grid of any size."""
        raise NotImplementedError(
            f"{type(self).__name__} names cuts but defines no features: {cut}"
        )

    def backbone_features(self, image: "Pixels") -> "npt.NDArray[np.float32]":
        """The features (h/8, w/8, channels) that the run's backbone computes for an image.

        The image is resized to the detector's input size (h, w), see `--size` and `--resize`; the
        map at stride 16 is upsampled to the grid of stride 8 and appended to its channels.

        Raises:
            MethodError: `needs_backbone` is false, or the detector was not created by
                `loco_tools.methods.create`.
        """
        if self._extract is None:
            raise MethodError(
                f"{type(self).__name__} has no backbone; next step: set needs_backbone = True and "
                'create it with loco_tools.methods.create("module:Class", backbone=...)'
            )
        return self._extract(image)
