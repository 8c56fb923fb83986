import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_dhm.config import BranchConfig, Config, load_config, to_yaml
from reid_dhm.config.reading import read_mapping
from reid_dhm.errors import InputError, NotFoundError, ReidError

CONFIGS = Path(__file__).parent.parent / "configs"


@pytest.fixture
def write(tmp_path):
    """Write a configuration file and return its path."""

    def write(text: str, name: str = "run.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def differences(first: Config, second: Config) -> dict[str, tuple[object, object]]:
    """The keys in which two configurations differ, with both values."""

    def flat(config: Config) -> dict[str, object]:
        keys: dict[str, object] = {}
        for name, value in asdict(config).items():
            section = value if isinstance(value, dict) else {"": value}
            keys |= {f"{name}.{key}".rstrip("."): found for key, found in section.items()}
        return keys

    ours, theirs = flat(first), flat(second)
    return {
        key: (ours[key], theirs[key])
        for key in ours
        if ours[key] != theirs[key] and key != "output"
    }


def test_no_is_a_precision_though_yaml_reads_a_boolean(tmp_path):
    assert load_config("market1501_mobilenetv2_cpu", ["train.precision=no"]).train.precision == "no"
    (tmp_path / "a.yaml").write_text("train: {precision: no}\n")
    assert load_config(tmp_path / "a.yaml").train.precision == "no"


def test_an_empty_file_is_the_default_recipe(write):
    config = load_config(write(""))
    assert config.model.size == [256, 128]
    assert (config.train.num_identities, config.train.num_instances) == (16, 4)
    assert (config.train.lr, config.train.weight_decay) == (3.5e-4, 5e-4)
    assert (config.train.milestones, config.train.gamma) == ([40, 70], 0.1)
    assert (config.train.warmup_epochs, config.train.warmup_factor) == (10, 0.01)
    assert (config.loss.smoothing, config.loss.alpha, config.loss.temperature) == (0.1, 1, 1)
    assert (config.data.flip, config.data.pad, config.data.erasing) == (0.5, 10, 0.5)
    assert (config.model.last_stride, config.train.epochs) == (1, 120)


def test_the_run_folder_is_named_after_the_file(write):
    path = write("", "night_shift.yaml")
    assert load_config(path).output == str(Path("runs") / "night_shift")
    assert load_config(path, ["output=elsewhere"]).output == "elsewhere"


def test_a_file_overrides_its_base_and_that_its_own(write):
    write("train: {epochs: 7, lr: 0.5}\nseed: 1", "grandparent.yaml")
    write("base: grandparent.yaml\ntrain: {epochs: 8}", "parent.yaml")
    config = load_config(write("base: parent.yaml\nmethod: dsl"))
    assert (config.train.epochs, config.train.lr, config.seed) == (8, 0.5, 1)
    assert config.method == "dsl"


def test_overrides_act_in_order_on_the_file(write):
    path = write("train: {epochs: 3}\nmethod: dsl")
    config = load_config(path, ["train.epochs=5", "train.epochs=6", "train.milestones=[1, 2]"])
    assert (config.train.epochs, config.train.milestones, config.method) == (6, [1, 2], "dsl")


@pytest.mark.parametrize("text", ["data: {name: duke}", "data: {name: [duke]}"])
def test_one_dataset_needs_no_list(write, text):
    assert load_config(write(text)).data.name == ["duke"]


def test_dataset_names_as_overrides(write):
    assert load_config(write(""), ["data.name=duke"]).data.name == ["duke"]
    assert load_config(write(""), ["data.name=[a, b]"]).data.name == ["a", "b"]


def test_branches_are_typed(write):
    text = "model: {branches: [{after: layer3, init: copy}, {after: layer2}]}"
    branches = load_config(write(text)).model.branches
    assert branches == [BranchConfig("layer3", "copy"), BranchConfig("layer2", "fresh")]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("trian: {epochs: 1}", "trian"),
        ("train: {epoch: 1}", "train.epoch"),
        ("model: {branches: [{aftr: layer2}]}", "aftr"),
        ("1: 2", "1"),
    ],
)
def test_an_unknown_key_in_a_file_is_named_with_the_file(write, text, named):
    path = write(text)
    with pytest.raises(InputError, match=f"unknown key '{named}'") as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_an_unknown_key_in_a_base_is_named_with_the_base(write):
    write("nope: 1", "parent.yaml")
    with pytest.raises(InputError, match=r"parent\.yaml: unknown key 'nope'"):
        load_config(write("base: parent.yaml"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=1", "override 'train.epoch=1': unknown key 'train.epoch'"),
        ("nope=1", "override 'nope=1': unknown key 'nope'"),
        ("train.epochs", "has no '='"),
        ("train.epochs=many", "train.epochs: Value 'many'"),
        ("train.epochs=1.5", "train.epochs: Value '1.5'"),
        ("train.milestones=5", "train.milestones"),
        ("model.size=[64, x]", "model.size"),
        ("train=5", "train=5"),
        ("train.milestones=[1", "is not valid YAML"),
        ("data.name=null", "data.name"),
    ],
)
def test_an_override_that_does_not_fit_is_quoted(write, override, message):
    with pytest.raises(InputError) as caught:
        load_config(write(""), [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        *("method=dmh", "task=detection", "train.optimizer=lion", "train.schedule=step"),
        *("train.precision=int8", "test.metric=manhattan"),
        *("train.epochs=0", "train.lr=0", "train.lr=nan", "train.lr=inf", "train.accumulate=0"),
        *("train.evaluate_every=0", "loss.temperature=0", "train.clip_norm=0"),
        *("seed=-1", "data.workers=-1", "data.pad=-1", "train.warmup_epochs=-1"),
        *("train.weight_decay=-0.1", "train.diagnose_every=-1", "loss.metric_weight=-1"),
        *("data.flip=1.1", "data.erasing=-0.1", "loss.smoothing=2", "loss.mimic_drop=1.5"),
        *("train.momentum=1.5", "train.warmup_factor=-1", "train.gamma=10"),
        *("train.ema=1.0", "train.ema=0", "data.name=[]"),
        *("model.size=[64]", "model.size=[64, 4]", "model.size=[1, 2, 3]"),
    ],
)
def test_a_value_out_of_its_range_is_refused_by_its_key(write, override):
    key = override.partition("=")[0]
    with pytest.raises(InputError, match=key):
        load_config(write(""), [override])


