"""The method `header`: only the proxy may say who the user is."""

import msgspec
import pytest
from tornado.httputil import HTTPHeaders

from fake_clock import Clock
from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.identity.credential import Credential
from gateway_provisioners.gateway.identity.identity import NotIdentified
from gateway_provisioners.gateway.identity.methods.header import HeaderMethod, HeaderSettings

SECRET = "a-secret-of-the-proxy"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def secret_file(tmp_path):
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    return file


@pytest.fixture
def method(secret_file, clock):
    settings = HeaderSettings(secret_file=str(secret_file))
    return HeaderMethod("proxy", settings, clock=clock)


def request(*headers, names=()):
    """Return the credential of a request with these lines of headers, as they are in it."""
    lines = "".join(f"{line}\r\n" for line in headers)
    return Credential("", HTTPHeaders.parse(lines), frozenset(names))


async def identify(method, credential):
    """Identify a client as the authenticator does."""
    await method.refresh()
    assert method.fits(credential)
    return await method.identify(credential)


ALICE = "X-Forwarded-User: alice"
PROVEN = f"X-Gateway-Secret: {SECRET}"


async def test_the_proxy_names_the_user_and_the_groups(method):
    credential = request(PROVEN, ALICE, "X-Forwarded-Groups: analysts, , operators,")
    assert method.fits(credential)
    identity = await method.identify(credential)
    assert (identity.name, identity.groups) == ("alice", {"analysts", "operators"})
    assert (identity.method, identity.is_admin) == ("proxy", False)


async def test_names_are_utf_8(method):
    value = "Zoë Å".encode().decode("latin-1")  # as tornado reads it
    assert (await method.identify(request(PROVEN, f"X-Forwarded-User: {value}"))).name == "Zoë Å"
    with pytest.raises(NotIdentified, match="not valid UTF-8"):
        await method.identify(request(PROVEN, "X-Forwarded-User: Zo\xeb"))


@pytest.mark.attack(15)
def test_the_header_of_an_outsider_does_not_count(method):
    assert not method.fits(request(ALICE))
    assert not method.fits(request(ALICE, "X-Forwarded-Groups: admins"))
    assert not method.fits(request(ALICE, f"Authorization: token {SECRET}"))
    assert not method.fits(request(ALICE, f"X_Gateway_Secret: {SECRET}"))


WRONG = ["", "wrong", SECRET.upper(), SECRET[:-1], f"{SECRET}x", f"{SECRET},{SECRET}", "\xe9" * 20]


@pytest.mark.attack(15)
@pytest.mark.parametrize("secret", WRONG)
async def test_a_wrong_secret_is_final(method, secret):
    credential = request(f"X-Gateway-Secret: {secret}", ALICE)
    assert method.fits(credential)
    with pytest.raises(NotIdentified) as refusal:
        await method.identify(credential)
    assert str(refusal.value) == (
        "The secret in the header X-Gateway-Secret is wrong: the proxy must send the one that it shares "
        "with the gateway."
    )


@pytest.mark.attack(15)
@pytest.mark.parametrize(
    "headers",
    [
        (PROVEN, ALICE, "X-Forwarded-User: bob"),
        (PROVEN, ALICE, "x-forwarded-user: alice"),
        (PROVEN, PROVEN, ALICE),
        (PROVEN, ALICE, "X-Forwarded-Groups: a", "X-Forwarded-Groups: admins"),
    ],
)
async def test_a_header_that_occurs_twice_may_be_the_clients(method, headers):
    with pytest.raises(NotIdentified, match="occurs 2 times: the proxy must set it, and remove"):
        await method.identify(request(*headers))


@pytest.mark.parametrize("line", ["X-Forwarded-User:", "X-Forwarded-User: a\xa0", "X-Other: alice"])
async def test_a_proxy_that_names_no_user(method, line):
    with pytest.raises(NotIdentified):
        await method.identify(request(PROVEN, line))


async def test_a_certificate_instead_of_a_secret():
    method = HeaderMethod("proxy", HeaderSettings(certificate_names=("proxy.example", "b")))
    assert not method.fits(request(ALICE))
    assert not method.fits(request(ALICE, PROVEN))
    assert not method.fits(request(ALICE, names={"user.example", "proxy.example.org"}))
    credential = request(ALICE, names={"other", "proxy.example"})
    assert method.fits(credential)
    assert (await method.identify(credential)).name == "alice"


