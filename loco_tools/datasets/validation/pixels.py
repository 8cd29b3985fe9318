"""Checking the contents of image and mask files by their inspections."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from loco_tools.datasets.images import MAX_PIXELS
from loco_tools.datasets.sample import Layout
from loco_tools.datasets.validation.class_tree import ImageFile, MaskFile, name_of, parent_of
from loco_tools.datasets.validation.file_inspection import GRAY, RGB, Inspection
from loco_tools.datasets.validation.findings import Effect, Report
from loco_tools.wording import listed, plural

Inspections = Mapping[str, Inspection]

_FAULTS = {
    "damaged": ("a whole image file", "copy it again from its source"),
    "image_bomb": (f"an image of at most {MAX_PIXELS} pixels", "remove it, or crop the image"),
    "image_depth": ("an image of 8 or 16 bits", "scale its values to 8 bits, the same way for all "
                    "images of the class"),
}  # fmt: skip
"""What was expected, and the next step, by the code of a file's fault."""

_FEWEST_LEVELS = 16
"""Images of 10 or 12 bits in 16 have at most this many of 256 levels left in 8 bits."""


def check_images(
    images: Sequence[ImageFile], inspections: Inspections, layout: Layout, report: Report
) -> None:
    """Check images one by one: damage, mode, suffix, orientation, format."""
    others: defaultdict[str, list[str]] = defaultdict(list)
    for image in images:
        if not image.path.lower().endswith(".png"):
            others[parent_of(image.path)].append(name_of(image.path))
        inspection = inspections[image.path]
        if not _check_file(image.path, inspection, report):
            continue
        if inspection.peak is not None and inspection.peak < _FEWEST_LEVELS << 8:
            report.add(
                "image_levels",
                image.path,
                expected="16-bit values that use their range",
                found=f"16-bit values up to {inspection.peak}: only {inspection.peak >> 8} of 255 "
                "levels are left in the 8 bits that are read",
                next_step="scale the values to 8 bits, the same way for all images of the class",
            )
        gray = inspection.mode == GRAY
        if inspection.mode != RGB and not (gray and layout == "mvtec_ad"):
            report.add(
                "image_gray" if gray else "image_mode",
                image.path,
                expected=f"an {RGB} image",
                found=inspection.mode,
                next_step="store it as RGB; loaders convert other modes to pixels differently",
            )
    for folder, names in others.items():
        report.add(
            "not_png",
            folder,
            expected="PNG images",
            found=f"{plural(len(names), 'other')}: {listed(names, 3)}",
            next_step="store them as PNG; official tools read only PNG files",
        )


def check_masks(
    masks: Sequence[MaskFile], inspections: Inspections, layout: Layout, report: Report
) -> None:
    """Check masks one by one: damage, suffix, orientation, format, size, mode, values."""
    for mask in masks:
        inspection = inspections[mask.path]
        if not _check_file(mask.path, inspection, report, effect="refused"):
            continue
        if inspection.format != "PNG" and layout == "mvtec_ad":
            lossy = inspection.format in ("JPEG", "WEBP")
            report.add(
                "mask_lossy" if lossy else "mask_not_png",
                mask.path,
                expected="a mask in PNG format",
                found=inspection.format,
                next_step="write it as PNG from its source"
                + ("; lossy compression moves its edge" if lossy else ""),
                effect=None if lossy else "other tools",
            )
        image = inspections.get(mask.image)
        if image and image.size and inspection.size and image.size != inspection.size:
            report.add(
                "mask_size",
                mask.path,
                expected=f"{image.size[1]} x {image.size[0]} px (width x height) like {mask.image}",
                found=f"{inspection.size[1]} x {inspection.size[0]}",
                next_step="export the mask at the size of its image",
            )
        _check_mode(mask.path, inspection, layout, report)
        if inspection.packed is not None:
            _check_values(mask.path, inspection.values, layout, report)
            _check_area(mask.path, inspection, report)


def _check_mode(path: str, inspection: Inspection, layout: Layout, report: Report) -> None:
    """Report a mask that is not stored in one channel of 8 bits."""
    if inspection.mode == GRAY or (layout == "autovi" and inspection.packed is not None):
        return
    equal_channels = inspection.packed is not None and inspection.mode == RGB
    report.add(
        "mask_in_colour" if equal_channels else "mask_mode",
        path,
        expected=f"an {GRAY} mask",
        found=f"{inspection.mode} with equal channels, which are read as one"
        if equal_channels
        else inspection.mode,
        next_step="write the pixel values in one 8-bit channel, without a palette",
        effect=None if inspection.packed is None or equal_channels else "other tools",
    )


