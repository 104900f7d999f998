"""The method `token`: tokens in files, their expiry, and changes of the files."""

import hashlib
import logging
import os
from datetime import datetime, timezone

import pytest
from identity_issuer import NOW, Clock

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.identity.credential import Credential
from gateway_provisioners.gateway.identity.identity import Identity, NotIdentified
from gateway_provisioners.gateway.identity.methods import tokens as module
from gateway_provisioners.gateway.identity.methods.tokens import (
    SharedToken,
    TokenMethod,
    TokenSettings,
)

ALICE = "alice-0123456789abcdef"
BOB = "bob-0123456789abcdef"
PAST, FUTURE = (
    datetime.fromtimestamp(NOW + days * 86400, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    for days in (-1, 1)
)


def hashed(token):
    return "sha256:" + hashlib.sha256(token.encode()).hexdigest()


class Folder:
    """A mounted Secret: each change is a new folder, to which a link is moved."""

    def __init__(self, path, **files):
        self.path = path
        self.version = 0
        path.mkdir()
        self.put(**files)

    def put(self, **files):
        self.version += 1
        new = self.path / f"..version{self.version}"
        new.mkdir()
        for name, content in files.items():
            (new / name).write_text(content)
            link = self.path / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")
        (self.path / "..data_tmp").symlink_to(new.name)
        (self.path / "..data_tmp").rename(self.path / "..data")
        for link in self.path.iterdir():
            if not link.name.startswith("..") and link.name not in files:
                link.unlink()


class Users:
    """The method on a folder, with clocks of its own."""

    def __init__(self, folder, **settings):
        self.clock = Clock()
        self.monotonic = Clock(0.0)
        self.method = TokenMethod(
            "people",
            TokenSettings(tokens_folder=str(folder), **settings),
            self.clock,
            self.monotonic,
        )

    async def identify(self, token):
        """Return the identity for a token, or None if it is not one of this method."""
        await self.method.refresh()
        credential = Credential(token)
        return await self.method.identify(credential) if self.method.fits(credential) else None

    async def name(self, token):
        identity = await self.identify(token)
        return identity and identity.name

    def later(self, seconds=1.0):
        self.monotonic.now += seconds


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "people", alice=ALICE, bob=f"{BOB}\n")


async def test_token_is_that_of_the_user_for_whom_its_file_is_named(folder):
    users = Users(folder.path)
    assert await users.identify(ALICE) == Identity("alice", method="people")
    assert await users.name(BOB) == "bob"
    assert await users.identify("carol-0123456789abcdef") is None
    assert await users.identify("") is None


async def test_settings_map_the_names_of_files_to_users(folder):
    users = Users(
        folder.path,
        usernames={"alice": "alice@example.com"},
        username_prefix="secret:",
        admin_users=["secret:bob"],
    )
    assert await users.identify(ALICE) == Identity("alice@example.com", method="people")
    assert await users.identify(BOB) == Identity("secret:bob", is_admin=True, method="people")


async def test_admin_tokens_are_of_no_particular_user(folder):
    folder.put(current=ALICE, next=f"{ALICE}\n{BOB}")
    users = Users(folder.path, role="admin")
    for token in (ALICE, BOB):
        assert await users.identify(token) == Identity("", is_admin=True, method="people")


async def test_user_has_several_tokens_each_with_its_expiry(folder):
    folder.put(alice=f"\n  {ALICE}-1 {FUTURE}  \r\n\n{ALICE}-2\t2100-01-31\n{ALICE}-3")
    users = Users(folder.path)
    assert (await users.identify(f"{ALICE}-1")).expires_at == NOW + 86400
    assert (await users.identify(f"{ALICE}-2")).expires_at == 4105036800
    assert (await users.identify(f"{ALICE}-3")).expires_at is None


async def test_expired_token_is_refused_and_not_left_to_other_methods(folder):
    folder.put(alice=f"{ALICE} {FUTURE}")
    users = Users(folder.path)
    assert await users.name(ALICE) == "alice"
    users.clock.now += 86400
    with pytest.raises(NotIdentified, match="expired"):
        await users.identify(ALICE)


