"""The settings of a camera as GenICam features, independent of the SDK.

Feature names follow the GenICam Standard Features Naming Convention (SFNC). The names of older
cameras (ExposureTimeAbs, ExposureTimeRaw, GainAbs, GainRaw) are tried after the present ones.
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
    """The range of a number; an increment of None means a value without steps."""

    least: float
    most: float
    increment: float | None

    def contains(self, value: float) -> bool:
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
    """The features of a connected camera; every method raises CaptureError if the SDK fails."""

    def value(self, name: str) -> Value | None:
        """The value of a feature; None if the camera lacks it or cannot read it at present."""

    def writable(self, name: str) -> bool:
        """Whether the camera has the feature and it can be set at present."""

    def write(self, name: str, value: Value) -> None:
        """Set a feature."""

    def limits(self, name: str) -> Limits:
        """The range of a numeric feature at present."""

    def choices(self, name: str) -> tuple[str, ...]:
        """The values of an enumeration that can be chosen at present; empty if it is absent."""


def apply_settings(features: Features, requested: CameraSettings) -> None:
    """Bring a camera to the settings of a plan, without automatic modes and triggers.

    The region is centred on the sensor. A setting without a feature of the camera is skipped.

    Raises:
        CaptureError: the camera cannot take a value; the message names the feature and its limits.
    """
    for name, value in _FIXED.items():
        _choose(features, name, value)
    if features.value("TriggerMode") is not None:
        for selector in features.choices("TriggerSelector") or (None,):
            if selector is not None:
                features.write("TriggerSelector", selector)
            _choose(features, "TriggerMode", "Off")
    if requested.pixel_format is not None:
        _choose(features, "PixelFormat", requested.pixel_format)
    _set_region(features, requested)
    if not _set_first_writable(features, _EXPOSURE_US, requested.exposure_us):
        raw = requested.exposure_us / _raw_exposure_us(features)
        _set_number(features, "ExposureTimeRaw", raw)
    _set_gain(features, requested.gain_db)
    if requested.white_balance_ratio is not None:
        known = features.choices("BalanceRatioSelector")
        for colour, ratio in zip(_COLOURS, requested.white_balance_ratio, strict=True):
            if colour in known:
                features.write("BalanceRatioSelector", colour)
                _set_first_writable(features, _RATIOS, ratio)


def read_settings(features: Features) -> Settings:
    """The settings in effect, by the names of `loco_tools.plan.CameraSettings.requested`.

    A camera whose gain has no unit has `gain_raw` instead of `gain_db`. `model` is included, so
    that the record of a session shows whether the camera was an emulated one.

    Raises:
        CaptureError: the camera does not answer.
    """
    exposure_us = _number(_first(features, _EXPOSURE_US))
    raw = _number(features.value("ExposureTimeRaw"))
    if exposure_us is None and raw is not None:
        exposure_us = raw * _raw_exposure_us(features)
    read: dict[str, Value | None] = {
        "width_px": features.value("Width"),
        "height_px": features.value("Height"),
        "exposure_us": exposure_us,
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


def _choose(features: Features, name: str, value: str) -> None:
    """Choose a value of an enumeration, if the camera has the enumeration."""
    present = features.value(name)
    if present is None or present == value:
        return
    known = features.choices(name)
    if value not in known:
        raise CaptureError(f'{name} has no "{value}"; {did_you_mean(value, known)}')
    features.write(name, value)


def _set_region(features: Features, requested: CameraSettings) -> None:
    # A region off the corner would limit how large it may become.
    for offset in ("OffsetX", "OffsetY"):
        if features.writable(offset):
            features.write(offset, features.limits(offset).least)
    _set_number(features, "Width", requested.width_px)
    _set_number(features, "Height", requested.height_px)
    for offset in ("OffsetX", "OffsetY"):
        if features.writable(offset):
            limits = features.limits(offset)
            features.write(offset, limits.nearest((limits.least + limits.most) / 2))


def _raw_exposure_us(features: Features) -> float:
    """Microseconds per step of ExposureTimeRaw."""
    return _number(features.value("ExposureTimeBaseAbs")) or 1.0


def _set_gain(features: Features, gain_db: float) -> None:
    for whole in _WHOLE_GAIN:
        if whole in features.choices("GainSelector"):
            features.write("GainSelector", whole)
            break
    if not _set_first_writable(features, _GAIN_DB, gain_db) and features.writable("GainRaw"):
        if gain_db != 0:
            raise CaptureError(
                f"gain_db: expected 0, got {gain_db:g}: this camera's gain (GainRaw) has no unit, "
                "and 0 means its lowest gain"
            )
        features.write("GainRaw", features.limits("GainRaw").least)


def _set_number(features: Features, name: str, requested: float) -> None:
    """Set a number to the camera's nearest step; the settings are compared after reading back."""
    if not features.writable(name):
        return
    limits = features.limits(name)
    if not limits.contains(requested):
        raise CaptureError(f"{name}: expected {limits}, got {requested:g}")
    features.write(name, limits.nearest(requested))


def _set_first_writable(features: Features, names: tuple[str, ...], value: float) -> bool:
    """Set the first of the features that the camera lets us set; whether there was one."""
    name = next((name for name in names if features.writable(name)), None)
    if name is not None:
        _set_number(features, name, value)
    return name is not None


def _number(value: Value | None) -> float | None:
    return None if value is None else float(value)


def _first(features: Features, names: tuple[str, ...]) -> Value | None:
    """The value of the first of the features that the camera has."""
    values = (features.value(name) for name in names)
    return next((value for value in values if value is not None), None)
