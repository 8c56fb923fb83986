"""Reading weight files without executing anything in them, and fitting them to a module."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from reid_dhm.errors import InputError, first_line

logger = logging.getLogger(__name__)

# torchreid stores its rank-1 beside the weights as a NumPy scalar; nothing else foreign is allowed.
# NumPy 2 moved what makes one, and files name the old place or the new.
_SCALAR = np.float64().__reduce__()[0]
_NUMPY_GLOBALS: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *{type(np.dtype(kind)) for kind in ("?", "f2", "f4", "f8", "i2", "i4", "i8")},
]

_SAME_ARCHITECTURE = "pass weights of the same architecture"


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a weight file.

    Args:
        path: ``.safetensors``, or anything ``torch.save`` wrote (``.pth``, ``.pt``, ``.tar``).
            A dictionary found under ``state_dict`` or ``model`` is taken, and a ``module.``
            prefix on every name (``DataParallel``) is removed.

    Raises:
        InputError: the file is missing, truncated, holds no tensors or other than dense
            ones, or holds pickled code.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"weights file {path} does not exist: check the path")
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            with torch.serialization.safe_globals(_NUMPY_GLOBALS):
                content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} is no plain weights file (truncated, or holding code, which is never run): "
            "save its state_dict() alone and pass that"
        ) from error
    except PermissionError as error:
        raise InputError(
            f"{path} cannot be opened (permission denied): check its rights"
        ) from error
    except Exception as error:  # a damaged pickle fails in any way there is
        raise InputError(
            f"{path} cannot be read as weights, it is truncated or of another kind "
            f"({first_line(error)}): copy or download it again"
        ) from error
    return _plain_tensors(content, path)


def _plain_tensors(content: object, path: Path) -> dict[str, Tensor]:
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = {}
    if isinstance(content, Mapping):
        tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
    if not tensors:
        raise InputError(f"{path} holds no tensors by name: pass a file of a state_dict()")
    for name, value in tensors.items():
        if value.layout is not torch.strided or value.is_meta or value.is_quantized:
            raise InputError(
                f"{path} does not hold {name} as plain numbers (it is sparse, quantised or a "
                "shape alone): save a state_dict() of dense tensors"
            )
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


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
        source: what error messages call it.
        unused: name prefixes that may be missing, superfluous or of another shape (classifiers
            of another number of identities); they keep the module's values.

    Raises:
        InputError: a tensor is missing, superfluous or of another shape.
    """
    own = {k: v for k, v in module.state_dict().items() if not k.startswith(unused)}
    given = {k: v for k, v in tensors.items() if not k.startswith(unused)}
    if own.keys() != given.keys() and _agree_in_order(own, given):
        logger.warning("%s names its tensors in its own way: they are taken in order", source)
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
    extra = sorted(given.keys() - own.keys())
    if extra:
        raise InputError(
            f"{source} does not fit the model, it also holds {extra[0]}: {_SAME_ARCHITECTURE}"
        )
    module.load_state_dict(given, strict=False)


def _agree_in_order(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> bool:
    misplaced = [
        name
        for name, other in zip(own, given, strict=False)
        if name != other and name in given and given[name].shape == own[name].shape
    ]
    return not misplaced and _kinds(own) == _kinds(given)


def _kinds(tensors: Mapping[str, Tensor]) -> list[tuple[str, torch.Size]]:
    return [(name.rpartition(".")[2], value.shape) for name, value in tensors.items()]
