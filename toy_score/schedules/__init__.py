"""Noise schedules: how much signal and how much noise remain at time `t`."""

from toy_score.schedules.base import CLEAN, Level, Levels, Schedule
from toy_score.schedules.exploding import EDM, VE
from toy_score.schedules.flow import LinearFlow
from toy_score.schedules.preserving import DDPM, VP, Cosine, SubVP

__all__ = ["CLEAN", "DDPM", "EDM", "VE", "VP", "Cosine", "Level", "Levels", "LinearFlow", "Schedule", "SubVP"]
