"""Every choice of the feature-level ensemble."""

from typing import Literal

from pydantic import Field, field_validator

from loco_tools.ensembles.feature_level.blocks import Scale
from loco_tools.ensembles.feature_level.training import FusedTraining
from loco_tools.methods.backbones import ALL_STRIDES
from loco_tools.methods.detector import DetectorConfig

HeadName = Literal["discriminator", "memory_bank", "gaussian"]


class FusionConfig(DetectorConfig, FusedTraining):
    """Defaults are for a GPU; every choice beyond the thesis can be switched off.

    The plain ensemble of the thesis: `heads = ["discriminator"]`, `member_scores = false`,
    `source_weights = "equal"`, `learn_from = "train"`, `anomalies = 0`, `backbone_strides = []`,
    `local_images = 0`, `local_maps = 0`, `smoothing = 0`, `surroundings = 0`.
    """

    cuts: dict[str, str] = Field(default_factory=dict)
    """Member name -> where to cut it; members not named are cut at the first of their `cuts`."""
    block: Literal["global", "independent"] = "global"
    components: float | dict[str, float] = 512.0
    """Kept by the PCA: a count (1 or more) or a share of the variance (below 1). The independent
    block keeps so many of each member; it also takes a number per member."""
    scale: Scale = "per_source"
    """"per_source" lets every member weigh the same, whatever the scale of its features."""
    source_weights: Literal["equal", "worth"] = "worth"
    """"worth": features of a member count by how well nearest neighbours in them alone tell
    synthetic anomalies from held-out good patches; a useless member shrinks to nothing."""
    whiten: bool = False
    heads: tuple[HeadName, ...] = ("discriminator", "memory_bank")
    learn_from: Literal["train", "held_out", "both"] = "both"
    """Good images whose features the discriminator learns. Members look too certain on those they
    were trained on; "held_out" are the good validation images."""
    anomalies: int = Field(default=25, ge=0)
    """Images with 16 synthetic anomalies each that the discriminator learns from beside noise."""
    hidden_dim: int = Field(default=1024, ge=1)
    bank_size: int = Field(default=8000, ge=1)
    varied: int = Field(default=256, ge=0)
    """Training images, turned and shifted a little, that the memory bank learns too."""
    pool_patches: int = Field(default=60_000, ge=8)
    """Rows of training images that block and heads are computed from, drawn at random."""
    pool_images: int = Field(default=256, ge=1)
    """Those rows are of about so many images, evenly spread, where there are twice as many."""
    member_scores: bool = True
    """The members' own maps and image scores count beside the heads."""
    backbone_strides: tuple[int, ...] = (4, 8, 16)
    """Maps of the members' backbones that are heard beside heads and members, each through a
    memory bank of its own; strides that a backbone does not have are left out."""
    backbone_share: float = Field(default=0.3, ge=0, lt=1)
    """How much these maps weigh together. Given, not measured: alone they are weak, and by what
    they are worth alone they would weigh next to nothing."""
    backbone_bank: int = Field(default=2000, ge=1)
    """Rows of each of their memory banks."""
    backbone_images: int = Field(default=1024, ge=1)
    """These banks learn from about so many training images, evenly spread, where there are twice
    as many; whatever else is computed from rows of training images takes its images from these."""
    local_images: float = Field(default=0.4, ge=0, le=1)
    """How much images' scores are taken relative to what good patches of the same look get."""
    local_maps: float = Field(default=0.25, ge=0, le=1)
    """The same of maps."""
    smoothing: float = Field(default=0.6, ge=0)
    """Of the map before an image's score is read off it, in patches."""
    surroundings: float = Field(default=0.75, ge=0, le=1)
    """How much of what its surroundings get is taken off every patch before that: a good surface
    that is blotched all over is alarming everywhere, a defect more than what is around it."""
    member_images: float = Field(default=0.3, ge=0, le=1)
    """How much the members' own image scores count in an image's score."""
    weights: Literal["equal", "worth"] = "worth"
    """"worth": heads and members count by how well they tell good patches of held-out images from
    those in synthetic anomalies; "equal": all the same."""
    weighing: int = Field(default=30, ge=2)
    """Images with 16 synthetic anomalies each that sources and voices are weighed on."""

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
            raise ValueError(f"expected different ones of {list(ALL_STRIDES)}, got {list(value)}")
        return value

    @field_validator("heads")
    @classmethod
    def _heads_differ(cls, value: tuple[HeadName, ...]) -> tuple[HeadName, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError(f"expected one or more different heads, got {list(value)}")
        return value
