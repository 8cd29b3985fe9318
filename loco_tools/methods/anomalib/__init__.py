"""The image models of anomalib as detectors of this package."""
