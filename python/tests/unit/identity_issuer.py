"""An issuer of JWTs on loopback, and a clock that stands still."""

import base64
import json
from contextlib import asynccontextmanager

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

NOW = 1_800_000_000.0


class Clock:
    """A clock that a test moves."""

    def __init__(self, now=NOW):
        self.now = now

    def __call__(self):
        return self.now


class SigningKey:
    """A private key of an issuer, with its public half as a JWK."""

    def __init__(self, kid, algorithm="RS256", **changes):
        self.kid = kid
        self.algorithm = algorithm
        if algorithm[:2] in ("RS", "PS"):
            self.private = rsa.generate_private_key(65537, 2048)
            jwk = RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        elif algorithm[:2] == "ES":
            curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
            self.private = ec.generate_private_key(curves[algorithm])
            jwk = ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        else:
            self.private = ed25519.Ed25519PrivateKey.generate()
            jwk = OKPAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        jwk.pop("key_ops", None)
        self.jwk = {**jwk, "kid": kid, "use": "sig", "alg": algorithm, **changes}

    def sign(self, claims, algorithm=None, **header):
        headers = {"kid": self.kid, **header}
        return jwt.encode(
            claims,
            self.private,
            algorithm or self.algorithm,
            headers={name: value for name, value in headers.items() if value is not None},
        )


class Issuer:
    """Publishes keys and its discovery document, and counts requests.

    `keys`, `status`, `body`, `document` and `headers` change the answers; `gate` is an event for which the
    keys wait.
    """

    def __init__(self, *keys):
        self.keys = list(keys)
        self.status = 200
        self.body = None
        self.document = {}
        self.headers = {}
        self.gate = None
        self.requests = []

    async def publish(self, request):
        self.requests.append(request)
        if self.gate:
            await self.gate.wait()
        body = self.body
        if body is None:
            body = json.dumps({"keys": [key.jwk for key in self.keys]}).encode()
        return web.Response(body=body, status=self.status, headers=self.headers)

    async def discover(self, request):
        document = {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.document}
        return web.json_response(document)

    @asynccontextmanager
    async def serving(self, tls=None):
        app = web.Application()
        app.router.add_get("/keys", self.publish)
        app.router.add_get("/openid/v1/jwks", self.publish)
        app.router.add_get("/.well-known/openid-configuration", self.discover)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            await runner.cleanup()


def claims(issuer, now=NOW, **changes):
    everything = {
        "iss": issuer,
        "aud": "gateway",
        "sub": "alice",
        "exp": int(now) + 600,
        "iat": int(now),
        **changes,
    }
    return {name: value for name, value in everything.items() if value is not None}


def unsigned(header, payload, signature=b""):
    """Return a token of any header, payload and signature: values for JSON, or bytes."""

    def part(value):
        text = value if isinstance(value, bytes) else json.dumps(value).encode()
        return base64.urlsafe_b64encode(text).rstrip(b"=").decode()

    return ".".join(map(part, (header, payload, signature)))
