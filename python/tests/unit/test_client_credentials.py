"""The client's credential: its places, its renewal, and that no message has any of it."""

import asyncio
import base64
import json
import stat
import sys

import pytest
from gateway_provisioners_client.errors import CredentialError
from gateway_provisioners_client.gateway.config import GatewayConfig
from gateway_provisioners_client.gateway.credentials import Credentials
from gateway_provisioners_client.gateway.header_source import LONGEST_TOKEN, is_private
from gateway_provisioners_client.gateway.token_commands import output_of

URL = "https://gateway.example.com"
SECRET = "s3cr3t-of-alice"


@pytest.fixture(autouse=True)
def no_token_of_this_machine(monkeypatch):
    monkeypatch.delenv("JUPYTER_GATEWAY_AUTH_TOKEN", raising=False)


class Clock:
    now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def python(code):
    return (sys.executable, "-c", code)


def counting(folder, token="f'token-{count}'"):
    """Return a command that prints another token each time."""
    return python(
        f"import pathlib; file = pathlib.Path({str(folder / 'count')!r}); "
        "count = 1 + (int(file.read_text()) if file.exists() else 0); "
        f"file.write_text(str(count)); print({token})"
    )


def jwt(expiry):
    claims = base64.urlsafe_b64encode(json.dumps({"exp": expiry}).encode()).decode().rstrip("=")
    return f"e30.{claims}.c2ln"


async def token_of(credentials):
    return (await credentials.headers()).get("Authorization", "")


async def test_without_a_token_no_header_is_sent():
    credentials = Credentials(GatewayConfig(URL))
    assert await credentials.headers() == {}
    assert credentials.place == ""


async def test_the_variable_of_jupyter_is_the_default(monkeypatch):
    monkeypatch.setenv("JUPYTER_GATEWAY_AUTH_TOKEN", f" {SECRET}\n")
    credentials = Credentials(GatewayConfig(URL))
    assert await token_of(credentials) == f"token {SECRET}"
    assert credentials.place == "the variable JUPYTER_GATEWAY_AUTH_TOKEN"


async def test_a_variable_of_its_own(monkeypatch):
    monkeypatch.setenv("JUPYTER_GATEWAY_AUTH_TOKEN", "of-another-gateway")
    monkeypatch.setenv("TEAM_TOKEN", SECRET)
    credentials = Credentials(GatewayConfig(URL, token_variable="TEAM_TOKEN", auth_scheme="Bearer"))
    assert await token_of(credentials) == f"Bearer {SECRET}"


@pytest.mark.attack(21)
async def test_the_token_of_one_gateway_is_not_sent_to_another(monkeypatch):
    monkeypatch.setenv("JUPYTER_GATEWAY_AUTH_TOKEN", SECRET)
    credentials = Credentials(GatewayConfig(URL, token_variable="TEAM_TOKEN"))
    with pytest.raises(CredentialError, match="The variable TEAM_TOKEN, which should"):
        await credentials.headers()


async def test_a_file_is_read_again_each_time(tmp_path):
    file = tmp_path / "token"
    credentials = Credentials(GatewayConfig(URL, token_file=str(file), auth_scheme=""))
    for token in ("first", "second"):
        file.write_text(f"{token}\n")
        assert await token_of(credentials) == token
    file.unlink()
    with pytest.raises(CredentialError, match="cannot be read: No such file"):
        await credentials.headers()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
async def test_a_file_as_editors_write_it(tmp_path, encoding):
    (tmp_path / "token").write_bytes("secret\r\n".encode(encoding))
    credentials = Credentials(GatewayConfig(URL, token_file=str(tmp_path / "token")))
    assert await token_of(credentials) == "token secret"


@pytest.mark.attack(21)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        f"{SECRET}\nX-Injected: 1".encode(),
        f"{SECRET}\r\n\r\nGET / HTTP/1.1".encode(),
        f"{SECRET}\x00".encode() + b"x",
        f"{SECRET}\xe9".encode(),
        SECRET.encode() * LONGEST_TOKEN,
    ],
)
async def test_what_is_not_a_token_is_not_sent_and_not_repeated(tmp_path, content):
    (tmp_path / "token").write_bytes(content)
    credentials = Credentials(GatewayConfig(URL, token_file=str(tmp_path / "token")))
    with pytest.raises(CredentialError) as caught:
        await credentials.headers()
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_the_output_of_a_command_is_used_for_a_while(tmp_path, clock):
    config = GatewayConfig(URL, token_command=counting(tmp_path), token_seconds=60.0)
    credentials = Credentials(config, clock=clock)
    assert await token_of(credentials) == "token token-1"
    clock.now += 59
    assert await token_of(credentials) == "token token-1"
    clock.now += 1
    assert await token_of(credentials) == "token token-2"


async def test_a_command_is_run_again_before_its_token_expires(tmp_path, clock):
    command = counting(tmp_path, repr(jwt(clock.now + 100)))
    credentials = Credentials(GatewayConfig(URL, token_command=command), clock=clock)
    await credentials.headers()
    clock.now += 69
    await credentials.headers()
    assert (tmp_path / "count").read_text() == "1"
    clock.now += 1
    await credentials.headers()
    assert (tmp_path / "count").read_text() == "2"


