"""Checkpoints of fast-reid's plain ResNets: a backbone and the neck behind it.

The backbone is torchvision's with another first pooling, see
:data:`reid_dhm.models.providers.BACKBONES`; the last stride is 1, as in all their re-ID recipes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from reid_dhm.data.normalisation import IMAGENET_MEAN, IMAGENET_STD
from reid_dhm.errors import InputError
from reid_dhm.models.backbones import Backbone
from reid_dhm.models.card import ModelCard
from reid_dhm.models.providers import BACKBONES
from reid_dhm.models.reid import ReIDModel
from reid_dhm.models.weights import load_weights

logger = logging.getLogger(__name__)

RGB = tuple[float, float, float]

PREFIX = "fastreid_"

_NECKS = ("heads.bottleneck.0.", "heads.bnneck.")  # since version 1.0, and before
_EXPONENT = "heads.pool_layer.p"
_LEFT_OUT = ("heads.classifier.", "heads.weight", "pixel_mean", "pixel_std")  # the last classifier
_FOREIGN_PARTS = {".IN.": "IBN", "backbone.NL_": "non-local", ".se.": "squeeze-and-excitation"}


def is_fastreid(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these tensors are of a fast-reid baseline: names of a backbone and of heads."""
    return all(any(k.startswith(part) for k in tensors) for part in ("backbone.", "heads."))


def build_model(
    path: Path,
    tensors: Mapping[str, Tensor],
    backbone: str,
    size: tuple[int, int],
    neck: str | None = None,
) -> tuple[ReIDModel, ModelCard]:
    """Rebuild the model that fast-reid tests, in eval mode.

    A file does not distinguish average pooling from other pooling without parameters: average
    pooling is assumed, and GeM where the file holds an exponent.

    Args:
        path: its name in error messages.
        tensors: its state dict.
        backbone: ``resnet18``, ``34``, ``50`` or ``101``, with or without the prefix
            ``fastreid_``.
        size: (height, width) of the input in pixels.
        neck: ``bnneck`` for the feature behind their neck, which they test; ``none`` for the one
            before it; ``None`` for ``bnneck`` where the file holds a neck.

    Raises:
        InputError: another architecture, a neck that the file does not hold, a layer that would be
            left out, or a normalisation of other than three colours.
    """
    name = backbone if backbone.startswith(PREFIX) else PREFIX + backbone
    if name not in BACKBONES:
        known = ", ".join(key for key in BACKBONES if key.startswith(PREFIX))
        raise InputError(f"{path} is fast-reid's, and {backbone} is not supported: use {known}")
    for sign, part in _FOREIGN_PARTS.items():
        if any(sign in key for key in tensors):
            raise InputError(
                f"{path} has {part} layers, which {name} does not have: of fast-reid's models only "
                "plain ResNets are supported"
            )
    bn = _neck_of(tensors)
    if any(value.dim() > 1 for value in bn.values()):
        raise InputError(
            f"{path} reduces its embedding by a convolution (EMBEDDING_DIM), which is not "
            "supported: pass a model without"
        )
    read = (*_NECKS, *_LEFT_OUT, _EXPONENT, "backbone.")
    if unknown := [key for key in tensors if not key.startswith(read)]:
        raise InputError(
            f"{path} holds {unknown[0]}, of a trained layer that would be left out: of fast-reid's "
            "models only plain ResNets with one neck are supported"
        )
    if neck is None:
        neck = "bnneck" if bn else "none"
    if neck == "bnneck" and not bn:
        raise InputError(f"neck is bnneck, but {path} holds no neck: use none")

    if _EXPONENT not in tensors:
        logger.warning(
            "%s does not name its pooling: average pooling is assumed; with other pooling its "
            "embeddings would be wrong",
            path,
        )
    provider = BACKBONES[name]
    resnet = provider.create()
    inside = {
        key.removeprefix("backbone."): value
        for key, value in tensors.items()
        if key.startswith("backbone.")
    }
    load_weights(resnet, inside, source=path, unused=provider.unused)
    card = ModelCard(
        name,
        num_classes=1,  # the classifier is not used after training
        size=size,
        pooling="gem" if _EXPONENT in tensors else "avg",
        neck=neck,
        last_stride=1,
        mean=_of_pixels(path, tensors, "pixel_mean", IMAGENET_MEAN),
        std=_of_pixels(path, tensors, "pixel_std", IMAGENET_STD),
    )
    trunk = Backbone(name, provider.split(resnet), card.last_stride)
    model = ReIDModel(trunk, card.num_classes, (), card.pooling, card.neck)
    if neck == "bnneck":
        load_weights(model.head.neck, bn, source=path)
    if _EXPONENT in tensors:
        if tensors[_EXPONENT].numel() != 1:
            raise InputError(
                f"{path} pools with an exponent for every channel (GeM's {_EXPONENT}), which is "
                "not supported: pass a model with one exponent"
            )
        load_weights(model.head.pool, {"p": tensors[_EXPONENT].reshape(())}, source=path)
    return model.eval(), card


def _neck_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the neck by their own names; none where there is no neck."""
    return {
        key.removeprefix(prefix): value
        for prefix in _NECKS
        for key, value in tensors.items()
        if key.startswith(prefix)
    }


def _of_pixels(path: Path, tensors: Mapping[str, Tensor], name: str, default: RGB) -> RGB:
    """The file's normalisation of pixels 0 … 255 (old versions store it), for pixels 0 … 1."""
    if name not in tensors:
        return default
    values = tensors[name].double().flatten()
    sound = values.isfinite() & ((values > 0) if name == "pixel_std" else True)
    if len(values) != 3 or not sound.all():
        raise InputError(
            f"{path} normalises with {name} {values[:4].tolist()}, not three finite numbers: "
            "pass the file as fast-reid wrote it"
        )
    red, green, blue = (values / 255).tolist()
    return red, green, blue
