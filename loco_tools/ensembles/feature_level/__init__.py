"""Ensembles that fuse the intermediate features of their members."""
