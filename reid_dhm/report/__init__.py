"""Ranking reports: figures, lists and pages that open in a browser from disk.

Reads results, computes no metric. Models are not known here: activation maps are handed in.
"""

from reid_dhm.report.comparison_report import write_comparison
from reid_dhm.report.content import Evaluation
from reid_dhm.report.evaluation_report import write_report
from reid_dhm.report.folder import check_folder

__all__ = ["Evaluation", "check_folder", "write_comparison", "write_report"]
