"""Analyse the cells of a run: comparisons, significance, errors, published figures."""
