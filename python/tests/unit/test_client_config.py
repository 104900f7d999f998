"""The client's configuration of a gateway: what is refused, and that no secret becomes an argument."""

import argparse
import json

import pytest
from gateway_provisioners_client.errors import ConfigurationError
from gateway_provisioners_client.gateway.config import GatewayConfig, add_options

URL = "https://gateway.example.com"
SECRET = "s3cr3t-of-alice"


def parsed(*arguments):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_options(parser)
    return GatewayConfig.from_options(parser.parse_args(arguments))


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://gateway.example.com", "gateway.example.com"),
        ("http://127.0.0.1:8888/", "127.0.0.1:8888"),
        ("https://tools.example.com/team-a/", "tools.example.com"),
        ("http://[::1]:8888", "[::1]:8888"),
    ],
)
def test_a_url_of_a_gateway(url, host):
    config = GatewayConfig(url)
    assert (config.url, config.host) == (url.rstrip("/"), host)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "must begin with http:// or https://"),
        ("gateway.example.com", "must begin with http:// or https://"),
        ("ftp://gateway.example.com", "must begin with http:// or https://"),
        ("http://:8888", "name a host"),
        ("http://host:port", "must begin with http:// or https://"),
        ("http://host:99999", "must begin with http:// or https://"),
        ("http://[::1", "must begin with http:// or https://"),
        (f"https://alice:{SECRET}@gateway.example.com", "user name or password"),
        (f"https://gateway.example.com?token={SECRET}", "must not have a query"),
        (f"https://gateway.example.com#{SECRET}", "must not have a query"),
        ("https://gateway.example.com?", "must not have a query"),
        ("https://gateway.example.com/a b", "characters that a URL cannot have"),
        ("https://gateway.example.com/\u00e9", "characters that a URL cannot have"),
        ("https://gateway.example.com/\x1b[31m", "characters that a URL cannot have"),
        ("https://gateway.example.com/{connection_file}", "characters that a URL cannot have"),
    ],
)
def test_what_is_not_the_url_of_a_gateway(url, words):
    with pytest.raises(ConfigurationError) as caught:
        GatewayConfig(url)
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        GatewayConfig(URL),
        GatewayConfig(URL, name="Team A", token_variable="TEAM_A_TOKEN"),
        GatewayConfig(URL, token_file="/home/alice/-token", auth_scheme=""),
        GatewayConfig(
            URL,
            token_command=("gcloud", "auth", 'print it\'s "token"'),
            token_seconds=60.0,
            auth_scheme="Bearer",
        ),
        GatewayConfig(
            URL, headers={"X-Team": "a: b", "X-Empty": ""}, headers_variable="PROXY_HEADERS"
        ),
        GatewayConfig(URL, auth_header="X-Gateway-Token", verify=False, request_timeout=2.5),
        GatewayConfig(URL, ca_file="/etc/ca.pem", client_cert="/c.pem", client_key="/k.pem"),
    ],
)
def test_options_make_the_same_configuration(config):
    assert parsed(*config.to_options()) == config


def test_paths_hold_in_every_working_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/alice")
    monkeypatch.setenv("USERPROFILE", "/home/alice")
    config = parsed("--url", URL, "--ca-file", "ca.pem", "--token-file", "~/token")
    assert (config.ca_file, config.token_file) == (str(tmp_path / "ca.pem"), "/home/alice/token")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("gcloud auth print-access-token", ("gcloud", "auth", "print-access-token")),
        ("sh -c 'cat ~/token | head -1'", ("sh", "-c", "cat ~/token | head -1")),
        ('["/opt/my tools/token", "--quiet"]', ("/opt/my tools/token", "--quiet")),
    ],
)
def test_the_words_of_a_command(command, words):
    assert parsed("--url", URL, "--token-command", command).token_command == words


