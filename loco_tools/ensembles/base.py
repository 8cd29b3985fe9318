"""What every ensemble is: a detector made of fitted detectors."""

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
    """A detector made of other detectors, which are fitted by the time that it is.

    Subclasses write what `Detector` asks for, `_tensors` and `_restore`. Members that are given
    the same `Batch` share the resized pixels and, where they share a backbone, its forward pass.

    Attributes:
        members: by name.
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
        """The largest of the members' input sizes; MethodError when one is not fitted."""
        del train
        return max((m.input_size for m in self.members.values()), key=lambda s: s[0] * s[1])

    def _held_out(
        self, train: Sequence[Pixels], validation: Sequence[Pixels], progress: Progress
    ) -> Sequence[Pixels]:
        """Good images to calibrate on: those of validation, for want of them those of training."""
        if len(validation):
            return validation
        progress.note(
            f"{self.name}: no good validation images; members' scores are calibrated on "
            "training images, which members with a memory see as better than they are"
        )
        return train

    def parameter_count(self) -> int:
        """See `Detector.parameter_count`; a backbone that members share counts once."""
        own = sum(tensor.numel() for tensor in self._tensors().values())
        return own + count_together(self._consulted(), self._strides)

    @property
    def _strides(self) -> tuple[int, ...]:
        """Of the backbones' maps that it looks at beside its members."""
        return ()

    def _consulted(self) -> Iterable[Detector]:
        """The detectors that predicting asks."""
        return self.members.values()

    def save(self, folder: Path) -> None:
        """See `Detector.save`; the members are saved inside, under `members/<number>`."""
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
            for number, member in enumerate(self.members.values()):
                member.save(fresh / "members" / str(number))
            self._save_more(fresh)

    @classmethod
    def load(
        cls,
        folder: Path,
        backbone: Backbone | Mapping[str, Backbone] | None = None,
        *,
        device: str = "auto",
    ) -> Self:
        """See `Detector.load`; `backbone` is that of all members, or each member's by its name."""
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
            ensemble._load_more(folder, backbone)
        except (KeyError, RuntimeError) as error:
            raise MethodError(
                f"{folder}: does not hold a complete {cls.name} ({error}); next step: fit it again"
            ) from error
        return ensemble

    def _save_more(self, folder: Path) -> None:
        """Write what is neither a member nor an array into an open folder; here nothing."""

    def _load_more(self, folder: Path, backbone: Backbone | Mapping[str, Backbone] | None) -> None:
        """Take over what `_save_more` wrote; here nothing."""

    @abstractmethod
    def _tensors(self) -> dict[str, Tensor]:
        """Everything the ensemble itself has learned; MethodError when it is not fitted."""

    @abstractmethod
    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `_tensors` gave; KeyError when something is missing."""


def backbone_of(member: str, backbone: Backbone | Mapping[str, Backbone] | None) -> Backbone | None:
    """A member's backbone: the one that all share, or its own of several by name."""
    return backbone.get(member) if isinstance(backbone, Mapping) else backbone


def count_together(detectors: Iterable[Detector], strides: Iterable[int] = ()) -> int:
    """Parameters of detectors that are used together: a backbone that they share counts once.

    Args:
        detectors: those.
        strides: of maps that are looked at besides, of every backbone that has them.
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
