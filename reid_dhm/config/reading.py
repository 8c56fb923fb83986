"""Reading configurations: found by name or path, merged with their bases and overrides."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from reid_dhm.config.checks import check
from reid_dhm.config.schema import Config
from reid_dhm.data.listing import check_name
from reid_dhm.errors import InputError, NotFoundError

# Far above any configuration; a file beyond them would take minutes or all memory.
MAX_BYTES = 2**18
MAX_VALUES = 10_000
MAX_DEPTH = 20
MAX_BASES = 20


def load_config(config: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration, the ``base:`` files it names, and ``key=value`` overrides.

    Args:
        config: the path of a YAML file, or the name of a configuration of the package
            (:func:`find_config`).
        overrides: applied in order, each ``key=value`` with a YAML value.

    Raises:
        NotFoundError: no such file or name.
        InputError: a malformed file, an unknown key, a value of the wrong type or out of range.
    """
    path = find_config(config)
    merged = OmegaConf.structured(Config)
    for source, content in [*_read_with_bases(path), *map(_parse_override, overrides)]:
        try:
            content = _as_meant(content)
            merged = OmegaConf.merge(merged, content)
        except OmegaConfBaseException as error:
            raise InputError(_explain(source, error)) from error
        except TypeError as error:  # a mapping where a list belongs, or the reverse
            keys = ", ".join(_containers_unlike(merged, content))
            raise InputError(
                f"{source}: {keys}: a list is not a mapping: write [a, b] for a list and "
                "{key: value} for a mapping"
            ) from error
    try:
        result = OmegaConf.to_object(merged)
        OmegaConf.structured(result)  # checks the types inside lists
    except OmegaConfBaseException as error:  # an interpolation that leads nowhere, a list in a list
        raise InputError(_explain(str(path), error)) from error
    assert isinstance(result, Config)
    result.output = result.output or str(Path("runs") / path.stem)
    check_name(result.output)
    check(result, str(path))
    return result


def find_config(config: str | Path) -> Path:
    """The file of a configuration: a path, or the name of one that the package ships.

    Raises:
        NotFoundError: neither a file nor a known name.
    """
    path = Path(config)
    if _is_file(path):
        return path
    shipped = Path(str(resources.files("reid_dhm"))) / "configs"
    if not shipped.is_dir():  # a clone, or an editable installation of one
        shipped = shipped.parent.parent / "configs"
    known = {file.stem: file for file in sorted(shipped.glob("*.yaml"))}
    if str(path).removesuffix(".yaml") in known:
        return known[str(path).removesuffix(".yaml")]
    raise NotFoundError(
        f"configuration {str(config)[:200]} does not exist: pass the path of a YAML file or one of "
        f"{', '.join(known)}"
    )


def to_yaml(config: Config) -> str:
    """The resolved configuration, in the form :func:`load_config` reads."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or with a NUL
        return False


def _read_with_bases(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """The contents of the file and of its chain of bases, the deepest base first."""
    chain: list[tuple[str, dict[str, Any]]] = []
    seen: set[Path] = set()
    while True:
        if path.resolve() in seen:
            raise InputError(f"configuration {path} is its own base: remove base: from one of them")
        if len(chain) > MAX_BASES:
            raise InputError(f"configuration {chain[0][0]} has over {MAX_BASES} bases: merge some")
        seen.add(path.resolve())
        content = read_mapping(path)
        base = content.pop("base", "")
        chain.append((str(path), content))
        if not isinstance(base, str):
            raise InputError(f"configuration {path}: base is {str(base)[:80]}: name one YAML file")
        if not base:
            return chain[::-1]
        if not _is_file(path.parent / base):
            raise NotFoundError(
                f"configuration {path}: its base {path.parent / base} does not exist: name a file "
                "relative to this one"
            )
        path = path.parent / base


def read_mapping(path: Path) -> dict[str, Any]:
    """The keys of a YAML file; raises :class:`InputError` where it holds anything else."""
    try:
        with path.open("rb") as file:  # a device has no size, and may have no end
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise InputError(f"configuration {path} is over {MAX_BYTES >> 10} KiB: is it the file?")
        text = content.decode("utf-8")
    except OSError as error:
        raise InputError(f"configuration {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"configuration {path} is not UTF-8 text (byte {error.start}): save it as UTF-8"
        ) from error
    keys = _parse(text, f"configuration {path}")
    if keys is None:
        return {}
    if not isinstance(keys, dict):
        raise InputError(f"configuration {path} holds no keys: write lines like 'method: dhm'")
    return {str(key): value for key, value in keys.items()}


class _Loader(yaml.SafeLoader):
    """Names the place of a value that YAML resolves to a type that cannot hold it."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            reason = str(error).split(";")[0]
            raise yaml.constructor.ConstructorError(None, None, reason, node.start_mark) from error


