"""Pretrained weights of the backbones: from a provider's own file, and from its download."""

from urllib.error import URLError

import pytest
import torch

from reid_dhm.errors import InputError
from reid_dhm.inference.checkpoints import open_checkpoint
from reid_dhm.models.providers import BACKBONES, build_backbone


def test_renamed_mobilenet_is_taken_in_order(tmp_path, unsettle):
    """Its layers in one sequence per block, so that some names mean another layer."""
    features = unsettle(BACKBONES["mobilenet_v2"].create().features)
    tensors = features.state_dict()
    flat = {}
    for number, block in enumerate(features):
        layers = [layer for layer in block.modules() if not list(layer.children())]
        inside = "" if number in (0, 18) else "conv."
        for position, layer in enumerate(layers):
            for key, value in layer.state_dict().items():
                flat[f"features.{number}.{inside}{position}.{key}"] = value
    assert len(flat) == len(tensors) == 312
    assert flat.keys() & {f"features.{key}" for key in tensors}
    assert flat.keys() != {f"features.{key}" for key in tensors}
    torch.save(flat, tmp_path / "renamed.pt")
    loaded = build_backbone("mobilenet_v2", weights=str(tmp_path / "renamed.pt")).state_dict()
    assert all(map(torch.equal, loaded.values(), tensors.values()))


@pytest.mark.parametrize(
    "name", ["resnet18", "densenet121", "mobilenet_v2", "osnet_x0_25", "osnet_ain_x0_25"]
)
@torch.no_grad()
def test_a_backbone_reads_the_providers_own_state_dict(tmp_path, unsettle, name):
    provider = unsettle(BACKBONES[name].create())
    torch.save(provider.state_dict(), tmp_path / "own.pth")
    loaded = build_backbone(name, weights=str(tmp_path / "own.pth")).state_dict()
    made = BACKBONES[name].split(provider).stages
    expected = [v for blocks in made.values() for b in blocks for v in b.state_dict().values()]
    assert len(expected) == len(loaded)
    assert all(map(torch.equal, loaded.values(), expected))


@torch.no_grad()
def test_an_embedding_layer_of_torchreid_is_the_feature(tmp_path, unsettle):
    """resnet50_fc512 has a trained layer behind its pooling, which resnet50 would leave out."""
    provider = unsettle(BACKBONES["resnet50_fc512"].create()).eval()
    torch.save({"state_dict": provider.state_dict()}, tmp_path / "fc512.pth.tar")
    model, _ = open_checkpoint(tmp_path / "fc512.pth.tar", "resnet50_fc512", (64, 32))
    images = torch.randn(2, 3, 64, 32)
    assert model.embed(images).shape == (2, 512)
    torch.testing.assert_close(model.embed(images), provider(images))
    with pytest.raises(InputError, match=r"fc512.pth.tar holds fc\.0\.weight.*would be left out"):
        open_checkpoint(tmp_path / "fc512.pth.tar", "resnet50", (64, 32))


def test_densenet_reads_the_names_of_its_published_file(tmp_path, unsettle):
    """``denselayer1.norm.1.weight`` for ``norm1``, and no counters, as torchvision publishes it."""
    provider = unsettle(BACKBONES["densenet121"].create())
    published = {
        name.replace("norm1.", "norm.1.")
        .replace("norm2.", "norm.2.")
        .replace("conv1.", "conv.1.")
        .replace("conv2.", "conv.2."): value
        for name, value in provider.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in published
    torch.save(published, tmp_path / "published.pth")
    backbone = build_backbone("densenet121", weights=str(tmp_path / "published.pth"))
    for own, layer in zip(
        backbone.blocks("denseblock1")[0].state_dict().values(),
        provider.features.denseblock1.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(own, layer)


@pytest.mark.parametrize(
    ("name", "other"), [("mobilenet_v2", "mobilenet_v3_small"), ("osnet_x0_25", "osnet_x0_5")]
)
def test_weights_of_another_architecture_are_refused(tmp_path, name, other):
    torch.save(BACKBONES[other].create().state_dict(), tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other.pth does not fit.*same architecture"):
        build_backbone(name, weights=str(tmp_path / "other.pth"))


# Where each provider downloads: torchvision, torchreid from a drive, torchreid's IBN-ResNet.
DOWNLOADS = {
    "mobilenet_v3_small": "torchvision.models._api.load_state_dict_from_url",
    "osnet_x0_25": "gdown.download",
    "resnet50_ibn_a": "torch.utils.model_zoo.load_url",
}


@pytest.mark.parametrize("name", DOWNLOADS)
def test_imagenet_weights_without_a_network(monkeypatch, tmp_path, name):
    def fail(*_, **__):
        raise URLError("no route to host\nand more")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(DOWNLOADS[name], fail)
    with pytest.raises(InputError, match=rf"{name} .*no route.*model.weights=FILE") as refusal:
        build_backbone(name, weights="imagenet")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "osnet_x0_25"])
def test_imagenet_weights_with_a_network(monkeypatch, tmp_path, unsettle, name):
    trained = unsettle(BACKBONES[name].create())

    def download(_url, target=None, **_):
        if name.startswith("osnet"):
            torch.save(trained.state_dict(), target)
        return trained.state_dict()

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(DOWNLOADS[name], download)
    loaded = build_backbone(name, weights="imagenet").state_dict()
    made = BACKBONES[name].split(trained).stages
    expected = [v for blocks in made.values() for b in blocks for v in b.state_dict().values()]
    assert all(map(torch.equal, loaded.values(), expected))
