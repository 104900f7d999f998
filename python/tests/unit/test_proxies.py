"""Proxies of the environment, by the rules of golang.org/x/net/http/httpproxy."""

import pytest

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.model.proxies import check_proxy, proxy_for

PROXY = "http://proxy.example.com:3128"


def is_proxied(url, no_proxy=""):
    return proxy_for(url, {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy}) == PROXY


@pytest.mark.parametrize(
    ("no_proxy", "host"),
    [
        ("10.96.0.0/12", "10.96.0.1"),
        ("10.96.0.1/12", "10.96.0.1"),
        ("10.96.0.0/12", "[::ffff:10.96.0.1]"),
        ("fd00:10:96::/112", "[fd00:10:96::1]"),
        ("10.96.0.1", "10.96.0.1"),
        ("10.96.0.1:443", "10.96.0.1"),
        ("10.96.0.1:6443", "10.96.0.1:6443"),
        ("fd00::1", "[fd00::1]"),
        ("[fd00::1]", "[fd00::1]"),
        ("[fd00::1]:443", "[fd00::1]"),
        ("api.corp.test", "api.corp.test"),
        ("api.corp.test:443", "api.corp.test"),
        ("corp.test", "api.corp.test"),
        ("corp.test", "API.Corp.TEST"),
        ("CORP.test", "api.corp.test"),
        (".corp.test", "api.corp.test"),
        ("*.corp.test", "api.corp.test"),
        (" other.test ,\t corp.test ", "api.corp.test"),
        ("*", "api.corp.test"),
        ("other.test,*", "10.0.0.1"),
        ("bücher.test", "api.xn--bcher-kva.test"),
        ("xn--bcher-kva.test", "bücher.test"),
        ("", "localhost:8443"),
        ("", "127.0.0.1"),
        ("", "127.9.9.9"),
        ("", "[::1]"),
    ],
)
def test_hosts_that_are_asked_without_a_proxy(no_proxy, host):
    assert not is_proxied(f"https://{host}/api", no_proxy)


@pytest.mark.parametrize(
    ("no_proxy", "host"),
    [
        ("", "10.96.0.1"),
        ("10.96.0.0/12", "10.112.0.1"),
        ("10.96.0.0/12", "api.corp.test"),
        ("10.96.0.0/99", "10.96.0.1"),
        ("fd00:10:96::/112", "[fd00:10:97::1]"),
        ("fd00:10:96::/112", "10.96.0.1"),
        ("10.96.0.1:80", "10.96.0.1"),
        ("10.96.0.10", "10.96.0.1"),
        ("[fd00::1]:80", "[fd00::1]"),
        ("api.corp.test:80", "api.corp.test"),
        ("corp.test", "mycorp.test"),
        ("corp.test", "corp.test.evil.test"),
        (".corp.test", "corp.test"),
        ("*.corp.test", "corp.test"),
        ("*corp.test", "mycorp.test"),
        ("*corp.test", "api.corp.test"),
        ("api", "api.corp.test"),
        (":443", "api.corp.test"),
        (",,", "api.corp.test"),
        ("", "localhost.test"),
        ("", "local.localhost"),
        ("", "[::2]"),
    ],
)
def test_hosts_that_are_asked_through_the_proxy(no_proxy, host):
    assert is_proxied(f"https://{host}/api", no_proxy)


def test_variables_by_scheme_and_case():
    environment = {
        "http_proxy": "a.test",
        "HTTPS_PROXY": "https://b.test:1",
        "https_proxy": "c.test",
    }
    assert proxy_for("http://x.test", environment) == "http://a.test"
    assert proxy_for("https://x.test", environment) == "https://b.test:1"
    assert proxy_for("ftp://x.test", environment) is None
    assert proxy_for("https://x.test", {"HTTP_PROXY": "a.test"}) is None
    lower = {"https_proxy": "c.test", "no_proxy": "x.test"}
    assert proxy_for("https://y.test", lower) == "http://c.test"
    assert proxy_for("https://x.test", lower) is None


@pytest.mark.parametrize(
    "proxy", ["socks5://u:s3cret@p.test:1080", "http://", "http://p.test:s3cret"]
)
def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(proxy):
    with pytest.raises(ConfigurationError) as refused:
        check_proxy(proxy, source="HTTPS_PROXY")
    assert str(refused.value) == (
        "The proxy that HTTPS_PROXY names cannot be used: it must be of the form http://HOST:PORT."
    )
