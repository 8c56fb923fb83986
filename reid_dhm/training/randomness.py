"""Seeds by place: every random draw of a training derives from its seed and its place.

No random state is carried from step to step, so a resumed run draws as an uninterrupted one.
"""

from __future__ import annotations

import numpy as np
import torch

# Purposes of draws; two purposes never share a stream.
MODEL, GLOBAL, STRUCTURE, AUGMENTATION = range(4)


def derived_seed(seed: int, *place: int) -> int:
    """A well-mixed 63-bit seed for one place: (purpose, epoch, step, process)."""
    state = np.random.SeedSequence([seed, *place]).generate_state(2, np.uint32)
    return int(state[0]) << 31 | int(state[1]) >> 1


def generator(seed: int, *place: int) -> torch.Generator:
    """A CPU generator for one place."""
    return torch.Generator().manual_seed(derived_seed(seed, *place))
