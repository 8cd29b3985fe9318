import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_builders import HEIGHT, WIDTH, Mask, brush_region, group_number
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from loco_tools.annotations.convert import convert
from loco_tools.annotations.server.class_tasks import class_tasks
from loco_tools.annotations.simulated import annotate_session
from loco_tools.annotations.taxonomy import Taxonomy, load_taxonomy
from loco_tools.errors import AnnotationError

MakeSession = Callable[..., Path]
DEFECTS = [defect.name for defect in load_taxonomy("composite_part").defects]
MASKS = arrays.arrays(np.bool_, (6, 8), fill=st.just(False)).filter(np.any)
MARKS = st.lists(st.tuples(st.sampled_from(DEFECTS), MASKS), max_size=4)


def everything(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(paths)}


def there_and_back(session: Path, data: Path, tasks: list[dict[str, Any]]) -> dict[str, bytes]:
    export = session / "back.json"
    export.write_text(json.dumps(tasks))
    report = convert(export, out_root=data.with_name("back"), predictions=True, overwrite=True)
    return everything(report.folder)


@pytest.mark.parametrize("as_predictions", [True, False])
def test_a_class_comes_back_as_it_was(
    make_session: MakeSession, taxonomy: Taxonomy, tmp_path: Path, as_predictions: bool
) -> None:
    session = make_session()
    report = convert(annotate_session(session, taxonomy), out_root=tmp_path / "data")
    tasks = class_tasks(report.folder, as_predictions=as_predictions)
    assert len(tasks) == 4
    assert all(("predictions" in task) == as_predictions for task in tasks)
    assert there_and_back(session, tmp_path / "data", tasks) == everything(report.folder)


@settings(
    deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.fixed_dictionaries({f"p{n:04d}-top": MARKS for n in (3, 4, 5, 6)}))
def test_whatever_a_class_holds_survives_the_way_to_label_studio_and_back(
    make_session: MakeSession, tmp_path: Path, marks: dict[str, list[tuple[str, Mask]]]
) -> None:
    session = make_session(truth={})
    large = {
        shot: [(name, np.kron(mask, np.ones((HEIGHT // 6, WIDTH // 8), bool))) for name, mask in m]
        for shot, m in marks.items()
    }
    tasks = [drawn(shot, large.get(shot, [])) for shot in (*marks, "p0007-top")]
    export = session / "labelstudio.json"
    export.write_text(json.dumps(tasks))
    report = convert(export, out_root=tmp_path / "data", overwrite=True)
    masks = [name for name in everything(report.folder) if name.startswith("ground_truth")]
    assert len(masks) == sum(map(len, marks.values()))
    back = there_and_back(session, tmp_path / "data", class_tasks(report.folder))
    assert back == everything(report.folder)


def drawn(shot: str, marks: list[tuple[str, Mask]]) -> dict[str, Any]:
    result = []
    for number, (name, mask) in enumerate(marks):
        result += [brush_region(mask, name, id=f"{number}"), group_number(f"{number}", number)]
    return {"data": {"image": f"{shot}.png"}, "annotations": [{"result": result}]}


def test_a_class_that_no_conversion_made_cannot_go_back(
    make_session: MakeSession, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    report = convert(annotate_session(make_session(), taxonomy), out_root=tmp_path)
    report.sidecar.unlink()
    with pytest.raises(AnnotationError, match=r"000\.png: expected its session and shot in .*only"):
        class_tasks(report.folder)
