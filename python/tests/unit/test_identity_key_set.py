"""The keys of an issuer: fetched once, kept, renewed, and used for a while when the issuer is away."""

import asyncio
import gzip
import ipaddress
import json
import ssl
from datetime import datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from identity_issuer import Clock, Issuer, SigningKey, claims
from jwt.algorithms import RSAAlgorithm

from gateway_provisioners.gateway.identity.credential import Credential
from gateway_provisioners.gateway.identity.identity import IdentityUnavailable, NotIdentified
from gateway_provisioners.gateway.identity.methods import jwt as jwt_module
from gateway_provisioners.gateway.identity.methods import key_set as module
from gateway_provisioners.gateway.identity.methods.jwt import JwtMethod, JwtSettings
from gateway_provisioners.gateway.identity.methods.key_set import (
    FetchedKeys,
    check_url,
    from_url,
    read_keys,
)
from timeouts import within_timeout

KEY = SigningKey("one")
OTHER = SigningKey("two")
CURVE = SigningKey("curve", "ES256")
BOMB = gzip.compress(b" " * 10_000_000)


@pytest.fixture
async def issuer():
    async with Issuer(KEY).serving() as issuer:
        yield issuer


class Gateway:
    """The method `jwt` for an issuer, with clocks of its own."""

    def __init__(self, issuer, **settings):
        self.issuer = issuer
        self.clock = Clock()
        self.monotonic = Clock(0.0)
        settings = JwtSettings(
            **{
                "issuer": issuer.url,
                "jwks_url": f"{issuer.url}/keys",
                "audience": "gateway",
                **settings,
            }
        )
        self.method = JwtMethod("sso", settings, self.clock)
        self.method._keys._clock = self.monotonic
        self.method._keys._next_at = 0.0

    async def name(self, key=KEY, **header):
        """Return the user of a token that is signed by a key."""
        token = key.sign(claims(self.issuer.url), **header)
        return (await within_timeout(self.method.identify(Credential(token)))).name

    async def fetching(self):
        """Wait for the renewal in the background, which must be under way."""
        await within_timeout(asyncio.wait({self.method._keys._task}))

    def later(self, seconds):
        self.monotonic.now += seconds

    @property
    def fetches(self):
        return len(self.issuer.requests)


async def test_keys_are_fetched_once(issuer):
    gateway = Gateway(issuer)
    for _ in range(3):
        assert await gateway.name() == "alice"
    assert gateway.fetches == 1
    assert issuer.requests[0].headers["Accept-Encoding"] == "identity"
    assert "Authorization" not in issuer.requests[0].headers


async def test_requests_at_the_same_time_share_one_fetch(issuer):
    gateway = Gateway(issuer)
    assert await asyncio.gather(*(gateway.name() for _ in range(20))) == ["alice"] * 20
    assert gateway.fetches == 1