@pytest.mark.attack(21)
@pytest.mark.parametrize(
    "header", ["Authorization", "cookie", "X-Api-Key", "X-Proxy-Token", "X-Gw"]
)
def test_a_secret_header_does_not_become_an_argument(header):
    """Every user of a machine can read the arguments of a program."""
    with pytest.raises(ConfigurationError, match="--headers-variable") as caught:
        parsed("--url", URL, "--auth-header", "X-Gw", "--header", f"{header}: {SECRET}")
    assert SECRET not in str(caught.value)
    config = GatewayConfig(URL, auth_header="X-Gw", headers={header: SECRET})
    with pytest.raises(ConfigurationError) as caught:
        config.to_options()
    assert SECRET not in str(caught.value)


@pytest.mark.attack(21)
@pytest.mark.parametrize(
    "arguments",
    [
        ("--token-variable", f"{SECRET}!"),
        ("--headers-variable", f'{{"Authorization": "{SECRET}"}}'),
        ("--header", SECRET),
        ("--header", f"X-A: {SECRET}\r\nX-B: c"),
        ("--header", f"X A: {SECRET}"),
        ("--token-command", f"'{SECRET}"),
        ("--request-timeout", SECRET),
    ],
)
def test_errors_of_options_do_not_repeat_values(arguments):
    with pytest.raises(ConfigurationError) as caught:
        parsed("--url", URL, *arguments)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"token_variable": "A", "token_file": "/b"}, "one of: a variable, a file, a command"),
        ({"client_key": "/k.pem"}, "needs its client certificate"),
        ({"request_timeout": 0.0}, "more than 0"),
        ({"request_timeout": float("nan")}, "more than 0"),
        ({"token_seconds": 1e9}, "at most 86400"),
        ({"auth_header": "X Token"}, "name of a header"),
        ({"auth_scheme": "Bearer\n"}, "one line of ASCII"),
        ({"headers": {"X-Name": "caf\u00e9"}}, "one line of ASCII"),
    ],
)
def test_what_makes_no_sense(changes, words):
    with pytest.raises(ConfigurationError, match=words):
        GatewayConfig(URL, **changes)


def test_the_variables_of_a_jupyter_server():
    config = GatewayConfig.from_jupyter_environment(
        {
            "JUPYTER_GATEWAY_URL": f"{URL}/",
            "JUPYTER_GATEWAY_AUTH_TOKEN": SECRET,
            "JUPYTER_GATEWAY_AUTH_SCHEME": "Bearer",
            "JUPYTER_GATEWAY_AUTH_HEADER_KEY": "X-Gateway-Token",
            "JUPYTER_GATEWAY_HEADERS": json.dumps({"Authorization": SECRET}),
            "JUPYTER_GATEWAY_CA_CERTS": "/ca.pem",
            "JUPYTER_GATEWAY_CLIENT_CERT": "/c.pem",
            "JUPYTER_GATEWAY_CLIENT_KEY": "/k.pem",
            "JUPYTER_GATEWAY_VALIDATE_CERT": "false",
            "JUPYTER_GATEWAY_REQUEST_TIMEOUT": "7",
        }
    )
    assert config == GatewayConfig(
        URL,
        token_variable="JUPYTER_GATEWAY_AUTH_TOKEN",
        auth_scheme="Bearer",
        auth_header="X-Gateway-Token",
        headers_variable="JUPYTER_GATEWAY_HEADERS",
        ca_file="/ca.pem",
        client_cert="/c.pem",
        client_key="/k.pem",
        verify=False,
        request_timeout=7.0,
    )
    assert SECRET not in " ".join(config.to_options())
    assert SECRET not in repr(config)


def test_without_a_gateway_in_the_environment():
    with pytest.raises(ConfigurationError, match="set JUPYTER_GATEWAY_URL"):
        GatewayConfig.from_jupyter_environment({})


@pytest.mark.parametrize(
    ("url", "secure"),
    [
        ("https://gateway.example.com", True),
        ("http://gateway.example.com", False),
        ("http://localhost:8888", True),
        ("http://127.0.0.1:8888", True),
        ("http://[::1]:8888", True),
        ("http://127.0.0.1.example.com", False),
    ],
)
def test_where_a_token_can_be_read_on_its_way(url, secure):
    assert GatewayConfig(url).is_secure == secure
