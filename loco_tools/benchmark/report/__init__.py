"""The report of a run: one HTML file that opens anywhere, offline, and can be passed on.

It is written from what the cells keep, at any moment of a run, without maps or detectors. The
same tables are written as Markdown, CSV and LaTeX.
"""

from loco_tools.benchmark.report.writing import REPORT_FILE, write_report

__all__ = ["REPORT_FILE", "write_report"]
