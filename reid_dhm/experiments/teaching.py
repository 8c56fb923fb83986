"""An outside teacher: its embeddings of the training images, kept in the run folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from reid_dhm.config.schema import LossConfig
from reid_dhm.data.samples import Sample
from reid_dhm.errors import InputError
from reid_dhm.files import atomic_path
from reid_dhm.inference.checkpoint_file import find_checkpoint
from reid_dhm.inference.embedder import Embedder
from reid_dhm.retrieval.npz import read_embeddings
from reid_dhm.training.state import find_state
from reid_dhm.training.teacher import Teacher

FILE = "teacher.safetensors"


def build_teacher(
    loss: LossConfig,
    samples: Sequence[Sample],
    digest: str,
    folder: Path,
    accelerator: Accelerator,
    progress: Callable[[int, int], None] | None = None,
) -> Teacher | None:
    """The teacher of a configuration, or ``None``.

    Its embeddings of the images as they are (not augmented) are written to ``teacher.safetensors``
    in the run folder, and read from there when the run is resumed. They are the checkpoint's, or
    those of an ``.npz`` that ``reid-dhm embed`` wrote: then the teacher itself is not needed, and
    many runs share one embedding.

    Args:
        loss: names the checkpoint or the ``.npz``, and the weights.
        samples: the N training images.
        digest: of the images and labels, to recognise embeddings of others.
        folder: the run folder.
        accelerator: its first process embeds while the others wait.
        progress: called with the images embedded and the images in all.

    Raises:
        InputError: a checkpoint that cannot be used, a file of embeddings that is damaged or
            belongs to other images or another teacher, or an ``.npz`` that lacks an image.
    """
    if loss.teacher is None:
        return None
    path = folder / FILE
    facts = {"teacher": loss.teacher, "options": str(dict(loss.teacher_options)), "data": digest}
    resumed = path.is_file() and find_state(folder / "last") is not None
    if accelerator.is_main_process and not resumed:
        given = Path(loss.teacher)
        embeddings = (
            _look_up(given, samples)
            if given.suffix == ".npz"
            else _embed(loss, samples, accelerator.device, progress)
        )
        _write(path, embeddings, facts)
    accelerator.wait_for_everyone()
    embeddings = _read(path, facts, len(samples))
    return Teacher(
        embeddings, loss.teacher_relations, loss.teacher_embedding, loss.similarity_temperature
    )


def _embed(
    loss: LossConfig,
    samples: Sequence[Sample],
    device: torch.device,
    progress: Callable[[int, int], None] | None,
) -> Tensor:
    assert loss.teacher is not None
    options: dict[str, Any] = dict(loss.teacher_options)
    if "size" in options:
        options["size"] = tuple(options["size"])
    checkpoint = find_checkpoint(loss.teacher, **options)
    embedder = Embedder(checkpoint, device=str(device), precision="float32")
    parts, done = [], 0
    for batch in embedder.stream([sample.path for sample in samples]):
        parts.append(torch.from_numpy(batch.embeddings))
        done = batch.end
        if progress is not None:
            progress(done, len(samples))
    return torch.cat(parts)


def _look_up(path: Path, samples: Sequence[Sample]) -> Tensor:
    """The samples' embeddings in an ``.npz``, found by file name, which must be unique there."""
    embeddings, paths = read_embeddings(path)
    rows = {PurePath(name).name: row for row, name in enumerate(paths)}
    if len(rows) < len(paths):
        raise InputError(
            f"{path}: two of its images have one file name: give the teacher's checkpoint instead"
        )
    try:
        chosen = [rows[sample.path.name] for sample in samples]
    except KeyError as error:
        raise InputError(
            f"{path} has no embedding of the training image {error.args[0]!r:.100}: embed the "
            "folder of training images with reid-dhm embed"
        ) from None
    return torch.from_numpy(embeddings[chosen])


def _write(path: Path, embeddings: Tensor, facts: dict[str, str]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(save({"embeddings": embeddings.contiguous()}, facts))


def _read(path: Path, facts: dict[str, str], count: int) -> Tensor:
    again = "remove it to embed the images again, or start with another output="
    try:
        with safe_open(path, "pt") as file:
            found, embeddings = file.metadata() or {}, file.get_tensor("embeddings")
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}): {again}") from error
    if {name: found.get(name) for name in facts} != facts or len(embeddings) != count:
        raise InputError(f"{path} holds embeddings of another teacher or of other images: {again}")
    return embeddings