async def test_hash_stands_for_its_token_and_is_not_a_token(folder):
    folder.put(alice=hashed(ALICE), bob=hashed(BOB).upper().replace("SHA256", "sha256"))
    users = Users(folder.path)
    assert await users.name(ALICE) == "alice"
    assert await users.name(BOB) == "bob"
    assert await users.identify(hashed(ALICE)) is None
    assert await users.identify(hashed(ALICE).removeprefix("sha256:")) is None


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("fifteen-letters", "fewer than 16 characters"),
        ("carol-0123456789abcdef 2100-01-32", "must have an expiry such as"),
        ("carol-0123456789abcdef 2100-01-01T00:00:00", "must have an expiry such as"),
        ("carol-0123456789abcdef never", "must have an expiry such as"),
        ("carol-0123456789abcdef another-0123456789abcdef", "must have an expiry such as"),
        ("carol-0123456789abcdef 2100-01-01 x", "at most an expiry"),
        ("sha256:0123", "64 hexadecimal digits"),
        (hashed("x") + "0", "64 hexadecimal digits"),
    ],
)
async def test_malformed_line_concerns_no_other_line(folder, caplog, line, cause):
    folder.put(alice=f"{line}\n{ALICE}", bob=BOB)
    users = Users(folder.path)
    assert await users.name(ALICE) == "alice"
    assert await users.name(BOB) == "bob"
    for word in [line, *line.split()]:
        assert await users.identify(word) is None
    assert "line 1 of 'alice'" in caplog.text
    assert cause in caplog.text
    assert not any(word in caplog.text for word in line.split() if len(word) > 1)
    assert ALICE not in caplog.text


async def test_token_of_two_users_is_neither_ones(folder, caplog):
    folder.put(alice=f"{ALICE}\n{BOB}", bob=BOB, carol=hashed(BOB))
    users = Users(folder.path)
    assert await users.identify(BOB) is None
    assert await users.name(ALICE) == "alice"
    assert "'alice' and 'bob' have the same token" in caplog.text
    assert BOB not in caplog.text


@pytest.mark.parametrize("order", [1, -1])
async def test_earlier_expiry_of_a_repeated_token_counts(folder, order):
    folder.put(alice="\n".join([f"{ALICE} {PAST}", ALICE, f"{ALICE} {FUTURE}"][::order]))
    with pytest.raises(NotIdentified, match="expired"):
        await Users(folder.path).identify(ALICE)


async def test_changes_are_noticed_by_the_next_request_after_a_second(folder):
    users = Users(folder.path)
    folder.put(alice=BOB, carol="carol-0123456789abcdef")
    assert await users.name(BOB) == "bob"  # not looked at yet
    users.later()
    assert await users.name("carol-0123456789abcdef") == "carol"
    assert await users.name(BOB) == "alice"
    assert await users.identify(ALICE) is None


async def test_removed_user_has_no_access(folder):
    users = Users(folder.path)
    folder.put(alice=ALICE)
    users.later()
    assert await users.identify(BOB) is None
    assert await users.name(ALICE) == "alice"
    folder.put()
    users.later()
    assert await users.identify(ALICE) is None


async def test_files_that_are_changed_in_place_are_noticed(tmp_path):
    (tmp_path / "alice").write_text(ALICE)
    (tmp_path / "bob").write_text(BOB)
    users = Users(tmp_path)
    (tmp_path / "alice").write_text(f"{ALICE}-new")
    (tmp_path / "bob").unlink()
    (tmp_path / "carol").write_text("carol-0123456789abcdef")
    users.later()
    assert await users.name(f"{ALICE}-new") == "alice"
    assert await users.identify(ALICE) is None
    assert await users.identify(BOB) is None
    assert await users.name("carol-0123456789abcdef") == "carol"


