"""The labelling configuration: what an annotator sees in Label Studio, made from the taxonomy.

One list of defects and a bar of tools: the annotator picks a defect (a click or its key), then
draws with any tool, so one region is exported as two items with one id, its geometry and its label.
A number ties the regions of one defect instance together, and each image gets a verdict. When the
plan has several views, one task shows all views of a part, page by page; its images are a list,
and regions and verdicts say by `item_index` which page they are on.
"""

from collections.abc import Sequence
from xml.etree import ElementTree

from loco_tools.annotations.formats.label_studio import GROUP_CONTROL
from loco_tools.annotations.taxonomy import DefectType, Taxonomy
from loco_tools.plan import Plan

IMAGE = "image"
"""Name of the image tag, and of the images in a task's data."""

LABEL_CONTROL = "label"
"""Name of the control that says which defect a region is."""

VERDICT_CONTROL = "verdict"
"""Name of the choice that is made once for each image."""

VERDICTS = ("good", "anomalous", "unsure")

TOOLS = ("brush", "polygon", "ellipse", "rectangle", "bitmask")
"""Names of the tools; each draws the shape of its name."""

_TAGS = {name: name.capitalize() for name in TOOLS}
_HOTKEYS = "1234567890qwtasfgxcyj"
"""Keys that no tool of Label Studio has; defects beyond them get none."""


def labelling_config(taxonomy: Taxonomy, plan: Plan) -> str:
    """The labelling configuration of a class as Label Studio takes it, in XML.

    >>> from loco_tools.annotations.taxonomy import load_taxonomy
    >>> from loco_tools.plan import load_plan
    >>> labelling_config(load_taxonomy("angle"), load_plan("angle")).splitlines()[0]
    '<View style="display: flex; gap: 16px">'
    """
    several = len(plan.views) > 1
    root = ElementTree.Element("View", {"style": "display: flex; gap: 16px"})
    _add_image(_column(root, "flex: 1 1 0; min-width: 0"), several=several)
    side = _column(root, "flex: 0 0 280px")
    if several:
        _say(side, f"Pages: {', '.join(view.name for view in plan.views)}")
    _add_verdict(side, several=several)
    labels = _add(side, "Labels", LABEL_CONTROL, showInline="false")
    for place, defect in enumerate(taxonomy.defects):
        label = {"value": defect.name, "background": defect.colour, "hint": defect.guide}
        if place < len(_HOTKEYS):
            label["hotkey"] = _HOTKEYS[place]
        ElementTree.SubElement(labels, "Label", {k: _literal(v) for k, v in label.items()})
    for name in TOOLS:
        _add(side, _TAGS[name], name)
    _add_group(side)
    _add_guides(side, taxonomy.defects)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _column(root: ElementTree.Element, style: str) -> ElementTree.Element:
    return ElementTree.SubElement(root, "View", {"style": style})


def _literal(text: str) -> str:
    """A dollar sign would stand for something in the task's data."""
    return text.replace("$", "\N{FULLWIDTH DOLLAR SIGN}")


def _say(parent: ElementTree.Element, text: str) -> None:
    style = "font-size: 13px; font-weight: 400; line-height: 1.35; margin: 4px 0"
    said = {"value": _literal(text), "size": "6", "underline": "false", "style": style}
    ElementTree.SubElement(parent, "Header", said)


def _add(parent: ElementTree.Element, tag: str, name: str, **more: str) -> ElementTree.Element:
    """A control of the image."""
    return ElementTree.SubElement(parent, tag, {"name": name, "toName": IMAGE, **more})


def _add_guides(root: ElementTree.Element, defects: Sequence[DefectType]) -> None:
    """What each defect is and how to mark it, in a panel that folds away."""
    collapse = ElementTree.SubElement(root, "Collapse", {"open": "true"})
    panel = ElementTree.SubElement(collapse, "Panel", {"value": "How to mark the defects"})
    for defect in defects:
        style = f"border-left: 8px solid {defect.colour}; padding-left: 8px; margin: 6px 0"
        _say(_column(panel, style), f"{defect.name} ({defect.kind}): {defect.guide}")


def _add_image(root: ElementTree.Element, *, several: bool) -> None:
    """The image, or the pages of one; without smoothing, bitmasks are exact to the pixel."""
    source = "valueList" if several else "value"
    settings = {
        "name": IMAGE,
        source: f"${IMAGE}",
        "zoom": "true",
        "zoomControl": "true",
        "brightnessControl": "true",
        "contrastControl": "true",
        "rotateControl": "false",
        "smoothing": "false",
    }
    ElementTree.SubElement(root, "Image", settings)


def _add_verdict(root: ElementTree.Element, *, several: bool) -> None:
    per_item = {"perItem": "true"} if several else {}
    verdict = _add(root, "Choices", VERDICT_CONTROL, choice="single", showInline="true", **per_item)
    for name in VERDICTS:
        ElementTree.SubElement(verdict, "Choice", {"value": name})


def _add_group(root: ElementTree.Element) -> None:
    box = ElementTree.SubElement(root, "View", {"visibleWhen": "region-selected"})
    _say(box, "Group number: regions with one label and one number are one defect")
    _add(box, "Number", GROUP_CONTROL, perRegion="true", min="1", step="1")
