"""Pure functions on arrays that judge anomaly scores and anomaly maps.

`roc` and `spro` hold the figures, `tally` the streaming counts that they are computed from at full
size, `regions` the connected components that AU-PRO is about, `bootstrap` intervals by drawing
again, `reliability` what probabilities are worth, `diversity` how differently detectors judge.
Nothing here imports the rest of loco-tools, and nothing imports torch; wrong arguments raise
ValueError.
"""
