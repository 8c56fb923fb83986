from dataclasses import asdict
from pathlib import Path

import pytest

from reid_dhm.config import BranchConfig, Config, load_config, to_yaml
from reid_dhm.errors import InputError

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
        ("train.milestones=[1", "cannot be read"),
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
        ("method: [", "is no YAML"),
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
    with pytest.raises(InputError, match=r"nowhere\.yaml does not exist"):
        load_config(tmp_path / "nowhere.yaml")


def test_bytes_that_are_no_text_are_no_yaml(tmp_path):
    (tmp_path / "run.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="is no YAML"):
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
