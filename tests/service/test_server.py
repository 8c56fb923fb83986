import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from reid_dhm.cli import main
from reid_dhm.errors import InputError
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.service.auth import Tokens, check_address
from reid_dhm.service.middleware.limits import Limits
from reid_dhm.service.server import Certificate, listen
from reid_dhm.service.state import Service

TOKENS = Tokens({"anna": "annas-very-own-token"})
ROOT = Path(__file__).parents[2]


def test_the_loopback_address_needs_no_token():
    for host in ("127.0.0.1", "::1", "localhost"):
        check_address(host, Tokens({}))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gallery.example", ""])
def test_every_other_address_does(host):
    with pytest.raises(InputError, match="so a token is required: give --token-file FILE"):
        check_address(host, Tokens({}))
    check_address(host, TOKENS)


@pytest.mark.parametrize("host", ["a" * 300, "ex..ample", "\udcff", "a b"])
def test_a_text_that_is_no_address_is_refused_in_a_sentence(host):
    with pytest.raises(InputError, match="is not an address of this machine"):
        listen(host, 0)


def test_a_name_for_others_needs_a_token():
    with pytest.raises(
        InputError, match=r"gallery\.example is reachable from other machines, so a token"
    ):
        check_address("127.0.0.1", Tokens({}), ["gallery.example"])
    check_address("127.0.0.1", TOKENS, ["gallery.example"])
    check_address("127.0.0.1", Tokens({}), ["localhost"])


def test_a_proxy_before_a_local_service_needs_a_token(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("REID_DHM_TOKEN", raising=False)
    code, err = run(capsys, "--gallery", tmp_path, "--allow-host", "gallery.example")
    assert code == 1
    assert "gallery.example is reachable from other machines" in err


def test_a_free_port_is_taken():
    with listen("127.0.0.1", 0) as bound:
        host, port = bound.getsockname()
        assert host == "127.0.0.1"
        assert port > 0
        with pytest.raises(InputError, match=f"cannot listen on 127.0.0.1 port {port}"):
            listen("127.0.0.1", port)


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(InputError, match=r"cannot listen on 192\.0\.2\.1 port 0"):
        listen("192.0.2.1", 0)
    with pytest.raises(InputError, match="is not an address of this machine"):
        listen("no.such.host.invalid", 0)


def run(capsys, *arguments: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        main(["serve", *map(str, arguments)])
    return caught.value.code, capsys.readouterr().err


def test_serving_others_without_a_token_is_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("REID_DHM_TOKEN", raising=False)
    code, err = run(capsys, "--gallery", tmp_path, "--host", "0.0.0.0")
    assert code == 1
    assert err.startswith("error: 0.0.0.0 is reachable from other machines, so a token is required")
    assert err.count("\n") == 1


def test_serving_no_gallery_is_refused(capsys, tmp_path):
    code, err = run(capsys, "--gallery", tmp_path / "gone")
    assert code == 1
    assert "holds no gallery" in err


def test_serving_another_models_gallery_is_refused(capsys, site):
    code, err = run(capsys, "--gallery", site.folder)
    assert code == 1
    assert "holds embeddings of another model (of a test" in err


def test_an_unknown_detector_is_refused_before_the_model_is_looked_for(capsys, tmp_path):
    code, err = run(capsys, "--gallery", tmp_path / "gone", "--detector", "hog")
    assert code == 1
    assert err.startswith("error: unknown detector 'hog'")


def test_a_key_needs_its_certificate(capsys, site):
    assert run(capsys, "--gallery", site.folder, "--key", "key.pem")[0] == 2


def test_an_unknown_kind_of_index_is_refused(site, embedder):
    with pytest.raises(InputError, match="Nonsense"):
        Service.open(site.folder, embedder, TOKENS, index="Nonsense")


def test_what_is_no_certificate_is_refused(capsys, site, tmp_path):
    (tmp_path / "notes.pem").write_text("hello")
    for name, reason in {"gone.pem": "No such file", "notes.pem": "PEM"}.items():
        code, err = run(capsys, "--gallery", site.folder, "--certificate", tmp_path / name)
        assert code == 1
        assert f"{name} is not a usable certificate ({reason}" in err.replace("[SSL] ", "")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_https(serve, tmp_path):
    files = {"-keyout": tmp_path / "key.pem", "-out": tmp_path / "site.pem"}
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    options += ["-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", *options, *(str(part) for pair in files.items() for part in pair)]
    subprocess.run(command, check=True, capture_output=True)
    certificate = Certificate(files["-out"], files["-keyout"])
    address = serve(certificate=certificate, limits=Limits(header_seconds=1))
    trusting = ssl.create_default_context(cafile=files["-out"])
    https = address.replace("http:", "https:")
    with urlopen(f"{https}/health", timeout=30, context=trusting) as response:
        assert response.read() == b'{"status":"ok"}'
    port = int(address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as silent:
        begin = time.monotonic()
        with contextlib.suppress(ConnectionError):
            assert silent.recv(1) == b""  # a handshake that never begins is given up
        assert time.monotonic() - begin < 10


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the key")
def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked(tmp_path):
    key, pem = tmp_path / "key.pem", tmp_path / "site.pem"
    options = ["-x509", "-newkey", "rsa:2048", "-passout", "pass:secret", "-subj", "/CN=x"]
    command = ["openssl", "req", *options, "-keyout", str(key), "-out", str(pem)]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(InputError, match="is not a usable certificate"):
        Certificate(pem, key)


def test_help_shows_an_example_without_loading_what_is_heavy():
    code = (
        "import sys\nfrom reid_dhm.cli import main\n"
        "try:\n    main(['serve', '--help'])\n"
        "finally:\n    print({'torch', 'cv2', 'fastapi'} & set(sys.modules) or 'light')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "Example: reid-dhm serve --gallery" in done.stdout
    assert done.stdout.endswith("light\n")


def test_the_tool_serves_until_it_is_told_to_stop(tmp_path):
    with GalleryStore(tmp_path / "new", create=True):
        pass
    tokens = tmp_path / "tokens"
    tokens.write_text("anna annas-very-own-token\n")
    tokens.chmod(0o600)
    command = [sys.executable, ROOT / "tools" / "serve.py", "--gallery", tmp_path / "new"]
    process = subprocess.Popen(
        [*command, "--port", "0", "--token-file", tokens],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        line = process.stdout.readline()
        assert "(Ctrl+C stops it)" in line
        address = line.split(" ")[1]
        assert address.startswith("http://127.0.0.1:")
        request = Request(
            f"{address}/api/gallery", headers={"Authorization": "Bearer annas-very-own-token"}
        )
        with urlopen(request, timeout=30) as response:
            assert b'"tracklets":0' in response.read()
        process.send_signal(signal.SIGTERM)
        ends = time.monotonic() + 60
        while process.poll() is None:
            assert time.monotonic() < ends
            time.sleep(0.05)
        assert process.returncode == -signal.SIGTERM
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
