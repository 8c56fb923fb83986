"""Detects people by one of torchvision's detection models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import supervision as sv
import torch

from reid_dhm.errors import InputError
from reid_dhm.gallery.detect.protocol import Settings, to_detections
from reid_dhm.gallery.footage.frames import Frame
from reid_dhm.gallery.footage.hashing import content_hash
from reid_dhm.models.weights import load_weights, read_state_dict

_PERSON = 1  # in COCO's numbering, which torchvision's weights use; 0 is the background


class TorchvisionDetector:
    """A model of ``torchvision.models.detection``, trained on COCO; on the GPU if there is one.

    Args:
        name: such as ``fasterrcnn_mobilenet_v3_large_320_fpn``.
        weights: a file of its state dict; by default torchvision downloads its own.
        confidence: lowest score.

    Raises:
        InputError: an unknown name, or weights that do not fit or cannot be downloaded.
    """

    stateful = False

    def __init__(self, name: str, weights: Path | None = None, confidence: float = 0.3) -> None:
        from torchvision import models

        names = models.list_models(module=models.detection)
        if name not in names:
            raise InputError(
                f"torchvision has no detection model {name!r}: use one of {', '.join(names)}"
            )
        if weights is not None:
            tensors = read_state_dict(weights)
            self._model = models.get_model(name, weights=None, weights_backbone=None)
            load_weights(self._model, tensors, source=weights)
        else:
            try:
                self._model = models.get_model(name, weights="DEFAULT")
            except OSError as error:
                raise InputError(
                    f"the weights of {name} cannot be downloaded ({error}): give a file, as "
                    f"torchvision:{name}:WEIGHTS"
                ) from error
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model.eval().to(self._device)
        self._confidence = confidence
        self.settings: Settings = {
            "detector": f"torchvision {name}",
            "detector weights": content_hash([weights]) if weights else "default",
            "confidence": confidence,
        }

    @torch.inference_mode()
    def detect(self, frame: Frame) -> sv.Detections:
        """People in a frame."""
        rgb = torch.from_numpy(frame.image[:, :, ::-1].copy()).to(self._device)
        (found,) = self._model([rgb.permute(2, 0, 1) / 255])
        wanted = (found["labels"] == _PERSON) & (found["scores"] >= self._confidence)
        boxes = found["boxes"][wanted].cpu().numpy()
        scores = found["scores"][wanted].cpu().numpy()
        height, width = frame.image.shape[:2]
        return to_detections(boxes, np.asarray(scores), (height, width))
