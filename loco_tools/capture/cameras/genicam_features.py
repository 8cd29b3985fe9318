"""The settings of a camera by its GenICam features, whichever SDK reaches them.

Feature names follow the GenICam Standard Features Naming Convention (SFNC); the names that older
cameras use instead (ExposureTimeAbs, ExposureTimeRaw, GainAbs, GainRaw) come after the present
ones.
"""

import math
from dataclasses import dataclass
from typing import Protocol

from loco_tools.capture.cameras.camera import Settings
from loco_tools.errors import CaptureError, did_you_mean
from loco_tools.plan import CameraSettings

Value = float | str | bool

_FIXED = {
    "ExposureAuto": "Off",
    "GainAuto": "Off",
    "BalanceWhiteAuto": "Off",
    "ExposureMode": "Timed",
}
_EXPOSURE_US = ("ExposureTime", "ExposureTimeAbs")
_GAIN_DB = ("Gain", "GainAbs")
_WHOLE_GAIN = ("All", "AnalogAll")
_RATIOS = ("BalanceRatio", "BalanceRatioAbs")
_COLOURS = ("Red", "Green", "Blue")


@dataclass(frozen=True)
class Limits:
    """What a number may be; an increment of None is a value without steps."""

    least: float
    most: float
    increment: float | None

    def hold(self, value: float) -> bool:
        """Whether the value lies between the limits."""
        return self.least <= value <= self.most

    def nearest(self, value: float) -> float:
        """The step nearest to a value, within the limits."""
        if not self.increment:
            return min(max(value, self.least), self.most)
        # 0.3 / 0.1 is a little less than 3.
        last = math.floor((self.most - self.least) / self.increment + 1e-9)
        step = round((value - self.least) / self.increment)
        return min(self.least + min(max(step, 0), last) * self.increment, self.most)

    def __str__(self) -> str:
        steps = f" in steps of {self.increment:g}" if self.increment else ""
        return f"{self.least:g} to {self.most:g}{steps}"


class Features(Protocol):
    """The features of a connected camera. Every method raises CaptureError when the SDK fails."""

    def value(self, name: str) -> Value | None:
        """The value of a feature; None when the camera does not have it or cannot tell it now."""

    def writable(self, name: str) -> bool:
        """Whether the camera has the feature and lets us set it now."""

    def write(self, name: str, value: Value) -> None:
        """Set a feature."""

    def limits(self, name: str) -> Limits:
        """What a numeric feature may be at present."""

    def choices(self, name: str) -> tuple[str, ...]:
        """The values of an enumeration that can be chosen at present; none when it is absent."""


def apply_settings(features: Features, wanted: CameraSettings) -> None:
    """Bring a camera to the settings of a plan: nothing automatic, no trigger, a centred region.

    A setting that the camera has no feature for is left out.

    Raises:
        CaptureError: the camera cannot take a value; the message names the feature and its limits.
    """
    for name, value in _FIXED.items():
        _bring(features, name, value)
    _switch_triggers_off(features)
    if wanted.pixel_format is not None:
        _bring(features, "PixelFormat", wanted.pixel_format)
    _set_region(features, wanted)
    _set_exposure(features, wanted.exposure_us)
    _set_gain(features, wanted.gain_db)
    if wanted.white_balance_ratio is not None:
        _set_white_balance(features, wanted.white_balance_ratio)


def read_settings(features: Features) -> Settings:
    """The settings in effect, by the names of `loco_tools.plan.CameraSettings.requested`.

    A camera whose gain has no unit has `gain_raw` instead of `gain_db`. `model` stands among them,
    so that a session's record tells an emulated camera from a real one.

    Raises:
        CaptureError: the camera does not answer.
    """
    read: dict[str, Value | None] = {
        "width_px": features.value("Width"),
        "height_px": features.value("Height"),
        "exposure_us": _exposure_us(features),
        "gain_db": _first(features, _GAIN_DB),
        "pixel_format": features.value("PixelFormat"),
        "model": features.value("DeviceModelName"),
    }
    if read["gain_db"] is None:
        read["gain_raw"] = features.value("GainRaw")
    for colour in _COLOURS if features.choices("BalanceRatioSelector") else ():
        features.write("BalanceRatioSelector", colour)
        read[f"white_balance_{colour.lower()}"] = _first(features, _RATIOS)
    return {name: value for name, value in read.items() if value is not None}


