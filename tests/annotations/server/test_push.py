from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from loco_tools import extras
from loco_tools.annotations.server.push import push
from loco_tools.capture.session import JOURNAL
from loco_tools.errors import AnnotationError, DefinitionError, MissingExtraError

NOWHERE = {"url": "http://127.0.0.1:9", "project": "parts", "token": SecretStr("0123")}


def test_a_session_without_anomalous_parts_has_nothing_to_show(
    make_session: Callable[..., Path],
) -> None:
    session = make_session()
    journal = session / JOURNAL
    good = [line for line in journal.read_text().splitlines() if '"kind":"good"' in line]
    journal.write_text("".join(f"{line}\n" for line in good))
    with pytest.raises(AnnotationError, match=r"anomalous parts to show; .* --with-good"):
        push(session, **NOWHERE)


def test_a_session_outside_of_the_served_folder_is_refused(
    make_session: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(AnnotationError, match=r"with the session in it, got .* outside of it"):
        push(make_session(), **NOWHERE, local_files=tmp_path / "elsewhere")


def test_a_plan_whose_defects_the_taxonomy_lacks_is_refused(
    make_session: Callable[..., Path],
) -> None:
    with pytest.raises(DefinitionError, match='photographs "scratch" as structural'):
        push(make_session(class_name="angle", truth={}), **NOWHERE)


def test_without_the_extra_the_message_names_it(
    make_session: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(extras.MODULES, "labelstudio", ("no_such_module",))
    with pytest.raises(MissingExtraError, match=r"pip install 'loco-tools\[labelstudio\]'"):
        push(make_session(), **NOWHERE)
