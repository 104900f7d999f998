"""The method `jwt`: which tokens it takes, and the attacks on them that are known."""

import json
import logging

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from identity_issuer import NOW, Clock, SigningKey, claims, unsigned

from gateway_provisioners.gateway.identity.credential import Credential
from gateway_provisioners.gateway.identity.identity import Identity, NotIdentified
from gateway_provisioners.gateway.identity.methods import jwt as module
from gateway_provisioners.gateway.identity.methods.jwt import JwtMethod, JwtSettings
from gateway_provisioners.gateway.identity.methods.key_set import ALGORITHMS

ISSUER = "https://issuer.example"
# Made once: keys of RSA take long.
KEY = SigningKey("one")
OTHER = SigningKey("two")


def method_of(*keys, clock=None, **settings):
    key_set = {"keys": [key.jwk for key in keys or (KEY,)]}
    settings = {"audience": "gateway", "jwks": key_set, "issuer": ISSUER, **settings}
    return JwtMethod("sso", JwtSettings(**settings), clock or Clock())


def sign(key=KEY, **changes):
    return key.sign(claims(ISSUER, **changes))


async def identify(token, method=None):
    method = method or method_of()
    credential = Credential(token)
    assert method.fits(credential)
    return await method.identify(credential)


async def refuse(token, cause, method=None):
    with pytest.raises(NotIdentified, match=cause) as refused:
        await identify(token, method)
    assert not any(part and part in str(refused.value) for part in token.split("."))


async def test_claims_name_the_user_and_the_groups():
    identity = await identify(
        sign(groups=["research", "admins"]), method_of(admin_groups=["admins"])
    )
    assert identity == Identity(
        "alice",
        frozenset({"research", "admins"}),
        is_admin=True,
        method="sso",
        expires_at=NOW + 630,
    )


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
async def test_every_algorithm_of_public_keys_is_taken(algorithm):
    key = SigningKey("key", algorithm)
    assert (await identify(sign(key), method_of(key))).name == "alice"


def test_settings_and_keys_agree_on_the_algorithms():
    listed = msgspec.inspect.type_info(module._Algorithm)
    assert set(listed.values) == ALGORITHMS


@pytest.mark.parametrize(
    ("settings", "changes", "name", "groups"),
    [
        ({}, {}, "alice", set()),
        ({}, {"groups": None}, "alice", set()),
        ({}, {"groups": "research"}, "alice", {"research"}),
        ({}, {"groups": []}, "alice", set()),
        (
            {"username_claim": "https://a.example/name"},
            {"https://a.example/name": "bob"},
            "bob",
            set(),
        ),
        (
            {"username_claim": ["kubernetes.io", "namespace"]},
            {"kubernetes.io": {"namespace": "team"}},
            "team",
            set(),
        ),
        (
            {"groups_claim": ["realm", "roles"]},
            {"realm": {"roles": ["a"]}, "groups": ["b"]},
            "alice",
            {"a"},
        ),
        ({"groups_claim": ["sub", "roles"]}, {}, "alice", set()),
        ({"username_claim": "email"}, {"email": "a@b.example"}, "a@b.example", set()),
        (
            {"username_claim": "email"},
            {"email": "a@b.example", "email_verified": True},
            "a@b.example",
            set(),
        ),
    ],
)
async def test_claims_are_keys_or_paths(settings, changes, name, groups):
    identity = await identify(sign(**changes), method_of(**settings))
    assert (identity.name, identity.groups) == (name, groups)


@pytest.mark.parametrize(
    ("settings", "changes", "cause"),
    [
        ({}, {"sub": None}, "the user's name in its claim 'sub'"),
        ({"username_claim": "uid"}, {"uid": 7}, "the user's name in its claim 'uid'"),
        ({"username_claim": "uid"}, {"uid": ["alice"]}, "the user's name in its claim 'uid'"),
        ({"username_claim": "uid"}, {"uid": True}, "the user's name in its claim 'uid'"),
        ({"username_claim": ["a", "b"]}, {"a": "b"}, "the user's name in its claim 'a.b'"),
        ({"username_claim": "uid"}, {"uid": ""}, "1 to 253 printable"),
        ({"username_claim": "uid"}, {"uid": "a\nb"}, "1 to 253 printable"),
        ({"username_claim": "uid"}, {"uid": "x" * 300}, "1 to 253 printable"),
        (
            {"username_claim": "email"},
            {"email": "a@b.example", "email_verified": False},
            "not verified",
        ),
        (
            {"username_claim": "email"},
            {"email": "a@b.example", "email_verified": "false"},
            "not verified",
        ),
        ({}, {"groups": {"admins": True}}, "'groups' must be a list"),
        ({}, {"groups": ["a", 1]}, "'groups' must be a list"),
        ({}, {"groups": [["admins"]]}, "'groups' must be a list"),
        ({}, {"groups": list(map(str, range(1001)))}, "at most 1000 names"),
    ],
)
async def test_claims_that_are_not_names_are_refused(settings, changes, cause):
    await refuse(sign(**changes), cause, method_of(**settings))


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"exp": NOW - 31}, "has expired"),
        ({"exp": NOW - 30}, "has expired"),
        ({"exp": 0}, "has expired"),
        ({"exp": None}, "missing required field `exp`"),
        ({"exp": "4000000000"}, r"`\$\.exp`"),
        ({"exp": True}, r"`\$\.exp`"),
        ({"exp": [4000000000]}, r"`\$\.exp`"),
        ({"exp": -1}, r"`\$\.exp`"),
        ({"exp": 10**30}, r"`\$\.exp`"),
        ({"nbf": NOW + 31}, "not valid yet"),
        ({"nbf": "x"}, r"`\$\.nbf`"),
        ({"iat": NOW + 31}, "not valid yet"),
        ({"iat": {}}, r"`\$\.iat`"),
        ({"aud": "other"}, "another audience"),
        ({"aud": ["other", "gateway2"]}, "another audience"),
        ({"aud": "GATEWAY"}, "another audience"),
        ({"aud": []}, "another audience"),
        ({"aud": None}, "missing required field `aud`"),
        ({"aud": {"gateway": 1}}, r"`\$\.aud`"),
        ({"aud": ["gateway", 1]}, r"`\$\.aud\[1\]`"),
    ],
)
async def test_token_of_another_time_or_audience_is_refused(changes, cause):
    await refuse(sign(**changes), cause)


