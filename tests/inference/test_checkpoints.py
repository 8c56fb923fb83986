import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from reid_dhm.errors import InputError
from reid_dhm.inference.checkpoints import fingerprint, open_checkpoint
from reid_dhm.models.branch_spec import BranchSpec
from reid_dhm.models.card import ModelCard, save_model
from reid_dhm.models.torchreid import torchreid_module

SIZE = (64, 32)
CARD = ModelCard("resnet18", num_classes=5, size=SIZE, training={"method": "dhm"})


def with_random_statistics(model: nn.Module) -> nn.Module:
    """As if trained: running statistics and affine weights that matter."""
    generator = torch.Generator().manual_seed(1)
    for layer in model.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for values in (layer.running_mean, layer.bias.data):
                values.copy_(torch.randn(values.shape, generator=generator) / 10)
            for values in (layer.running_var, layer.weight.data):
                values.copy_(torch.rand(values.shape, generator=generator) + 0.5)
    return model.eval()


def torchreid_model(name: str) -> nn.Module:
    return with_random_statistics(torchreid_module("models").build_model(name, 7, pretrained=False))


def images() -> torch.Tensor:
    return torch.rand(3, 3, *SIZE, generator=torch.Generator().manual_seed(2))


def save_run(folder, card=CARD):
    model = with_random_statistics(card.build())
    save_model(model, card, folder / "best.safetensors")
    return model


def test_run_folder_and_its_weights_file_open_as_the_best_model(tmp_path):
    model = save_run(tmp_path / "run")
    for checkpoint in (tmp_path / "run", str(tmp_path / "run" / "best.safetensors")):
        opened, card = open_checkpoint(checkpoint)
        assert card == CARD
        assert not opened.training
        with torch.inference_mode():
            torch.testing.assert_close(
                opened.embed(images()), model.embed(images()), rtol=0, atol=0
            )


def test_weights_under_another_name_open_with_the_card_beside_them(tmp_path):
    save_model(CARD.build(), CARD, tmp_path / "exported.safetensors")
    assert open_checkpoint(tmp_path / "exported.safetensors")[1] == CARD


@pytest.mark.parametrize("name", ["osnet_x0_25", "osnet_ain_x0_25", "resnet50_ibn_a"])
def test_torchreid_zoo_file_gives_torchreids_own_feature(tmp_path, name):
    theirs = torchreid_model(name)
    content = {
        "state_dict": {f"module.{key}": value for key, value in theirs.state_dict().items()},
        "epoch": 250,
        "rank1": np.float64(0.912),
    }
    torch.save(content, tmp_path / "zoo.pth")
    ours, card = open_checkpoint(tmp_path / "zoo.pth", name, SIZE, "none")
    assert (card.size, card.neck) == (SIZE, "none")
    with torch.inference_mode():
        torch.testing.assert_close(ours.embed(images()), theirs(images()))


def test_bare_torchvision_weights_give_the_pooled_feature_map(tmp_path):
    theirs = with_random_statistics(torchvision.models.mobilenet_v2(num_classes=3))
    torch.save(theirs.state_dict(), tmp_path / "bare.pth")
    ours, _ = open_checkpoint(tmp_path / "bare.pth", "mobilenet_v2", SIZE)
    with torch.inference_mode():
        torch.testing.assert_close(ours.embed(images()), theirs.features(images()).mean(dim=(2, 3)))


def test_figures_beside_others_weights_are_not_taken_for_a_card(tmp_path):
    torch.save(torchvision.models.mobilenet_v2(num_classes=3).state_dict(), tmp_path / "net.pth")
    (tmp_path / "net.json").write_text('{"fingerprint": "abc", "dim": 512}')
    assert open_checkpoint(tmp_path / "net.pth", "mobilenet_v2", SIZE)[1].size == SIZE


def test_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.pth does not exist"):
        open_checkpoint(tmp_path / "gone.pth")