async def test_request_that_is_cancelled_does_not_stop_the_fetch(issuer):
    issuer.gate = asyncio.Event()
    gateway = Gateway(issuer)
    first, second = (asyncio.create_task(gateway.name()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    issuer.gate.set()
    assert await within_timeout(second) == "alice"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_keys_are_found_by_discovery(issuer):
    gateway = Gateway(issuer, jwks_url="")
    assert await gateway.name() == "alice"
    assert [request.path for request in issuer.requests] == ["/keys"]


@pytest.mark.parametrize(
    ("document", "cause"),
    [
        ({"issuer": "https://evil.example"}, "names another issuer"),
        ({"jwks_uri": "http://issuer.example/keys"}, "must begin with https"),
        ({"jwks_uri": "file:///etc/passwd"}, "must have a host"),
        ({"jwks_uri": ["x"]}, "malformed"),
    ],
)
async def test_discovery_document_must_be_the_issuers_own(issuer, caplog, document, cause):
    issuer.document = document
    with pytest.raises(IdentityUnavailable, match="the gateway's log says why"):
        await Gateway(issuer, jwks_url="").name()
    assert cause in caplog.text
    assert not issuer.requests


async def test_new_key_is_fetched_when_its_first_token_comes(issuer):
    gateway = Gateway(issuer)
    assert await gateway.name() == "alice"
    issuer.keys.append(OTHER)
    gateway.later(30)
    assert await gateway.name(OTHER) == "alice"
    assert await gateway.name(KEY) == "alice"
    assert gateway.fetches == 2


async def test_new_key_without_an_id_is_fetched_as_well(issuer):
    gateway = Gateway(issuer)
    assert await gateway.name(kid=None) == "alice"
    issuer.keys[:] = [CURVE]
    gateway.later(30)
    assert await gateway.name(CURVE, kid=None) == "alice"


async def test_flood_of_unknown_keys_is_one_fetch(issuer):
    gateway = Gateway(issuer)
    await gateway.name()
    for round_ in range(1, 4):
        gateway.later(30)
        results = await asyncio.gather(
            *(gateway.name(OTHER, kid=f"made up {number}") for number in range(50)),
            return_exceptions=True,
        )
        assert all(isinstance(result, NotIdentified) for result in results)
        assert gateway.fetches == 1 + round_


async def test_token_of_a_withdrawn_key_is_refused_although_it_was_verified(issuer):
    gateway = Gateway(issuer)
    assert await gateway.name() == "alice"
    issuer.keys[:] = [OTHER]
    gateway.later(module.RENEW_SECONDS)
    assert await gateway.name() == "alice"  # renewed in the background
    await gateway.fetching()
    with pytest.raises(NotIdentified, match="not by a key"):
        await gateway.name()


async def test_keys_are_renewed_in_the_background(issuer):
    gateway = Gateway(issuer)
    await gateway.name()
    issuer.gate = asyncio.Event()
    gateway.later(module.RENEW_SECONDS - 1)
    await gateway.name()
    assert gateway.method._keys._task is None
    gateway.later(1)
    assert await gateway.name() == "alice"  # although the issuer does not answer
    issuer.gate.set()
    await gateway.fetching()
    assert gateway.fetches == 2


async def test_keys_serve_for_a_day_when_the_issuer_is_away(issuer, caplog):
    gateway = Gateway(issuer)
    await gateway.name()
    issuer.status = 500
    gateway.later(module.OLDEST_SECONDS - 1)
    assert await gateway.name() == "alice"
    await gateway.fetching()
    assert "'sso' cannot be fetched" in caplog.text
    assert "answers with status 500" in caplog.text
    # It may be a new key: not the client's fault.
    with pytest.raises(IdentityUnavailable):
        await gateway.name(OTHER)
    gateway.later(1)
    with pytest.raises(IdentityUnavailable):
        await gateway.name()
    assert gateway.fetches == 2  # the pause between attempts holds
    issuer.status = 200
    gateway.later(module.PAUSE_SECONDS)
    assert await gateway.name() == "alice"


async def test_first_fetch_that_fails_is_repeated_after_a_short_pause(issuer):
    issuer.status = 404
    gateway = Gateway(issuer)
    for _ in range(5):
        with pytest.raises(IdentityUnavailable):
            await gateway.name()
    assert gateway.fetches == 1
    issuer.status = 200
    gateway.later(module.FIRST_PAUSE_SECONDS)
    assert await gateway.name() == "alice"


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ({"status": 302, "headers": {"Location": "/keys?again"}}, "status 302"),
        ({"status": 204, "body": b""}, "status 204"),
        ({"body": b"<html>"}, "malformed"),
        ({"body": b'{"keys": []}'}, "no public key"),
        ({"body": b'{"keys": {}}'}, "malformed"),
        ({"body": b'{"keys": ' + b"[" * 50_000}, "malformed"),
        ({"body": b" " * (module._LARGEST_BODY + 1)}, "more than 262144 bytes"),
        ({"body": BOMB, "headers": {"Content-Encoding": "gzip"}}, "malformed"),
    ],
)
async def test_answers_that_are_not_key_sets_change_nothing(issuer, caplog, answer, cause):
    gateway = Gateway(issuer)
    await gateway.name()
    for name, value in answer.items():
        setattr(issuer, name, value)
    gateway.later(module.RENEW_SECONDS)
    assert await gateway.name() == "alice"
    await gateway.fetching()
    assert cause in caplog.text
    assert await gateway.name() == "alice"
    assert gateway.fetches == 2


async def test_issuer_that_does_not_answer_at_all_is_unavailable(issuer, caplog):
    gateway = Gateway(issuer, jwks_url="http://127.0.0.1:1/keys")
    with pytest.raises(IdentityUnavailable):
        await gateway.name()
    assert "cannot be fetched" in caplog.text


async def test_close_ends_a_fetch(issuer):
    issuer.gate = asyncio.Event()
    gateway = Gateway(issuer)
    request = asyncio.create_task(gateway.name())
    await asyncio.sleep(0)
    await within_timeout(gateway.method.close())
    with pytest.raises(IdentityUnavailable):
        await within_timeout(request)
    issuer.gate.set()


