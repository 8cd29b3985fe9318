"""The digital twin: renders the parts and defects of a plan, with exact ground-truth masks.

    from loco_tools import twin
    from loco_tools.plan import load_plan

    rendering = twin.render(load_plan("angle"), seed=7, defect="bent_leg", view="inside")

`load_plan("angle").for_full()` gives the size of a full-size class.

Nothing heavy is imported before the first call of `render`; it needs the extra "twin".
"""

from loco_tools.twin.rendering import RenderedDefect, Rendering, estimated_s, render
from loco_tools.twin.variants import variant

__all__ = ["RenderedDefect", "Rendering", "estimated_s", "render", "variant"]