def test_dhm_without_mimicking_is_dsl_and_must_be_called_so(write):
    with pytest.raises(InputError, match=r"loss\.alpha above 0: use method: dsl"):
        load_config(write("method: dhm\nloss: {alpha: 0}"))
    assert load_config(write("method: dsl\nloss: {alpha: 0}")).loss.alpha == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method: [", "is not valid YAML"),
        ("- method\n- dhm", "holds no keys"),
        ("dhm", "holds no keys"),
        ("data: market1501", "market1501"),
        ("data: null", "data"),
        ("base: missing.yaml", r"missing\.yaml does not exist"),
        ("base: run.yaml", "its own base"),
        ("base: 5", "base is 5"),
        ("method: ${nowhere}", "nowhere"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(write, text, message):
    with pytest.raises(InputError, match=message) as caught:
        load_config(write(text))
    assert "\n" not in str(caught.value)


def test_a_ring_of_bases_is_refused(write):
    write("base: run.yaml", "parent.yaml")
    with pytest.raises(InputError, match="its own base"):
        load_config(write("base: parent.yaml"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(NotFoundError, match=r"nowhere\.yaml does not exist"):
        load_config(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("name", ["market1501_resnet50_dhm", "market1501_resnet50_dhm.yaml"])
def test_a_shipped_configuration_is_found_by_its_name_in_any_folder(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    config = load_config(name, ["seed=3"])
    assert (config.method, config.data.name, config.seed) == ("dhm", ["market1501"], 3)
    assert config.output == str(Path("runs") / "market1501_resnet50_dhm")


def test_a_file_comes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("market1501_resnet50_dhm").write_text("seed: 7")
    assert load_config("market1501_resnet50_dhm").seed == 7


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(NotFoundError, match=r"market1502 does not exist.*market1501_resnet50_dhm"):
        load_config("market1502")


def test_a_base_is_found_beside_its_file(tmp_path, monkeypatch, write):
    write("seed: 5", "parent.yaml")
    path = write("base: parent.yaml")
    monkeypatch.chdir("/")
    assert load_config(path).seed == 5


NESTED = "[" * 3000 + "]" * 3000
LAUGHS = "".join(
    f"    {chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(8)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: " + "1" * 5000, "5000 digits at line 1, column 7"),
        ("seed: 0x" + "f" * 5000, "over 300 digits"),
        ("train: {epochs: " + "9" * 400 + "}", "over 300 digits"),
        ("train: {epochs: " + "9" * 100 + "}", r"train.epochs is 9{40}: it must be less than"),
        ("seed: 18446744073709551616", "seed is 18446744073709551616: it must be less than"),
        ("seed: 2020-99-99", "month must be in 1..12 at line 1, column 7"),
        ("data: {options: {x: " + NESTED + "}}", "nested too deeply"),
        ("data: {options: {x: &x [*x]}}", "nested too deeply or too large"),
        ("data: &x {options: *x}", "nested too deeply or too large"),
        ("data:\n  options:\n    a: &a [1, 1, 1]\n" + LAUGHS, "too large"),
        ("train: {milestones: [[]]}", r"train\.milestones\[0\]"),
        ("loss: {head_weights: [{}]}", r"loss\.head_weights\[0\]"),
        ("data: {name: [[]]}", r"data\.name\[0\]"),
        ("model: {size: {}}", r"model\.size: a list is not a mapping"),
        ("model: {branches: {a: 1}}", r"model\.branches: a list is not a mapping"),
        ("data: {options: [1]}", r"data\.options: a list is not a mapping"),
        ("seed: {}", "seed"),
        ("train: {lr: [[]]}", r"train\.lr"),
        ("model: {size: [100000, 100000]}", r"model\.size is"),
        ("data: {pad: 100000}", r"data\.pad is 100000"),
        ("train: {num_identities: 1}", r"train\.num_identities is 1, which leaves triplet"),
        ("train: {num_instances: 1}", r"train\.num_instances is 1, which leaves triplet"),
        ("# " + "x" * 2**19, "is over 256 KiB"),
        ('base: "a\\0b"', "does not exist"),
    ],
)
def test_a_hostile_file_is_refused_in_one_line(write, text, message):
    path = write(text)
    with pytest.raises(InputError, match=message) as caught:
        load_config(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_identities_and_instances_may_be_single_without_a_metric_loss(write):
    text = "loss: {metric: none}\ntrain: {num_identities: 1, num_instances: 1}"
    assert load_config(write(text)).train.num_identities == 1


def test_a_run_folder_whose_name_is_not_utf_8_is_refused(tmp_path):
    path = tmp_path / "caf\udce9.yaml"
    path.write_text("")
    with pytest.raises(InputError, match=r"caf\\xe9 is not UTF-8"):
        load_config(path)


def test_a_chain_of_1200_bases_is_refused(write):
    for number in range(1200):
        write(f"base: {number + 1}.yaml", f"{number}.yaml")
    write("", "1200.yaml")
    with pytest.raises(InputError, match="has over 20 bases"):
        load_config(write("base: 0.yaml"))


def load_or_refuse(path: Path, overrides: list[str]) -> Config | None:
    """The configuration, or ``None`` where it is refused in one line."""
    message = ""
    try:
        return load_config(path, overrides)
    except ReidError as error:
        message = str(error)
    assert message
    assert "\n" not in message
    return None


KEYS = [
    f"{section}.{key}" if isinstance(keys, dict) else section
    for section, keys in asdict(Config()).items()
    for key in (keys if isinstance(keys, dict) else [""])
]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**80), 2**80),
    st.floats(),
    st.text(max_size=20),
    st.dates(),
    st.binary(max_size=4),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(key=st.sampled_from(KEYS), value=VALUES)
def test_any_value_under_any_key_is_taken_or_refused_in_one_line(key, value):
    section, _, name = key.partition(".")
    content = {section: {name: value} if name else value}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.yaml"
        path.write_text(yaml.safe_dump(content))
        for overrides in ([], [f"{key}={json.dumps(value, default=str)}"]):
            config = load_or_refuse(path, overrides)
            if config is not None:
                (Path(folder) / "stored.yaml").write_text(to_yaml(config), encoding="utf-8")
                assert repr(load_config(Path(folder) / "stored.yaml")) == repr(config)


@settings(max_examples=80, deadline=None)
@given(content=st.binary(max_size=200), override=st.text(max_size=60))
def test_any_bytes_are_a_configuration_or_refused_in_one_line(content, override):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.yaml"
        for written, overrides in ((content, []), (b"", [override])):
            path.write_bytes(written)
            load_or_refuse(path, overrides)


def test_bytes_other_than_utf_8_are_refused(tmp_path):
    (tmp_path / "run.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match=r"is not UTF-8 text \(byte 0\)"):
        load_config(tmp_path / "run.yaml")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_configuration_survives_a_round_trip(path, write):
    config = load_config(path)
    assert load_config(write(to_yaml(config))) == config


def test_a_resolved_configuration_keeps_what_was_overridden(write):
    overrides = ["train.ema=0.9", "model.branches=[{after: layer2}]", "loss.head_weights=[1, 2]"]
    config = load_config(write(""), overrides)
    assert load_config(write(to_yaml(config), "stored.yaml")) == config


@pytest.mark.parametrize("dataset", ["market1501", "dukemtmcreid"])
def test_the_three_resnet50_configurations_differ_in_method_alone(dataset):
    methods = {
        name: load_config(CONFIGS / f"{dataset}_resnet50_{name}.yaml")
        for name in ("baseline", "dsl", "dhm")
    }
    for name, config in methods.items():
        assert config.method == name
        assert config.data.name == [dataset]
        assert (config.model.backbone, config.model.size) == ("resnet50", [256, 128])
        assert set(differences(config, methods["dhm"])) <= {"method"}


@pytest.mark.parametrize(
    ("name", "base", "changed"),
    [
        ("dukemtmcreid_resnet50_dhm", "market1501_resnet50_dhm", {"data.name"}),
        ("market1501_osnet_dhm", "market1501_resnet50_dhm", {"model.backbone"}),
        ("market1501_mobilenetv2_dhm", "market1501_resnet50_dhm", {"model.backbone"}),
    ],
)
def test_a_configuration_differs_from_its_base_as_its_name_says(name, base, changed):
    first, second = load_config(CONFIGS / f"{name}.yaml"), load_config(CONFIGS / f"{base}.yaml")
    assert set(differences(first, second)) == changed


def test_the_cpu_configuration_is_small_and_short():
    config = load_config(CONFIGS / "market1501_mobilenetv2_cpu.yaml")
    full = load_config(CONFIGS / "market1501_mobilenetv2_dhm.yaml")
    assert (config.method, config.model.backbone) == ("dhm", "mobilenet_v2")
    assert config.model.size == [128, 64]
    assert 10 <= config.train.epochs < full.train.epochs / 4
    assert {key.partition(".")[0] for key in differences(config, full)} <= {
        *("model", "data", "train"),
    }
    assert config.loss == full.loss


def test_the_classification_configuration_has_neither_triplets_nor_people():
    config = load_config(CONFIGS / "classification.yaml")
    assert (config.task, config.method, config.model.last_stride) == ("classification", "dhm", 2)


def test_a_device_without_an_end_is_refused():
    with pytest.raises(InputError, match="/dev/zero is over"):
        read_mapping(Path("/dev/zero"))
