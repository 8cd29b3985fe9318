"""A cell with nothing but its luggage; the cluster's store is a list."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from loco_tools.benchmark.cell import backbone_source
from loco_tools.benchmark.cell.attempt import attempt
from loco_tools.benchmark.cell.work import Job
from loco_tools.benchmark.executors.carried import CarriedBack, Packing, take_in, work_carried
from loco_tools.benchmark.run import planning
from loco_tools.benchmark.suite import Suite
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


def carry(job: Job, packing: Packing[int], store: Store) -> CarriedBack:
    """Work on a cell whose own paths lead nowhere."""
    luggage = packing.luggage(job)
    lost = replace(job, class_path=Path("/nowhere") / job.class_path.name, out=Path("/nowhere/out"))
    return work_carried(lost, luggage, store.parts.__getitem__)


def test_members_travel_to_their_ensemble_and_the_class_travels_once(
    tmp_path: Path, make_loco_class: Make, make_suite: MakeSuite
) -> None:
    data, out, store = make_loco_class(), tmp_path / "out", Store()
    (data.parent / "plate.jsonl").write_text("")
    methods = [*make_suite("a", "b").methods, {"name": "ensemble-mean"}]
    suite = Suite(methods=methods, backbone="scattering")
    packing = Packing(store.put)
    for job in jobs_of(suite, data, out):
        record = take_in(job, carry(job, packing, store))
        assert (record.status, record.error) == ("ok", "")
    assert len(store.parts) == 3, "the class, and two members"
    for job in jobs_of(suite, data, tmp_path / "here"):
        there = replace(job, out=out).reusable()
        assert there is not None
        assert attempt(job).figures == there.figures
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
    record = take_in(job, carry(job, Packing(store.put), store))
    assert (record.status, record.error) == ("failed", "RuntimeError: boom <b>crash</b>")


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
    (job,) = jobs_of(suite, make_loco_class(), tmp_path / "out")
    record = take_in(job, carry(job, Packing(store.put), store))
    assert (record.status, record.error) == ("ok", "")
    (kept,) = (there / "loco-tools-weights").iterdir()
    assert kept.read_bytes() == weights.read_bytes()

    others = {name: value + 1 for name, value in torch.load(weights).items()}
    torch.save(others, kept)
    backbone_source._loaded.cache_clear()
    record = take_in(job, carry(job, Packing(store.put), store))
    assert record.status == "failed"
    assert "expected squeezenet1_1:" in record.error
