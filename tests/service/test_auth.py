import pytest

from reid_dhm.errors import InputError
from reid_dhm.service.auth import (
    AllowedHosts,
    Role,
    Sessions,
    Tokens,
    is_loopback,
    is_same_origin,
    read_tokens,
)

ANNA, BERT = "annas-very-own-token", "berts-very-own-token"


def test_a_token_names_its_owner_and_nothing_else_does():
    tokens = Tokens({"anna": ANNA, "bert": BERT})
    assert tokens.owner(ANNA.encode()) == "anna"
    assert tokens.owner(BERT.encode()) == "bert"
    for forged in (b"", b"anna", ANNA[:-1].encode(), ANNA.encode() + b"x", b"\xff\xfe"):
        assert tokens.owner(forged) is None


def test_tokens_are_not_kept_in_clear():
    assert ANNA not in repr(vars(Tokens({"anna": ANNA})))


def test_short_tokens_are_refused():
    with pytest.raises(InputError, match="'anna' has 5 characters"):
        Tokens({"anna": "12345"})


def test_the_shortest_token_has_sixteen_characters():
    assert Tokens({"anna": "x" * 16}).owner(b"x" * 16) == "anna"
    with pytest.raises(InputError, match="'anna' has 15 characters: need at least 16"):
        Tokens({"anna": "x" * 15})


def test_the_owner_is_found_wherever_the_token_stands():
    tokens = Tokens({name: f"the-very-own-token-of-{name}" for name in ("anna", "bert", "cleo")})
    for name in ("anna", "bert", "cleo"):
        assert tokens.owner(f"the-very-own-token-of-{name}".encode()) == name


def test_every_digest_is_compared_in_constant_time(monkeypatch):
    compared = []

    def compare(left: bytes, right: bytes) -> bool:
        compared.append(len(left))
        return left == right

    monkeypatch.setattr("reid_dhm.service.auth.hmac.compare_digest", compare)
    assert Tokens({"anna": ANNA, "bert": BERT}).owner(ANNA.encode()) == "anna"
    assert compared == [32, 32]


def test_the_environment_s_token_may_have_spaces_around_it():
    assert read_tokens(None, {"REID_DHM_TOKEN": f" {ANNA}\n"}).owner(ANNA.encode()) == "token"
    assert not read_tokens(None, {"REID_DHM_TOKEN": "  "})


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_token_file_that_anybody_else_can_read_is_warned_of(tmp_path, caplog, mode):
    file = tmp_path / "tokens"
    file.write_text(ANNA)
    file.chmod(mode)
    read_tokens(file, {})
    assert "chmod 600" in caplog.text


def test_a_session_has_a_secret_of_its_own_that_cannot_be_guessed():
    sessions = Sessions()
    secrets = {sessions.begin("anna") for _ in range(50)}
    assert len(secrets) == 50
    assert all(len(secret) >= 43 for secret in secrets)  # 32 random bytes
    assert all(secret not in repr(vars(sessions)) for secret in secrets)


def test_a_session_lasts_twelve_hours(monkeypatch):
    now = 1000.0
    monkeypatch.setattr("reid_dhm.service.auth.time.monotonic", lambda: now)
    sessions = Sessions()
    secret = sessions.begin("anna").encode()
    now += 12 * 3600 - 1
    assert sessions.owner(secret) == "anna"
    now += 1
    assert sessions.owner(secret) is None
    now -= 3600  # it was forgotten, not only refused
    assert sessions.owner(secret) is None


def test_exactly_a_thousand_sessions_are_kept():
    sessions = Sessions()
    opened = [sessions.begin("anna").encode() for _ in range(1001)]
    assert [sessions.owner(secret) for secret in opened] == [None, *["anna"] * 1000]


def test_token_files_name_owners(tmp_path):
    file = tmp_path / "tokens"
    file.write_text(f"# of the night shift\n\nanna {ANNA}\n{BERT}\n")
    tokens = read_tokens(file, {})
    assert tokens.owner(ANNA.encode()) == "anna"
    assert tokens.owner(BERT.encode()) == "token"


