import contextlib
import copy
import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from reid_dhm.errors import InputError
from reid_dhm.training.optimization import build_optimizer
from reid_dhm.training.state import find_state, load_state, match_memory_format, save_state

Parts = tuple[dict[str, nn.Module], torch.optim.Optimizer]
FILES = ["ema.safetensors", "model.safetensors", "optimizer.safetensors", "state.json"]


def build(seed: int, name: str = "adam", momentum: float = 0.9) -> Parts:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    model.to(memory_format=torch.channels_last)
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    optimizer = build_optimizer(model.parameters(), name, 0.1, 0.01, momentum)
    return {"model": model, "ema": ema}, optimizer


def train(parts: Parts, steps: int, seed: int) -> None:
    modules, optimizer = parts
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        images = torch.rand(4, 3, 6, 6, generator=generator)
        images = images.contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad()
        modules["model"](images).square().mean().backward()
        optimizer.step()
        modules["ema"].update_parameters(modules["model"])


def tensors_of(parts: Parts) -> dict[str, Tensor]:
    """Every tensor and number that training changes."""
    modules, optimizer = parts
    found = {f"{m}.{k}": v for m, module in modules.items() for k, v in module.state_dict().items()}
    for index, entry in optimizer.state_dict()["state"].items():
        found |= {f"{index}.{k}": torch.as_tensor(v) for k, v in entry.items() if v is not None}
    return {name: value.clone() for name, value in found.items()}


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def save(folder: Path, parts: Parts, epoch: int = 0) -> None:
    save_state(folder, *parts, {"epoch": epoch, "best": {"mAP": 0.1}})


OPTIMIZERS = [("adam", 0.0), ("adamw", 0.0), ("sgd", 0.9), ("sgd", 0.0)]


@pytest.mark.parametrize(("name", "momentum"), OPTIMIZERS)
def test_a_restored_training_goes_on_bit_for_bit(tmp_path, name, momentum):
    kept, restored = build(0, name, momentum), build(1, name, momentum)
    train(kept, 3, seed=0)
    save(tmp_path / "last", kept, epoch=3)
    progress = load_state(tmp_path / "last", *restored)
    match_memory_format(restored[1])
    assert progress == {"epoch": 3, "best": {"mAP": 0.1}}
    assert_equal(tensors_of(kept), tensors_of(restored))
    for parts in (kept, restored):
        train(parts, 3, seed=1)
    assert_equal(tensors_of(kept), tensors_of(restored))


def test_optimizer_settings_are_restored(tmp_path):
    kept, restored = build(0, "adam"), build(1, "adam")
    kept[1].param_groups[0]["lr"] = 1 / 3
    save(tmp_path / "last", kept)
    load_state(tmp_path / "last", *restored)
    assert restored[1].param_groups[0]["lr"] == 1 / 3


def test_restored_moments_lie_in_memory_as_their_weights(tmp_path):
    kept, restored = build(0), build(1)
    train(kept, 1, seed=0)
    save(tmp_path / "last", kept)
    load_state(tmp_path / "last", *restored)
    match_memory_format(restored[1])
    weight = restored[0]["model"][0].weight
    assert restored[1].state[weight]["exp_avg"].stride() == weight.stride()
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_nothing_is_pickled(tmp_path):
    parts = build(0)
    train(parts, 1, seed=0)
    save(tmp_path / "last", parts)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == FILES
    json.loads((tmp_path / "last" / "state.json").read_text())
    for path in tmp_path.rglob("*.safetensors"):
        length = int.from_bytes(path.read_bytes()[:8], "little")
        json.loads(path.read_bytes()[8 : 8 + length])  # the format's header


def test_a_save_replaces_the_one_before_and_leaves_nothing_else(tmp_path):
    parts = build(0)
    for epoch in range(3):
        train(parts, 1, seed=epoch)
        save(tmp_path / "last", parts, epoch)
    assert [path.name for path in tmp_path.iterdir()] == ["last"]
    restored = build(1)
    assert load_state(tmp_path / "last", *restored)["epoch"] == 2
    assert_equal(tensors_of(parts), tensors_of(restored))


class KilledError(Exception):
    """Stands for a kill."""


@pytest.fixture
def kill_at(monkeypatch):
    """Let the n-th change of a folder's name or content during a save never happen."""

    def kill_at(number: int) -> None:
        left = iter(range(number))
        actions = {(Path, "rename"): Path.rename, (shutil, "rmtree"): shutil.rmtree}

        def hook(action):
            def act(*arguments, **options):
                if next(left, None) is None:
                    raise KilledError
                return action(*arguments, **options)

            return act

        for (owner, name), action in actions.items():
            monkeypatch.setattr(owner, name, hook(action))

    return kill_at


