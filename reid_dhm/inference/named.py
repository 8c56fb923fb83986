"""Opening several models by name, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from reid_dhm.inference.checkpoint_file import DEFAULT, CheckpointFile, find_checkpoint
from reid_dhm.inference.default import DEFAULT_CHECKPOINT
from reid_dhm.inference.embedder import Embedder
from reid_dhm.inference.zoo import registry
from reid_dhm.inference.zoo.entries import EMBEDDING


def find_named(name: str | Path, *options: Any) -> CheckpointFile:
    """As :func:`.find_checkpoint`, where ``default`` is the model of the package.

    Raises:
        InputError: as :func:`.find_checkpoint`.
    """
    return find_checkpoint(DEFAULT_CHECKPOINT if str(name) == DEFAULT else name, *options)


def openers(names: Sequence[str | Path], device: str) -> dict[str, Callable[[], Embedder]]:
    """What opens each model, in float32, by the name given; all names are looked up now.

    Args:
        names: checkpoints or names of the model zoo; by default the model of the package and every
            model of the zoo that is on this machine.
        device: where they run.

    Raises:
        InputError: a name that cannot be used.
    """
    wanted = [str(name) for name in names] or [DEFAULT, *_here()]
    return {
        name: partial(Embedder, find_named(name), device=device, precision="float32")
        for name in wanted
    }


def _here() -> list[str]:
    published = [
        model.name
        for model in registry.MODELS
        if model.task == EMBEDDING and registry.is_here(model)
    ]
    return published + [model.name for model in registry.added() if model.task == EMBEDDING]
