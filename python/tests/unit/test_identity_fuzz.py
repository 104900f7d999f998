"""Credentials of every form: a method raises only its own errors, and lets in only what it has given out."""

import asyncio
import base64
import contextlib
import json

import jwt
from hypothesis import assume, given
from hypothesis import strategies as st
from identity_issuer import Clock, SigningKey, claims, unsigned

from gateway_provisioners.gateway.identity.credential import Credential
from gateway_provisioners.gateway.identity.identity import NotIdentified
from gateway_provisioners.gateway.identity.methods.jwt import JwtMethod, JwtSettings
from gateway_provisioners.gateway.identity.methods.tokens import SharedToken, _parse

ISSUER = "https://issuer.example"
KEY = SigningKey("one", "ES256")
METHOD = JwtMethod(
    "sso", JwtSettings(issuer=ISSUER, audience="gateway", jwks={"keys": [KEY.jwk]}), Clock()
)
GOOD = KEY.sign(claims(ISSUER))

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        [ISSUER, "gateway", "ES256", "none", "one", 1e300, 10**40, -1, 4_000_000_000]
    ),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=8,
)
claim_names = st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "sub", "groups", "jti", "email"])
header_names = st.sampled_from(
    ["alg", "kid", "crit", "b64", "typ", "jwk", "jku", "x5u", "zip", "cty"]
)


def outcome(token):
    """Return the identity for a token; None if it is refused. Any other error fails the test."""
    credential = Credential(token)
    METHOD.fits(credential)
    with contextlib.suppress(NotIdentified):
        return asyncio.run(
            METHOD.identify(credential)
        )  # also without `fits`: nothing relies on that
    return None


@given(st.text() | st.from_regex(r"[\w-]*\.[\w-]*\.[\w-]*") | st.binary().map(repr))
def test_no_text_is_a_token(text):
    assert outcome(text) is None


@given(
    values | st.dictionaries(header_names, values), values | st.dictionaries(claim_names, values)
)
def test_no_token_without_a_signature_is_taken(header, payload):
    assert outcome(unsigned(header, payload, b"x")) is None


@given(st.dictionaries(claim_names, values, max_size=4))
def test_no_signed_claims_raise_other_errors(changes):
    identity = outcome(
        KEY.sign({**claims(ISSUER), **changes}) if _encodable(changes) else _signed(changes)
    )
    if identity is not None:
        assert identity.name == {**claims(ISSUER), **changes}["sub"]


@given(st.dictionaries(header_names, values, max_size=3))
def test_no_header_lets_a_wrong_signature_in(changes):
    header = {"alg": "ES256", "kid": "one", **changes}
    assert outcome(unsigned(header, claims(ISSUER), b"\0" * 64)) is None


@given(st.integers(0, len(GOOD) - 1), st.sampled_from("AaZz09-_.=+/ \n\0é"))
def test_no_changed_character_makes_another_token(index, character):
    changed = GOOD[:index] + character + GOOD[index + 1 :]
    identity = outcome(changed)
    assert (identity is not None) == (changed == GOOD)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=3).map(" ".join))
def test_no_line_of_tokens_raises_other_errors(line):
    assume(line.strip())
    with contextlib.suppress(ValueError):
        digest, expires_at = _parse(line)
        assert len(digest) == 32
        assert expires_at is None or isinstance(expires_at, float)


@given(st.text(min_size=1), st.text())
def test_shared_token_fits_only_itself(text, other):
    method = SharedToken(text)
    lines = {line.strip() for line in text.splitlines()}
    if len(text.split()) <= len(lines):  # without an expiry
        assert method.fits(Credential(other)) == (other.strip() == other != "" and other in lines)


def _encodable(changes):
    return isinstance(changes.get("iss", ""), str)


def _signed(changes):
    payload = json.dumps({**claims(ISSUER), **changes}).encode()
    return jwt.PyJWS().encode(payload, KEY.private, "ES256", {"kid": "one"})


def test_base64_that_is_not_canonical_is_refused():
    header, payload, signature = GOOD.split(".")
    assert base64.urlsafe_b64decode(signature + "==")
    for tail in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        token = f"{header}.{payload}.{signature[:-1]}{tail}"
        assert (outcome(token) is not None) == (token == GOOD)
