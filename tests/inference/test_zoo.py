"""Models by name, fetched from a server of this machine."""

import errno
import hashlib
import re
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from reid_dhm.errors import (
    InputError,
    NotFoundError,
    StorageError,
    StorageFullError,
    UnsupportedError,
)
from reid_dhm.inference.zoo import registry
from reid_dhm.inference.zoo.download import DownloadError, fetch
from reid_dhm.inference.zoo.entries import DETECTION, EMBEDDING, MODELS, RemoteFile

CONTENT = bytes(range(256)) * 400
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT with ranges; under /cut the first answer breaks off half-way."""

    def do_GET(self):
        self.server.ranges.append(self.headers.get("Range"))
        if self.path.startswith("/page"):
            return self.answer(200, b"<!DOCTYPE html><html>Sign in to the proxy</html>")
        if self.path.startswith("/whole"):  # knows no ranges
            return self.answer(200, CONTENT)
        if self.path.startswith("/slow"):
            time.sleep(0.5)
        if self.path.startswith("/missing"):
            return self.answer(404, b"no")
        first = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        if first >= len(CONTENT):
            return self.answer(416, b"")
        status = 206 if self.headers.get("Range") else 200
        cut = self.path.startswith("/cut") and len(self.server.ranges) == 1
        return self.answer(status, CONTENT[first:], len(CONTENT) // 2 if cut else None, first)

    def answer(self, status, body, sent=None, first=0):
        self.send_response(status)
        if status == 206:
            total = len(CONTENT)
            self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:sent])
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.ranges = []
        server.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("REID_DHM_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models"


def remote(server, place="file", sha256=SHA256, size=102_400) -> RemoteFile:
    return RemoteFile(f"{server.address}/{place}/model.onnx", sha256, size)


def test_a_file_is_fetched_once(server, tmp_path):
    for _ in range(2):
        path = fetch(remote(server), tmp_path / "new")
        assert path == tmp_path / "new" / "model.onnx"
        assert path.read_bytes() == CONTENT
    assert len(server.ranges) == 1


def test_a_connection_that_breaks_is_tried_again(server, tmp_path):
    assert fetch(remote(server, "cut"), tmp_path).read_bytes() == CONTENT
    assert len(server.ranges) == 2


def test_a_killed_download_continues_where_it_was(server, tmp_path):
    (tmp_path / "model.onnx.partial").write_bytes(CONTENT[:1000])
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]


def test_a_server_without_ranges_and_a_wrong_beginning_are_fetched_anew(server, tmp_path):
    (tmp_path / "model.onnx.partial").write_bytes(CONTENT[:1000])
    assert fetch(remote(server, "whole"), tmp_path).read_bytes() == CONTENT
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "model.onnx.partial").write_bytes(b"of another file")
    assert fetch(remote(server), tmp_path / "new").read_bytes() == CONTENT


def test_two_processes_that_want_one_file_fetch_it_once(server, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: fetch(remote(server, "slow"), tmp_path), range(4)))
    assert {path.read_bytes() for path in found} == {CONTENT}
    assert len(server.ranges) == 1
    assert not (tmp_path / "model.onnx.partial").exists()


def test_a_finished_download_that_was_not_renamed_is_taken(server, tmp_path):
    (tmp_path / "model.onnx.partial").write_bytes(CONTENT)
    assert fetch(remote(server, size=None), tmp_path).read_bytes() == CONTENT
    assert server.ranges == []


@pytest.mark.parametrize("more", [b"", b"x"], ids=["whole", "too long"])
def test_a_server_with_nothing_more_is_asked_from_the_beginning(server, tmp_path, more):
    (tmp_path / "model.onnx.partial").write_bytes(CONTENT + more)
    file = RemoteFile(f"{server.address}/file/model.onnx", pinned_on_first_use=True)
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT + more)}-", None]


def test_a_file_that_is_there_is_compared_with_its_checksum(server, tmp_path):
    target = tmp_path / "model.onnx"
    target.write_bytes(b"of another model")
    with pytest.raises(InputError, match=r"is not the published file .*: remove it") as caught:
        fetch(remote(server), tmp_path)
    assert str(target) in str(caught.value)
    file = RemoteFile(f"{server.address}/file/model.onnx", pinned_on_first_use=True)
    assert fetch(file, tmp_path) == target  # nobody knows better
    (tmp_path / "model.onnx.sha256").write_text(f"{SHA256}  model.onnx\n")
    with pytest.raises(InputError, match="is not the published file"):
        fetch(file, tmp_path)
    assert server.ranges == []


@pytest.mark.parametrize(
    ("place", "sha256", "size", "message"),
    [
        ("file", "0" * 64, len(CONTENT), "SHA-256 is .*, not 000000000000"),
        ("page", SHA256, None, "web page, perhaps a proxy's"),
        ("page", SHA256, len(CONTENT), "web page, perhaps a proxy's"),
        ("missing", SHA256, None, "cannot be fetched .*404"),
    ],
)
def test_what_is_not_the_file_is_refused(server, tmp_path, place, sha256, size, message):
    with pytest.raises(DownloadError, match=message) as caught:
        fetch(remote(server, place, sha256, size), tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model.onnx").exists()
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT


def test_a_file_without_a_published_checksum_is_pinned_by_the_first_fetch(server, tmp_path):
    address = f"{server.address}/file/model.onnx"
    file = RemoteFile(address, pinned_on_first_use=True)
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert (tmp_path / "model.onnx.sha256").read_text() == f"{SHA256}  model.onnx\n"
    (tmp_path / "model.onnx").unlink()
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    (tmp_path / "model.onnx").unlink()
    (tmp_path / "model.onnx.sha256").write_text(f"{'0' * 64}  model.onnx\n")
    with pytest.raises(DownloadError, match="not 000000000000"):
        fetch(file, tmp_path)
    page = RemoteFile(f"{server.address}/page/model.onnx", pinned_on_first_use=True)
    with pytest.raises(DownloadError, match="web page"):
        fetch(page, tmp_path / "page")
    assert not (tmp_path / "page" / "model.onnx").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told_as_such(server, tmp_path):
    (tmp_path / "model.onnx.partial").symlink_to("/dev/full")
    with pytest.raises(StorageFullError, match=r"No space left on device.*free some space"):
        fetch(remote(server), tmp_path)
    assert not (tmp_path / "model.onnx").exists()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be written"):
        fetch(remote(server), tmp_path / "file")


def test_no_network_is_one_line(server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match="check the network or proxy") as caught:
        fetch(remote(server), tmp_path)
    assert "\n" not in str(caught.value)


def test_offline_mode_is_respected(server, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UnsupportedError, match="offline mode is on"):
        fetch(remote(server), tmp_path)
    assert server.ranges == []
    (tmp_path / "model.onnx").write_bytes(CONTENT)  # brought by hand
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT


def test_terms_are_shown_once_and_nothing_is_fetched_without_them(home):
    name, asked, got = "yolox-nano", [], []

    def get(file, folder):
        got.append(file.name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file.name).write_bytes(b"x")
        return folder / file.name

    with pytest.raises(InputError, match="terms of yolox-nano were not accepted"):
        registry.pull(name, lambda model: False, get)
    assert got == []
    for _ in range(2):
        path = registry.pull(name, lambda model: bool(asked.append(model.licence)) or True, get)
    assert (asked, path) == (["Apache-2.0"], home / name / "yolox_nano.onnx")
    (home / name / "accepted.json").write_text('{"licence": "MIT"}')  # of an earlier release
    registry.pull(name, lambda model: bool(asked.append(model.licence)) or True, get)
    assert len(asked) == 2
    found = registry.find(name, DETECTION)
    assert found is not None
    assert found.path == path
    with pytest.raises(InputError, match="yolox-nano is a detector, not an embedder"):
        registry.find(name, EMBEDDING)


def test_names_that_are_not_here(home):
    assert registry.find("nobody", EMBEDDING) is None
    with pytest.raises(NotFoundError, match="run `reid-dhm models pull osnet_x0_25_msmt17`"):
        registry.find("osnet_x0_25_msmt17", EMBEDDING)
    with pytest.raises(NotFoundError, match="no published model is called 'nobody'"):
        registry.pull("nobody", lambda model: True)


def test_a_file_of_ones_own_is_found_by_name(home, tmp_path):
    for suffix in (".xml", ".bin", ".json"):
        (tmp_path / f"mine{suffix}").write_bytes(suffix.encode())
    registry.add("mine-v2", tmp_path / "mine.xml", input="openvino")
    found = registry.find("mine-v2", EMBEDDING)
    assert found is not None
    assert (found.path, found.input) == (home / "mine-v2" / "mine.xml", "openvino")
    assert found.path.with_suffix(".bin").read_bytes() == b".bin"
    assert found.path.with_suffix(".json").read_bytes() == b".json"
    assert registry.added() == [found]
    (tmp_path / "card.json").write_text('{"channels": "bgr"}')
    registry.add("carded", tmp_path / "mine.xml", input=str(tmp_path / "card.json"))
    assert (home / "carded" / "mine.json").read_text() == '{"channels": "bgr"}'
    with pytest.raises(InputError, match="input is 'bgr': use openvino"):
        registry.add("worse", tmp_path / "mine.xml", input="bgr")


def test_a_model_called_model_keeps_its_card_until_its_name_is_given_again(home, tmp_path):
    for name in ("model", "other"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"x")
    (tmp_path / "model.json").write_text('{"channels": "bgr"}')
    registry.add("mine", tmp_path / "model.safetensors")
    assert (home / "mine" / "model.json").read_text() == '{"channels": "bgr"}'
    assert registry.find("mine", EMBEDDING).path == home / "mine" / "model.safetensors"
    registry.add("mine", tmp_path / "other.safetensors")
    assert sorted(path.name for path in (home / "mine").iterdir()) == [
        ".entry.json",
        "other.safetensors",
    ]


def test_a_source_that_cannot_be_read_is_named(home, tmp_path, monkeypatch):
    source = tmp_path / "mine.pth"
    source.write_bytes(b"x")

    def forbidden(source, target):
        raise PermissionError(errno.EACCES, "Permission denied", str(source))

    monkeypatch.setattr(shutil, "copyfile", forbidden)
    with pytest.raises(
        InputError, match=r"mine\.pth cannot be read \(Permission denied\)"
    ) as caught:
        registry.add("mine", source)
    assert str(caught.value).startswith(str(source))
    assert not list((home / "mine").iterdir())


@pytest.mark.parametrize("name", ["", "../mine", "a/b", "-x", "x" * 65, "yolox-s", "a\n"])
def test_names_that_cannot_be_given(home, tmp_path, name):
    (tmp_path / "mine.onnx").write_bytes(b"x")
    with pytest.raises(InputError, match=r"cannot name a model|is a published model's name"):
        registry.add(name, tmp_path / "mine.onnx")


def test_a_damaged_entry_is_told(home):
    (home / "mine").mkdir(parents=True)
    for text in ("", "[]", '{"size": 3}', '{"size": null, "path": 5}'):
        (home / "mine" / ".entry.json").write_text(text)
        with pytest.raises(InputError, match=r"\.entry\.json is damaged"):
            registry.find("mine", EMBEDDING)


def test_every_published_model_says_what_it_is():
    assert len({model.name for model in MODELS}) == len(MODELS)
    for model in MODELS:
        assert model.licence
        assert model.training_data
        assert (model.backbone is None) == (model.neck is None)
        for file in model.files:
            assert file.url.startswith("https://")
            assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
            hub = file.url.startswith("https://huggingface.co/")
            assert bool(file.sha256 or hub) != file.pinned_on_first_use, file.url


def test_an_onnx_file_brings_its_external_weights(home, tmp_path):
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = onnx.numpy_helper.from_array(np.ones((300, 4), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", kind, (1, 300))],
        [helper.make_tensor_value_info("y", kind, (1, 4))],
        [weights],
    )
    model = helper.make_model(graph)
    onnx.save(model, tmp_path / "a.onnx", save_as_external_data=True, location="a.data")
    registry.add("mine", tmp_path / "a.onnx")
    assert (home / "mine" / "a.data").read_bytes() == (tmp_path / "a.data").read_bytes()


def test_speeds_are_kept_for_models_that_are_here(home):
    registry.record_speed("yolox-nano", 80.0)
    registry.record_speed("../out", 80.0)
    assert registry.speed("yolox-nano") is None
    (home / "yolox-nano").mkdir(parents=True)
    registry.record_speed("yolox-nano", 80.0)
    assert registry.speed("yolox-nano") == 80
    (home / "yolox-nano" / ".speed.json").write_text("[")
    assert registry.speed("yolox-nano") is None
