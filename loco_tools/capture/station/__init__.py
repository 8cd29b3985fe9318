"""The station page: a capture session run from a tablet at the rig.

One thread (`desk`) drives the guide and takes the live frames; the pages (`app`) only read what it
publishes and hand it the operator's wishes; `access` decides who may ask at all.
"""

from loco_tools.capture.station.serving import Running, running, serve

__all__ = ["Running", "running", "serve"]
