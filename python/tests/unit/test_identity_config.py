"""The methods that the settings name, and the words about settings that make no sense."""

import json

import pytest
from identity_issuer import SigningKey

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.identity.authenticator import Authenticator
from gateway_provisioners.gateway.identity.config import build_methods
from gateway_provisioners.gateway.identity.credential import Credential

KEY = SigningKey("curve", "ES256")
PRIVATE = {**KEY.jwk, "d": "c2VjcmV0"}
SSO = {"type": "jwt", "issuer": "https://issuer.example", "audience": "gateway"}


def build(**methods):
    return build_methods("", json.dumps(methods))


def test_without_settings_the_shared_token_is_the_only_method():
    assert build_methods("", "") == []
    assert [method.name for method in build_methods("s3cret", "")] == ["token"]


def test_methods_are_built_by_their_types(tmp_path):
    methods = build_methods(
        "s3cret",
        json.dumps(
            {
                "sso": SSO,
                "cluster": {
                    **SSO,
                    "issuer": "https://kubernetes.default.svc",
                    "audience": ["gateway", "other"],
                    "clusterKeys": True,
                    "usernameClaim": ["kubernetes.io", "namespace"],
                    "order": 5,
                },
                "people": {
                    "type": "token",
                    "tokensFolder": str(tmp_path),
                    "usernames": {"alice": "alice@example.com"},
                },
                "inline": {
                    "type": "jwt",
                    "issuer": "any text",
                    "audience": "gateway",
                    "jwks": {"keys": [KEY.jwk]},
                    "algorithms": ["ES256"],
                    "leewaySeconds": 0,
                },
            }
        ),
    )
    assert {method.name: method.order for method in methods} == {
        "token": 0,
        "sso": 30,
        "cluster": 5,
        "people": 10,
        "inline": 30,
    }


async def test_method_that_is_built_identifies_by_its_settings(tmp_path):
    (tmp_path / "alice").write_text("alice-0123456789abcdef")
    settings = {
        "type": "token",
        "tokensFolder": str(tmp_path),
        "usernames": {"alice": "alice@example.com"},
        "adminUsers": ["alice@example.com"],
    }
    authenticator = Authenticator(build(people=settings))
    identification = await authenticator.identify_again(Credential("alice-0123456789abcdef"))
    identity = identification.identity
    assert (identity.name, identity.is_admin, identity.method) == (
        "alice@example.com",
        True,
        "people",
    )
    await authenticator.close()


ABSENT = {"type": "token", "tokensFolder": "/absent"}


@pytest.mark.parametrize("text", ["x", "[]", "[" * 5000, '{"sso": {}', '"\xff"'])
def test_settings_must_be_an_object(text):
    with pytest.raises(ConfigurationError, match="GP_AUTH_METHODS must be a JSON object"):
        build_methods("s3cret", text)


@pytest.mark.parametrize(
    ("methods", "cause"),
    [
        ({"SSO": SSO}, "'SSO': a method's name has 1 to 40"),
        ({"": SSO}, "'': a method's name has"),
        ({"a" * 41: SSO}, "a method's name has"),
        ({"a\nb": SSO}, r"'a\nb': a method's name has"),
        ({"sso": []}, "'sso': Expected `object`, got `array`"),
        ({"sso": {}}, "'sso': Object missing required field `type`"),
        ({"sso": {"type": "saml"}}, "'sso': Invalid value 'saml' - at `$.type`"),
        ({"sso": {**SSO, "audiences": []}}, "'sso': Object contains unknown field `audiences`"),
        ({"sso": {**SSO, "order": -1}}, "'sso': Expected `int` >= 0 - at `$.order`"),
        ({"sso": {**SSO, "audience": []}}, "`$.audience`"),
        ({"sso": {**SSO, "audience": ""}}, "`$.audience`"),
        ({"sso": {"type": "jwt", "issuer": "x"}}, "missing required field `audience`"),
        ({"sso": {**SSO, "issuer": ""}}, "`$.issuer`"),
        (
            {"sso": {**SSO, "issuer": "http://a.example"}},
            "'sso': issuer: a URL must begin with https",
        ),
        (
            {"sso": {**SSO, "jwksUrl": "http://a.example"}},
            "'sso': jwksUrl: a URL must begin with https",
        ),
        ({"sso": {**SSO, "jwksUrl": "https://a.example", "jwks": {}}}, "exclude each other"),
        ({"sso": {**SSO, "clusterKeys": True, "jwks": {}}}, "exclude each other"),
        (
            {"sso": {**SSO, "jwks": {}}},
            "'sso': jwks: it is malformed: Object missing required field `keys`",
        ),
        ({"sso": {**SSO, "jwks": {"keys": []}}}, "'sso': jwks: it has no public key"),
        ({"sso": {**SSO, "jwks": {"keys": [PRIVATE]}}}, "'sso': jwks: it holds a private key"),
        (
            {"sso": {**SSO, "algorithms": ["HS256"]}},
            "Invalid enum value 'HS256' - at `$.algorithms[0]`",
        ),
        ({"sso": {**SSO, "algorithms": ["none"]}}, "`$.algorithms[0]`"),
        ({"sso": {**SSO, "algorithms": []}}, "`$.algorithms`"),
        ({"sso": {**SSO, "leewaySeconds": 601}}, "`$.leewaySeconds`"),
        ({"sso": {**SSO, "usernameClaim": []}}, "`$.usernameClaim`"),
        ({"sso": SSO, "other": SSO}, "'other': 'sso' has the same issuer"),
        ({"people": {"type": "token"}}, "'people': Object missing required field `tokensFolder`"),
        ({"people": {**ABSENT, "tokensFolder": "run"}}, "`$.tokensFolder`"),
        ({"people": ABSENT}, "'people': tokensFolder: the folder /absent does not exist."),
        ({"people": {**ABSENT, "role": "root"}}, "`$.role`"),
    ],
)
def test_errors_name_the_method_and_the_field(methods, cause):
    with pytest.raises(ConfigurationError) as refused:
        build_methods("s3cret", json.dumps(methods))
    message = str(refused.value)
    assert message.startswith("GP_AUTH_METHODS, method '")
    assert cause in message
    assert message.endswith(".")
    assert "c2VjcmV0" not in message
    assert len(message) < 300
