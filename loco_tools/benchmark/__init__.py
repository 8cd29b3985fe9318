"""Comparing detectors on dataset classes: suites, cells, the runner, results and the report."""
