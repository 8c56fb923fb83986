"""Experiments are tested on the small network and images of the training tests."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_path = Path(__file__).parents[1] / "training" / "conftest.py"
_spec = spec_from_file_location("training_fixtures", _path)
assert _spec is not None
assert _spec.loader is not None
training = module_from_spec(_spec)
sys.modules[_spec.name] = training  # dataclasses look their module up
_spec.loader.exec_module(training)

own_accelerate = training.own_accelerate
people = training.people
write_set = training.write_set
config_of = training.config_of
