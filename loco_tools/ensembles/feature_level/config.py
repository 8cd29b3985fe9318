"""Configuration of the feature-level ensemble, and the cuts at which it takes features."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator

from loco_tools.ensembles.feature_level.blocks import Scale
from loco_tools.ensembles.feature_level.score_maps import CombinationSettings
from loco_tools.ensembles.feature_level.training import FusedTraining
from loco_tools.errors import MethodError
from loco_tools.methods.backbones import ALL_STRIDES
from loco_tools.methods.detector import Detector, DetectorConfig

HeadName = Literal["discriminator", "memory_bank", "gaussian"]


class FusionConfig(DetectorConfig, FusedTraining):
    """Defaults are for a GPU; every addition to the ensemble of the thesis can be switched off.

    The ensemble as the thesis describes it: `heads = ["discriminator"]`, `member_scores = false`,
    `source_weights = "equal"`, `learn_from = "train"`, `anomalies = 0`, `backbone_strides = []`,
    `local_images = 0`, `local_maps = 0`, `smoothing = 0`, `surroundings = 0`.
    """

    cuts: dict[str, str] = Field(default_factory=dict)
    """Member name -> the cut at which its features are taken. Other members use the first of their
    `cuts`."""
    block: Literal["global", "independent"] = "global"
    """One PCA for all members, or one per member."""
    components: float | dict[str, float] = 512.0
    """Principal components: a count (1 or more) or a share of the variance (below 1). The
    independent block keeps this number for each member; it also takes a number per member name."""
    scale: Scale = "per_source"
    """"per_source" gives every member total variance 1, whatever the scale of its features."""
    source_weights: Literal["equal", "worth"] = "worth"
    """"worth" multiplies each member's features by a weight: how well nearest neighbours in them
    alone separate synthetic anomalies from held-out good patches, 0 for a useless member."""
    whiten: bool = False
    """Give every principal component variance 1."""
    heads: tuple[HeadName, ...] = ("discriminator", "memory_bank")
    """Anomaly detectors on the fused features."""
    learn_from: Literal["train", "held_out", "both"] = "both"
    """Good images whose features the discriminator is trained on. Members are overconfident on the
    images that they were trained on; "held_out" are the good validation images."""
    anomalies: int = Field(default=25, ge=0)
    """Images with 16 synthetic anomalies each that the discriminator is trained on, besides feature
    noise."""
    hidden_dim: int = Field(default=1024, ge=1)
    """Hidden channels of the discriminator."""
    bank_size: int = Field(default=8000, ge=1)
    """Rows of the fused memory bank."""
    varied: int = Field(default=256, ge=0)
    """Augmented training images (rotated and shifted a little) that are added to the fused memory
    bank."""
    pool_patches: int = Field(default=60_000, ge=8)
    """Rows of training images that block and heads are computed from, chosen at random."""
    pool_images: int = Field(default=256, ge=1)
    """About this number of training images, evenly spaced, provide those rows when there are twice
    as many or more."""
    member_scores: bool = True
    """Combine the members' own maps and image scores with the heads' maps."""
    backbone_strides: tuple[int, ...] = (4, 8, 16)
    """Strides of the backbone maps that get memory banks of their own; their distances are combined
    with the maps of heads and members. Strides that a backbone does not have are left out."""
    backbone_share: float = Field(default=0.3, ge=0, lt=1)
    """Total weight of these maps. It is fixed rather than measured: each of them alone is weak, and
    its measured weight would be near 0."""
    backbone_bank: int = Field(default=2000, ge=1)
    """Rows of each backbone memory bank."""
    backbone_images: int = Field(default=1024, ge=1)
    """About this number of training images, evenly spaced, provide the rows of these banks when
    there are twice as many or more. The images of `pool_images` are chosen among them."""
    local_images: float = Field(default=0.4, ge=0, le=1)
    """For image scores: the share of a patch's deviation from good patches that look like it; the
    rest is its deviation from all good patches."""
    local_maps: float = Field(default=0.25, ge=0, le=1)
    """The same share for maps."""
    smoothing: float = Field(default=0.6, ge=0)
    """Standard deviation, in patches, of the Gaussian over the map before its maximum is taken as
    the image score."""
    surroundings: float = Field(default=0.75, ge=0, le=1)
    """Share of the mean score around a patch that is subtracted before this maximum is taken. A
    good but blotched surface has high scores everywhere; a defect is higher than its
    surroundings."""
    member_images: float = Field(default=0.3, ge=0, le=1)
    """Weight of the members' own image scores in the image score."""
    weights: Literal["equal", "worth"] = "worth"
    """"worth" weights the maps of heads and members by how well they separate good patches of
    held-out images from patches in synthetic anomalies; "equal" gives all the same weight."""
    weighing: int = Field(default=30, ge=2)
    """Images with 16 synthetic anomalies each that the weights of members and maps are measured
    on."""

    @field_validator("components")
    @classmethod
    def _components_are_positive(cls, value: float | dict[str, float]) -> float | dict[str, float]:
        if any(count <= 0 for count in (value.values() if isinstance(value, dict) else [value])):
            raise ValueError(f"expected counts or shares above 0, got {value}")
        return value

    @field_validator("backbone_strides")
    @classmethod
    def _strides_exist(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value) or not set(value) <= set(ALL_STRIDES):
            raise ValueError(
                f"expected different strides out of {list(ALL_STRIDES)}, got {list(value)}"
            )
        return value

    @field_validator("heads")
    @classmethod
    def _heads_differ(cls, value: tuple[HeadName, ...]) -> tuple[HeadName, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError(f"expected one or more different heads, got {list(value)}")
        return value

    @property
    def combination(self) -> CombinationSettings:
        """The settings of the combination of score maps."""
        fields = CombinationSettings._fields
        return CombinationSettings(**{field: getattr(self, field) for field in fields})

    def rows_per_image(self, images: int) -> int:
        """Rows to sample of each image, so that `pool_patches` are sampled of all."""
        return max(1, self.pool_patches // images)


def choose_cuts(
    members: Mapping[str, Detector], config: FusionConfig, *, ensemble: str
) -> dict[str, str]:
    """The cut of each member: the one in the configuration, else the first that the member has.

    Raises:
        MethodError: a member lacks the configured cut or exposes no features, a setting names a
            detector that is no member, or `components` does not fit the block.
    """
    per_member = config.components if isinstance(config.components, dict) else None
    for field, names in (("cuts", config.cuts), ("components", per_member or {})):
        unknown = sorted(set(names) - set(members))
        if unknown:
            raise MethodError(
                f'{ensemble}: {field} names "{unknown[0]}", which is no member; '
                f"members: {', '.join(members)}"
            )
    if per_member is not None:
        missing = sorted(set(members) - set(per_member))
        if config.block == "global" or missing:
            raise MethodError(
                f"{ensemble}: components per member need the independent block and a number for "
                f"every member; got block {config.block}, members without a number: "
                f"{', '.join(missing) or 'none'}"
            )
    cuts = {}
    for name, member in members.items():
        if not member.cuts:
            raise MethodError(
                f"{ensemble}: {name} exposes no intermediate features, which a feature-level "
                "ensemble needs; next step: leave it out, or use an output-level ensemble such as "
                "ensemble-mean"
            )
        cuts[name] = config.cuts.get(name, member.cuts[0])
        member.check_cut(cuts[name])
    return cuts
