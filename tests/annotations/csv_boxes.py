"""An annotation format as an example: a CSV file with one box per row, in pixels.

    image,width,height,label,left,top,right,bottom
    plate.png,64,48,scratch,8,4,24,16

`test_formats.py` adds it to `FORMATS` and converts such a file.
"""

import csv
from pathlib import Path

from loco_tools.annotations.formats.regions import Annotation, Export, Region, Task
from loco_tools.errors import AnnotationError

COLUMNS = ["image", "width", "height", "label", "left", "top", "right", "bottom"]


def recognises(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace", newline="") as stream:
        return stream.readline().strip().split(",") == COLUMNS


def read(path: Path, *, predictions: bool) -> Export:
    tasks = []
    with path.open(encoding="utf-8", newline="") as stream:
        for number, row in enumerate(csv.DictReader(stream), start=1):
            try:
                region = box_region(row, number)
            except (TypeError, ValueError, ZeroDivisionError) as error:
                raise AnnotationError(f"{path}, row {number}: {error}") from error
            annotation = Annotation(id=None, annotator=None, time="", regions=(region,), skipped=())
            tasks.append(Task(number, data={}, images=(row["image"],), annotations=(annotation,)))
    return Export(path, tuple(tasks), skipped=())


def box_region(row: dict[str, str], number: int) -> Region:
    width, height = int(row["width"]), int(row["height"])
    left, top, right, bottom = (int(row[key]) for key in COLUMNS[4:])
    return Region(
        task=number,
        id=f"box-{number}",
        type="box",
        shape="rectangle",
        labels=(row["label"],),
        group=None,
        value={  # lengths are percentages of the image's width or height
            "x": 100 * left / width,
            "y": 100 * top / height,
            "width": 100 * (right - left) / width,
            "height": 100 * (bottom - top) / height,
        },
        size=(height, width),
        image=row["image"],
        item_index=0,
    )
