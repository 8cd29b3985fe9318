from pathlib import Path

import pytest

from loco_tools.benchmark.executor_settings import LocalSettings, RaySettings, SlurmSettings
from loco_tools.benchmark.run.planning import cell_device
from loco_tools.benchmark.suite import (
    MethodEntry,
    Suite,
    folder_name,
    load_suite,
    parse_settings,
    with_executor,
    with_settings,
)
from loco_tools.definitions import names
from loco_tools.ensembles import ENSEMBLES
from loco_tools.errors import BenchmarkError, DefinitionError
from loco_tools.methods import METHODS
from loco_tools.schema import parse


@pytest.mark.parametrize("name", names("benchmark/suites"))
def test_every_shipped_suite_can_be_read(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    assert suite.entries()


def test_an_ensemble_takes_the_other_methods_named_as_its_members() -> None:
    entries = Suite(methods=["ensemble", "a", "b"]).entries()
    assert [entry.name for entry in entries] == ["a", "b", "ensemble"]
    assert entries[-1].members == ("a", "b")


def test_a_star_stands_for_every_method_that_is_not_listed_otherwise() -> None:
    suite = Suite(methods=[{"name": "draem", "label": "d"}, {"name": "*", "resize": "square"}])
    names = [name for name in METHODS if name != "draem"]
    assert [entry.name for entry in suite.methods] == ["d", *names]
    assert {entry.resize for entry in suite.methods[1:]} == {"square"}


def test_an_ensemble_alone_brings_patchcore_and_simplenet_along() -> None:
    entries = Suite(methods=["ensemble"]).entries()
    assert [entry.name for entry in entries] == ["patchcore", "simplenet", "ensemble"]


@pytest.mark.parametrize("name", ENSEMBLES)
def test_every_name_of_an_ensemble_takes_the_single_methods_as_its_members(name: str) -> None:
    entries = Suite(methods=[name, "a", "ensemble-max" if name == "ensemble" else "ensemble"])
    assert [entry.members for entry in entries.entries()] == [(), ("a",), ("a",)]


def test_ensembles_have_members_of_their_own_choice_and_several_share_them() -> None:
    suite = Suite(
        methods=[
            "a",
            "b",
            {"name": "ensemble-mean", "members": ["b"]},
            {"name": "ensemble-mean", "label": "sharp", "overrides": {"combiner": "max"}},
        ]
    )
    assert [e.members for e in suite.entries()] == [(), (), ("b",), ("a", "b")]


def test_the_settings_of_an_ensemble_include_those_of_its_name() -> None:
    entry = MethodEntry(name="ensemble-mean", overrides={"calibrator": "robust_z"})
    assert entry.settings == {"combiner": "mean", "calibrator": "robust_z"}
    assert MethodEntry(name="patchcore", overrides={"size_px": 64}).settings == {"size_px": 64}


def test_a_line_sees_images_at_a_size_of_its_own_and_otherwise_at_the_suites() -> None:
    wide = {"name": "patchcore", "label": "wide", "resize": "area", "input_size_px": 128}
    suite = Suite(methods=["patchcore", wide], resize="square", input_size_px=64)
    plain, own = suite.entries()
    assert (suite.resize_of(plain), suite.size_of(plain)) == ("square", 64)
    assert (suite.resize_of(own), suite.size_of(own)) == ("area", 128)


def test_an_unknown_member_is_answered_with_the_nearest_line() -> None:
    methods = ["patchcore", {"name": "ensemble", "members": ["patchcor"]}]
    with pytest.raises(BenchmarkError, match='member "patchcor"; did you mean "patchcore"'):
        Suite(methods=methods).entries()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"methods": []}, "at least 1 item"),
        ({"methods": ["a", "a"]}, "needs its own label"),
        ({"methods": ["a"], "seeds": [1, 1]}, "each seed counts once"),
        ({"methods": ["a"], "sedes": [1]}, 'did you mean "seeds"'),
        (
            {"methods": [{"name": "a", "members": ["b"]}]},
            'members are for ensembles, got them on "a"',
        ),
        (
            {"methods": ["a", {"name": "ensemble", "resize": "square"}]},
            "is an ensemble and uses the input size of its members",
        ),
        ({"methods": ["a"], "resize": "crop"}, "'keep', 'square' or 'area'"),
        ({"methods": ["a"], "preset": "slow"}, "'fast' or 'paper'"),
    ],
)
def test_a_wrong_suite_is_refused_with_the_reason(content: object, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        parse(Suite, content, origin="suite.toml")


def test_a_suite_reads_the_same_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'schema_version = 1\nmethods = ["patchcore", { name = "patchcore", label = "pc-small", '
        "overrides = { size_px = 64 } }]\nseeds = [0, 1]\n"
    )
    suite = load_suite(str(path))
    assert suite.methods[1] == MethodEntry(
        name="patchcore", label="pc-small", overrides={"size_px": 64}
    )