def _certificate(folder):
    """Write a CA's certificate, and that of a server on loopback with its key; return the paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    ca = folder / "ca.crt"
    ca.write_bytes(certificate.public_bytes(Encoding.PEM))
    private = folder / "tls.key"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return ca, private


async def test_keys_of_the_cluster_are_fetched_with_the_service_account(
    tmp_path, monkeypatch, caplog
):
    ca, private = _certificate(tmp_path)
    token = tmp_path / "token"
    token.write_text("s3rvice-account\n")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(ca, private)
    async with Issuer(KEY).serving(tls) as issuer:
        monkeypatch.setattr(jwt_module, "CLUSTER_KEYS_URL", f"{issuer.url}/openid/v1/jwks")
        monkeypatch.setattr(jwt_module, "CLUSTER_CA_FILE", str(ca))
        monkeypatch.setattr(jwt_module, "CLUSTER_TOKEN_FILE", str(token))
        gateway = Gateway(issuer, jwks_url="", cluster_keys=True)
        assert await gateway.name() == "alice"
        (request,) = issuer.requests
        assert request.path == "/openid/v1/jwks"
        assert request.headers["Authorization"] == "Bearer s3rvice-account"
        with pytest.raises(IdentityUnavailable):  # the system's CAs have not signed it
            await Gateway(issuer).name()
        assert len(issuer.requests) == 1
        assert await Gateway(issuer, ca_file=str(ca)).name() == "alice"
        token.unlink()
        with pytest.raises(IdentityUnavailable):
            await Gateway(issuer, jwks_url="", cluster_keys=True).name()
    assert "s3rvice-account" not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "https://issuer.example",
        "https://issuer.example:8443/realms/x?y=z",
        "http://127.0.0.1:4444",
        "http://localhost/keys",
        "http://[::1]:80/",
    ],
)
def test_urls_that_nothing_can_change_on_the_way_are_taken(url):
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example",
        "http://localhost.example",
        "http://127.0.0.1.example",
        "http://10.0.0.1/",
        "https://user@issuer.example",
        "https://",
        "https:/keys",
        "issuer.example",
        "file:///keys",
        "ftp://127.0.0.1/",
        "http://[::1",
        "",
    ],
)
def test_other_urls_are_refused(url):
    with pytest.raises(ValueError, match=r"URL"):
        check_url(url)


def _rsa_jwk(bits):
    return RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, bits).public_key(), as_dict=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "EC"},
        {"kty": None},
        {"alg": "HS256"},
        {"alg": "none"},
        {"alg": "ES256"},
        {"alg": "RSA-OAEP"},
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"n": "!"},
        {"n": 7},
        {"e": "AA"},
        {"e": None},
        RSAAlgorithm.to_jwk(KEY.private, as_dict=True) | {"key_ops": ["verify"]},
        {"kid": 7},
        _rsa_jwk(1024),
    ],
)
def test_keys_that_cannot_verify_are_left_out(changes):
    key_set = {"keys": [{**KEY.jwk, **changes}, OTHER.jwk, None, 7, [], {}]}
    assert [key.id for key in read_keys(json.dumps(key_set).encode())] == ["two"]


def test_number_of_keys_is_bounded():
    key_set = {"keys": [CURVE.jwk] * (module._MOST_KEYS + 1)}
    assert len(read_keys(json.dumps(key_set).encode())) == module._MOST_KEYS


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
_fields = st.sampled_from(sorted({*KEY.jwk, *CURVE.jwk, "d", "k", "key_ops", "oth"}))


@given(st.sampled_from([KEY, CURVE]), st.dictionaries(_fields, _json, max_size=4))
def test_no_key_set_raises_anything_but_value_errors(key, changes):
    keys = read_keys(json.dumps({"keys": [{**key.jwk, **changes}, OTHER.jwk]}).encode())
    assert OTHER.kid in [key.id for key in keys]


@given(st.binary(max_size=200) | _json.map(lambda value: json.dumps(value).encode()))
def test_no_answer_raises_anything_but_value_errors(body):
    with pytest.raises(ValueError, match="it "):
        read_keys(body)


async def test_keys_are_fetched_through_the_proxy_of_the_environment(monkeypatch, caplog):
    asked = []

    async def proxy(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 407 No\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(proxy, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://alice:s3cret@127.0.0.1:{port}")
        monkeypatch.setenv("NO_PROXY", ".svc")
        keys = FetchedKeys("sso", from_url("https://sso.corp.test/keys"))
        with pytest.raises(IdentityUnavailable):
            await keys.current()
    assert [request.split(b"\r\n")[0] for request in asked] == [
        b"CONNECT sso.corp.test:443 HTTP/1.1"
    ]
    assert "the proxy answers with status 407" in caplog.text
    assert "s3cret" not in caplog.text
