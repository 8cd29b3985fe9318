"""Camera calibration with a ChArUco board: the lens, and the scale of each view."""
