"""Reading weight files without executing code in them, and loading them into a module."""

from __future__ import annotations

import logging
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from reid_dhm.errors import InputError, NotFoundError, first_line

logger = logging.getLogger(__name__)

# torchreid stores its rank-1 beside the weights as a NumPy scalar; nothing else foreign is allowed.
# NumPy 2 moved its constructor, and files name the old place or the new.
_SCALAR = np.float64().__reduce__()[0]
_NUMPY_GLOBALS: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *{type(np.dtype(kind)) for kind in ("?", "f2", "f4", "f8", "i2", "i4", "i8")},
]

_NO_LAYER = torch.empty(0)
_SAME_ARCHITECTURE = "pass weights of the same architecture"


# Keys under which trainers store the weights, first the trained ones, then their averages.
_CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "module")
_AVERAGES = ("ema", "ema_state_dict", "state_dict_ema", "model_ema")
# Prefixes that wrappers put before every name: DataParallel, torch.compile, Lightning, ema-pytorch.
_PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "net.", "online_model.", "encoder.")
_AVERAGED_PREFIXES = ("ema_model.", "model_ema.", "ema.")
# Written beside the weights, never used in inference: thop's counters, AveragedModel's.
_COUNTERS = ("total_ops", "total_params", "n_averaged", "initted", "step")
_LOSSES = ("criterion.", "loss.")  # Lightning modules hold a loss beside the model


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a weight file.

    Args:
        path: ``.safetensors``, or a file that ``torch.save`` wrote (``.pth``, ``.pt``, ``.tar``),
            under Python 2 or 3. The state dict may lie under a key of its own (``state_dict``,
            ``model``, ``model_state_dict``, ``net``, ``ema`` …); prefixes of wrappers (``module.``,
            ``_orig_mod.``, ``model.``, ``backbone.`` …) that all names share are removed, and so
            are thop's counters, and averages that stand beside the weights (``ema_model.``).

    Raises:
        NotFoundError: no such file.
        InputError: the file is truncated, holds no tensors or other than dense ones, or holds
            pickled code.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFoundError(f"weights file {path} does not exist: check the path")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _unpickle(path)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} is not a plain weights file (truncated, or holding code, which is never run): "
            "save its state_dict() alone and pass that"
        ) from error
    except PermissionError as error:
        raise InputError(
            f"{path} cannot be opened (permission denied): check its permissions"
        ) from error
    except Exception as error:  # a damaged pickle fails in any way
        raise InputError(
            f"{path} cannot be read as weights: it is truncated or of another kind "
            f"({first_line(error)}): copy or download it again"
        ) from error
    return _plain_tensors(content, path)


def _unpickle(path: Path) -> object:
    with torch.serialization.safe_globals(_NUMPY_GLOBALS):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, UnicodeDecodeError):  # the byte strings of Python 2?
            with warnings.catch_warnings():  # PyTorch calls the encoding useless, yet follows it
                warnings.simplefilter("ignore", UserWarning)
                return torch.load(path, map_location="cpu", weights_only=True, encoding="latin1")


