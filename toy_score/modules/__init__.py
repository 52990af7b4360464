"""Lightning modules: one training loop, and the models that choose its parts."""

from toy_score.modules.base import ScoreModule, score_module
from toy_score.modules.bridge import BridgeModule
from toy_score.modules.checkpoints import read_checkpoint, trained_units
from toy_score.modules.ddpm import DDPMModule
from toy_score.modules.edm import EDMModule
from toy_score.modules.flow_map import FlowMapModule
from toy_score.modules.flow_matching import FlowMatchingModule
from toy_score.modules.lr_schedules import Constant, LRSchedule, WarmupCosine
from toy_score.modules.ncsn import NCSNModule
from toy_score.modules.rehearsal import rehearse
from toy_score.modules.schrodinger import SchrodingerBridgeModule
from toy_score.modules.sde import ScoreSDEModule

__all__ = [
    "BridgeModule",
    "Constant",
    "DDPMModule",
    "EDMModule",
    "FlowMapModule",
    "FlowMatchingModule",
    "LRSchedule",
    "NCSNModule",
    "SchrodingerBridgeModule",
    "ScoreModule",
    "ScoreSDEModule",
    "WarmupCosine",
    "read_checkpoint",
    "rehearse",
    "score_module",
    "trained_units",
]
