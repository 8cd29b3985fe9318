"""The contract of every backbone: feature maps of an image at several strides."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Self

from torch import Tensor, nn

from loco_tools.errors import MethodError

DEFAULT = "wide_resnet50_2"
FALL_BACK = "scattering"
"""With PatchCore as good as dictionary on magnetic tiles and better on the twin's classes: image
AUROC .846/.858 magnetic tiles, .986/.903 flat_connector, .615/.641 angle, .961/.836 composite_part
(those of `loco-tools demo`); see benchmark/results/weight_free.md."""
DEFAULT_WEIGHTS = "IMAGENET1K_V1"
NO_WEIGHTS = "none"
STRIDES = (8, 16)
"""Every backbone has maps at these strides; torchvision's have more, from 4 to 32."""
ALL_STRIDES = (4, 8, 16, 32)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """A feature extractor: frozen, or fitted once to good images before its detector is.

    Attributes:
        name: torchvision's name, or one of `loco_tools.methods.backbones.WEIGHT_FREE`.
        weights: "IMAGENET1K_V1", the first 12 digits of the SHA-256 of a weight file or of what
            `fit` learned, or "none".
        channels: number of channels of the maps at strides 8 and 16.
        strides: every stride at which it has maps, ascending.
        weight_free: true when it needs no weights; detectors then standardise its channels.
        summary: one line for `loco-tools methods`.
    """

    summary: ClassVar[str] = ""
    name: str
    weights: str
    channels: tuple[int, ...]
    strides: tuple[int, ...] = STRIDES
    weight_free: bool

    @property
    def tag(self) -> str:
        """Architecture and weights, as in results: "mobilenet_v2:3f2a90c41b7e"."""
        return f"{self.name}:{self.weights}"

    def own(self) -> Self:
        """The backbone that a detector may fit and keep; a frozen one is shared, not copied."""
        return self

    def fit(self, pixels: Iterator[Tensor], *, count: int, seed: int) -> None:
        """Learn from good images; a frozen backbone ignores them.

        Args:
            pixels: batches as `taps` takes them.
            count: number of images in all batches together.
            seed: the same seed and images on the same machine give the same backbone.
        """

    def learned(self) -> dict[str, Tensor]:
        """The arrays that `fit` learned, for saving; empty for a frozen backbone."""
        return {}

    def restore(self, learned: dict[str, Tensor]) -> None:
        """Load the arrays that `learned` returned; RuntimeError when they do not fit."""

    def parameter_count(self, strides: tuple[int, ...]) -> int:
        """Number of parameters or fixed filter values that the maps at `strides` depend on."""
        del strides
        return sum(value.numel() for value in [*self.parameters(), *self.buffers()])

    @abstractmethod
    def taps(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, h, w) ImageNet-normalised RGB -> maps (B, C, ~h/8, ~w/8), (B, C, ~h/16, ~w/16)."""

    def maps(self, pixels: Tensor, strides: tuple[int, ...]) -> tuple[Tensor, ...]:
        """The maps at some of `strides`, in the order of the argument: (B, C, ~h/s, ~w/s) each.

        Raises:
            MethodError: it has no map at a stride.
        """
        self.check_strides(strides)
        maps = dict(zip(STRIDES, self.taps(pixels), strict=True))
        return tuple(maps[stride] for stride in strides)

    def relative(self, maps: Tensor) -> Tensor:
        """Maps (B, C, h, w) made comparable between images by distances.

        The maps of a backbone with weights are returned as they are. From those of a weight-free
        one the median of each channel over the image is subtracted: whole images differ in
        exposure, finish and roughness by more than small defects do, and a small defect, however
        strong, hardly moves a median. The price is that an anomaly that covers the whole image,
        such as a wrong material, is not detected.
        """
        if not self.weight_free:
            return maps
        return maps - maps.flatten(2).median(dim=2).values[:, :, None, None]

    def channels_at(self, stride: int) -> int:
        """Channels of the map at a stride; MethodError when there is none."""
        self.check_strides((stride,))
        return dict(zip(STRIDES, self.channels, strict=True))[stride]

    def check_strides(self, strides: tuple[int, ...]) -> None:
        """Raise a MethodError when the backbone has no map at one of these strides."""
        missing = [stride for stride in strides if stride not in self.strides]
        if missing:
            raise MethodError(
                f"backbone {self.name} has no feature map at stride {missing[0]}, only at "
                f"{', '.join(map(str, self.strides))}; next step: another --backbone, or weights "
                "of the whole network"
            )
