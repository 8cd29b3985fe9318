"""The plan of a class: the part in millimetres, its views, and the photographs to take.

People edit plans in `capture/<class>.toml`. The capture station, the digital twin and the
conversion read them; the conversion takes the areas of named features from the plan.

Coordinates: the part lies on the table, z = 0 is the table, x runs along the length, y along the
width, z up; the origin of a plate is the centre of its unfolded outline. Lengths are millimetres,
angles degrees.
"""

import math
from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from loco_tools import definitions
from loco_tools.errors import DefinitionError, did_you_mean
from loco_tools.schema import Schema, read_toml

Split = Literal["train", "validation", "test"]
Kind = Literal["good", "structural", "logical"]


Side = Annotated[int, Field(gt=0, le=30_000)]
"""Side of a picture in pixels; a larger number is a typing error and would fill the memory."""

MOST_PARTS = 5_000


class Hole(Schema):
    """A round hole through a plate; x and y from the centre of the plate's flat outline."""

    feature: str = "hole"
    x_mm: float
    y_mm: float
    diameter_mm: PositiveFloat

    @property
    def area_mm2(self) -> float:
        """Area of the hole."""
        return math.pi * self.diameter_mm**2 / 4


class Fold(Schema):
    """A bend across the width of a plate: everything beyond x = at_mm is turned up."""

    at_mm: float
    angle_deg: Annotated[float, Field(gt=0, lt=180)] = 90.0
    inner_radius_mm: PositiveFloat = 2.0


class Plate(Schema):
    """A piece of sheet metal with rounded corners and holes, flat or folded once."""

    shape: Literal["plate"]
    name: str
    length_mm: PositiveFloat
    width_mm: PositiveFloat
    thickness_mm: PositiveFloat
    corner_radius_mm: Annotated[float, Field(ge=0)] = 0.0
    at_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotation_deg: float = 0.0
    finish: Literal["zinc", "brushed", "black_paint", "yellow_zinc"] = "zinc"
    holes: tuple[Hole, ...] = ()
    fold: Fold | None = None

    @model_validator(mode="after")
    def _check_holes(self) -> Self:
        for hole in self.holes:
            radius = hole.diameter_mm / 2
            inside_x = abs(hole.x_mm) + radius < self.length_mm / 2
            inside_y = abs(hole.y_mm) + radius < self.width_mm / 2
            if not (inside_x and inside_y):
                raise ValueError(
                    f"hole at ({hole.x_mm}, {hole.y_mm}) leaves plate {self.name!r} of "
                    f"{self.length_mm} x {self.width_mm} mm"
                )
        return self


class Screw(Schema):
    """A screw in a part: x and y of its axis, and z of the sheet under its head.

    `stands_mm` is the gap between the head and that sheet: 0 for a screw that is fully driven in.
    """

    shape: Literal["screw"]
    name: str
    x_mm: float
    y_mm: float
    z_mm: float
    head: Literal["hex", "pan"]
    head_diameter_mm: PositiveFloat
    head_height_mm: PositiveFloat
    thread_mm: PositiveFloat
    length_mm: PositiveFloat
    stands_mm: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        if self.stands_mm >= self.length_mm:
            raise ValueError(
                f"stands_mm {self.stands_mm} leaves nothing of screw {self.name!r} of "
                f"{self.length_mm} mm in the part"
            )
        return self

    @property
    def area_mm2(self) -> float:
        """Area of the head from above; the diameter of a hexagon is measured across its flats."""
        across = self.head_diameter_mm**2
        return across * math.sqrt(3) / 2 if self.head == "hex" else across * math.pi / 4


Piece = Annotated[Plate | Screw, Field(discriminator="shape")]


