"""The small model that comes with the package, and making one of a checkpoint.

``python -m reid_dhm.inference.default RUN FILE.safetensors`` writes one.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from reid_dhm.errors import InputError

DEFAULT_CHECKPOINT = Path(__file__).parent / "weights" / "mobilenetv2_dhm_market1501.safetensors"
"""The model where no checkpoint is named; ``MODEL_CARD.md`` beside it describes it."""


def write_slim(checkpoint: Path, output: Path) -> None:
    """Write the main path of a checkpoint in half precision, with a classifier of one class.

    Classifiers are used in training alone. An opened file computes in float32, and its embeddings
    differ from the checkpoint's by rounding.

    Args:
        checkpoint: see :func:`~reid_dhm.inference.checkpoints.open_checkpoint`.
        output: a ``.safetensors``; its card is written beside it.

    Raises:
        InputError: an exported file instead of a checkpoint.
    """
    import torch

    from reid_dhm.inference.checkpoints import open_checkpoint
    from reid_dhm.models.card import save_model
    from reid_dhm.models.reid import ReIDModel

    model, card = open_checkpoint(checkpoint)
    if not isinstance(model, ReIDModel):
        raise InputError(f"{checkpoint} is an exported file: give the checkpoint it was made from")
    slim = replace(card, num_classes=1, branches=(), embedding="main")
    kept = {
        name: value
        for name, value in model.deploy().state_dict().items()
        if not name.startswith("head.classifier.")
    }
    small = slim.build()
    small.load_state_dict({**small.state_dict(), **kept})
    small.head.classifier.weight.data.zero_()
    save_model(small.to(torch.half), slim, output)


if __name__ == "__main__":
    write_slim(Path(sys.argv[1]), Path(sys.argv[2]))
