"""A model on disk: weights as safetensors, and a JSON card that says how to rebuild it.

Reading a card loads no PyTorch; building the model does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reid_dhm.data.normalisation import IMAGENET_MEAN, IMAGENET_STD
from reid_dhm.errors import InputError
from reid_dhm.files import atomic_path, write_text
from reid_dhm.models.branch_spec import BranchSpec

if TYPE_CHECKING:
    from reid_dhm.models.reid import ReIDModel


@dataclass(frozen=True)
class ModelCard:
    """How a model is built and fed, and where it came from.

    Attributes:
        backbone: a name of :data:`reid_dhm.models.providers.BACKBONES`.
        num_classes: outputs of the classifier.
        size: (height, width) of the input in pixels.
        pooling, neck, last_stride: as the model was built.
        branches: side branches that the weights hold; none for a deployed model.
        mean, std: normalisation of RGB in 0 … 1.
        embedding: ``main``, or ``ensemble`` where branch embeddings are kept for tests.
        training: method, training sets, seed, epoch, metrics … for people; nothing reads it.
    """

    backbone: str
    num_classes: int
    size: tuple[int, int] = (256, 128)
    pooling: str = "avg"
    neck: str = "bnneck"
    last_stride: int = 1
    branches: tuple[BranchSpec, ...] = ()
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    embedding: str = "main"
    training: dict[str, Any] = field(default_factory=dict)

    def build(self, weights: str | None = None, fork: str = "fixed") -> ReIDModel:
        """Make the model; ``weights`` as in :func:`~reid_dhm.models.providers.build_backbone`."""
        from reid_dhm.models.providers import build_backbone
        from reid_dhm.models.reid import ReIDModel

        return ReIDModel(
            build_backbone(self.backbone, weights, self.last_stride),
            self.num_classes,
            self.branches,
            self.pooling,
            self.neck,
            fork,
        )


def card_path(weights: Path) -> Path:
    """The card beside a weights file: the same name, ending in ``.json``."""
    return weights.with_suffix(".json")


def save_model(
    model: ReIDModel, card: ModelCard, path: Path, facts: Mapping[str, str] | None = None
) -> None:
    """Write weights to ``path`` (``.safetensors``) and the card beside it, each atomically.

    ``facts`` are noted in the weights file's metadata, for people.
    """
    from safetensors.torch import save

    text = json.dumps(asdict(card), indent=2) + "\n"  # fails before anything is replaced
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    with atomic_path(path) as temporary:
        # save_file would keep the file from all but its owner, whatever the umask says.
        temporary.write_bytes(save(tensors, {"format": "pt", **(facts or {})}))
    write_text(card_path(path), text)


def load_model(path: Path) -> tuple[ReIDModel, ModelCard]:
    """Rebuild what :func:`save_model` wrote, in eval mode.

    Raises:
        InputError: a missing card, a card with unknown fields, or weights that do not fit it.
    """
    from reid_dhm.models.weights import load_weights, read_state_dict

    card = read_card(card_path(path))
    model = card.build()
    load_weights(model, read_state_dict(path), source=path)
    return model.eval(), card


def read_card(path: Path) -> ModelCard:
    """Read a JSON card; raises :class:`InputError` when it is missing or malformed."""
    if not path.is_file():
        raise InputError(
            f"{path} is missing: a .safetensors needs its JSON card beside it under the same name"
        )
    try:
        text = path.read_text()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a card ({error}): export the model again") from error
    return parse_card(text, path)


def is_card(path: Path) -> bool:
    """Whether a JSON names a backbone, as a card must, and as figures kept there do not."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "backbone" in content


def parse_card(text: str, source: Path) -> ModelCard:
    """A JSON card from its text; raises :class:`InputError`, naming the source, if malformed."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also an integer of 5,000 digits
        raise InputError(f"{source} is not a card ({error}): export the model again") from error
    try:
        unknown = sorted(content.keys() - {f.name for f in fields(ModelCard)})
        if unknown:
            raise InputError(f"{source} has an unknown field {unknown[0]!r}: it is not a card")
        content["branches"] = tuple(BranchSpec(**spec) for spec in content.get("branches", ()))
        for key in ("size", "mean", "std"):
            if key in content:
                content[key] = tuple(content[key])
        card = ModelCard(**content)
        wrong = next((key for key, good in _SOUND.items() if not good(getattr(card, key))), None)
        if wrong is not None:
            raise TypeError(f"its {wrong} is {getattr(card, wrong)!r}")
        return card
    except (TypeError, AttributeError) as error:
        raise InputError(f"{source} is not a card ({error}): export the model again") from error


def _is_size(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_count, value))


def _is_count(value: object) -> bool:
    return type(value) is int and 0 < value <= 10**6  # more would not fit a memory


def _is_colour(value: object, least: float = -1e6) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 3
        and all(type(part) in (int, float) and least <= part <= 1e6 for part in value)
    )


def _is_training(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    data = value.get("data", "")
    return isinstance(data, str) or (isinstance(data, list) and all(map(_is_word, data)))


def _is_word(value: object) -> bool:
    return isinstance(value, str)


_SOUND: dict[str, Callable[[object], bool]] = {
    "backbone": _is_word,
    "num_classes": _is_count,
    "size": _is_size,
    "pooling": _is_word,
    "neck": _is_word,
    "last_stride": _is_count,
    "mean": _is_colour,
    "std": partial(_is_colour, least=1e-6),
    "embedding": _is_word,
    "training": _is_training,
}
"""Checks of a card from a file, by field; users of a card rely on them."""
