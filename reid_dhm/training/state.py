"""The state of a training on disk: tensors as safetensors, the rest as JSON; nothing is pickled.

Every part has its SHA-256 in ``state.json``, so damage is found before anything is resumed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn, optim

from reid_dhm.errors import InputError


def save_state(
    folder: Path,
    modules: dict[str, nn.Module],
    optimizer: optim.Optimizer,
    progress: dict[str, Any],
) -> None:
    """Replace ``folder`` by the present state; killed at any moment, one whole state remains.

    Args:
        folder: ``RUN/last``.
        modules: by name (``model``, ``ema``).
        optimizer: its tensors and settings.
        progress: values that JSON can hold (epoch, best metric …).
    """
    partial, old = folder.with_name("last.partial"), folder.with_name("last.old")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, module in modules.items():
        # safetensors refuses tensors that share storage
        tensors = {k: v.detach().cpu().clone() for k, v in module.state_dict().items()}
        save_file({k: v.contiguous() for k, v in tensors.items()}, partial / f"{name}.safetensors")
    tensors, settings = _flatten_optimizer(optimizer)
    save_file(tensors, partial / "optimizer.safetensors")
    state = {"optimizer": settings, "progress": progress}
    digests = {path.name: _file_digest(path) for path in sorted(partial.iterdir())}
    digests["state"] = _json_digest(state)
    (partial / "state.json").write_text(json.dumps({**state, "sha256": digests}))
    if folder.exists():  # otherwise the old one is the only whole state there is
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def find_state(folder: Path) -> Path | None:
    """The newest whole state: ``last``, or the previous one if ``last`` was being replaced."""
    for candidate in (folder, folder.with_name("last.old")):
        if (candidate / "state.json").is_file():
            return candidate
    return None


def load_state(
    folder: Path, modules: dict[str, nn.Module], optimizer: optim.Optimizer
) -> dict[str, Any]:
    """Restore a state of :func:`save_state` in place and return its progress.

    States of version 0.1 have no checksums and are read without.

    Raises:
        InputError: a file is missing or damaged, or belongs to another model.
    """
    try:
        saved = json.loads((folder / "state.json").read_text())
        _check_digests(folder, saved)
        for name, module in modules.items():
            module.load_state_dict(load_file(folder / f"{name}.safetensors"))
        optimizer.load_state_dict(
            _unflatten_optimizer(load_file(folder / "optimizer.safetensors"), saved["optimizer"])
        )
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"cannot resume from {folder} ({reason}): the run was made by another configuration "
            "or the folder is damaged; start again with another output="
        ) from error
    progress: dict[str, Any] = saved["progress"]
    return progress


def _check_digests(folder: Path, saved: dict[str, Any]) -> None:
    if not isinstance(saved, dict) or saved.keys() | {"sha256"} != {
        *("optimizer", "progress", "sha256")
    }:
        raise ValueError("state.json has other keys")
    digests = saved.get("sha256", {})
    if not (isinstance(saved["progress"], dict) and isinstance(digests, dict)):
        raise ValueError("state.json holds something else")
    for name, digest in digests.items():
        state = {key: saved[key] for key in ("optimizer", "progress")}
        found = _json_digest(state) if name == "state" else _file_digest(folder / name)
        if found != digest:
            raise ValueError(f"{name} was altered: its checksum differs")


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _json_digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _flatten_optimizer(optimizer: optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    state = optimizer.state_dict()
    tensors, numbers = {}, {}
    for index, entry in state["state"].items():
        for name, value in entry.items():
            if isinstance(value, Tensor):
                # an image-like memory format would be lost on disk and change the arithmetic
                tensors[f"{index}.{name}"] = value.detach().cpu().contiguous()
            elif value is not None:
                numbers[f"{index}.{name}"] = value
    return tensors, {"numbers": numbers, "param_groups": state["param_groups"]}


def _unflatten_optimizer(tensors: dict[str, Tensor], settings: dict[str, Any]) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **settings["numbers"]}.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    return {"state": state, "param_groups": settings["param_groups"]}


def match_memory_format(optimizer: optim.Optimizer) -> None:
    """Give restored optimiser tensors the memory format of their parameters, in place.

    Element-wise kernels round the same in any layout, but only matching layouts stay fast.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            for name, value in optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    optimizer.state[parameter][name] = torch.empty_like(parameter).copy_(value)
