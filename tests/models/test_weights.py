import os
import pickle
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from reid_dhm.errors import InputError
from reid_dhm.models.weights import load_weights, read_state_dict


class Residual(nn.Module):
    """Three blocks of one shape, so that only names and order tell them apart."""

    def __init__(self, names: tuple[str, str, str] = ("a", "b", "c"), num_classes: int = 3):
        super().__init__()
        for name in names:
            block = nn.Sequential(nn.Conv2d(4, 4, 3, bias=False), nn.BatchNorm2d(4))
            self.add_module(name, block)
        self.classifier = nn.Linear(4, num_classes)


@pytest.fixture
def trained(unsettle) -> dict[str, Tensor]:
    return unsettle(Residual()).state_dict()


def load(tensors: dict[str, Tensor], unused: tuple[str, ...] = ("classifier.",)) -> nn.Module:
    model = Residual()
    load_weights(model, tensors, source="some.pth", unused=unused)
    return model


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def renamed(tensors: dict[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    return {name.replace(old, new): value for name, value in tensors.items()}


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".pth.tar", ".safetensors"])
@pytest.mark.parametrize(
    "prefix",
    [
        *("", "module.", "_orig_mod.", "model.", "backbone.", "net."),
        *("module._orig_mod.", "_orig_mod.module.", "model.module.", "online_model.", "encoder."),
        "ema_model.",
    ],
)
def test_state_dicts_of_every_kind_are_read(tmp_path, trained, suffix, prefix):
    file = tmp_path / f"weights{suffix}"
    prefixed = {prefix + name: value for name, value in trained.items()}
    (save_file if suffix == ".safetensors" else torch.save)(prefixed, file)
    assert same(read_state_dict(file), trained)


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "net", "ema"])
@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize(
    "rank1", [np.float16(0.5), np.float64(0.5), np.bool_(True), np.int16(1), 0.5]
)
def test_checkpoints_as_torchreid_writes_them_are_read(tmp_path, trained, key, new_format, rank1):
    file = tmp_path / "model.pth.tar-60"
    wrapped = OrderedDict((f"module.{name}", value) for name, value in trained.items())
    content = {key: wrapped, "epoch": 60, "rank1": rank1, "optimizer": {"state": {}}}
    torch.save(content, file, _use_new_zipfile_serialization=new_format)
    assert same(read_state_dict(file), trained)


def test_weights_come_before_their_average_and_the_other_is_named(tmp_path, trained, caplog):
    average = {name: value + 1 for name, value in trained.items()}
    torch.save({"ema": average, "state_dict": trained}, tmp_path / "both.pth")
    assert same(read_state_dict(tmp_path / "both.pth"), trained)
    assert (
        "both.pth also holds averaged weights (ema): those of state_dict are taken" in caplog.text
    )


def test_averages_under_a_prefix_beside_the_weights_are_left_out(tmp_path, trained, caplog):
    tensors = {f"ema_model.{name}": value + 1 for name, value in trained.items()}
    tensors |= {f"online_model.{name}": value for name, value in trained.items()}
    tensors |= {"initted": torch.tensor(True), "step": torch.tensor(9)}
    torch.save({"state_dict": tensors}, tmp_path / "both.ckpt")
    assert same(read_state_dict(tmp_path / "both.ckpt"), trained)
    assert "both.ckpt also holds averaged weights (ema_model.): the others" in caplog.text


def test_an_averaged_model_is_read(tmp_path, trained):
    model = Residual()
    model.load_state_dict(trained)
    average = torch.optim.swa_utils.AveragedModel(model)
    for content in (average.state_dict(), {"module": trained, "updates": 3}):
        torch.save({"ema": content}, tmp_path / "ema.pth")
        assert same(read_state_dict(tmp_path / "ema.pth"), trained)


