"""Which models can be named here: the published ones, and those that the user added."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from reid_dhm.errors import InputError, NotFoundError
from reid_dhm.files import atomic_path, write_text
from reid_dhm.inference.engines.exported import GRAPH_SUFFIXES, graph_files
from reid_dhm.inference.engines.foreign import PRESETS, parse_format
from reid_dhm.inference.zoo.download import fetch
from reid_dhm.inference.zoo.entries import DETECTION, EMBEDDING, MODELS, RemoteFile, ZooModel

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ACCEPTED = "accepted.json"
# Hidden, so that no card of a model's file has these names.
_ADDED = ".entry.json"
_SPEED = ".speed.json"


class DamagedEntryError(InputError):
    """The entry of a model that the user added cannot be read."""


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model whose files are on this machine.

    Attributes:
        name: as the user names it.
        task: :data:`.EMBEDDING` or :data:`.DETECTION`.
        path: the file to open.
        backbone, size, neck: how weights without a card are opened; None where the file says it.
        input: preset or card of a foreign graph's input; None where the file says it.
    """

    name: str
    task: str
    path: Path
    backbone: str | None = None
    size: tuple[int, int] | None = None
    neck: str | None = None
    input: str | None = None


def models_folder() -> Path:
    """The folder of the models: ``$REID_DHM_HOME/models``, else in the user's cache folder."""
    home = os.environ.get("REID_DHM_HOME")
    if home:
        return Path(home) / "models"
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "reid-dhm" / "models"


def published(name: str) -> ZooModel | None:
    """The published model of this name, if there is one."""
    return next((model for model in MODELS if model.name == name), None)


def is_here(model: ZooModel) -> bool:
    """Whether all files of a published model are on this machine."""
    folder = models_folder() / model.name
    return all((folder / file.name).is_file() for file in model.files)


def find(name: str, task: str) -> LocalModel | None:
    """The model of this name and task, if its files are here; None if no model is called so.

    Raises:
        NotFoundError: a published model that was not fetched yet.
        InputError: a model of this name for another task, or a damaged entry.
    """
    found = _added(name)
    model = published(name)
    if found is None and model is not None:
        if not is_here(model):
            raise NotFoundError(f"{name} is not on this machine: run `reid-dhm models pull {name}`")
        options = (model.backbone, model.size if model.backbone else None, model.neck)
        path = models_folder() / name / model.files[0].name
        found = LocalModel(name, model.task, path, *options)
    if found is not None and found.task != task:
        wanted = "an embedder" if task == EMBEDDING else "a detector"
        other = "a detector" if task == EMBEDDING else "an embedder"
        raise InputError(f"{name} is {other}, not {wanted}: see `reid-dhm models`")
    return found


def pull(
    name: str,
    accept: Callable[[ZooModel], bool],
    get: Callable[[RemoteFile, Path], Path] = fetch,
) -> Path:
    """Fetch a published model, once its terms are accepted.

    Args:
        name: of a published model.
        accept: asked with the model the first time, and again if its terms have changed.
        get: fetches one file into a folder.

    Returns:
        The file to open.

    Raises:
        NotFoundError: no published model of this name.
        InputError: the terms were not accepted.
        DownloadError: see :func:`.fetch`.
    """
    model = published(name)
    if model is None:
        names = ", ".join(model.name for model in MODELS)
        raise NotFoundError(f"no published model is called {name!r}: there are {names}")
    folder = models_folder() / name
    terms = {"licence": model.licence, "training data": model.training_data}
    if _read_json(folder / _ACCEPTED) != terms:
        if not accept(model):
            raise InputError(
                f"the terms of {name} were not accepted: nothing was fetched; --yes accepts them"
            )
        write_text(folder / _ACCEPTED, json.dumps(terms, indent=2) + "\n")
    paths = [get(file, folder) for file in model.files]
    return paths[0]


