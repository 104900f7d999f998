"""The first method that a credential fits decides, and guesses reach no method."""

import logging
from collections import Counter

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from gateway_provisioners.gateway.identity.authenticator import Authenticator
from gateway_provisioners.gateway.identity.identity import (
    Identity,
    IdentityUnavailable,
    NotIdentified,
)
from gateway_provisioners.gateway.identity.throttle import MOST_FAILURES


class Known:
    """A method that knows tokens of its own prefix, and counts what it was asked."""

    def __init__(self, name="known", order=10, prefix="", error=None):
        self.name, self.order, self._prefix, self._error = name, order, prefix, error
        self.asked = []

    async def refresh(self): ...

    def fits(self, credential):
        return bool(credential.token) and credential.token.startswith(self._prefix)

    async def identify(self, credential):
        self.asked.append(credential.token)
        if self._error is not None:
            raise self._error
        if credential.token.endswith("wrong"):
            raise NotIdentified("wrong")
        return Identity(name=credential.token, method=self.name)

    async def close(self): ...


class Context:
    """The origin of a request."""

    remote_ip = "192.0.2.1"
    protocol = "http"


class Connection:
    """The connection of a request."""

    context = Context()

    def set_close_callback(self, callback): ...


def request(token=""):
    headers = {"Host": "x", **({"Authorization": f"token {token}"} if token else {})}
    return HTTPServerRequest(
        start_line=RequestStartLine("GET", "/", "HTTP/1.1"),
        headers=HTTPHeaders(headers),
        connection=Connection(),
    )


def counting(*methods):
    """Return an authenticator, and the counts of its outcomes."""
    authenticator = Authenticator(methods)
    counts = Counter()
    authenticator.on_outcome = lambda *outcome: counts.update([outcome])
    return authenticator, counts


async def test_error_of_the_first_method_that_fits_is_final():
    first, second = Known("first", 1, "a"), Known("second", 2)
    authenticator, counts = counting(second, first)
    identification = await authenticator.identify(request("a wrong"))
    assert isinstance(identification.error, NotIdentified)
    assert second.asked == []
    assert (await authenticator.identify(request("b"))).identity.method == "second"
    assert counts == {("first", "rejected"): 1, ("second", "accepted"): 1}


async def test_guesses_reach_no_method_once_there_were_too_many():
    method = Known()
    authenticator, counts = counting(method)
    assert (await authenticator.identify(request("alice"))).identity.name == "alice"
    for number in range(MOST_FAILURES + 5):
        await authenticator.identify(request(f"{number} wrong"))
    assert (await authenticator.identify(request("bob"))).error.reason == "TooManyAttempts"
    assert (await authenticator.identify(request("alice"))).identity.name == "alice"
    assert len(method.asked) == MOST_FAILURES + 2
    assert counts == {
        ("known", "accepted"): 2,
        ("known", "rejected"): MOST_FAILURES,
        ("none", "throttled"): 6,
    }


async def test_requests_without_a_credential_do_not_count():
    authenticator, counts = counting(Known())
    for _ in range(2 * MOST_FAILURES):
        error = (await authenticator.identify(request())).error
        assert isinstance(error, NotIdentified)
        assert not error.is_attempt
    assert not counts
    assert (await authenticator.identify(request("alice"))).identity.name == "alice"


async def test_credential_that_fits_no_method_counts_as_wrong():
    authenticator, counts = counting(Known(prefix="a"))
    assert (await authenticator.identify(request("b"))).error.is_attempt
    assert counts == {("none", "rejected"): 1}


@pytest.mark.parametrize("error", [IdentityUnavailable("away"), ValueError("secret")])
async def test_method_that_fails_lets_no_client_in(error, caplog):
    authenticator, counts = counting(Known(error=error))
    with caplog.at_level(logging.DEBUG):
        identification = await authenticator.identify(request("secret"))
    assert isinstance(identification.error, IdentityUnavailable)
    assert "secret" not in caplog.text + str(identification.error)
    assert counts == {("known", "unavailable"): 1}