def _plain_tensors(content: object, path: Path) -> dict[str, Tensor]:
    tensors = {}
    content = _inside_containers(content, path)
    if isinstance(content, Mapping):
        tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
    tensors = {
        name: value
        for name, value in tensors.items()
        if name.rpartition(".")[2] not in _COUNTERS and not name.startswith(_LOSSES)
    }
    if not tensors:
        raise InputError(f"{path} holds no tensors by name: pass a file of a state_dict()")
    for name, value in tensors.items():
        if value.layout is not torch.strided or value.is_meta or value.is_quantized:
            raise InputError(
                f"{path} does not hold {name} as plain numbers (it is sparse, quantised or a "
                "shape alone): save a state_dict() of dense tensors"
            )
    tensors = _without_averages(tensors, path)
    while prefix := next((p for p in _PREFIXES if all(k.startswith(p) for k in tensors)), None):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _without_averages(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The trained weights where a file holds their averages under a prefix beside them."""
    for prefix in _AVERAGED_PREFIXES:
        averages = [name for name in tensors if name.startswith(prefix)]
        if averages and len(averages) == len(tensors):
            return {name.removeprefix(prefix): value for name, value in tensors.items()}
        if averages:
            logger.warning(
                "%s also holds averaged weights (%s): the others are taken", path, prefix
            )
            tensors = {name: v for name, v in tensors.items() if not name.startswith(prefix)}
    return tensors


def _inside_containers(content: object, path: Path) -> object:
    while isinstance(content, Mapping):
        keys = [k for k in (*_CONTAINERS, *_AVERAGES) if isinstance(content.get(k), Mapping)]
        if not keys:
            break
        if keys[0] in _CONTAINERS and keys[-1] in _AVERAGES:
            logger.warning(
                "%s also holds averaged weights (%s): those of %s are taken",
                path,
                keys[-1],
                keys[0],
            )
        content = content[keys[0]]
    return content


def load_weights(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    source: str | Path,
    unused: tuple[str, ...] = (),
) -> None:
    """Load ``tensors`` into ``module``: by name, or in order if every tensor fits in order.

    The order decides only where names differ, and then the number of tensors, every shape and
    every name's last part (``weight``, ``running_mean`` …) must agree in order: the same network
    written with its modules nested or named in another way. Sorted names, as in a ``.safetensors``,
    never agree (a normalisation's bias comes before its weight), and a name that fits where it
    stands in the model but not where it stands in the file refutes the order.

    Args:
        module: loaded in place, only if everything fits.
        tensors: a state dict.
        source: the name of the file in error messages.
        unused: name prefixes of the classifier, which keeps the module's values. The file may lack
            it, or hold the module's own or one linear layer of another size; a trained embedding
            layer in front of it is never left out.

    Raises:
        InputError: a tensor is missing, superfluous, of another shape or kind, or not finite; or an
            embedding layer would be left out.
    """
    everything = module.state_dict()
    own = {k: v for k, v in everything.items() if not k.startswith(unused)}
    given = {k: v for k, v in tensors.items() if not k.startswith(unused)}
    left_out = {k: v for k, v in tensors.items() if k not in given}
    if own.keys() != given.keys() and _agree_in_order(own, given):
        logger.warning("%s has other names for its tensors: they are taken in order", source)
        given = dict(zip(own, given.values(), strict=True))
    # Files from before num_batches_tracked existed lack it, and it takes no part in inference.
    counters = {k: v for k, v in own.items() if k.endswith("num_batches_tracked")}
    given = {**counters, **given}
    for name, value in own.items():
        if name not in given:
            raise InputError(
                f"{source} does not fit the model, it lacks {name}: {_SAME_ARCHITECTURE}"
            )
        if given[name].shape != value.shape:
            raise InputError(
                f"{source} does not fit the model, its {name} is {tuple(given[name].shape)} and "
                f"the model's {tuple(value.shape)}: {_SAME_ARCHITECTURE}"
            )
        if value.is_floating_point() and not given[name].is_floating_point():
            raise InputError(
                f"{source} holds {name} as {str(given[name].dtype).removeprefix('torch.')}, not as "
                "floating-point numbers: pass weights that are not quantised"
            )
        if not given[name].isfinite().all():
            raise InputError(
                f"{source} holds values that are not finite ({name}): pass an earlier checkpoint"
            )
    extra = sorted(given.keys() - own.keys())
    if extra:
        raise InputError(
            f"{source} does not fit the model, it also holds {extra[0]}: {_SAME_ARCHITECTURE}"
        )
    _check_left_out(left_out, everything, source)
    module.load_state_dict(given, strict=False)


def _check_left_out(
    left_out: Mapping[str, Tensor], own: Mapping[str, Tensor], source: str | Path
) -> None:
    """Refuse to leave out more than the module's own classifier, or one linear layer like it."""
    if all(name in own and own[name].shape == value.shape for name, value in left_out.items()):
        return
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in left_out))
    linear = all(name.endswith((".weight", ".bias")) for name in left_out)
    if len(layers) > 1 or not linear or left_out.get(f"{layers[0]}.weight", _NO_LAYER).dim() != 2:
        raise InputError(
            f"{source} holds {next(iter(left_out))}, of a trained layer between the backbone and "
            "its classifier, which would be left out: choose a backbone that has this layer"
        )


def _agree_in_order(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> bool:
    misplaced = [
        name
        for name, other in zip(own, given, strict=False)
        if name != other and name in given and given[name].shape == own[name].shape
    ]
    return not misplaced and _kinds(own) == _kinds(given)


def _kinds(tensors: Mapping[str, Tensor]) -> list[tuple[str, torch.Size]]:
    return [(name.rpartition(".")[2], value.shape) for name, value in tensors.items()]