async def test_missing_folder_has_no_tokens_until_it_is_back(folder, caplog):
    users = Users(folder.path)
    away = folder.path.rename(folder.path.with_name("away"))
    users.later()
    assert await users.identify(ALICE) is None
    assert "the folder is missing" in caplog.text
    away.rename(folder.path)
    users.later()
    assert await users.name(ALICE) == "alice"


def test_folder_must_exist_at_the_start(tmp_path):
    with pytest.raises(ConfigurationError, match=r"tokensFolder: the folder .*/absent"):
        TokenMethod("people", TokenSettings(tokens_folder=str(tmp_path / "absent")))


async def test_files_that_are_not_users_are_left_alone(tmp_path, caplog):
    (tmp_path / "alice").write_text(ALICE)
    (tmp_path / "alice~").write_text(ALICE)  # an editor's copy: not a second user
    (tmp_path / ".alice.swp").write_text(ALICE)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "binary").write_bytes(b"\xff" * 32)
    (tmp_path / "large").write_text("large-0123456789abcdef\n" + " " * module.LONGEST_FILE)
    users = Users(tmp_path)
    assert await users.name(ALICE) == "alice"
    assert await users.identify("large-0123456789abcdef") is None
    for cause in (
        "'alice~' does not have the name",
        "'pipe' cannot be read",
        "not UTF-8",
        "larger",
    ):
        assert cause in caplog.text
    assert ".swp" not in caplog.text


async def test_number_of_files_is_bounded(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "MOST_FILES", 2)
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(f"{name}-0123456789abcdef")
    users = Users(tmp_path)
    names = [await users.name(f"{name}-0123456789abcdef") for name in "abc"]
    assert names == ["a", "b", None]
    assert "more than 2 files" in caplog.text


async def test_log_is_written_once_a_change_and_bounded(folder, caplog):
    caplog.set_level(logging.WARNING)
    folder.put(alice="short\n" * 100 + ALICE)
    users = Users(folder.path)
    for _ in range(5):
        users.later()
        assert await users.name(ALICE) == "alice"
    (line,) = caplog.messages
    assert "and 90 more" in line


async def test_files_are_read_off_the_event_loop_at_most_once_a_second(folder, monkeypatch):
    users = Users(folder.path)
    looks = []
    monkeypatch.setattr(users.method._folder, "_stamp", lambda: looks.append(1))
    for _ in range(3):
        for _ in range(10):
            await users.method.refresh()
        users.later()
    assert len(looks) == 3  # two, and one more look after the first, which saw a change


@pytest.mark.parametrize("text", ["s3cret", "a pass phrase", " padded ", "kühlschrank", "sha256:x"])
async def test_shared_token_may_be_any_text_as_before(text):
    method = SharedToken(text)
    credential = Credential(text.strip())
    assert method.fits(credential)
    assert await method.identify(credential) == Identity("", is_admin=True, method="token")
    assert not method.fits(Credential(text.strip()[:-1]))


async def test_shared_tokens_are_rotated_without_a_gap():
    clock = Clock()
    method = SharedToken(f"old-s3cret {FUTURE}\nnew-s3cret\n\n{hashed('hashed-s3cret')}\n", clock)
    expiries = {}
    for name in ("old", "new", "hashed"):
        expiries[name] = (await method.identify(Credential(f"{name}-s3cret"))).expires_at
    assert expiries == {"old": NOW + 86400, "new": None, "hashed": None}
    assert not method.fits(Credential(""))
    assert not method.fits(Credential(hashed("hashed-s3cret")))
    clock.now += 86400
    assert method.fits(Credential("old-s3cret"))
    with pytest.raises(NotIdentified, match="expired"):
        await method.identify(Credential("old-s3cret"))


def test_methods_keep_no_token_in_memory(folder):
    shared = SharedToken("shared-0123456789")
    users = Users(folder.path).method
    held = repr((vars(shared), vars(users), users._folder.value))
    assert ALICE not in held
    assert "shared-0123456789" not in held