def test_a_token_may_stand_in_the_environment():
    assert read_tokens(None, {"REID_DHM_TOKEN": ANNA}).owner(ANNA.encode()) == "token"
    assert not read_tokens(None, {})


def test_the_file_goes_before_the_environment(tmp_path):
    file = tmp_path / "tokens"
    file.write_text(ANNA)
    assert read_tokens(file, {"REID_DHM_TOKEN": BERT}).owner(BERT.encode()) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no token"),
        ("# nobody\n", "holds no token"),
        (f"anna of the {ANNA}\n", "line 1: expected a token, or a name and a token"),
        (f"anna {ANNA}\nanna {BERT}\n", "line 2: 'anna' already has a token"),
        ("anna short\n", "'anna' has 5 characters"),
        (f"viewer {ANNA}\n", "line 1: expected a token"),  # not an administrator called viewer
    ],
)
def test_token_files_that_cannot_serve_are_refused(tmp_path, content, message):
    file = tmp_path / "tokens"
    file.write_text(content)
    with pytest.raises(InputError, match=message):
        read_tokens(file, {})


def test_a_missing_token_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read as a token file"):
        read_tokens(tmp_path / "gone", {})


def test_others_who_can_read_the_token_file_are_warned_of(tmp_path, caplog):
    file = tmp_path / "tokens"
    file.write_text(ANNA)
    file.chmod(0o600)
    read_tokens(file, {})
    assert not caplog.records
    file.chmod(0o644)
    read_tokens(file, {})
    assert "can be read by others" in caplog.text


def test_a_session_lasts_until_it_ends():
    sessions = Sessions()
    secret = sessions.begin("anna")
    assert sessions.owner(secret.encode()) == "anna"
    assert sessions.owner(b"") is None
    sessions.end(secret.encode())
    assert sessions.owner(secret.encode()) is None


def test_a_session_is_over_after_its_time():
    sessions = Sessions(seconds=0)
    assert sessions.owner(sessions.begin("anna").encode()) is None


def test_sessions_are_bounded_and_the_oldest_goes():
    sessions = Sessions()
    first = sessions.begin("anna")
    for _ in range(1000):
        last = sessions.begin("bert")
    assert sessions.owner(first.encode()) is None
    assert sessions.owner(last.encode()) == "bert"


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "LOCALHOST", "127.0.0.1:1", "[::1]:8000", "localhost."]
)
def test_a_local_service_answers_to_local_names(host):
    assert host in AllowedHosts("127.0.0.1")


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.2",
        "192.0.2.1",
        "localhost:8000:9000",
        "user@localhost",
        "localhost/",
        "[::1",
        "local host",
    ],
)
def test_a_local_service_answers_to_no_other_name(host):
    assert host not in AllowedHosts("127.0.0.1")


def test_a_service_for_others_answers_to_addresses_and_known_names():
    names = AllowedHosts("0.0.0.0", ["gallery.example"])
    assert "192.0.2.1:8000" in names
    assert "[2001:db8::1]" in names
    assert "Gallery.example" in names
    assert "evil.example" not in names


def test_origins_are_the_same_by_host_and_port():
    assert is_same_origin("http://localhost:8000", "localhost:8000")
    assert is_same_origin("https://gallery.example", "gallery.example")
    for origin in ("null", "http://localhost:9000", "http://evil.example", "file://", "http://["):
        assert not is_same_origin(origin, "localhost:8000")


def test_loopback_addresses():
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.8.9.1", "::1", "localhost"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.0.2.1", "gallery.example"))


def test_token_files_name_roles_and_who_has_none_is_an_administrator(tmp_path):
    file = tmp_path / "tokens"
    file.write_text(f"anna viewer {ANNA}\nbert {BERT}\n")
    file.chmod(0o600)
    tokens = read_tokens(file, {})
    assert tokens.owner(ANNA.encode()) == "anna"
    assert (tokens.role("anna"), tokens.role("bert")) == (Role.VIEWER, Role.ADMINISTRATOR)
    file.write_text(f"anna owner {ANNA}\n")
    with pytest.raises(InputError, match=r"role \(viewer, investigator, administrator\)"):
        read_tokens(file, {})