def test_method_titles_become_folder_names_that_every_system_takes() -> None:
    assert folder_name("my.pkg:Class") == "my.pkg_Class"
    assert folder_name("../../etc") == "_.._etc"


def test_settings_change_fields_of_their_method_alone() -> None:
    suite = Suite(methods=["patchcore", {"name": "simplenet", "overrides": {"steps": 5}}])
    changed = with_settings(
        suite,
        parse_settings(
            ["patchcore.coreset_ratio=0.2", "simplenet.noise_scale=absolute", "simplenet.steps=7"]
        ),
    )
    assert changed.methods[0].overrides == {"coreset_ratio": 0.2}
    assert changed.methods[1].overrides == {"steps": 7, "noise_scale": "absolute"}
    assert suite.methods[0].overrides == {}


def test_settings_reach_members_that_an_ensemble_brings_along() -> None:
    changed = with_settings(Suite(methods=["ensemble"]), {"patchcore.reweight": True})
    assert changed.entries()[0].overrides == {"reweight": True}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("coreset_ratio=0.2", "expected method.field=value, such as patchcore.coreset_ratio=0.2"),
        ("patchcore.coreset_ratio", "expected method.field=value"),
        ("patchcor.size_px=64", 'no method "patchcor"; did you mean "patchcore"'),
    ],
)
def test_a_setting_of_another_spelling_is_answered(setting: str, message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        with_settings(Suite(methods=["patchcore"]), parse_settings([setting]))


def test_cells_run_in_processes_of_this_machine_unless_a_suite_says_otherwise() -> None:
    assert Suite(methods=["patchcore"]).executor == LocalSettings()
    assert Suite(methods=["patchcore"], executor={"workers": 3}).executor == LocalSettings(
        workers=3
    )
    ray = Suite(methods=["patchcore"], executor={"kind": "ray", "gpus": 0.5}).executor
    assert ray == RaySettings(gpus=0.5)


@pytest.mark.parametrize(
    ("executor", "message"),
    [
        ({"kind": "rai"}, "executor.*'local', 'ray', 'slurm'"),
        ({"kind": "ray", "gpu": 1}, 'unknown key executor.ray.gpu; did you mean "gpus"'),
        ({"workers": -1}, "executor.local.workers: .* greater than or equal to 0, got -1"),
        ({"kind": "slurm", "time_min": 0}, "executor.slurm.time_min"),
    ],
)
def test_a_wrong_executor_is_refused_with_the_place(
    executor: dict[str, object], message: str
) -> None:
    with pytest.raises(DefinitionError, match=message):
        parse(Suite, {"methods": ["patchcore"], "executor": executor}, origin="suite.toml")


def test_the_command_line_changes_fields_of_the_executor_and_another_kind_forgets_them() -> None:
    suite = Suite(methods=["patchcore"], executor={"kind": "slurm", "partition": "gpu", "gpus": 1})
    changed = with_settings(
        suite, {"executor.time_min": 90, "executor.parameters": {"exclude": "n7"}}
    )
    assert changed.executor == SlurmSettings(
        partition="gpu", gpus=1, time_min=90, parameters={"exclude": "n7"}
    )
    assert with_executor(changed, {"kind": "slurm", "workers": 4}).executor == SlurmSettings(
        partition="gpu", gpus=1, time_min=90, parameters={"exclude": "n7"}, workers=4
    )
    assert with_executor(changed, {"kind": "ray"}).executor == RaySettings()
    with pytest.raises(DefinitionError, match='did you mean "partition"'):
        with_settings(suite, {"executor.partion": "x"})
    with pytest.raises(DefinitionError, match="address"):
        with_executor(suite, {"address": "127.0.0.1:6379"})


def test_a_gpu_for_the_cells_of_a_cluster_comes_from_its_settings() -> None:
    cluster = Suite(methods=["patchcore"], executor={"kind": "ray", "gpus": 1})
    assert cell_device(cluster) == "cuda"
    assert cell_device(cluster.model_copy(update={"executor": RaySettings()})) == "cpu"
    with pytest.raises(BenchmarkError, match=r'device "cuda": .* gives each cell 0 GPUs'):
        cell_device(Suite(methods=["patchcore"], device="cuda", executor={"kind": "ray"}))
