"""Opening a graph in a file: one that ``reid-dhm export`` wrote, or one that others exported."""

from __future__ import annotations

from functools import partial

from reid_dhm.errors import InputError
from reid_dhm.inference.checkpoint_file import CheckpointFile, refuse_options
from reid_dhm.inference.engines.exported import ExportedModel, open_exported, read_metadata
from reid_dhm.inference.trial import try_graph
from reid_dhm.models.card import ModelCard


def open_graph(file: CheckpointFile, tried: bool = False) -> tuple[ExportedModel, ModelCard]:
    """The graph and its card; PyTorch is not loaded.

    Args:
        file: of kind ``graph``.
        tried: whether it is known to end and to fit into memory; otherwise another process tries.

    Raises:
        InputError: a graph that cannot be read or used, or options that its card already answers.
    """
    path = file.path
    if not tried:
        try_graph(path, input=file.input, size=file.size)
    if "card" in read_metadata(path):
        exported = open_exported(path)
        refuse_options(path, file.backbone, file.size, file.neck, file.input)
        return exported
    from reid_dhm.inference.engines.foreign import adapted_model, open_foreign

    for name, value in (("backbone", file.backbone), ("neck", file.neck)):
        if value is not None:
            raise InputError(f"{path} is a graph, which fixes its {name}: leave {name} out")
    found = open_foreign(path, file.input, file.size)
    model = ExportedModel(path, found.fingerprint, "float32", partial(adapted_model, found))
    return model, ModelCard(path.stem, num_classes=1, size=found.size, neck="none")
