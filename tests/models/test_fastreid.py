"""fast-reid's checkpoints, against its network written out with functions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from reid_dhm.errors import InputError
from reid_dhm.inference.checkpoints import open_checkpoint
from reid_dhm.models.card import load_model, save_model
from reid_dhm.models.fastreid import is_fastreid

SIZE = (64, 32)
BLOCKS = 2  # of every stage of a ResNet-18


def layers() -> dict[str, tuple[int, ...]]:
    """Convolutions of fast-reid's ``18x`` backbone and their shapes, in its own names."""
    shapes: dict[str, tuple[int, ...]] = {"conv1": (64, 3, 7, 7)}
    before = 64
    for stage, width in enumerate((64, 128, 256, 512), start=1):
        for block in range(BLOCKS):
            start = f"layer{stage}.{block}"
            shapes[f"{start}.conv1"] = (width, before, 3, 3)
            shapes[f"{start}.conv2"] = (width, width, 3, 3)
            if before != width:
                shapes[f"{start}.downsample.0"] = (width, before, 1, 1)
            before = width
    return shapes


def norm_of(conv: str) -> str:
    return conv.replace("conv", "bn").replace("downsample.0", "downsample.1")


def fastreid_state(neck: str | None = "heads.bottleneck.0", gem: bool = False) -> dict[str, Tensor]:
    """A state dict as fast-reid writes it for a plain ResNet-18, with random values."""
    random = torch.Generator().manual_seed(0)

    def norm(prefix: str, width: int) -> dict[str, Tensor]:
        return {
            f"{prefix}.weight": torch.rand(width, generator=random) + 0.5,
            f"{prefix}.bias": torch.randn(width, generator=random) / 10,
            f"{prefix}.running_mean": torch.randn(width, generator=random) / 10,
            f"{prefix}.running_var": torch.rand(width, generator=random) + 0.5,
            f"{prefix}.num_batches_tracked": torch.tensor(7),
        }

    state: dict[str, Tensor] = {}
    for conv, shape in layers().items():
        fan = shape[1] * shape[2] * shape[3]
        weight = torch.randn(shape, generator=random) * (2 / fan) ** 0.5
        state[f"backbone.{conv}.weight"] = weight
        state |= norm(f"backbone.{norm_of(conv)}", shape[0])
    if gem:
        state["heads.pool_layer.p"] = torch.tensor([2.5])
    if neck:
        state |= norm(neck, 512)
    state["heads.weight"] = torch.randn(751, 512, generator=random)
    return state


