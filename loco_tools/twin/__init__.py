"""The digital twin: renders what a plan says lies on the table, with exact masks.

    from loco_tools import twin
    from loco_tools.plan import load_plan

    rendering = twin.render(load_plan("angle"), seed=7, defect="bent_leg", view="inside")

Nothing heavy is imported before the first call of `render`; it needs the extra "twin".
"""

from loco_tools.twin.rendering import RenderedDefect, Rendering, render

__all__ = ["RenderedDefect", "Rendering", "render"]
