"""Reconnecting a lost camera a limited number of times."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from loco_tools.capture.cameras.camera import Settings, differences
from loco_tools.errors import CaptureError

WAITS_S = (0.5, 1.0, 2.0)
"""Seconds to wait before each attempt."""

Result = TypeVar("Result")


class UnsuitableCameraError(CaptureError):
    """A fault that connecting again does not remedy: the camera is there, and cannot be used."""


def with_reconnect(
    take: Callable[[], Result],
    reconnect: Callable[[], None],
    *,
    identity: str,
    waits_s: Sequence[float] = WAITS_S,
    lost_by: type[CaptureError] = CaptureError,
) -> Result:
    """Call `take`; after a failure, reconnect and call it again, once for each of `waits_s`.

    Args:
        take: takes a photograph; raises CaptureError if the device is lost.
        reconnect: releases the device, claims it again and checks that it is the same one; raises
            CaptureError if this fails.
        identity: of the camera, for the message.
        waits_s: seconds to wait before each attempt.
        lost_by: the exception of `take` that means a lost device; other exceptions are passed on.

    Returns:
        The result of `take`.

    Raises:
        UnsuitableCameraError: the first one that is raised.
        CaptureError: the last attempt failed too.
    """
    try:
        return take()
    except UnsuitableCameraError:
        raise
    except lost_by as error:
        lost: CaptureError = error
    for wait_s in waits_s:
        time.sleep(wait_s)
        try:
            reconnect()
            return take()
        except UnsuitableCameraError:
            raise
        except CaptureError as error:
            lost = error
    reason, _, advice = str(lost).partition("; next step: ")
    raise CaptureError(
        f"camera {identity} was lost and did not come back within {len(waits_s)} tries ({reason}); "
        f"next step: {advice or 'check its cable and power'}, then run the same command again, it "
        "continues where it stopped"
    ) from lost


def refuse_changed_camera(before: tuple[str, Settings], after: tuple[str, Settings]) -> None:
    """Check that a reconnected camera has the same identity and the same settings as before.

    Raises:
        CaptureError: identity or settings differ.
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
            "restore its settings, or begin a new session"
        )
