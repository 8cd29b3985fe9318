import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from annotation_builders import HEIGHT, WIDTH, Mask, default_truth, small_plan

from loco_tools.annotations.taxonomy import Taxonomy, load_taxonomy
from loco_tools.capture.session import (
    CameraRecord,
    Session,
    Shot,
    write_session,
)
from loco_tools.datasets.images import Pixels, encode_png
from loco_tools.files import sha256_of

Truth = Mapping[str, Sequence[tuple[str, Mask]]]
MakeSession = Callable[..., Path]


@pytest.fixture(autouse=True)
def _no_syncing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Converting writes many small files; waiting for the disk after each proves nothing here."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def taxonomy() -> Taxonomy:
    return load_taxonomy("composite_part")


@pytest.fixture
def make_session(tmp_path: Path) -> MakeSession:
    """Writes a small session of random images with truth masks, without syncing each file."""

    def write(path: Path, pixels: Pixels) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(pixels))

    def make(
        name: str = "session-001",
        *,
        truth: Truth | None = None,
        simulated: bool = True,
        px_per_mm: float | None = 2.0,
        class_name: str = "composite_part",
    ) -> Path:
        plan = small_plan(class_name)
        folder = tmp_path / "captures" / plan.name / name
        record = Session(
            session=name,
            created="2026-01-02T03:04:05+00:00",
            loco_tools="0.1.0",
            simulated=simulated,
            seed=0 if simulated else None,
            camera=CameraRecord(identity="twin" if simulated else "x:1", requested={}, actual={}),
            px_per_mm={} if px_per_mm is None else {"top": px_per_mm},
            plan=plan,
        )
        write_session(folder, record)
        masks_by_shot = default_truth() if truth is None else truth
        journal = []
        rng = np.random.default_rng(len(name))
        for planned in plan.planned_shots():
            image = folder / "images" / f"{planned.shot}.png"
            write(image, rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8))
            for number, (defect, mask) in enumerate(masks_by_shot.get(planned.shot, ())):
                target = folder / "truth" / planned.shot / f"{number}_{defect}.png"
                write(target, mask.astype(np.uint8) * 255)
            journal.append(
                Shot(
                    **planned._asdict(),
                    file=f"images/{planned.shot}.png",
                    sha256=sha256_of(image),
                    simulated=simulated,
                    measurements={},
                ).model_dump_json()
            )
        (folder / "shots.jsonl").write_text("".join(f"{line}\n" for line in journal))
        return folder

    return make


@pytest.fixture
def real_projects() -> Path:
    """Real Label Studio projects; see shared/data/README.md."""
    data = os.environ.get("LOCO_TOOLS_TEST_DATA")
    if not data:
        pytest.skip("LOCO_TOOLS_TEST_DATA is unset")
    return Path(data) / "labelstudio"
