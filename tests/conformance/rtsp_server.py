"""An RTSP server for tests, run by the system's Python: PORT FOLDER_OF_PNG FRAMES_PER_S.

Shows the files 000.png, 001.png, ... of the folder again and again. With --check it only says, by
its exit code, whether everything that it needs is installed.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
if sys.argv[1] == "--check":
    needed = ("multifilesrc", "pngdec", "rtph264pay", "x264enc")
    sys.exit(None in [Gst.ElementFactory.find(name) for name in needed])
port, folder, rate = sys.argv[1:4]
server = GstRtspServer.RTSPServer.new()
server.set_address("127.0.0.1")
server.set_service(port)
factory = GstRtspServer.RTSPMediaFactory.new()
factory.set_shared(True)
factory.set_launch(
    f"( multifilesrc location={folder}/%03d.png loop=true caps=image/png,framerate={rate}/1 "
    "! pngdec ! videoconvert ! video/x-raw,format=I420 "
    "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 bitrate=4000 "
    "! rtph264pay name=pay0 pt=96 config-interval=1 )"
)
server.get_mount_points().add_factory("/live", factory)
if server.attach(None) == 0:
    sys.exit(f"cannot listen at port {port}")
print("ready", flush=True)
GLib.MainLoop().run()