def test_run_folder_before_its_first_evaluation_says_so(tmp_path):
    with pytest.raises(InputError, match="has not finished an evaluation yet"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("given", [{}, {"backbone": "resnet18"}, {"size": SIZE}])
def test_weights_without_a_card_need_backbone_and_size(tmp_path, given):
    torch.save({}, tmp_path / "zoo.pth")
    with pytest.raises(InputError, match=r"zoo\.pth has no card zoo\.json.*--backbone"):
        open_checkpoint(tmp_path / "zoo.pth", **given)


def test_a_neck_that_a_backbone_alone_cannot_have_is_refused(tmp_path):
    torch.save({"conv1.weight": torch.ones(1)}, tmp_path / "zoo.pth")
    with pytest.raises(InputError, match="neck is 'bnneck'"):
        open_checkpoint(tmp_path / "zoo.pth", "resnet18", SIZE, "bnneck")


@pytest.mark.parametrize("given", [{"backbone": "resnet50"}, {"size": SIZE}, {"neck": "none"}])
def test_what_the_card_says_cannot_be_said_again(tmp_path, given):
    save_run(tmp_path)
    with pytest.raises(InputError, match=f"has a card with its {next(iter(given))}"):
        open_checkpoint(tmp_path, **given)


def test_weights_of_another_architecture_are_refused(tmp_path):
    torch.save(torchreid_model("osnet_x0_25").state_dict(), tmp_path / "zoo.pth")
    for other in ("resnet18", "osnet_x0_5"):
        with pytest.raises(InputError, match=r"zoo\.pth does not fit the model"):
            open_checkpoint(tmp_path / "zoo.pth", other, SIZE)


def test_truncated_file_is_refused_by_name(tmp_path):
    torch.save(torchreid_model("osnet_x0_25").state_dict(), tmp_path / "whole.pth")
    cut = tmp_path / "cut.pth"
    cut.write_bytes((tmp_path / "whole.pth").read_bytes()[:100_000])
    with pytest.raises(InputError, match=r"cut\.pth .*truncated"):
        open_checkpoint(cut, "osnet_x0_25", SIZE)


class _Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path):
    sprung = tmp_path / "sprung"
    torch.save({"state_dict": {}, "code": _Trap(str(sprung))}, tmp_path / "bad.pth")
    (tmp_path / "old.pth").write_bytes(pickle.dumps(_Trap(str(sprung)), protocol=2))
    for name in ("bad.pth", "old.pth"):
        with pytest.raises(InputError, match=rf"{name} .*never run"):
            open_checkpoint(tmp_path / name, "resnet18", SIZE)
    assert not sprung.exists()


def test_fingerprint_is_of_what_embeds_and_of_nothing_else():
    branched = replace(CARD, branches=(BranchSpec("layer3"),))
    model = branched.build()
    same = fingerprint(model, branched)
    assert len(same) == 64
    assert fingerprint(model.deploy(), replace(CARD, training={"epoch": 7})) == same
    assert fingerprint(model, replace(branched, embedding="ensemble")) != same
    assert fingerprint(model, replace(branched, size=(32, 32))) != same
    model.head.classifier.weight.data += 1
    assert fingerprint(model, branched) == same
    model.head.neck.running_mean[0] += 1e-3
    assert fingerprint(model, branched) != same


def test_a_damaged_archive_is_one_line(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"weight": torch.zeros(3)}, path)
    content = bytearray(path.read_bytes())
    directory = content.rindex(b"PK\x01\x02")  # the last entry of the archive's directory
    content[directory : directory + 4] = b"\0\0\0\0"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"weights\.pth cannot be read as weights") as refusal:
        open_checkpoint(path, "osnet_x0_25", (256, 128))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named_when_they_are_opened(tmp_path, value):
    tensors = torchreid_model("osnet_x0_25").state_dict()
    tensors["conv1.conv.weight"][0] = value
    torch.save(tensors, tmp_path / "diverged.pth")
    model = CARD.build()
    model.head.neck.running_mean[0] = value
    save_model(model, CARD, tmp_path / "run" / "best.safetensors")
    refusals = {
        tmp_path / "diverged.pth": ("osnet_x0_25", SIZE),
        tmp_path / "run": (),
    }
    for path, options in refusals.items():
        with pytest.raises(InputError, match=r"values that are not finite .*earlier checkpoint"):
            open_checkpoint(path, *options)


@pytest.mark.parametrize("size", [(0, 32), (64, 4097), (10**20, 1)])
def test_a_size_out_of_range_is_refused(tmp_path, size):
    torch.save({}, tmp_path / "zoo.pth")
    with pytest.raises(InputError, match=f"size is {size[0]}x{size[1]}: use"):
        open_checkpoint(tmp_path / "zoo.pth", "resnet18", size)
