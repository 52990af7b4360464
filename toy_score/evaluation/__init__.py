"""How good samples and denoisers are: the report of a test, the error budget, the doctor; without Lightning."""

from toy_score.evaluation.bridges import diagnose_bridge
from toy_score.evaluation.budget import error_budget
from toy_score.evaluation.causes import METRICS, ErrorBudget, Row
from toy_score.evaluation.doctor import Finding, diagnose
from toy_score.evaluation.evaluation import Evaluation, TestOptions, evaluate
from toy_score.evaluation.report import Report

__all__ = [
    "METRICS",
    "ErrorBudget",
    "Evaluation",
    "Finding",
    "Report",
    "Row",
    "TestOptions",
    "diagnose",
    "diagnose_bridge",
    "error_budget",
    "evaluate",
]
