"""The station page: a capture session that is run from a tablet at the rig.

One thread (`camera_worker`) uses the guide and takes the live frames. The routes (`app`) read what
it publishes and pass the operator's commands to it. `access` decides which requests are allowed.
"""

from loco_tools.capture.station.serving import Running, running, serve

__all__ = ["Running", "running", "serve"]
