"""Metrics for anomaly scores and anomaly maps: pure functions on numpy arrays.

`score_histogram` counts streamed scores in bounded memory; `roc` and `spro` compute ROC, precision,
AU-PRO and AU-sPRO from such counts at full image size. `bootstrap` gives intervals by resampling,
`reliability` measures calibration of probabilities, `diversity` how differently detectors err, and
`ranks` compares methods over several data sets. Nothing here imports the rest of loco-tools or
torch; wrong arguments raise ValueError.
"""