@pytest.mark.parametrize("killed_before", range(1, 6))
@pytest.mark.parametrize("second", range(6))
def test_killed_twice_in_a_row_a_whole_state_remains(
    tmp_path, monkeypatch, kill_at, killed_before, second
):
    """One save without a kill, one killed before its n-th action, and another one likewise."""
    parts = build(0)
    train(parts, 1, seed=0)
    save(tmp_path / "last", parts, epoch=1)
    for epoch, number in enumerate((killed_before, second), start=2):
        kill_at(number)
        with contextlib.suppress(KilledError):
            save(tmp_path / "last", parts, epoch)
        monkeypatch.undo()
        found = find_state(tmp_path / "last")
        assert found is not None
        assert load_state(found, *build(1))["epoch"] in range(1, epoch + 1)
    save(tmp_path / "last", parts, epoch=9)
    assert load_state(tmp_path / "last", *build(1))["epoch"] == 9
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_killed_between_the_renames_the_state_before_is_found(tmp_path):
    parts = build(0)
    save(tmp_path / "last", parts)
    (tmp_path / "last").rename(tmp_path / "last.old")
    assert find_state(tmp_path / "last") == tmp_path / "last.old"


def test_a_half_written_state_is_never_found(tmp_path):
    (tmp_path / "last.partial").mkdir()
    (tmp_path / "last.partial" / "state.json").write_text("{}")
    assert find_state(tmp_path / "last") is None


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def scribble(path: Path) -> None:
    path.write_bytes(b"\xff" * 40)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, scribble, empty, Path.unlink])
@pytest.mark.parametrize("name", FILES)
def test_damage_is_one_sentence_that_names_the_folder(tmp_path, damage, name):
    parts = build(0)
    train(parts, 1, seed=0)
    save(tmp_path / "last", parts)
    damage(tmp_path / "last" / name)
    with pytest.raises(InputError, match="cannot resume from") as caught:
        load_state(tmp_path / "last", *build(1))
    assert str(tmp_path / "last") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_any_altered_byte_is_found(tmp_path, name):
    parts = build(0)
    train(parts, 1, seed=0)
    save(tmp_path / "last", parts, epoch=3)
    path = tmp_path / "last" / name
    whole = path.read_bytes()
    for position in range(len(whole) - 1, 0, -max(1, len(whole) // 25)):
        changed = bytearray(whole)
        changed[position] ^= 1
        if name == "state.json" and chr(changed[position]).isspace():
            continue  # the same JSON
        path.write_bytes(changed)
        with pytest.raises(InputError, match="cannot resume from"):
            load_state(tmp_path / "last", *build(1))
    path.write_bytes(whole)
    assert load_state(tmp_path / "last", *build(1))["epoch"] == 3


def test_a_state_without_checksums_is_read(tmp_path):
    save(tmp_path / "last", build(0), epoch=3)
    file = tmp_path / "last" / "state.json"
    state = json.loads(file.read_text())
    del state["sha256"]
    file.write_text(json.dumps(state))
    assert load_state(tmp_path / "last", *build(1))["epoch"] == 3


@pytest.mark.parametrize("content", ["[]", "{}", '{"optimizer": 3, "progress": {}}'])
def test_a_state_of_another_kind_is_refused(tmp_path, content):
    save(tmp_path / "last", build(0))
    (tmp_path / "last" / "state.json").write_text(content)
    with pytest.raises(InputError, match="cannot resume from"):
        load_state(tmp_path / "last", *build(1))


def test_a_state_of_another_model_is_refused(tmp_path):
    parts = build(0)
    save(tmp_path / "last", parts)
    wider = nn.Sequential(nn.Conv2d(3, 8, 3))
    optimizer = build_optimizer(wider.parameters(), "adam", 0.1, 0, 0)
    with pytest.raises(InputError, match="another configuration"):
        load_state(tmp_path / "last", {"model": wider}, optimizer)


def test_saving_changes_nothing(tmp_path):
    parts = build(0)
    train(parts, 2, seed=0)
    before = copy.deepcopy(tensors_of(parts))
    save(tmp_path / "last", parts)
    assert_equal(before, tensors_of(parts))


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": []},
        {"sha256": None},
        {"progress": [3]},
        {"progress": "…", "sha256": {}},
        {"more": 1},
        {"optimizer": 3, "sha256": {}},
    ],
    ids=str,
)
def test_a_state_of_another_shape_is_refused(tmp_path, change):
    parts = build(0)
    save(tmp_path / "last", parts)
    file = tmp_path / "last" / "state.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(InputError, match="cannot resume from"):
        load_state(tmp_path / "last", *parts)


def test_a_state_without_its_progress_is_refused(tmp_path):
    parts = build(0)
    save(tmp_path / "last", parts)
    file = tmp_path / "last" / "state.json"
    file.write_text(json.dumps({"optimizer": json.loads(file.read_text())["optimizer"]}))
    with pytest.raises(InputError, match="other keys"):
        load_state(tmp_path / "last", *parts)
