"""The image models of anomalib behind the detector interface of this project."""
