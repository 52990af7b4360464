"""Lightning modules: one training loop, and the models that choose its parts."""

from toy_score.modules.base import ScoreModule, read_checkpoint
from toy_score.modules.ddpm import DDPMModule
from toy_score.modules.lr_schedules import Constant, LRSchedule, WarmupCosine
from toy_score.modules.ncsn import NCSNModule

__all__ = ["Constant", "DDPMModule", "LRSchedule", "NCSNModule", "ScoreModule", "WarmupCosine", "read_checkpoint"]
