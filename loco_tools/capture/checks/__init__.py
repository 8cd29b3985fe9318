"""Measurements of camera frames and their comparison with the quality limits of a plan."""