class Part(Schema):
    """What lies on the table: one piece or several."""

    title: str
    bought_as: str
    pieces: tuple[Piece, ...] = Field(min_length=1)

    @property
    def plates(self) -> tuple[Plate, ...]:
        """The sheet-metal pieces, in the order of the plan."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Plate))

    @property
    def screws(self) -> tuple[Screw, ...]:
        """The screws, in the order of the plan."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Screw))

    def feature_areas_mm2(self) -> dict[str, float]:
        """Smallest area of each feature: holes by their feature's name, screws as "screw_head".

        It is the smallest so that every single feature reaches a threshold that is made from it.
        """
        areas: dict[str, list[float]] = {}
        for plate in self.plates:
            for hole in plate.holes:
                areas.setdefault(hole.feature, []).append(hole.area_mm2)
        if self.screws:
            areas["screw_head"] = [screw.area_mm2 for screw in self.screws]
        return {name: min(sizes) for name, sizes in areas.items()}

    def feature_area_mm2(self, feature: str) -> float:
        """Smallest area of one feature.

        Raises:
            DefinitionError: the part has no such feature.
        """
        areas = self.feature_areas_mm2()
        if feature not in areas:
            raise DefinitionError(
                f'{self.title}: no feature "{feature}"; {did_you_mean(feature, areas)}'
            )
        return areas[feature]


class View(Schema):
    """Viewpoint of the camera: elevation 90 looks straight down, azimuth turns around the part.

    On a rig with one camera the table is turned by the azimuth; the lamps stay with the camera.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    """It is also part of file names."""

    azimuth_deg: float = 0.0
    elevation_deg: Annotated[float, Field(gt=0, le=90)] = 90.0


class CameraSettings(Schema):
    """The settings of the camera: picture size, width of the table in the picture, exposure.

    An optional setting that is not given is left as the camera has it.
    """

    width_px: Side
    height_px: Side
    field_mm: PositiveFloat
    exposure_us: PositiveFloat
    gain_db: Annotated[float, Field(ge=0)] = 0.0
    white_balance_k: PositiveFloat | None = None
    """Colour temperature, for cameras with this setting (UVC)."""

    white_balance_ratio: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = None
    """Gains of red, green and blue, for cameras with this setting (GenICam)."""

    pixel_format: str | None = None
    """By the camera's name for it: BayerRG8, RGB8, Mono8 (GenICam); MJPG, YUYV (UVC)."""

    def requested(self) -> dict[str, float | str]:
        """The settings to apply to a device, by the names that `Camera.settings` reads back."""
        settings: dict[str, float | str] = {
            "width_px": self.width_px,
            "height_px": self.height_px,
            "exposure_us": self.exposure_us,
            "gain_db": self.gain_db,
        }
        if self.white_balance_k is not None:
            settings["white_balance_k"] = self.white_balance_k
        if self.white_balance_ratio is not None:
            names = ("red", "green", "blue")
            ratios = zip(names, self.white_balance_ratio, strict=True)
            settings |= {f"white_balance_{name}": ratio for name, ratio in ratios}
        if self.pixel_format is not None:
            settings["pixel_format"] = self.pixel_format
        return settings


class Gates(Schema):
    """The limits of the quality gates; a gate whose limit is None is switched off.

    The reference of a view is its first good photograph in the session.
    """

    contrast_min: Annotated[float, Field(gt=0, le=255)] | None = 20.0
    """Grey levels by which the part is lighter than the cloth; below it, the table is empty."""

    sharpness_min_ratio: Annotated[float, Field(gt=0, le=1)] | None = 0.85
    """Sharpness divided by that of the reference."""

    saturated_share_max: Annotated[float, Field(ge=0, le=1)] | None = 0.02
    """Share of the part's pixels that are at 255 in some channel."""

    black_share_max: Annotated[float, Field(ge=0, le=1)] | None = 0.1
    """Share of the part's pixels that are at 0 in some channel; the cloth does not count."""

    offset_mm_max: PositiveFloat | None = 10.0
    """Largest distance of the part from its position in the reference."""

    angle_deg_max: Annotated[float, Field(gt=0, le=180)] | None = 12.0
    """Largest rotation of the part against the reference."""

    motion_px_max: PositiveFloat | None = 0.5
    """Largest motion of the picture between two successive frames."""

    duplicate_min_difference: PositiveFloat | None = 2.0
    """Smallest difference to the photographs of other parts, in multiples of the camera's noise.

    Two photographs of one part differ by about 1, those of two parts by 4 and more.
    """


