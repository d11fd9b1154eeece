"""Probabilities and right answers -> a Report; the report as a page.

calibration  temperature, "not sure" threshold, expected calibration error
report       accuracy with its interval, per-class scores, confusion, worst mistakes
page         report.html, one file that opens offline
"""

from __future__ import annotations

from whatsit.evaluation.calibration import Calibration, calibrate
from whatsit.evaluation.report import ClassScore, Interval, Judged, Report, judge, wilson_interval

__all__ = ["Calibration", "ClassScore", "Interval", "Judged", "Report", "calibrate", "judge", "wilson_interval"]