def _parse(text: str, source: str) -> Any:
    """A YAML document, bounded in depth and size."""
    try:
        content = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise InputError(f"{source} is not valid YAML: {_one_line(error)}") from error
    except RecursionError as error:
        raise InputError(f"{source} is nested too deeply: at most {MAX_DEPTH} levels") from error
    pending, count = [(content, 0)], 0
    while pending:
        value, depth = pending.pop()
        count += 1
        if depth > MAX_DEPTH or count > MAX_VALUES:
            raise InputError(
                f"{source} is nested too deeply or too large: at most {MAX_DEPTH} levels and "
                f"{MAX_VALUES} values, those repeated by anchors included"
            )
        if isinstance(value, int) and value.bit_length() > 1024:
            raise InputError(f"{source} holds a number of over 300 digits: write a smaller one")
        inside = value.values() if isinstance(value, dict) else value
        if isinstance(value, (dict, list, tuple, set)):
            pending += [(item, depth + 1) for item in inside]
    return content


def _parse_override(text: str) -> tuple[str, dict[str, Any]]:
    source = f"override {text[:80]!r}"
    key, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"{source} has no '=': write it as key=value")
    if key.count(".") > MAX_DEPTH:
        raise InputError(f"{source} names no key of the configuration")
    _parse(value, source)
    try:
        content = OmegaConf.to_container(OmegaConf.from_dotlist([text]))
    except (OmegaConfBaseException, yaml.YAMLError, ValueError, TypeError) as error:
        raise InputError(f"{source} cannot be read: {_one_line(error)}") from error
    assert isinstance(content, dict)
    return source, {str(name): inside for name, inside in content.items()}


def _as_meant(content: dict[str, Any]) -> dict[str, Any]:
    """``data.name: market1501`` is a list of one; ``train.precision: no`` is a word, no boolean."""
    data, train = content.get("data"), content.get("train")
    if isinstance(data, dict) and isinstance(data.get("name"), str):
        content = {**content, "data": {**data, "name": [data["name"]]}}
    if isinstance(train, dict) and train.get("precision") is False:
        content = {**content, "train": {**train, "precision": "no"}}
    return content


def _containers_unlike(merged: Any, content: dict[str, Any], prefix: str = "") -> list[str]:
    """Keys whose value is a mapping where a list belongs, or a list where a mapping does."""
    found = []
    for key, value in content.items():
        own = merged.get(key) if key in merged else None
        if OmegaConf.is_dict(own) and isinstance(value, dict):
            found += _containers_unlike(own, value, f"{prefix}{key}.")
        elif isinstance(value, dict) or (isinstance(value, list) and OmegaConf.is_dict(own)):
            found.append(f"{prefix}{key}")
    return found


def _explain(source: str, error: OmegaConfBaseException) -> str:
    key = getattr(error, "full_key", None) or "?"
    message = _one_line(error)
    if "not in" in message and "Key" in message:
        return f"{source}: unknown key {key!r}: see the configuration reference for the known ones"
    return f"{source}: {key}: {message}"


def _one_line(error: Exception) -> str:
    text = str(error).replace('in "<unicode string>", ', "at ")
    return " ".join(text.split("full_key:")[0].split())[:300]
