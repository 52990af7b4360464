"""Inputs of the fuzzer: settings, checkpoints and files of points that are changed at random."""

from campaign.inputs.checkpoints import CHECKPOINTS
from campaign.inputs.points import POINTS
from campaign.inputs.settings import SETTINGS
from campaign.inputs.trial import Kind, Trial

__all__ = ["CHECKPOINTS", "POINTS", "SETTINGS", "Kind", "Trial"]
