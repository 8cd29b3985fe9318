"""Conformance checks that every camera has to pass, those of loco-tools and those of plug-ins.

from loco_tools.testing import check_camera
from my_camera import MyCamera

def test_my_camera():
check_camera(lambda plan: MyCamera("", plan))
"""

from collections.abc import Callable

from loco_tools.capture.cameras import Camera, open_camera
from loco_tools.capture.cameras.camera import differences
from loco_tools.datasets.images import Pixels
from loco_tools.errors import CaptureError
from loco_tools.plan import Gates, Plan, PlannedShot, Shots, load_plan

MakeCamera = Callable[[Plan | None], Camera]
"""Makes the camera for a plan, not connected; None means that it keeps its settings."""

SHOT = PlannedShot("p0000-top", "p0000", "top", "train", "good", None)
NEXT_SHOT = SHOT._replace(shot="p0001-top", part="p0001")


def check_camera(make_camera: MakeCamera, plan: Plan | None = None) -> None:
    """Check that a camera does what the capture station relies on.

    The device has to be connected. The checks connect it several times and take about ten frames.

    Args:
        make_camera: makes the camera for a plan (or for None), not connected; it is called several
            times, with different plans.
        plan: a plan whose settings the camera can take. Without one, the checks use a plan with
            the settings that the camera has when it is connected without a plan.

    Raises:
        AssertionError: a check failed; the message says what to correct.
        CaptureError: the camera cannot be connected, or gives no frame.
    """
    if plan is None:
        plan = plan_for(make_camera)
    for check in CHECKS:
        check(make_camera, plan)


def plan_for(make_camera: MakeCamera) -> Plan:
    """A plan of four good parts in one view, with the present settings of the camera."""
    with make_camera(None) as camera:
        settings = camera.settings()
        _check_settings_have_the_size(settings)
    plan = load_plan("flat_connector")
    taken = {name: settings[name] for name in plan.camera.requested() if name in settings}
    return plan.model_copy(
        update={
            "camera": plan.camera.model_copy(update=taken),
            "shots": (Shots(split="train", kind="good", parts=4, demo_parts=4),),
            "gates": Gates.model_validate(dict.fromkeys(Gates.model_fields)),
        }
    )


def check_frames_and_settings(make_camera: MakeCamera, plan: Plan) -> None:
    """A connected camera gives frames of the plan's size and reads its settings back."""
    with make_camera(plan) as camera:
        frame, settings = camera.frame(SHOT), camera.settings()
        shape = (plan.camera.height_px, plan.camera.width_px, 3)
        _check_image("frame(shot).image", frame.image, shape)
        _check_image("preview(shot)", camera.preview(NEXT_SHOT), shape)
        _check_settings_have_the_size(settings)
        mismatches = differences(plan.camera.requested(), settings)
        _expect(not mismatches, f"settings() as in the plan, got {mismatches}", "read them back")
        changes = differences(settings, camera.settings())
        _expect(not changes, f"the same settings() at the next call, got {changes}", "correct it")
        _expect(
            isinstance(camera.simulated, bool) and isinstance(camera.identity, str),
            f"simulated as bool and identity as str, got {camera.simulated!r} and "
            f"{camera.identity!r}",
            "set both",
        )


def check_disconnected(make_camera: MakeCamera, plan: Plan) -> None:
    """A camera that is not connected raises CaptureError, and closing it twice does nothing."""
    camera = make_camera(plan)
    _check_not_connected(camera)
    with camera:
        camera.frame(SHOT)
    camera.close()
    camera.close()
    _check_not_connected(camera)


def check_identity(make_camera: MakeCamera, plan: Plan) -> None:
    """The identity is stable, and opens the same camera when it is given to `--camera`."""
    camera = make_camera(plan)
    with camera:
        identity, settings = camera.identity, camera.settings()
    with camera:
        _expect(
            camera.identity == identity,
            f'the identity "{identity}" after connecting again, got "{camera.identity}"',
            "make it depend on the device alone",
        )
    try:
        named = open_camera(identity, plan, seed=0)
    except CaptureError as error:
        raise AssertionError(
            f'camera "{identity}": expected an identity that --camera takes, got the error: '
            f"{error}; next step: set identity to module:Class or module:Class:ADDRESS"
        ) from error
    with named:
        _expect(
            named.identity == identity and named.settings() == settings,
            f'"{identity}" with {settings} under --camera {identity}, got "{named.identity}" with '
            f"{named.settings()}",
            "set identity to what --camera takes",
        )


def check_refused_settings(make_camera: MakeCamera, plan: Plan) -> None:
    """A camera refuses a plan that it cannot fulfil, and releases the device.

    A simulated camera may fulfil any plan, so it is not checked.
    """
    camera = make_camera(plan)
    if camera.simulated:
        return
    impossible = {"height_px": 50, "width_px": 70, "exposure_us": 1e9}
    settings = plan.camera.model_copy(update=impossible)
    refusing = make_camera(plan.model_copy(update={"camera": settings}))
    try:
        refusing.connect()
    except CaptureError as error:
        words = str(error)
        has_form = all(part in words for part in ("expected", "got", "next step"))
        _expect(
            has_form, f'a message with "expected", "got", "next step", got: {words}', "add them"
        )
    else:
        refusing.close()
        _expect(
            False,
            f"connect() to raise CaptureError for {impossible}, got no error",
            "call refuse_mismatch with the settings that are read back",
        )
    _check_not_connected(refusing)
    with camera:
        camera.frame(SHOT)


def check_without_plan(make_camera: MakeCamera, plan: Plan) -> None:
    """Without a plan, a camera keeps its settings and gives a frame of its size."""
    del plan
    with make_camera(None) as camera:
        settings, image = camera.settings(), camera.frame(SHOT).image
    _check_settings_have_the_size(settings)
    shape = (int(settings["height_px"]), int(settings["width_px"]), 3)
    _check_image("frame(shot).image without a plan", image, shape)


CHECKS = (
    check_frames_and_settings,
    check_disconnected,
    check_identity,
    check_refused_settings,
    check_without_plan,
)
"""The checks of `check_camera`, for test frameworks that run each as a test of its own."""


def _check_image(what: str, image: Pixels, shape: tuple[int, int, int]) -> None:
    got = (image.shape, str(image.dtype), image.flags.writeable)
    _expect(
        got == (shape, "uint8", True),
        f"{what} as a writeable uint8 array of shape {shape} (height, width, RGB), got shape "
        f"{got[0]}, {got[1]}, writeable: {got[2]}",
        "convert or copy the image",
    )


def _check_settings_have_the_size(settings: dict[str, float | str]) -> None:
    _expect(
        {"height_px", "width_px"} <= settings.keys(),
        f"settings() with height_px and width_px, got {sorted(settings)}",
        "add the size of the pictures",
    )


def _check_not_connected(camera: Camera) -> None:
    for use in (camera.frame, camera.preview):
        try:
            use(SHOT)
        except CaptureError as error:
            got = str(error)
        else:
            got = "no error"
        _expect(
            "is not connected" in got and "next step" in got,
            f'{use.__name__}() of a camera that is not connected to raise CaptureError "... is not '
            f'connected; next step: ...", got: {got}',
            "call require_connected first, and release the device on every failure",
        )


def _expect(condition: bool, expectation: str, next_step: str) -> None:
    if not condition:
        raise AssertionError(f"expected {expectation}; next step: {next_step}")
