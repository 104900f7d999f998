"""An OpenID Connect issuer: Canaille, on loopback. `python oidc_issuer.py PORT SECONDS CALLBACK_PORT`.

Its tokens expire after SECONDS, other than refresh tokens. SIGHUP replaces its keys.
"""

import asyncio
import signal
import sys

import canaille
from asgiref.wsgi import WsgiToAsgi
from canaille.app import models
from canaille.backends import Backend
from canaille.oidc.jose import make_default_rsa_jwk
from canaille.oidc.models import Token
from hypercorn.asyncio import serve
from hypercorn.config import Config

CLIENT_ID = "gateway"
CALLBACK = "http://127.0.0.1:{}/callback"
GROUPS = {"alice": "analysts", "bob": "guests"}


def password(user):
    return f"the password of {user}"


def add_users(callback_port):
    for name, group in GROUPS.items():
        user = models.User(
            user_name=name,
            formatted_name=name,
            family_name=name,
            emails=[f"{name}@example.com"],
            password=password(name),
        )
        Backend.instance.save(user)
        Backend.instance.save(models.Group(display_name=group, members=[user]))
    client = models.Client(
        client_id=CLIENT_ID,
        client_name=CLIENT_ID,
        client_uri="http://127.0.0.1",  # trusted: its users are not asked for their consent
        redirect_uris=[CALLBACK.format(callback_port)],
        token_endpoint_auth_method="none",
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
        scope=["openid", "profile", "groups"],
    )
    Backend.instance.save(client)
    client.audience = [client]
    Backend.instance.save(client)


def keep_refresh_tokens():
    """Have refresh tokens outlive others, as those of most issuers: Canaille has one lifetime for both."""
    Token.is_refresh_token_active = lambda token: not token.revoked


async def run(app, port):
    def replace_keys():
        keys = [make_default_rsa_jwk().as_dict(private=True)]
        app.config["CANAILLE_OIDC"]["ACTIVE_JWKS"] = keys

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, replace_keys)
    await serve(WsgiToAsgi(app), Config.from_mapping(bind=f"127.0.0.1:{port}"))


def main(port, seconds, callback_port):
    keep_refresh_tokens()
    grants = ("authorization_code", "refresh_token")
    app = canaille.create_app(
        config={
            "SECRET_KEY": "of the sessions of this issuer's pages",
            "SERVER_NAME": f"127.0.0.1:{port}",
            "PREFERRED_URL_SCHEME": "http",
            "CANAILLE": {"DATABASE": "memory"},
            "CANAILLE_OIDC": {"REQUIRE_NONCE": False},
            "OAUTH2_TOKEN_EXPIRES_IN": dict.fromkeys(grants, int(seconds)),
        }
    )
    with app.app_context(), Backend.instance.session():
        add_users(callback_port)
    asyncio.run(run(app, port))


if __name__ == "__main__":
    main(*sys.argv[1:])
