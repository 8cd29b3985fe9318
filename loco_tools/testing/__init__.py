"""Conformance checks for plug-ins: cameras of your own, to be called in your tests.

They need no test framework: a check that fails raises AssertionError with a message that says what
was expected, what was found, and what to do next.
"""

from loco_tools.testing.cameras import check_camera

__all__ = ["check_camera"]
