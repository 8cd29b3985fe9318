"""Cells that run with transferred inputs; the cluster's store is a list."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from loco_tools.benchmark.cell import backbone_source
from loco_tools.benchmark.cell.work import Job, run_cell
from loco_tools.benchmark.executors.transfer import (
    CellOutputs,
    InputPacker,
    pack,
    run_with_inputs,
    store_outputs,
    unpack,
)
from loco_tools.benchmark.run import planning
from loco_tools.benchmark.suite import Suite
from loco_tools.errors import BenchmarkError
from loco_tools.methods.backbones import random_backbone

Make = Callable[..., Path]
MakeSuite = Callable[..., Suite]


class Store:
    """Bytes by number, as a cluster's store gives references."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def put(self, part: bytes) -> int:
        self.parts.append(part)
        return len(self.parts) - 1


def jobs_of(suite: Suite, data: Path, out: Path) -> list[Job]:
    return list(planning.jobs(planning.prepare(suite, [data], out)))


def run_elsewhere(job: Job, packer: InputPacker[int], store: Store) -> CellOutputs:
    """Run a cell whose own paths do not exist."""
    inputs = packer.inputs_of(job)
    lost = replace(job, class_path=Path("/nowhere") / job.class_path.name, out=Path("/nowhere/out"))
    return run_with_inputs(lost, inputs, store.parts.__getitem__)


def test_members_travel_to_their_ensemble_and_the_class_travels_once(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    data, out, store = make_loco_class(), tmp_path / "out", Store()
    (data.parent / "plate.jsonl").write_text("")
    methods = [*make_suite("a", "b").methods, {"name": "ensemble-mean"}]
    suite = Suite(methods=methods, backbone="scattering")
    packer = InputPacker(store.put)
    for job in jobs_of(suite, data, out):
        record = store_outputs(job, run_elsewhere(job, packer, store))
        assert (record.status, record.error) == ("ok", "")
    assert len(store.parts) == 3, "the class, and two members"
    for job in jobs_of(suite, data, tmp_path / "here"):
        there = replace(job, out=out).reusable()
        assert there is not None
        assert run_cell(job).figures == there.figures
    ensemble = out / "cells" / "ensemble-mean" / "plate" / "0" / "model" / "members" / "0"
    shared = out / "cells" / "a" / "plate" / "0" / "model" / "detector.safetensors"
    assert (ensemble / shared.name).samefile(shared), "members lie on the disk once"


def test_a_failure_travels_back_as_its_record(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    fault, store = tmp_path / "fault", Store()
    fault.write_text("crash")
    suite = make_suite("a", overrides={"a": {"fault": str(fault)}})
    (job,) = jobs_of(suite, make_loco_class(), tmp_path / "out")
    record = store_outputs(job, run_elsewhere(job, InputPacker(store.put), store))
    assert record.status == "failed"
    assert record.error.startswith("RuntimeError: boom <b>crash</b> (in stub_detectors, line ")


def test_maps_of_a_finished_cell_travel_alone_and_their_failure_harms_nothing(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    fault, store, out = tmp_path / "fault", Store(), tmp_path / "out"
    suite = make_suite("a", overrides={"a": {"late_fault": str(fault)}}, maps=True)
    (job,) = jobs_of(suite, make_loco_class(), out)
    packer = InputPacker(store.put)
    store_outputs(replace(job, keep_maps=False), run_elsewhere(job, packer, store))
    shutil.rmtree(job.cell.maps_folder(out))
    before = contents(out / "cells")
    fault.write_text("crash")
    record = store_outputs(job, run_elsewhere(job, packer, store))
    assert (record.status, "boom" in record.maps_error) == ("ok", True)
    assert (contents(out / "cells"), job.maps_missing) == (before, True)
    fault.unlink()
    outputs = run_elsewhere(job, packer, store)
    assert outputs.cell == ()
    assert store_outputs(job, outputs).maps_error == ""
    assert (contents(out / "cells"), job.maps_missing) == (before, False)


def test_weights_travel_and_another_file_under_their_name_is_refused(
    tmp_path: Path,
    make_loco_class: Make,
    make_suite: MakeSuite,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(there))
    weights, store = tmp_path / "weights.pth", Store()
    torch.save(random_backbone("squeezenet1_1").net.state_dict(), weights)
    suite = make_suite("a", backbone="squeezenet1_1", weights=str(weights))
    data = make_loco_class()
    (job,) = jobs_of(suite, data, tmp_path / "out")
    record = store_outputs(job, run_elsewhere(job, InputPacker(store.put), store))
    assert (record.status, record.error) == ("ok", "")
    (kept,) = (there / "loco-tools-weights").iterdir()
    assert kept.read_bytes() == weights.read_bytes()

    others = {name: value + 1 for name, value in torch.load(weights).items()}
    torch.save(others, kept)
    backbone_source._load.cache_clear()
    (job,) = jobs_of(suite, data, tmp_path / "other")
    record = store_outputs(job, run_elsewhere(job, InputPacker(store.put), store))
    assert record.status == "failed"
    assert "expected squeezenet1_1:" in record.error


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@given(
    files=some.dictionaries(
        some.text("ab/ü", min_size=1, max_size=5).filter(
            lambda n: n.strip("/") == n and "//" not in n
        ),
        some.binary(max_size=3000),
        max_size=4,
    ),
    part_bytes=some.integers(1, 5000),
)
def test_a_folder_comes_out_as_it_went_in_whatever_the_size_of_its_parts(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], part_bytes: int
) -> None:
    source = tmp_path_factory.mktemp("source")
    for name, content in files.items():
        path = source / f"{name}.bin"  # no file is another one's folder
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (source / "empty").mkdir()
    parts = list(pack({"inside": source}, part_bytes))
    assert all(len(part) == part_bytes for part in parts[:-1])
    arrived = tmp_path_factory.mktemp("arrived")
    unpack(iter(parts), arrived)
    assert contents(arrived / "inside") == contents(source)


def test_files_and_folders_are_packed_and_missing_ones_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "plate").mkdir()
    (tmp_path / "plate" / "a").write_text("a")
    (tmp_path / "plate.jsonl").write_text("{}")
    names = ("plate", "plate.jsonl", "absent")
    unpack(pack({name: tmp_path / name for name in names}), tmp_path / "there")
    assert sorted(contents(tmp_path / "there")) == ["plate", "plate.jsonl", "plate/a"]


def test_damaged_parts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="damaged archive"):
        unpack([b"no archive at all" * 100], tmp_path / "there")
