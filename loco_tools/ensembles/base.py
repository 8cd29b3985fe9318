"""The base class of ensembles: detectors that are made of fitted detectors."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor

from loco_tools import files
from loco_tools.datasets.images import Pixels, Size
from loco_tools.errors import MethodError
from loco_tools.methods import checkpoint, load_detector
from loco_tools.methods.backbones import Backbone
from loco_tools.methods.detector import Detector, DetectorConfig, SingleDetector
from loco_tools.progress import Progress
from loco_tools.schema import parse


class Ensemble(Detector):
    """A detector made of other detectors, which must be fitted before it is.

    Subclasses implement the abstract methods of `Detector`, `_tensors` and `_restore`. Members that
    score the same `Batch` share the resized pixels and, where they share a backbone, its forward
    pass.

    Attributes:
        members: the detectors by name.
    """

    category = "ensemble"
    Config: ClassVar[type[DetectorConfig]]

    def __init__(
        self, config: DetectorConfig, members: Mapping[str, Detector], *, device: str = "auto"
    ) -> None:
        super().__init__(config, device=device)
        if not members:
            raise MethodError("an ensemble needs at least one member, got none")
        self.members = dict(members)

    @classmethod
    def configure(
        cls, preset: str = "paper", overrides: Mapping[str, Any] | None = None
    ) -> DetectorConfig:
        """See `Detector.configure`."""
        return parse(cls.Config, cls.fields(preset, overrides), origin=cls.origin())

    def _choose_input_size(self, train: Sequence[Pixels]) -> Size:
        """The largest input size of the members; MethodError when a member is not fitted."""
        del train
        return max((m.input_size for m in self.members.values()), key=lambda s: s[0] * s[1])

    def _held_out(
        self, train: Sequence[Pixels], validation: Sequence[Pixels], progress: Progress
    ) -> Sequence[Pixels]:
        """Good images to calibrate on: validation images, else training images with a note."""
        if len(validation):
            return validation
        progress.note(
            f"{self.name}: no good validation images; members' scores are calibrated on "
            "training images, whose scores are too low for members with a memory bank"
        )
        return train

    def own_parameter_count(self) -> int:
        """The number of values that the ensemble itself learned, without its members."""
        return sum(tensor.numel() for tensor in self._tensors().values())

    def save(self, folder: Path) -> None:
        """See `Detector.save`; members are saved in the folder, under `members/<number>`."""
        tensors = self._tensors()
        record = checkpoint.Record(
            method=self.name,
            config=self.config.model_dump(mode="json"),
            backbone=None,
            input_size=self.input_size,
            training_log=self.training_log,
            members=tuple(self.members),
        )
        with files.folder_swapped_in(folder) as fresh:
            checkpoint.write_into(fresh, record, tensors)
            for path, detector in self._saved_detectors().items():
                detector.save(fresh / path)

    @classmethod
    def load(
        cls,
        folder: Path,
        backbone: Backbone | Mapping[str, Backbone] | None = None,
        *,
        device: str = "auto",
    ) -> Self:
        """See `Detector.load`; `backbone` is one for all members, or one per member name."""
        record, tensors = checkpoint.read(folder, expected={cls.name})
        config = parse(cls.Config, record.config, origin=str(folder / checkpoint.RECORD))
        members = {
            name: load_detector(
                folder / "members" / str(number), backbone_of(name, backbone), device=device
            )
            for number, name in enumerate(record.members)
        }
        ensemble = cls(config, members, device=device)
        ensemble.training_log = record.training_log
        ensemble._input_size = record.input_size
        try:
            ensemble._restore({k: value.to(ensemble.device) for k, value in tensors.items()})
        except (KeyError, RuntimeError) as error:
            raise MethodError(
                f"{folder}: does not hold a complete {cls.name} ({error}); next step: fit it again"
            ) from error
        return ensemble

    def _saved_detectors(self) -> dict[str, Detector]:
        """The detectors that are saved with the ensemble, by their path in its folder."""
        return {f"members/{number}": m for number, m in enumerate(self.members.values())}

    @abstractmethod
    def _tensors(self) -> dict[str, Tensor]:
        """The arrays that the ensemble itself has learned; MethodError when it is not fitted."""

    @abstractmethod
    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `_tensors` gave; KeyError when an array is missing."""


def backbone_of(member: str, backbone: Backbone | Mapping[str, Backbone] | None) -> Backbone | None:
    """The backbone of a member, given one for all members or one per member name."""
    return backbone.get(member) if isinstance(backbone, Mapping) else backbone


def count_together(detectors: Iterable[Detector], strides: Iterable[int] = ()) -> int:
    """Number of parameters of detectors that are used together; a shared backbone counts once.

    Args:
        detectors: the detectors.
        strides: strides of further maps that are used of every backbone that has them.
    """
    count = 0
    backbones: dict[str, tuple[Backbone, set[int]]] = {}
    for detector in detectors:
        count += detector.parameter_count()
        if isinstance(detector, SingleDetector) and detector.needs_backbone:
            backbone = detector.backbone
            count -= backbone.parameter_count(detector.strides)
            _, used = backbones.setdefault(backbone.tag, (backbone, set()))
            used.update(detector.strides, {*strides} & {*backbone.strides})
    return count + sum(
        backbone.parameter_count(tuple(sorted(used))) for backbone, used in backbones.values()
    )
