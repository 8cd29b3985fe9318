"""PaDiM: Mahalanobis distance of patch features to a Gaussian at each location.

Defard et al. 2021, "PaDiM: a Patch Distribution Modeling Framework for Anomaly Detection and
Localization", ICPR.
"""

import numpy as np

from loco_tools.methods import MapDetector


class PaDiM(MapDetector):
    """PaDiM: distance of patch features to a Gaussian at each location."""

    category = "density"
    needs_backbone = True

    def fit(self, images, *, seed):
        features = np.stack([self.backbone_features(image) for image in images])  # (N, h, w, C)
        self.channels = np.random.default_rng(seed).permutation(features.shape[-1])[:100]
        chosen = features[..., self.channels]
        self.mean = chosen.mean(axis=0)  # (h, w, 100)
        centred = (chosen - self.mean).transpose(1, 2, 0, 3)  # (h, w, N, 100)
        covariance = centred.swapaxes(2, 3) @ centred / len(images)
        precision = np.linalg.inv(covariance + 0.01 * np.eye(100))
        self.whitening = np.linalg.cholesky(precision)  # (h, w, 100, 100)

    def score(self, image):
        deviation = self.backbone_features(image)[..., self.channels] - self.mean
        return np.linalg.norm(np.einsum("hwc,hwcd->hwd", deviation, self.whitening), axis=2)