async def test_clocks_may_differ_by_the_leeway():
    token = sign(exp=NOW - 29, nbf=NOW + 29, iat=NOW + 30)
    assert (await identify(token)).expires_at == NOW + 1
    await refuse(token, "expired", method_of(leeway_seconds=0))


async def test_one_of_several_audiences_is_enough():
    method = method_of(audience=["first", "second"])
    assert (await identify(sign(aud=["x", "second"]), method)).name == "alice"
    await refuse(sign(aud="gateway"), "'first' or 'second'", method)


@pytest.mark.parametrize("issuer", [f"{ISSUER}/", "HTTPS://issuer.example", "", None, 7, [ISSUER]])
def test_token_of_another_issuer_is_left_to_other_methods(issuer):
    token = unsigned({"alg": "RS256", "kid": "one"}, claims(issuer), b"x")
    assert not method_of().fits(Credential(token))


async def test_second_issuer_in_the_payload_does_not_count():
    body = json.dumps(claims(ISSUER))
    twice = f'{{"iss": "https://evil.example", {body[1:]}'
    token = jwt.PyJWS().encode(twice.encode(), KEY.private, "RS256", {"kid": "one"})
    assert (await identify(token)).name == "alice"  # signed, and all readers take the last one
    twice = f'{body[:-1]}, "iss": "https://evil.example"}}'
    token = jwt.PyJWS().encode(twice.encode(), KEY.private, "RS256", {"kid": "one"})
    assert not method_of().fits(Credential(token))
    with pytest.raises(NotIdentified, match="of another issuer"):
        await method_of().identify(Credential(token))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", "RS256 "])
@pytest.mark.parametrize("signature", [b"", b"x"])
async def test_token_without_a_signature_is_refused(algorithm, signature):
    token = unsigned({"alg": algorithm, "kid": "one"}, claims(ISSUER), signature)
    await refuse(token, "must be one of: ES256")


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("kid", ["one", None])
async def test_public_key_is_never_a_secret(algorithm, kid):
    public = KEY.private.public_key()
    secrets = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(KEY.jwk).encode(),
        b"",
    ]
    header = {"alg": algorithm, **({"kid": kid} if kid else {})}
    for secret in secrets:
        unfinished = unsigned(header, claims(ISSUER)).rstrip(".")
        signature = jwt.algorithms.HMACAlgorithm(
            getattr(jwt.algorithms.HMACAlgorithm, algorithm[1:].replace("S", "SHA"))
        ).sign(unfinished.encode(), secret)
        token = f"{unfinished}.{jwt.utils.base64url_encode(signature).decode()}"
        await refuse(token, "must be one of: ES256")


async def test_key_verifies_only_its_own_algorithms():
    wide, narrow = SigningKey("wide"), KEY
    del wide.jwk["alg"]
    method = method_of(wide, narrow)
    for algorithm in ("RS256", "RS512", "PS384"):
        assert await identify(wide.sign(claims(ISSUER), algorithm), method)
    await refuse(narrow.sign(claims(ISSUER), "RS512"), "not one of its key", method)
    curve = SigningKey("one", "ES256")
    await refuse(curve.sign(claims(ISSUER), kid="wide"), "not one of its key", method)
    method = method_of(wide, algorithms=["PS256"])
    await refuse(wide.sign(claims(ISSUER), "RS256"), "must be one of: PS256", method)
    assert await identify(wide.sign(claims(ISSUER), "PS256"), method)


