"""Getting a lost camera back, a bounded number of times."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from loco_tools.capture.cameras.camera import Settings, differences
from loco_tools.errors import CaptureError

WAITS_S = (0.5, 1.0, 2.0)
"""How long to wait before each try."""

Taken = TypeVar("Taken")


def with_reconnect(
    take: Callable[[], Taken],
    reconnect: Callable[[], None],
    *,
    identity: str,
    waits_s: Sequence[float] = WAITS_S,
    lost_by: type[CaptureError] = CaptureError,
) -> Taken:
    """What `take` returns, reconnecting after each of its failures as often as there are waits.

    Args:
        take: takes a photograph; raises CaptureError when the device is lost.
        reconnect: releases the device, claims it again, and refuses another one; raises
            CaptureError when this does not work.
        identity: of the camera, for the message.
        waits_s: seconds before each try.
        lost_by: the failure of `take` that says that the device is lost; others pass.

    Raises:
        CaptureError: the last try failed too.
    """
    try:
        return take()
    except lost_by as error:
        lost: CaptureError = error
    for wait_s in waits_s:
        time.sleep(wait_s)
        try:
            reconnect()
            return take()
        except CaptureError as error:
            lost = error
    reason, _, advice = str(lost).partition("; next step: ")
    raise CaptureError(
        f"camera {identity} was lost and did not come back within {len(waits_s)} tries ({reason}); "
        f"next step: {advice or 'check its cable and power'}, then run the same command again, it "
        "goes on where it stopped"
    ) from lost


def refuse_other(before: tuple[str, Settings], after: tuple[str, Settings]) -> None:
    """Check that a camera came back as it was: the same identity, the same settings.

    Raises:
        CaptureError: it did not.
    """
    if before[0] != after[0]:
        raise CaptureError(
            f"expected camera {before[0]} to come back, got {after[0]}; next step: connect the "
            "camera that the session began with"
        )
    changed = differences(before[1], after[1])
    if changed:
        raise CaptureError(
            f"camera {before[0]} came back with other settings: {'; '.join(changed)}; next step: "
            "set it as it was, or begin a new session"
        )