def _check_area(path: str, inspection: Inspection, report: Report) -> None:
    height, width = inspection.size or (0, 0)
    share = inspection.area_px / max(1, height * width)
    if share > 0.5:
        report.add(
            "mask_covers_most",
            path,
            expected="a mask that covers the defect",
            found=f"one that covers {100 * share:.0f} % of the image",
            next_step="invert it, if 0 marks the defect; nothing, if the defect is as large",
        )


def check_sizes(
    images: Sequence[ImageFile],
    inspections: Inspections,
    views: Mapping[str, str | None],
    report: Report,
) -> None:
    """Report images of one view that differ in size, as one finding per view.

    It is a warning in every layout: official evaluators compare each map with its own image, and
    classes of tiles or crops have many sizes. Images of different views may differ in size.
    """
    groups: defaultdict[str | None, list[tuple[tuple[int, int], str]]] = defaultdict(list)
    for image in images:
        if size := inspections[image.path].size:
            groups[views.get(image.path)].append((size, image.path))
    for view, members in groups.items():
        sizes = Counter(size for size, _ in members)
        common, count = max(sizes.items(), key=lambda item: (item[1], item[0]))
        odd = [path for size, path in members if size != common]
        if not odd:
            continue
        of_view = f" of the view {view}" if view else ""
        heights, widths = zip(*sizes, strict=True)
        report.add(
            "mixed_sizes",
            odd[0] if len(odd) == 1 else ".",
            expected=f"images{of_view} of one size, {common[1]} x {common[0]} as {count} of them",
            found=f"{len(sizes)} sizes, {min(widths)} to {max(widths)} wide and {min(heights)} to "
            f"{max(heights)} high; others: {listed(odd, 3)}",
            next_step="give them one size, unless several are intended; detectors resize them all",
        )


def check_repeats(images: Sequence[ImageFile], inspections: Inspections, report: Report) -> None:
    """Report images that occur twice, by the SHA-256 of their decoded pixels."""
    groups: defaultdict[str, list[ImageFile]] = defaultdict(list)
    for image in images:
        if digest := inspections[image.path].digest:
            groups[digest].append(image)
    for group in groups.values():
        first = group[0]
        for other in group[1:]:
            if other.split != first.split:
                code, expected = "image_in_two_splits", "no image of one split in another"
            elif other.kind_folder != first.kind_folder:
                code, expected = "image_in_two_kinds", "one truth for each image"
            else:
                code, expected = "image_repeated", "different images"
            report.add(
                code,
                other.path,
                expected=expected,
                found=f"the pixels of {first.path}",
                next_step="remove one of the two and renumber the rest",
            )


def _check_file(
    path: str, inspection: Inspection, report: Report, *, effect: Effect | None = None
) -> bool:
    """Report damage, a wrong suffix and EXIF orientation; returns whether the file is readable."""
    if inspection.fault is not None:
        code, found = inspection.fault
        expected, next_step = _FAULTS[code]
        if "Git LFS" in found:
            next_step = "git lfs pull"
        report.add(code, path, expected=expected, found=found, next_step=next_step, effect=effect)
        return False
    if inspection.format != inspection.expected_format:
        report.add(
            "wrong_suffix",
            path,
            expected=f"a {inspection.expected_format} file by its name",
            found=inspection.format,
            next_step="give it the suffix of its format, or store it in the format of its suffix",
        )
    if inspection.orientation != 1:
        report.add(
            "exif_orientation",
            path,
            expected="an upright image without EXIF orientation",
            found=f"EXIF orientation {inspection.orientation}",
            next_step="rotate the pixels and remove the tag; tools disagree on whether to apply it",
        )
    return True


def _check_values(path: str, values: tuple[int, ...], layout: Layout, report: Report) -> None:
    if not values:
        report.add(
            "empty_mask",
            path,
            expected="at least one positive pixel",
            found="none",
            next_step="mark the defect; or remove the mask, and move an image without a defect to "
            "good",
        )
    elif layout != "mvtec_ad" and len(values) > 1:
        report.add(
            "two_values",
            path,
            expected="one positive value",
            found=listed([str(value) for value in values]),
            next_step="write one mask file per defect, without smoothing its edge",
        )
    elif layout == "mvtec_ad" and values != (255,):
        report.add(
            "mask_values",
            path,
            expected="0 and 255 only",
            found=listed([str(value) for value in values]),
            next_step="write 0 and 255; any positive value counts as defect, also grey edge pixels",
        )