def test_counters_of_thop_and_losses_beside_a_model_are_left_out(tmp_path, trained):
    extra = {"total_ops": 1, "total_params": 1, "a.total_ops": 1, "criterion.weight": 3}
    wrapped = {f"model.{name}": value for name, value in trained.items()}
    tensors = wrapped | {name: torch.zeros(size) for name, size in extra.items()}
    torch.save({"state_dict": tensors}, tmp_path / "extra.ckpt")
    assert same(read_state_dict(tmp_path / "extra.ckpt"), trained)


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes text and bytes as Python 2 did, which knew one type for both."""

    dispatch: ClassVar[dict] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_bytes(self, value: bytes) -> None:
        self.write(b"U" + bytes([len(value)]) + value)
        self.memoize(value)

    def save_str(self, value: str) -> None:
        self.write(b"U" + bytes([len(value)]) + value.encode("latin1"))
        self.memoize(value)

    dispatch[bytes], dispatch[str] = save_bytes, save_str


def python2() -> types.ModuleType:
    module = types.ModuleType("pickle")
    module.Pickler = Python2Pickler  # type: ignore[attr-defined]
    module.dump = lambda content, file, protocol: Python2Pickler(file, 2).dump(content)  # type: ignore[attr-defined]
    return module


def test_checkpoints_that_python_2_wrote_are_read(tmp_path, trained):
    file = tmp_path / "zoo.pth.tar"
    wrapped = OrderedDict((f"module.{name}", value) for name, value in trained.items())
    content = {"state_dict": wrapped, "rank1": np.float64(0.873), "epoch": 60}
    legacy = {"pickle_module": python2(), "pickle_protocol": 2}
    torch.save(content, file, _use_new_zipfile_serialization=False, **legacy)
    assert same(read_state_dict(file), trained)


def test_code_that_python_2_wrote_is_refused_and_never_run(tmp_path, trained):
    file, trace = tmp_path / "evil.pth.tar", tmp_path / "executed"
    content = {"state_dict": trained, "rank1": np.float64(0.873), "extra": Canary(trace)}
    legacy = {"pickle_module": python2(), "pickle_protocol": 2}
    torch.save(content, file, _use_new_zipfile_serialization=False, **legacy)
    with pytest.raises(InputError, match=r"evil.pth.tar .*never run"):
        read_state_dict(file)
    assert not trace.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda tensor: tensor.to("meta"),
        lambda tensor: tensor.to_sparse(),
        lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
    ],
    ids=["meta", "sparse", "quantised"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_tensors_that_are_no_plain_numbers_are_refused(tmp_path, trained, change):
    file = tmp_path / "a.pth"
    torch.save({**trained, "classifier.weight": change(trained["classifier.weight"])}, file)
    with pytest.raises(InputError, match=r"a\.pth does not hold classifier\.weight as plain"):
        read_state_dict(file)


@pytest.mark.parametrize("place", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_numpy_scalars_are_read_from_either_side_of_numpy_2(tmp_path, trained, place):
    """NumPy 2 renamed the module that a pickled scalar refers to by name."""
    new, old = tmp_path / "new.pth", tmp_path / "old.pth"
    torch.save({"state_dict": dict(trained), "rank1": np.float64(0.5)}, new)
    with zipfile.ZipFile(new) as source, zipfile.ZipFile(old, "w") as target:
        for entry in source.infolist():
            data = source.read(entry)
            for written in (b"numpy._core.multiarray", b"numpy.core.multiarray"):
                if entry.filename.endswith("data.pkl") and written in data:
                    data = data.replace(written, place)
                    break
            target.writestr(entry.filename, data)
    assert same(read_state_dict(old), trained)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.pth does not exist: check the path"):
        read_state_dict(tmp_path / "nowhere.pth")


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_truncated_files_are_refused(tmp_path, trained, kind):
    """Wherever they end; what a reader says of it differs from byte to byte."""
    file = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    if kind == "safetensors":
        save_file(trained, file)
    else:
        torch.save(trained, file, _use_new_zipfile_serialization=kind == "zip")
    whole = file.read_bytes()
    for length in range(0, len(whole) - 1, len(whole) // 40):
        file.write_bytes(whole[:length])
        with pytest.raises(InputError, match=rf"{file.name} .*truncated") as refusal:
            read_state_dict(file)
        assert "\n" not in str(refusal.value)


class Canary:
    """Pickled code: unpickling it makes a folder."""

    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("new_format", [True, False])
def test_pickled_code_is_refused_and_never_run(tmp_path, trained, new_format):
    file, trace = tmp_path / "evil.pth", tmp_path / "executed"
    content = {"state_dict": dict(trained), "extra": Canary(trace)}
    torch.save(content, file, _use_new_zipfile_serialization=new_format)
    with pytest.raises(InputError, match=r"evil.pth .*never run.*state_dict\(\) alone"):
        read_state_dict(file)
    assert not trace.exists()
    torch.load(file, weights_only=False)  # the canary is alive
    assert trace.exists()


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], torch.ones(2), {"model": {}}])
def test_files_without_named_tensors_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "no.pth")
    with pytest.raises(InputError, match=r"no.pth holds no tensors by name"):
        read_state_dict(tmp_path / "no.pth")


def test_a_safetensors_without_tensors_is_refused(tmp_path):
    save_file({}, tmp_path / "no.safetensors")
    with pytest.raises(InputError, match=r"no.safetensors holds no tensors by name"):
        read_state_dict(tmp_path / "no.safetensors")


def test_what_is_no_weights_file_is_refused(tmp_path):
    (tmp_path / "text.pth").write_text("weights, honestly")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"a": 1}, protocol=2))
    for name in ("text.pth", "plain.pth"):
        with pytest.raises(InputError, match=name):
            read_state_dict(tmp_path / name)


# ---------------------------------------------------------------- fitting


def test_names_decide_whatever_the_order(trained):
    assert same(load(dict(reversed(trained.items())), unused=()).state_dict(), trained)


def test_a_classifier_of_another_size_is_left_out(trained):
    given = {**trained, "classifier.weight": torch.ones(751, 4), "classifier.bias": torch.ones(751)}
    model = load(given)
    body = {k: v for k, v in model.state_dict().items() if not k.startswith("classifier")}
    assert same(body, {k: v for k, v in trained.items() if not k.startswith("classifier")})
    assert model.classifier.weight.shape == (3, 4)
    with pytest.raises(InputError, match=r"classifier.weight is \(751, 4\).*\(3, 4\)"):
        load(given, unused=())


@pytest.mark.parametrize(
    ("head", "named"),
    [
        # torchreid's resnet50_fc512: an embedding layer fc, then the classifier
        ({"fc.0.weight": (512, 4), "fc.1.weight": (512,)}, "fc.0.weight"),
        ({"fc.weight": (512, 4)}, "fc.weight"),
        # layumi's block: the layer and the classifier under one name
        ({"classifier.add_block.0.weight": (512, 4), "classifier.0.weight": (9, 512)}, "add_block"),
        ({"classifier.0.weight": (512, 4), "classifier.1.weight": (512,)}, "classifier.0.weight"),
        ({"classifier.running_mean": (4,)}, "classifier.running_mean"),
        ({"classifier.weight": (4,), "classifier.bias": (4,)}, "classifier.weight"),  # a neck
    ],
)
def test_a_trained_embedding_layer_is_never_left_out(trained, head, named):
    body = {k: v for k, v in trained.items() if not k.startswith("classifier")}
    given = {**body, **{name: torch.ones(shape) for name, shape in head.items()}}
    if named.startswith("fc"):
        given["classifier.weight"] = torch.ones(751, 512)
    with pytest.raises(InputError, match=rf"some.pth holds .*{named}.*would be left out"):
        load(given, unused=("fc.", "classifier."))


def test_a_classifier_inside_a_sequence_may_have_another_size(trained):
    body = {k: v for k, v in trained.items() if not k.startswith("classifier")}
    model = load({**body, "classifier.1.weight": torch.ones(751, 4)})
    assert same({k: v for k, v in model.state_dict().items() if k in body}, body)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(trained, value):
    trained["b.0.weight"][0, 0, 0, 0] = value
    with pytest.raises(InputError, match=r"some.pth holds values that are not finite \(b.0.weight"):
        load(trained)


def test_a_classifier_that_is_not_used_may_be_anything(trained):
    trained["classifier.bias"][0] = float("nan")
    load(trained)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_precision_become_float32(trained, dtype):
    given = {k: v.to(dtype) if v.is_floating_point() else v for k, v in trained.items()}
    loaded = load(given, unused=()).state_dict()
    assert all(loaded[k].dtype == v.dtype for k, v in trained.items())
    assert all(torch.equal(loaded[k], v.to(loaded[k].dtype)) for k, v in given.items())


def test_whole_numbers_are_not_taken_for_weights(trained):
    given = {**trained, "b.0.weight": trained["b.0.weight"].to(torch.int8)}
    with pytest.raises(InputError, match=r"holds b.0.weight as int8, not as floating-point"):
        load(given)


def test_counters_that_old_files_lack_stay_as_they_are(trained):
    given = {k: v for k, v in trained.items() if not k.endswith("num_batches_tracked")}
    loaded = load(given, unused=()).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in given.items())
    assert loaded["a.1.num_batches_tracked"] == 0


def test_other_names_in_the_same_order_are_taken_in_order(trained, caplog):
    given = dict(zip(Residual(("x", "y", "z")).state_dict(), trained.values(), strict=True))
    assert given.keys() != trained.keys()
    assert same(load(given, unused=()).state_dict(), trained)
    assert "some.pth has other names for its tensors" in caplog.text


def test_names_that_agree_are_not_called_an_order(trained, caplog):
    load(dict(trained))
    assert not caplog.text


@pytest.mark.parametrize(
    "mislead",
    [
        lambda t: dict(sorted(renamed(t, "a.", "x.").items())),
        lambda t: dict(reversed(renamed(t, "a.", "x.").items())),
        # c and b swapped, a renamed: every shape and kind agrees, the names b and c do not
        lambda t: {
            **{k.replace("a.", "x."): v for k, v in t.items() if k.startswith("a.")},
            **{k: v for k, v in t.items() if k.startswith("c.")},
            **{k: v for k, v in t.items() if k.startswith("b.")},
        },
        # every name another, each bias before its weight: the shapes agree, the kinds do not
        lambda t: {
            "x" + k.replace("1.weight", "1.-").replace("1.bias", "1.weight").replace("-", "bias"): v
            for k, v in t.items()
            if not k.startswith("classifier")
        },
        # numbered from one instead of zero: names and order contradict each other
        lambda t: {
            {"a": "b", "b": "c", "c": "d"}[k[0]] + k[1:]: v
            for k, v in t.items()
            if not k.startswith("classifier")
        },
    ],
    ids=["sorted", "reversed", "swapped", "bias first", "shifted"],
)
def test_an_order_that_might_be_wrong_is_refused(trained, mislead):
    with pytest.raises(InputError, match=r"some.pth does not fit the model, it lacks a\.0\.weight"):
        load(mislead(trained))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda t: {k: v for k, v in t.items() if k != "b.0.weight"}, "it lacks b.0.weight"),
        (lambda t: {**t, "d.0.weight": torch.ones(1)}, "it also holds d.0.weight"),
        (
            lambda t: {**t, "b.0.weight": torch.ones(4, 4, 1, 1)},
            r"its b.0.weight is \(4, 4, 1, 1\) and the model's \(4, 4, 3, 3\)",
        ),
    ],
)
def test_misfits_are_refused_and_change_nothing(trained, change, named):
    model = Residual()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(InputError, match=rf"some.pth .*{named}.*same architecture"):
        load_weights(model, change(trained), source="some.pth")
    assert same(model.state_dict(), before)
