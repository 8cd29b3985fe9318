"""Checking what is in the image and mask files, once each of them was inspected."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from loco_tools.datasets.images import MAX_PIXELS
from loco_tools.datasets.sample import Layout
from loco_tools.datasets.validation.class_tree import Contents, ImageFile, MaskFile, parent_of
from loco_tools.datasets.validation.file_inspection import GRAY, RGB, Inspection
from loco_tools.datasets.validation.findings import Report
from loco_tools.wording import listed

Inspections = Mapping[str, Inspection]


def check_images(
    images: Sequence[ImageFile], inspected: Inspections, layout: Layout, report: Report
) -> None:
    """Images one by one: damage, mode, orientation, format."""
    for image in images:
        seen = inspected[image.path]
        if _sound(image.path, seen, report):
            _check_mode(image.path, seen, layout, report)
            _check_file(image.path, seen, report)
    _check_png(images, report)


def check_masks(
    masks: Sequence[MaskFile], inspected: Inspections, layout: Layout, report: Report
) -> None:
    """Masks one by one: damage, mode, size, values."""
    for mask in masks:
        seen = inspected[mask.path]
        if not _sound(mask.path, seen, report):
            continue
        _check_file(mask.path, seen, report)
        if seen.format != "PNG" and layout == "mvtec_ad":
            report.add(
                "mask_not_png",
                mask.path,
                expected="a mask in PNG format",
                found=seen.format,
                mend="draw it again as PNG; lossy formats move its edge",
            )
        if image := inspected.get(mask.image):
            _check_size(mask, seen, image, report)
        if seen.mode == GRAY or layout == "autovi":
            _check_values(mask.path, seen, layout, report)
        else:
            report.add(
                "mask_mode",
                mask.path,
                expected=f"an {GRAY} mask",
                found=seen.mode,
                mend="write the pixel value itself in one channel of 8 bits, without a palette",
            )


def check_sizes(
    images: Sequence[ImageFile],
    inspected: Inspections,
    views: Mapping[str, str | None],
    report: Report,
) -> None:
    """Images of one view that are not all of one size, as one finding per view.

    A warning in every layout: official evaluators compare each map with its own image, and classes
    of tiles or cut-outs have many sizes. Where views are known they may differ from one another.
    """
    groups: defaultdict[str | None, list[tuple[tuple[int, int], str]]] = defaultdict(list)
    for image in images:
        if size := inspected[image.path].size:
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
            mend="crop or take them alike, unless the class is meant so; detectors resize them all",
        )


def check_repeats(images: Sequence[ImageFile], inspected: Inspections, report: Report) -> None:
    """The same picture twice, by the SHA-256 of its decoded pixels, however it was stored."""
    groups: defaultdict[str, list[ImageFile]] = defaultdict(list)
    for image in images:
        if digest := inspected[image.path].digest:
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
                mend="remove one of the two and renumber the rest",
            )


def files_of(contents: Contents) -> list[tuple[str, bool]]:
    """Every file to inspect, and whether it is a mask."""
    return [(image.path, False) for image in contents.images] + [
        (mask.path, True) for mask in contents.masks
    ]


def _sound(path: str, seen: Inspection, report: Report) -> bool:
    if seen.fault is None:
        return True
    code, found = seen.fault
    bomb = code == "image_bomb"
    report.add(
        code,
        path,
        expected=f"an image of at most {MAX_PIXELS} pixels" if bomb else "a whole image file",
        found=found,
        mend="remove it, or crop the image" if bomb else "copy it again from its source",
    )
    return False


def _check_mode(path: str, seen: Inspection, layout: Layout, report: Report) -> None:
    gray = seen.mode == GRAY
    if seen.mode == RGB or (gray and layout == "mvtec_ad"):
        return
    report.add(
        "image_gray" if gray else "image_mode",
        path,
        expected=f"an {RGB} image",
        found=seen.mode,
        mend="store it as RGB; loaders turn other modes into pixels differently",
    )


def _check_file(path: str, seen: Inspection, report: Report) -> None:
    if seen.format != seen.expected_format:
        report.add(
            "wrong_suffix",
            path,
            expected=f"a {seen.expected_format} file by its name",
            found=seen.format,
            mend="give it the suffix of its format, or store it anew",
        )
    if seen.orientation != 1:
        report.add(
            "exif_orientation",
            path,
            expected="an upright image without EXIF orientation",
            found=f"EXIF orientation {seen.orientation}",
            mend="turn the pixels and remove the tag; tools disagree on whether to apply it",
        )


def _check_png(images: Sequence[ImageFile], report: Report) -> None:
    others: defaultdict[str, list[str]] = defaultdict(list)
    for image in images:
        if not image.path.lower().endswith(".png"):
            others[parent_of(image.path)].append(image.path.rpartition("/")[2])
    for folder, names in others.items():
        report.add(
            "not_png",
            folder,
            expected="PNG images",
            found=f"{len(names)} others: {listed(names, 3)}",
            mend="store them as PNG; official tools look for nothing else",
        )


def _check_size(mask: MaskFile, seen: Inspection, image: Inspection, report: Report) -> None:
    if image.size and seen.size and image.size != seen.size:
        report.add(
            "mask_size",
            mask.path,
            expected=f"{image.size[1]} x {image.size[0]} px (width x height) like {mask.image}",
            found=f"{seen.size[1]} x {seen.size[0]}",
            mend="export the mask at the size of its image",
        )


def _check_values(path: str, seen: Inspection, layout: Layout, report: Report) -> None:
    if not seen.values:
        report.add(
            "empty_mask",
            path,
            expected="at least one positive pixel",
            found="none",
            mend="mark the defect; or remove the mask, and move an image without defect to good",
        )
    elif layout != "mvtec_ad" and len(seen.values) > 1:
        report.add(
            "two_values",
            path,
            expected="one positive value",
            found=listed([str(value) for value in seen.values]),
            mend="write one mask file per defect, without smoothing its edge",
        )
    elif layout == "mvtec_ad" and seen.values != (255,):
        report.add(
            "mask_values",
            path,
            expected="0 and 255 alone",
            found=listed([str(value) for value in seen.values]),
            mend="write 0 and 255; any positive value counts as defect, half-tones at an edge too",
        )