def fastreid_features(state: dict[str, Tensor], images: Tensor, neck: str | None) -> Tensor:
    """What fast-reid tests: last stride 1, a first pooling that rounds up and does not pad."""

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = state[f"backbone.{name}.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2)
        return norm(x, f"backbone.{norm_of(name)}")

    def norm(x: Tensor, name: str) -> Tensor:
        get = [state[f"{name}.{part}"] for part in ("running_mean", "running_var")]
        return F.batch_norm(x, *get, state[f"{name}.weight"], state[f"{name}.bias"])

    x = F.max_pool2d(conv(images, "conv1", 2).relu(), 3, stride=2, ceil_mode=True)
    for stage, stride in enumerate((1, 2, 2, 1), start=1):
        for block in range(BLOCKS):
            start, step = f"layer{stage}.{block}", stride if block == 0 else 1
            out = conv(conv(x, f"{start}.conv1", step).relu(), f"{start}.conv2")
            if f"backbone.{start}.downsample.0.weight" in state:
                x = conv(x, f"{start}.downsample.0", step)
            x = (x + out).relu()
    if "heads.pool_layer.p" in state:
        p = state["heads.pool_layer.p"]
        x = F.adaptive_avg_pool2d(x.clamp(min=1e-6).pow(p), 1).pow(1 / p)
    else:
        x = x.mean((2, 3), keepdim=True)
    return (norm(x, neck) if neck else x)[..., 0, 0]


def images() -> Tensor:
    return torch.randn(3, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def write(path, state: dict[str, Tensor], **beside: object):
    torch.save({"model": state, "iteration": 17, **beside}, path)
    return path


@pytest.mark.parametrize("neck", ["heads.bottleneck.0", "heads.bnneck"])
@pytest.mark.parametrize("gem", [False, True])
@pytest.mark.parametrize("name", ["resnet18", "fastreid_resnet18"])
def test_a_checkpoint_gives_the_feature_that_fastreid_tests(tmp_path, neck, gem, name):
    state = fastreid_state(neck, gem)
    path = write(tmp_path / "model_best.pth", state, optimizer={"state": {}, "param_groups": []})
    model, card = open_checkpoint(path, name, SIZE)
    assert (card.backbone, card.neck, card.last_stride) == ("fastreid_resnet18", "bnneck", 1)
    with torch.inference_mode():
        expected = fastreid_features(state, images(), neck)
        torch.testing.assert_close(model.embed(images()), expected, rtol=1e-4, atol=1e-4)
        theirs = fastreid_features(state, images(), None)
    assert not torch.allclose(expected, theirs, atol=0.01)  # the neck does something


def test_the_feature_before_the_neck_can_be_asked_for(tmp_path):
    state = fastreid_state()
    model, card = open_checkpoint(write(tmp_path / "a.pth", state), "resnet18", SIZE, "none")
    assert card.neck == "none"
    with torch.inference_mode():
        expected = fastreid_features(state, images(), None)
        torch.testing.assert_close(model.embed(images()), expected, rtol=1e-4, atol=1e-4)


def test_without_a_neck_there_is_none_to_ask_for(tmp_path):
    path = write(tmp_path / "a.pth", fastreid_state(neck=None))
    assert open_checkpoint(path, "resnet18", SIZE)[1].neck == "none"
    with pytest.raises(InputError, match=r"neck is bnneck, but .*a\.pth holds no neck"):
        open_checkpoint(path, "resnet18", SIZE, "bnneck")


def test_the_normalisation_that_old_files_hold_is_used(tmp_path):
    state = fastreid_state()
    state["pixel_mean"] = torch.tensor([100.0, 110.0, 120.0]).view(1, 3, 1, 1)
    state["pixel_std"] = torch.tensor([51.0, 51.0, 25.5]).view(1, 3, 1, 1)
    _, card = open_checkpoint(write(tmp_path / "a.pth", state), "resnet18", SIZE)
    assert card.mean == pytest.approx((100 / 255, 110 / 255, 120 / 255))
    assert card.std == pytest.approx((0.2, 0.2, 0.1))


def test_it_can_be_kept_with_a_card(tmp_path):
    state = fastreid_state(gem=True)
    model, card = open_checkpoint(write(tmp_path / "a.pth", state), "resnet18", SIZE)
    save_model(model, card, tmp_path / "ours.safetensors")
    again, same = load_model(tmp_path / "ours.safetensors")
    assert same == card
    with torch.inference_mode():
        torch.testing.assert_close(again.embed(images()), model.embed(images()), rtol=0, atol=0)


def renamed(old: str, new: str) -> dict[str, Tensor]:
    return {name.replace(old, new): value for name, value in fastreid_state().items()}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (renamed("layer1.0.bn1.", "layer1.0.bn1.IN."), "has IBN layers"),
        ({**fastreid_state(), "backbone.NL_2.0.g.weight": torch.ones(1)}, "has non-local layers"),
        (
            {**fastreid_state(), "backbone.layer1.0.se.fc.0.weight": torch.ones(1)},
            "has squeeze-and-excitation layers",
        ),
        (
            {**fastreid_state(None), "heads.bottleneck.0.weight": torch.ones(256, 512, 1, 1)},
            "reduces its embedding by a convolution",
        ),
        (
            {k: v for k, v in fastreid_state().items() if "layer3.1" not in k},
            r"it lacks layer3\.1\.conv1\.weight",
        ),
        ({**fastreid_state(), "heads.pool_layer.p": torch.ones(512)}, "an exponent for every"),
        ({**fastreid_state(), "pixel_mean": torch.ones(2)}, r"pixel_mean \[1\.0, 1\.0\]"),
        ({**fastreid_state(), "pixel_std": torch.zeros(3)}, r"pixel_std \[0\.0, 0\.0, 0\.0\]"),
    ],
    ids=["IBN", "non-local", "SE", "reduction", "incomplete", "exponents", "mean", "std"],
)
def test_other_architectures_are_refused_in_one_line(tmp_path, state, message):
    with pytest.raises(InputError, match=rf"a\.pth .*{message}") as refusal:
        open_checkpoint(write(tmp_path / "a.pth", state), "resnet18", SIZE)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("backbone", ["osnet_x0_25", "resnet152"])
def test_a_backbone_that_fastreid_does_not_have_is_refused(tmp_path, backbone):
    path = write(tmp_path / "a.pth", fastreid_state())
    with pytest.raises(InputError, match=f"{backbone} is not supported.*fastreid_resnet50"):
        open_checkpoint(path, backbone, SIZE)


def test_another_depth_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"a\.pth does not fit the model"):
        open_checkpoint(write(tmp_path / "a.pth", fastreid_state()), "resnet34", SIZE)


class _Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_code_beside_the_weights_is_refused_and_not_run(tmp_path):
    sprung = tmp_path / "sprung"
    path = write(tmp_path / "a.pth", fastreid_state(), scheduler=_Trap(str(sprung)))
    with pytest.raises(InputError, match=r"a\.pth .*never run"):
        open_checkpoint(path, "resnet18", SIZE)
    assert not sprung.exists()


def test_what_is_not_theirs_is_left_to_others():
    assert is_fastreid(fastreid_state())
    assert not is_fastreid({"conv1.weight": torch.ones(1)})
    assert not is_fastreid({"backbone.conv1.weight": torch.ones(1)})


def test_their_numpy_scalars_do_no_harm(tmp_path):
    path = write(tmp_path / "a.pth", fastreid_state(), metric=np.float64(0.861))
    assert open_checkpoint(path, "resnet18", SIZE)[1].backbone == "fastreid_resnet18"


@pytest.mark.parametrize(
    "name",
    [
        "heads.bottleneck.1.weight",
        "heads.embedding.weight",
        "heads.pool_layer.w",
        "attributes.weight",
    ],
)
def test_a_layer_that_would_be_left_out_is_refused(tmp_path, name):
    path = write(tmp_path / "a.pth", {**fastreid_state(), name: torch.ones(512)})
    with pytest.raises(InputError, match=rf"a\.pth holds {name}, of a trained layer"):
        open_checkpoint(path, "resnet18", SIZE)
