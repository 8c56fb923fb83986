"""Typed configuration: YAML, a base file, and ``key=value`` overrides; unknown keys are refused.

Configuration is read at the edge (:mod:`reid_dhm.cli`, :mod:`reid_dhm.experiments`) and never
travels down.
"""

from reid_dhm.config.reading import find_config, load_config, to_yaml
from reid_dhm.config.schema import (
    BranchConfig,
    Config,
    DataConfig,
    LossConfig,
    ModelConfig,
    TestConfig,
    TrainConfig,
)

__all__ = [
    "BranchConfig",
    "Config",
    "DataConfig",
    "LossConfig",
    "ModelConfig",
    "TestConfig",
    "TrainConfig",
    "find_config",
    "load_config",
    "to_yaml",
]