def _bring(features: Features, name: str, value: str) -> None:
    """Choose a value of an enumeration, if the camera has it."""
    present = features.value(name)
    if present is None or present == value:
        return
    known = features.choices(name)
    if value not in known:
        raise CaptureError(f'{name} has no "{value}"; {did_you_mean(value, known)}')
    features.write(name, value)


def _switch_triggers_off(features: Features) -> None:
    if features.value("TriggerMode") is None:
        return
    for selector in features.choices("TriggerSelector") or (None,):
        if selector is not None:
            features.write("TriggerSelector", selector)
        _bring(features, "TriggerMode", "Off")


def _set_region(features: Features, wanted: CameraSettings) -> None:
    # A region off the corner would limit how large it may become.
    for offset in ("OffsetX", "OffsetY"):
        if features.writable(offset):
            features.write(offset, features.limits(offset).least)
    _set_number(features, "Width", wanted.width_px)
    _set_number(features, "Height", wanted.height_px)
    for offset in ("OffsetX", "OffsetY"):
        if features.writable(offset):
            limits = features.limits(offset)
            features.write(offset, limits.nearest((limits.least + limits.most) / 2))


def _set_exposure(features: Features, exposure_us: float) -> None:
    for name in _EXPOSURE_US:
        if features.writable(name):
            _set_number(features, name, exposure_us)
            return
    _set_number(features, "ExposureTimeRaw", exposure_us / _raw_exposure_us(features))


def _exposure_us(features: Features) -> float | None:
    exposure = _number(_first(features, _EXPOSURE_US))
    raw = _number(features.value("ExposureTimeRaw"))
    if exposure is None and raw is not None:
        return raw * _raw_exposure_us(features)
    return exposure


def _raw_exposure_us(features: Features) -> float:
    """What one step of ExposureTimeRaw stands for."""
    return _number(features.value("ExposureTimeBaseAbs")) or 1.0


def _set_gain(features: Features, gain_db: float) -> None:
    for whole in _WHOLE_GAIN:
        if whole in features.choices("GainSelector"):
            features.write("GainSelector", whole)
            break
    for name in _GAIN_DB:
        if features.writable(name):
            _set_number(features, name, gain_db)
            return
    if features.writable("GainRaw"):
        if gain_db != 0:
            raise CaptureError(
                f"gain_db: expected 0, got {gain_db:g}: this camera's gain (GainRaw) has no unit, "
                "0 stands for its least"
            )
        features.write("GainRaw", features.limits("GainRaw").least)


def _set_white_balance(features: Features, ratios: tuple[float, float, float]) -> None:
    known = features.choices("BalanceRatioSelector")
    for colour, ratio in zip(_COLOURS, ratios, strict=True):
        if colour in known:
            features.write("BalanceRatioSelector", colour)
            for name in _RATIOS:
                if features.writable(name):
                    _set_number(features, name, ratio)
                    break


def _set_number(features: Features, name: str, wanted: float) -> None:
    """Set a number to the camera's nearest step; how near that has to be, the read-back judges."""
    if not features.writable(name):
        return
    limits = features.limits(name)
    if not limits.hold(wanted):
        raise CaptureError(f"{name}: expected {limits}, got {wanted:g}")
    features.write(name, limits.nearest(wanted))


def _number(value: Value | None) -> float | None:
    return None if value is None else float(value)


def _first(features: Features, names: tuple[str, ...]) -> Value | None:
    """The value of the first of the features that the camera has."""
    values = (features.value(name) for name in names)
    return next((value for value in values if value is not None), None)
