"""One line, once, for whoever uses the packaged model: what a better one would find."""

from __future__ import annotations

import sys
from pathlib import Path

from reid_dhm.cli.output import command_line, say

BETTER = "person-reidentification-retail-0288"
"""A network of 0.2 M parameters that finds more than the packaged one; docs/models.md."""

_FOUND, _FOUND_BETTER = 59, 77  # per cent of the pairs at rank 1, docs/results/models.md
_TOLD = "better-model.told"


def suggest_better_model(
    checkpoint: Path | None, json: Path | None = None, gallery: Path | None = None
) -> None:
    """Say on stderr what a better model would find, once on this machine.

    Nothing is said for a model that the user chose, to a program (``--json``, or no terminal), or
    where it cannot be noted that it was said.

    Args:
        checkpoint: as the user gave it; None is the packaged model.
        json: as the user gave it.
        gallery: that holds embeddings of the packaged model.
    """
    if checkpoint is not None or json is not None or not _at_terminal():
        return
    from reid_dhm.inference.zoo import registry

    told = registry.models_folder().parent / _TOLD
    model = registry.published(BETTER)
    if model is None or told.exists():
        return
    try:
        told.parent.mkdir(parents=True, exist_ok=True)
        told.touch()
    except OSError:
        return
    commands = [] if registry.is_here(model) else [f"reid-dhm models pull {BETTER}"]
    if gallery is None:
        commands.append(f"--checkpoint {BETTER}")
    else:
        moved = {"--gallery": gallery, "--checkpoint": BETTER}
        commands.append(command_line("gallery reembed", moved))
    say(
        f"the packaged model is small: on a test clip {BETTER} puts {_FOUND_BETTER} % of "
        f"a person's tracklets first instead of {_FOUND} %: {', then '.join(commands)}",
        err=True,
    )


def _at_terminal() -> bool:
    return sys.stderr.isatty()
