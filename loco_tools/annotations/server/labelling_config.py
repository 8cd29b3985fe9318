"""The labelling configuration: the annotator's page in Label Studio, made from the taxonomy.

The page has a list of defects and a bar of tools. The annotator picks a defect (by a click or its
hotkey), then draws with any tool, so one region is exported as two items with one id: its geometry
and its label. A group number joins the regions of one defect instance, and each image gets a
verdict. When the plan has several views, one task shows all views of a part, page by page. Its
images are a list, and the `item_index` of regions and verdicts gives their page.
"""

from typing import Any
from xml.etree import ElementTree

from loco_tools.annotations.formats import mask_to_shape
from loco_tools.annotations.formats.label_studio import GROUP_CONTROL
from loco_tools.annotations.formats.shapes import Mask
from loco_tools.annotations.taxonomy import Taxonomy
from loco_tools.plan import Plan

IMAGE = "image"
"""Name of the image tag, and of the images in a task's data."""

LABEL_CONTROL = "label"
"""Name of the control that labels a region with its defect."""

VERDICT_CONTROL = "verdict"
"""Name of the choice that is made once for each image."""

VERDICTS = ("good", "anomalous", "unsure")

TOOLS = ("brush", "polygon", "ellipse", "rectangle", "bitmask")
"""Names of the tools; each draws the shape of its name."""

_IMAGE_TOOLS = {
    "zoom": "true",
    "zoomControl": "true",
    "brightnessControl": "true",
    "contrastControl": "true",
    "rotateControl": "false",
    "smoothing": "false",  # bitmasks are exact to the pixel only without smoothing
}
_TAGS = {name: name.capitalize() for name in TOOLS}
_HOTKEYS = "1234567890qwtasfgxcyj"
"""Keys that no tool of Label Studio uses; further defects get no hotkey."""


def labelling_config(taxonomy: Taxonomy, plan: Plan) -> str:
    """The labelling configuration of a class as Label Studio takes it, in XML.

    >>> from loco_tools.annotations.taxonomy import load_taxonomy
    >>> from loco_tools.plan import load_plan
    >>> labelling_config(load_taxonomy("angle"), load_plan("angle")).splitlines()[0]
    '<View style="display: flex; gap: 16px">'
    """
    several_views = len(plan.views) > 1
    root = ElementTree.Element("View", {"style": "display: flex; gap: 16px"})
    image_column = _add_column(root, "flex: 1 1 0; min-width: 0")
    image = {"name": IMAGE, "valueList" if several_views else "value": f"${IMAGE}", **_IMAGE_TOOLS}
    ElementTree.SubElement(image_column, "Image", image)

    side = _add_column(root, "flex: 0 0 280px")
    if several_views:
        _add_text(side, f"Pages: {', '.join(view.name for view in plan.views)}")
    per_item = {"perItem": "true"} if several_views else {}
    choice = {"choice": "single", "showInline": "true", **per_item}
    verdict = _add_control(side, "Choices", VERDICT_CONTROL, **choice)
    for name in VERDICTS:
        ElementTree.SubElement(verdict, "Choice", {"value": name})
    labels = _add_control(side, "Labels", LABEL_CONTROL, showInline="false")
    for number, defect in enumerate(taxonomy.defects):
        label = {"value": defect.name, "background": defect.colour, "hint": defect.guide}
        if number < len(_HOTKEYS):
            label["hotkey"] = _HOTKEYS[number]
        ElementTree.SubElement(labels, "Label", {k: _literal(v) for k, v in label.items()})
    for name in TOOLS:
        _add_control(side, _TAGS[name], name)

    box = ElementTree.SubElement(side, "View", {"visibleWhen": "region-selected"})
    _add_text(box, "Group number: regions with one label and one number are one defect")
    _add_control(box, "Number", GROUP_CONTROL, perRegion="true", min="1", step="1")

    collapse = ElementTree.SubElement(side, "Collapse", {"open": "true"})
    panel = ElementTree.SubElement(collapse, "Panel", {"value": "How to mark the defects"})
    for defect in taxonomy.defects:
        style = f"border-left: 8px solid {defect.colour}; padding-left: 8px; margin: 6px 0"
        guide = f"{defect.name} ({defect.kind}): {defect.guide}"
        _add_text(_add_column(panel, style), guide)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def brush_items(
    mask: Mask, *, region: str, label: str, group: int, item_index: int | None = None
) -> list[dict[str, Any]]:
    """A brush region as the result items that this configuration exports.

    Args:
        mask: its pixels, (H, W) bool.
        region: its id.
        label: the defect.
        group: its group number.
        item_index: the page of the task that shows the image, None in a task with one image.

    Returns:
        Its brush, its label and its group number, each with the geometry.
    """
    height, width = mask.shape
    common: dict[str, Any] = {
        "id": region,
        "to_name": IMAGE,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
    }
    if item_index is not None:
        common["item_index"] = item_index
    drawn = mask_to_shape.brush(mask)
    return [
        {**common, "type": kind, "from_name": control, "value": {**drawn, **value}}
        for kind, control, value in (
            ("brush", "brush", {}),
            ("labels", LABEL_CONTROL, {"labels": [label]}),
            ("number", GROUP_CONTROL, {"number": group}),
        )
    ]


def _add_column(parent: ElementTree.Element, style: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, "View", {"style": style})


def _add_control(
    parent: ElementTree.Element, tag: str, name: str, **more: str
) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, {"name": name, "toName": IMAGE, **more})


def _add_text(parent: ElementTree.Element, text: str) -> None:
    style = "font-size: 13px; font-weight: 400; line-height: 1.35; margin: 4px 0"
    header = {"value": _literal(text), "size": "6", "underline": "false", "style": style}
    ElementTree.SubElement(parent, "Header", header)


def _literal(text: str) -> str:
    """The text without dollar signs, which Label Studio would replace by data of the task."""
    return text.replace("$", "\N{FULLWIDTH DOLLAR SIGN}")