async def test_if_both_proofs_are_set_both_are_needed(secret_file, clock):
    settings = HeaderSettings(secret_file=str(secret_file), certificate_names=("proxy.example",))
    method = HeaderMethod("proxy", settings, clock=clock)
    assert not method.fits(request(ALICE, names={"user.example"}))
    only_certificate = request(ALICE, names={"proxy.example"})
    only_secret = request(ALICE, PROVEN, names={"user.example"})
    for credential, words in (
        (only_certificate, "X-Gateway-Secret is missing"),
        (only_secret, "certificate has none of the names"),
    ):
        assert method.fits(credential)
        with pytest.raises(NotIdentified, match=words):
            await method.identify(credential)
    assert (await method.identify(request(ALICE, PROVEN, names={"proxy.example"}))).name == "alice"


async def test_secrets_are_rotated_without_a_gap(method, secret_file, clock):
    old, new = request(PROVEN, ALICE), request("X-Gateway-Secret: another-secret-16", ALICE)
    with pytest.raises(NotIdentified):
        await identify(method, new)
    secret_file.write_text(f"another-secret-16\n\n  {SECRET}\n")
    clock.now += 1
    for credential in (old, new):
        assert (await identify(method, credential)).name == "alice"
    secret_file.write_text("another-secret-16")
    clock.now += 1
    assert (await identify(method, new)).name == "alice"
    with pytest.raises(NotIdentified):
        await identify(method, old)


UNUSABLE = {
    None: "secretFile: {file} cannot be read: No such file or directory.",
    "": "secretFile: {file} must hold a secret of at least 16 characters in each line.",
    "fifteen-letters": "secretFile: {file} must hold a secret of at least 16 characters in each line.",
    f"{SECRET}\nshort": "secretFile: {file} must hold a secret of at least 16 characters in each line.",
    "x" * 20_000: "secretFile: {file} must have at most 100 lines and 16384 bytes.",
    f"{SECRET}\n" * 101: "secretFile: {file} must have at most 100 lines and 16384 bytes.",
}


@pytest.mark.parametrize("content", UNUSABLE, ids=range(len(UNUSABLE)))
def test_a_file_that_cannot_be_used(tmp_path, content):
    file = tmp_path / "secret"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigurationError) as refusal:
        HeaderMethod("proxy", HeaderSettings(secret_file=str(file)))
    assert str(refusal.value) == UNUSABLE[content].format(file=file)


@pytest.mark.parametrize("content", UNUSABLE, ids=range(len(UNUSABLE)))
async def test_a_file_that_cannot_be_used_any_more(method, secret_file, clock, content, caplog):
    secret_file.unlink()
    if content is not None:
        secret_file.write_text(content)
    clock.now += 1
    assert (await identify(method, request(PROVEN, ALICE))).name == "alice"
    assert UNUSABLE[content].format(file=secret_file) in caplog.text
    assert SECRET not in caplog.text
    secret_file.write_text("another-secret-16")
    clock.now += 1
    with pytest.raises(NotIdentified):
        await identify(method, request(PROVEN, ALICE))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "secretFile .* or certificateNames must be set, since any client can send the header"),
        ({"certificateNames": []}, "must be set"),
        ({"certificateNames": [""]}, "certificateNames"),
        ({"secretFile": "a", "userHeader": "X User"}, "userHeader"),
        ({"secretFile": "a", "groupsHeader": "X-Forwarded-user"}, "different headers"),
        ({"secretFile": "a", "secret": "b"}, "secret"),
    ],
)
def test_settings_that_cannot_work(settings, words):
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert({"type": "header", **settings}, HeaderSettings)


async def test_names_of_headers_are_the_administrators(secret_file, clock):
    settings = {
        "type": "header",
        "secretFile": str(secret_file),
        "userHeader": "Remote-User",
        "groupsHeader": "Remote-Groups",
        "secretHeader": "Proxy-Secret",
        "order": 5,
        "adminGroups": ["p:admins"],
        "groupPrefix": "p:",
    }
    method = HeaderMethod("sso", msgspec.convert(settings, HeaderSettings), clock=clock)
    assert method.order == 5
    credential = request(
        f"proxy-secret: {SECRET}",
        "remote-user: alice",
        "remote-groups: admins",
        "X-Forwarded-User: bob",
    )
    assert method.fits(credential)
    identity = await method.identify(credential)
    assert (identity.name, identity.groups, identity.is_admin) == ("alice", {"p:admins"}, True)