class Shots(Schema):
    """The number of parts of one condition; each is photographed in every view."""

    split: Split
    kind: Kind
    defect: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")] | None = None
    """It is also part of file names."""

    parts: Annotated[int, Field(gt=0, le=MOST_PARTS)]
    demo_parts: Annotated[int, Field(ge=0, le=MOST_PARTS)]
    full_parts: Annotated[int, Field(ge=0, le=MOST_PARTS)] = 0

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if (self.kind == "good") != (self.defect is None):
            raise ValueError(f"kind {self.kind!r} with defect {self.defect!r}; good has none")
        if self.kind != "good" and self.split != "test":
            raise ValueError(f"split {self.split!r} holds good parts only, got {self.kind!r}")
        return self


class Size(Schema):
    """Another picture size and, if given, another width of the table in the picture."""

    width_px: Side
    height_px: Side
    field_mm: PositiveFloat | None = None


class Twin(Schema):
    """Rendering quality of the digital twin."""

    samples_per_pixel: PositiveInt = 16
    tolerance_mm: Annotated[float, Field(ge=0)] = 0.5
    """Position tolerance of missing features; it widens their masks."""

    severity: Annotated[float, Field(ge=0.1, le=1)] = 1.0
    """Relative size of gradual defects (corners, notches, scratches, dents, surplus and wrong
    holes, bends): smaller defects are harder to detect."""


class PlannedShot(NamedTuple):
    """One photograph to take."""

    shot: str
    part: str
    view: str
    split: Split
    kind: Kind
    defect: str | None


class Plan(Schema):
    """The plan of a class."""

    schema_version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    part: Part
    camera: CameraSettings
    views: tuple[View, ...] = Field(min_length=1)
    shots: tuple[Shots, ...] = Field(min_length=1)
    gates: Gates = Gates()
    demo: Size
    full: Size | None = None
    """Picture size of the full-size class, which has `full_parts` of every entry of `shots`."""

    twin: Twin = Twin()

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for what, names in (
            ("view", [view.name for view in self.views]),
            ("piece", [piece.name for piece in self.part.pieces]),
        ):
            repeated = {name for name in names if names.count(name) > 1}
            if repeated:
                raise ValueError(f"{what} names must differ, got {sorted(repeated)} twice")
        return self

    def view(self, name: str) -> View:
        """The view of that name.

        Raises:
            DefinitionError: the plan has no such view.
        """
        for view in self.views:
            if view.name == name:
                return view
        known = [view.name for view in self.views]
        raise DefinitionError(f'{self.name}: no view "{name}"; {did_you_mean(name, known)}')

    def planned_shots(self) -> Iterator[PlannedShot]:
        """Every photograph in order: part by part, all views of a part before the next part."""
        part_number = 0
        for shots in self.shots:
            for _ in range(shots.parts):
                part = f"p{part_number:04d}"
                part_number += 1
                for view in self.views:
                    yield PlannedShot(
                        f"{part}-{view.name}",
                        part,
                        view.name,
                        shots.split,
                        shots.kind,
                        shots.defect,
                    )

    def for_demo(self) -> "Plan":
        """The same class with smaller pictures and fewer parts, as its `demo` table says."""
        return self._sized(self.demo, [shots.demo_parts for shots in self.shots])

    def for_full(self) -> "Plan":
        """The same class with larger pictures and as many parts as a published class has.

        Raises:
            DefinitionError: the plan has no `full` table.
        """
        if self.full is None:
            raise DefinitionError(
                f"{self.name}: expected a table [full] with width_px and height_px for a full-size "
                "class, got none; next step: add it, and full_parts to each entry of shots"
            )
        return self._sized(self.full, [shots.full_parts for shots in self.shots])

    def _sized(self, size: Size, parts: list[int]) -> "Plan":
        shots = tuple(
            entry.model_copy(update={"parts": count})
            for entry, count in zip(self.shots, parts, strict=True)
            if count
        )
        if not shots:
            raise DefinitionError(
                f"{self.name}: expected at least one part at this size, got none; next step: "
                "set the number of parts of an entry of shots"
            )
        camera = self.camera.model_copy(update=size.model_dump(exclude_none=True))
        return self.model_copy(update={"camera": camera, "shots": shots})


def load_plan(name: str) -> Plan:
    """Read the plan of a class by name ("angle") or path.

    Raises:
        DefinitionError: no such plan, or the file is wrong.
    """
    return read_toml(Plan, definitions.locate("capture", name))