async def test_key_in_the_token_is_not_looked_at():
    own = SigningKey("one")
    for header in (
        {"jwk": own.jwk},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/key.pem"},
        {"x5c": ["MIIB"]},
        {"kid": "../../../dev/null"},
        {"kid": None, "jwk": own.jwk},
    ):
        await refuse(own.sign(claims(ISSUER), **header), "signature")


@pytest.mark.parametrize("crit", [["exp"], ["b64"], [], None, "x"])
async def test_critical_extension_is_refused(crit):
    header = {"alg": "RS256", "kid": "one", "crit": crit, "exp": 1}
    await refuse(unsigned(header, claims(ISSUER), b"x"), "crit")


async def test_detached_payload_is_refused():
    token = unsigned({"alg": "RS256", "kid": "one", "b64": False}, claims(ISSUER), b"x")
    await refuse(token, "malformed")


async def test_changed_token_is_refused():
    header, payload, signature = sign().split(".")
    evil = unsigned({}, claims(ISSUER, sub="admin")).split(".")[1]
    await refuse(f"{header}.{evil}.{signature}", "signature is wrong")
    await refuse(f"{header}.{payload}.{signature[:-2]}", "signature is wrong")
    await refuse(f"{header}.{payload}.", "signature is wrong")
    await refuse(f"{header}.{payload}.{sign(OTHER).split('.')[2]}", "signature is wrong")


async def test_key_id_chooses_between_keys():
    method = method_of(KEY, OTHER)
    assert (await identify(sign(KEY), method)).name == "alice"
    assert (await identify(sign(OTHER, sub="bob"), method)).name == "bob"
    await refuse(KEY.sign(claims(ISSUER), kid="two"), "signature is wrong", method)
    await refuse(KEY.sign(claims(ISSUER), kid="three"), "not by a key of its issuer", method)
    assert (await identify(OTHER.sign(claims(ISSUER), kid=None), method)).name == "alice"
    await refuse(SigningKey(None).sign(claims(ISSUER)), "not by a key of its issuer", method)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b",
        "...",
        "a.b.c.d",
        "a.b.c.d.e",
        "e30.e30.e30\n",
        "é.e30.x",
        "!.e30.x",
        f"e30.{'W' * 15000}.x",
        unsigned({}, b"[" * 5000 + b"]" * 5000),
        unsigned({}, b'{"a":' * 2000 + b"1" + b"}" * 2000),
        unsigned({}, b'{"iss":"' + b"\xff" * 9 + b'"}'),
        unsigned({}, b'{"iss":"https://issuer.example"'),
        unsigned({}, b"null"),
    ],
)
def test_what_is_not_a_jwt_is_left_to_other_methods(token):
    assert not method_of().fits(Credential(token))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"x",
        b"[]",
        b"{}",
        b'{"alg": 7}',
        b'{"alg": "RS256", "kid": 7}',
        b'{"alg": "RS256", "kid": null}',
        b'{"a":' * 3000 + b"1" + b"}" * 3000,
        b'{"alg": "\xff"}',
    ],
)
async def test_malformed_header_is_refused(header):
    if not header:  # three parts, the first of which is not base64
        await refuse(
            f"A.{unsigned({}, claims(ISSUER), b'x').split('.', 1)[1]}", "header is malformed"
        )
    else:
        await refuse(unsigned(header, claims(ISSUER), b"x"), "header is malformed")


async def test_signed_payload_may_still_be_malformed():
    deep = b'{"iss":"https://issuer.example","aud":"gateway","exp":4000000000,"x":%s}'
    for body in (
        deep % (b"[" * 3000 + b"]" * 3000),
        deep % (b"9" * 5000),
        b"[]",
        b"\xff",
    ):
        token = jwt.PyJWS().encode(body, KEY.private, "RS256", {"kid": "one"})
        with pytest.raises(NotIdentified, match="claims are malformed"):
            await method_of().identify(Credential(token))


async def test_verified_token_is_remembered_until_it_expires(monkeypatch):
    clock = Clock()
    method = method_of(clock=clock)
    token = sign()
    first = await identify(token, method)
    monkeypatch.setattr(method._signatures, "decode_complete", lambda *_, **__: 1 / 0)
    assert await identify(token, method) is first
    monkeypatch.undo()
    clock.now += 630
    await refuse(token, "expired", method)


async def test_number_of_remembered_tokens_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "_MOST_CACHED", 3)
    method = method_of()
    tokens = [sign(sub=f"user{number}") for number in range(5)]
    for token in tokens:
        await identify(token, method)
    assert {identity.name for identity in method._verified.values()} == {"user2", "user3", "user4"}
    await identify(tokens[2], method)  # used last, so it stays
    await identify(tokens[0], method)
    assert {identity.name for identity in method._verified.values()} == {"user4", "user2", "user0"}


async def test_refused_tokens_are_not_remembered_or_logged(caplog):
    caplog.set_level(logging.DEBUG)
    method = method_of()
    await refuse(sign(exp=0), "expired", method)
    await refuse(KEY.sign(claims(ISSUER), kid="x"), "not by a key", method)
    assert not method._verified
    assert not caplog.messages
