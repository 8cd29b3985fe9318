"""Ensembles that combine the scores and anomaly maps of their members."""
