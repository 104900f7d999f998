"""The programs of examples/oidc, without an issuer; tests/api/test_api_oidc.py runs them with one."""

import base64
import importlib.util
import json
import shlex
import sys
import threading
import urllib.error
import urllib.request

import pytest
from traitlets.config import PyFileConfigLoader

from ci.paths import ROOT

EXAMPLE = ROOT / "examples/oidc"
NOW = 1_800_000_000.0


def jwt(expires_at):
    claims = base64.urlsafe_b64encode(json.dumps({"exp": expires_at}).encode()).rstrip(b"=")
    return f"e30.{claims.decode()}.c2ln"


class Clock:
    now = NOW

    def time(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("time.time", clock.time)
    return clock


@pytest.fixture
def renewer(monkeypatch, tmp_path, clock):
    """Return a renewer whose command prints the file `output`, and fails without it."""
    printed = tmp_path / "output"
    monkeypatch.setenv("GATEWAY_TOKEN_COMMAND", shlex.join(["cat", str(printed)]))
    config = PyFileConfigLoader("jupyter_server_config.py", path=str(EXAMPLE)).load_config()
    made = config.GatewayClient.gateway_token_renewer_class(config=config)
    made.output = printed
    return made


def token(renewer):
    return renewer.get_token("Authorization", "Bearer", "")


def test_a_token_is_kept_until_shortly_before_it_expires(renewer, clock):
    renewer.output.write_text(first := jwt(NOW + 600))
    assert token(renewer) == first
    renewer.output.write_text(second := jwt(NOW + 1200))
    clock.now += 600 - renewer.margin - 1
    assert token(renewer) == first
    clock.now += 1
    assert token(renewer) == second


def test_a_token_that_expires_soon_is_kept_for_half_of_that(renewer, clock):
    renewer.output.write_text(first := jwt(NOW + 10))
    assert token(renewer) == first
    renewer.output.write_text("opaque")
    clock.now += 4
    assert token(renewer) == first
    clock.now += 1
    assert token(renewer) == "opaque"


def test_a_plug_in_of_kubectl_may_print_the_token(renewer, clock):
    status = {"token": "opaque", "expirationTimestamp": "2027-01-15T08:10:00Z"}
    renewer.output.write_text(json.dumps({"kind": "ExecCredential", "status": status}))
    assert token(renewer) == "opaque"
    renewer.output.write_text("other")
    clock.now += 539
    assert token(renewer) == "opaque"
    clock.now += 1
    assert token(renewer) == "other"


def test_a_command_that_fails_is_left_alone_for_a_while(renewer, clock):
    renewer.output.write_text(jwt(NOW + 600))
    good = token(renewer)
    renewer.output.unlink()
    clock.now += 600
    with pytest.raises(RuntimeError, match="exit code 1: run it in a terminal"):
        token(renewer)
    renewer.output.write_text("new")
    assert token(renewer) == good
    clock.now += renewer.pause
    assert token(renewer) == "new"


@pytest.mark.parametrize("output", ["", "two words", "a\nb", "{}", '{"status": {"token": ""}}'])
def test_what_is_not_a_token_is_not_sent(renewer, output):
    renewer.output.write_text(output)
    with pytest.raises(RuntimeError, match="did not print a token") as refused:
        token(renewer)
    assert not output or output not in str(refused.value)


@pytest.fixture
def program(monkeypatch):
    specification = importlib.util.spec_from_file_location("t", EXAMPLE / "gateway_token.py")
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "t", module)
    specification.loader.exec_module(module)
    return module


def test_a_code_that_was_not_asked_for_is_not_taken(program):
    with program.Callback(0, "ours") as callback:
        codes = []
        waiting = threading.Thread(target=lambda: codes.append(callback.wait()))
        waiting.start()
        for query in ("code=theirs&state=theirs", "code=theirs", "code=%ff&state=%ff"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"{callback.url}?{query}")
        with urllib.request.urlopen(f"{callback.url}?code=right&state=ours") as response:
            assert response.status == 200
        waiting.join()
    assert codes == ["right"]


def test_a_refused_login_ends_with_the_issuers_word(program):
    with program.Callback(0, "ours") as callback:
        thread = threading.Thread(
            target=urllib.request.urlopen, args=(f"{callback.url}?error=access_denied&state=ours",)
        )
        thread.start()
        with pytest.raises(program.Refused, match="The issuer refused: access_denied"):
            callback.wait()
        thread.join()


@pytest.mark.parametrize("url", ["http://sso.example.com", "file:///etc/passwd", "ftp://127.0.0.1"])
def test_tokens_do_not_cross_the_network_in_clear(program, url):
    with pytest.raises(program.Refused, match="must begin with https"):
        program.answer(url)


def test_the_refresh_token_is_for_its_user_alone(program, tmp_path):
    file = tmp_path / "folder" / "token"
    for value in ("first", "second"):
        program.store(file, value)
        assert program.stored(file) == value
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in file.parent.iterdir()] == ["token"]
