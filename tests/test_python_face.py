"""The functions of `import loco_tools`, and the page that documents them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from python_page import PAGE, examples

import loco_tools
from loco_tools.errors import DatasetError, MethodError

MakeClass = Callable[..., Path]


def test_importing_the_package_is_cheap_and_offers_every_name() -> None:
    program = (
        "import sys, loco_tools; "
        "heavy = {'torch', 'numpy', 'cv2', 'pydantic', 'rich'} & set(sys.modules); "
        "assert not heavy, heavy; "
        "assert set(loco_tools.__all__) <= set(dir(loco_tools)); "
        "print([name for name in loco_tools.__all__ if not callable(getattr(loco_tools, name))]); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"


def test_a_class_describes_itself_in_one_line(make_loco_class: MakeClass) -> None:
    assert repr(loco_tools.load(make_loco_class())) == (
        "<DatasetClass plate (mvtec_loco): train 4, validation 2, "
        "test 3 good, 2 logical_anomalies, 2 structural_anomalies; 5 masks>"
    )
    one = loco_tools.load(make_loco_class("two\nlines", logical=(), structural=((100,),)))
    assert repr(one).startswith(r"<DatasetClass two\nlines (mvtec_loco): ")
    assert repr(one).endswith("1 structural_anomalies; 1 mask>")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("tets", 'did you mean "test"? (known: test, train, validation)'),
        ("good", "known: test, train, validation"),
        (print, "known: test, train, validation"),
    ],
)
def test_an_unknown_split_is_an_error_that_lists_the_splits(
    make_loco_class: MakeClass, name: object, hint: str
) -> None:
    dataset = loco_tools.load(make_loco_class())
    for choose in (dataset.split, dataset.torch):
        with pytest.raises(DatasetError) as raised:
            choose(name)
        assert str(raised.value) == f"plate: unknown split {name!r}; {hint}"


def test_a_folder_without_a_detector_is_named(tmp_path: Path) -> None:
    with pytest.raises(MethodError, match=str(tmp_path)):
        loco_tools.load_detector(tmp_path)


def test_the_examples_of_the_page_run(
    make_loco_class: MakeClass, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    make_loco_class("angle", size=(64, 96))
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for heading, code in examples().items():
        if "loco_tools.convert(" not in code:  # see tests/annotations/test_convert.py
            exec(compile(code, f"{PAGE.name}, {heading}", "exec"), namespace)  # noqa: S102
    assert namespace["page"] == Path("runs/python/report.html")
    assert {record.status for record in namespace["report"].records} == {"ok"}
    assert list(namespace["both"].members) == ["patchcore", "simplenet"]
    assert not namespace["findings"].errors
    with pytest.raises(MethodError, match=r"expected one backbone .* \(patchcore\), got a mapping"):
        loco_tools.load_detector("detectors/patchcore", {})