def add(
    name: str,
    file: Path,
    task: str = EMBEDDING,
    *,
    backbone: str | None = None,
    size: tuple[int, int] | None = None,
    neck: str | None = None,
    input: str | None = None,
) -> LocalModel:
    """Register a file of the user's under a name; it is copied.

    A graph brings the files with its weights, and what has a ``.json`` card beside it brings that.

    Raises:
        InputError: a name that is taken or cannot be a folder's, an unknown task, or an ``input``
            that is neither a preset nor a card, or a file that cannot be read.
        NotFoundError: the file does not exist.
        StorageError: the models' folder cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name a model: use up to 64 letters, digits, dots, dashes and "
            "underscores"
        )
    if published(name) is not None:
        raise InputError(f"{name} is a published model's name: choose another")
    if task not in (EMBEDDING, DETECTION):
        raise InputError(f"task is {task!r}: choose {EMBEDDING} or {DETECTION}")
    if not file.is_file():
        raise NotFoundError(f"{file} does not exist: give the model's file")
    card = file.with_suffix(".json")
    files = graph_files(file) if file.suffix in GRAPH_SUFFIXES else [file]
    if card.is_file() and file.suffix in (*GRAPH_SUFFIXES, ".safetensors"):
        files.append(card)
    folder = models_folder() / name
    own_card = input is not None and input not in PRESETS
    if input is not None:
        parse_format(input)
        if own_card:
            write_text(folder / card.name, Path(input).expanduser().read_text(encoding="utf-8"))
            files = [source for source in files if source != card]
            input = None
    for source in files:
        try:
            with atomic_path(folder / source.name) as temporary:
                shutil.copyfile(source, temporary)
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{source} cannot be read ({reason}): allow reading it") from error
    written = {source.name for source in files} | ({card.name} if own_card else set())
    for earlier in folder.iterdir():  # of a model that had this name before
        if earlier.is_file() and earlier.name not in written:
            earlier.unlink()
    local = LocalModel(name, task, folder / file.name, backbone, size, neck, input)
    entry = asdict(local) | {"path": file.name}
    write_text(folder / _ADDED, json.dumps(entry, indent=2) + "\n")
    return local


def added() -> list[LocalModel]:
    """The models that the user added, by name.

    Raises:
        InputError: a damaged entry.
    """
    found = (_added(name) for name in added_names())
    return [model for model in found if model is not None]


def added_names() -> list[str]:
    """Names of the models that the user added, damaged entries among them."""
    return sorted(path.parent.name for path in models_folder().glob(f"*/{_ADDED}"))


def record_speed(name: str, images_per_second: float) -> None:
    """Remember how many images a second a model processed here, for the list of models.

    A name that is no model of this machine is left alone.
    """
    folder = models_folder() / name if _NAME.fullmatch(name) else None
    if folder is not None and folder.is_dir():
        facts = {"images_per_second": images_per_second, "measured": date.today().isoformat()}
        write_text(folder / _SPEED, json.dumps(facts, indent=2) + "\n")


def speed(name: str) -> float | None:
    """Images a second that :func:`record_speed` has kept; None if nothing was measured."""
    facts = _read_json(models_folder() / name / _SPEED)
    rate = facts.get("images_per_second") if isinstance(facts, dict) else None
    return float(rate) if isinstance(rate, int | float) else None


def size_of(name: str) -> int | None:
    """Bytes of a published model: on this machine, else as published; None where unknown."""
    model = published(name)
    if model is None:
        return None
    folder = models_folder() / name
    if is_here(model):
        return sum((folder / file.name).stat().st_size for file in model.files)
    sizes = [file.size for file in model.files if file.size is not None]
    return sum(sizes) if len(sizes) == len(model.files) else None


def _read_json(path: Path) -> Any:
    """What a file holds; None if it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _added(name: str) -> LocalModel | None:
    path = models_folder() / name / _ADDED if _NAME.fullmatch(name) else None
    if path is None or not path.is_file():
        return None
    try:
        entry: dict[str, Any] = json.loads(path.read_text())
        size = entry["size"] and (int(entry["size"][0]), int(entry["size"][1]))
        file = path.parent / Path(entry["path"]).name
        words = [entry[key] for key in ("backbone", "neck", "input")]
        if not all(word is None or isinstance(word, str) for word in words):
            raise TypeError("an entry is not text")
        return LocalModel(name, str(entry["task"]), file, words[0], size, words[1], words[2])
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DamagedEntryError(
            f"{path} is damaged ({type(error).__name__}): add the model again"
        ) from None