async def test_an_expired_token_does_not_run_the_command_all_the_time(tmp_path, clock):
    command = counting(tmp_path, repr(jwt(clock.now - 100)))
    credentials = Credentials(GatewayConfig(URL, token_command=command), clock=clock)
    for _ in range(3):
        await credentials.headers()
    assert (tmp_path / "count").read_text() == "1"
    clock.now += 5
    await credentials.headers()
    assert (tmp_path / "count").read_text() == "2"


async def test_a_refused_token_is_made_again_but_not_at_once_again(tmp_path, clock):
    credentials = Credentials(GatewayConfig(URL, token_command=counting(tmp_path)), clock=clock)
    await credentials.headers()
    credentials.invalidate()
    assert await token_of(credentials) == "token token-1"
    clock.now += 5
    credentials.invalidate()
    assert await token_of(credentials) == "token token-2"


async def test_requests_at_once_run_one_command(tmp_path, clock):
    credentials = Credentials(GatewayConfig(URL, token_command=counting(tmp_path)), clock=clock)
    tokens = await asyncio.gather(*(token_of(credentials) for _ in range(5)))
    assert set(tokens) == {"token token-1"}


async def test_a_clock_that_is_set_back_does_not_keep_a_token(tmp_path, clock):
    credentials = Credentials(GatewayConfig(URL, token_command=counting(tmp_path)), clock=clock)
    await credentials.headers()
    clock.now -= 3600
    assert await token_of(credentials) == "token token-2"


@pytest.mark.parametrize(
    "claims", [b"", b"{", b"[]", b"{}", b'{"exp": null}', b'{"exp": "1e999"}', b"[" * 100_000]
)
async def test_tokens_that_only_look_like_a_jwt(claims, clock, tmp_path):
    token = f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.x"
    (tmp_path / "printed").write_text(token[:60_000])
    command = python(f"print(open({str(tmp_path / 'printed')!r}).read())")
    credentials = Credentials(GatewayConfig(URL, token_command=command), clock=clock)
    assert await token_of(credentials) == f"token {token[:60_000]}"


@pytest.mark.attack(21)
@pytest.mark.parametrize(
    ("code", "words"),
    [
        (f"print({SECRET!r}); raise SystemExit(3)", "failed with exit code 3"),
        (
            f"import sys; sys.stderr.write({SECRET!r}); raise SystemExit(1)",
            "failed with exit code 1",
        ),
        (f"print({SECRET!r} * 100_000)", "printed more than"),
        (f"print({SECRET!r}); print('more')", "nothing else"),
        ("pass", "is empty"),
    ],
)
async def test_a_failed_command_does_not_repeat_its_output(code, words, capfd):
    credentials = Credentials(GatewayConfig(URL, token_command=python(code)))
    with pytest.raises(CredentialError, match=words) as caught:
        await credentials.headers()
    assert SECRET not in str(caught.value)
    assert SECRET not in "".join(capfd.readouterr())


@pytest.mark.parametrize("command", [("no-such-program-at-all",), ("/",)])
async def test_a_command_that_cannot_be_run(command):
    credentials = Credentials(GatewayConfig(URL, token_command=command))
    with pytest.raises(CredentialError, match="cannot be run"):
        await credentials.headers()


def test_a_command_that_does_not_end_is_ended_with_its_children():
    """A child keeps the pipe open: if it were not ended, this would take an hour."""
    child = "import time; time.sleep(3600)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with pytest.raises(CredentialError, match="did not end within 2 s"):
        output_of(python(code), 100, seconds=2.0)


async def test_headers_of_a_variable_may_be_secret(monkeypatch):
    monkeypatch.setenv("PROXY_HEADERS", json.dumps({"Proxy-Token": SECRET}))
    config = GatewayConfig(URL, headers={"X-Team": "a"}, headers_variable="PROXY_HEADERS")
    assert await Credentials(config).headers() == {"X-Team": "a", "Proxy-Token": SECRET}


@pytest.mark.attack(21)
@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        SECRET,
        f'["{SECRET}"]',
        f'{{"A": ["{SECRET}"]}}',
        f'{{"A": "{SECRET}\\r\\nB: c"}}',
        f'{{"{SECRET} ": ""}}',
    ],
)
async def test_errors_in_headers_of_a_variable_do_not_repeat_them(monkeypatch, value):
    monkeypatch.delenv("PROXY_HEADERS", raising=False)
    if value is not None:
        monkeypatch.setenv("PROXY_HEADERS", value)
    with pytest.raises(CredentialError, match="PROXY_HEADERS") as caught:
        await Credentials(GatewayConfig(URL, headers_variable="PROXY_HEADERS")).headers()
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.attack(21)
def test_a_place_has_nothing_of_a_command_but_its_program():
    config = GatewayConfig(URL, token_command=("vault", "--password", SECRET))
    assert Credentials(config).place == "the command vault"


@pytest.mark.attack(21)
def test_files_that_others_can_read(tmp_path):
    file = tmp_path / "token"
    file.write_text(SECRET)
    file.chmod(stat.S_IRUSR | stat.S_IRGRP)
    assert not is_private(str(file))
    file.chmod(stat.S_IRUSR)
    assert is_private(str(file))
