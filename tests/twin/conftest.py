"""Small plans that render in a fraction of a second."""

from collections.abc import Callable

import pytest

from loco_tools.plan import Plan, load_plan

MakePlan = Callable[..., Plan]


@pytest.fixture
def make_plan() -> MakePlan:
    """A shipped plan, shrunk to a thumbnail; `part` replaces its part, `field_mm` its field."""

    def make(
        name: str = "flat_connector",
        *,
        width_px: int = 160,
        height_px: int = 96,
        samples: int = 4,
        field_mm: float | None = None,
        part: dict[str, object] | None = None,
    ) -> Plan:
        plan = load_plan(name).model_dump()
        plan["camera"] |= {"width_px": width_px, "height_px": height_px}
        plan["camera"]["field_mm"] = field_mm or plan["camera"]["field_mm"]
        plan["twin"]["samples_per_pixel"] = samples
        plan["part"] = part or plan["part"]
        return Plan.model_validate(plan)

    return make
