"""The groups of a file, which users have besides those of their credentials."""

import json

import pytest
from identity_issuer import Clock

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.identity.config import build_methods
from gateway_provisioners.gateway.identity.credential import Credential
from gateway_provisioners.gateway.identity.groups import UserGroups
from gateway_provisioners.gateway.identity.identity import Identity

ALICE = "alice-0123456789abcdef"


class Gateway:
    """Tokens of Alice and of administrators, and a file of groups."""

    def __init__(self, folder, groups, **settings):
        (folder / "people").mkdir()
        (folder / "people" / "alice").write_text(ALICE)
        self.file = folder / "groups.json"
        self.write(groups)
        self.clock = Clock(0.0)
        self.groups = UserGroups(str(self.file), self.clock)
        people = {"type": "token", "tokensFolder": str(folder / "people"), **settings}
        self.methods = build_methods("s3cret", json.dumps({"people": people}), self.groups)

    def write(self, groups):
        text = groups if isinstance(groups, str) else json.dumps(groups)
        new = self.file.with_suffix(".new")
        new.write_text(text)
        new.rename(self.file)
        if hasattr(self, "clock"):
            self.clock.now += 1

    async def identify(self, token=ALICE):
        credential = Credential(token)
        for method in self.methods:
            await method.refresh()
            if method.fits(credential):
                return await method.identify(credential)
        return None


async def test_users_have_the_groups_of_the_file(tmp_path):
    gateway = Gateway(
        tmp_path, {"research": ["alice", "bob"], "teaching": ["bob"], "data team": ["alice"]}
    )
    assert await gateway.identify() == Identity(
        "alice", frozenset({"research", "data team"}), method="people"
    )


async def test_groups_of_the_file_make_administrators(tmp_path):
    gateway = Gateway(tmp_path, {"ops": ["bob"]}, adminGroups=["ops"])
    assert not (await gateway.identify()).is_admin
    gateway.write({"ops": ["alice"]})
    assert (await gateway.identify()).is_admin
    gateway.write({"ops": []})
    assert not (await gateway.identify()).is_admin


async def test_names_in_the_file_are_those_of_this_gateway(tmp_path):
    gateway = Gateway(
        tmp_path,
        {"research": ["alice"], "teaching": ["alice@example.com"]},
        usernames={"alice": "alice@example.com"},
        groupPrefix="sso:",
    )
    assert (await gateway.identify()).groups == {"teaching"}


async def test_client_without_a_name_has_no_groups(tmp_path):
    gateway = Gateway(tmp_path, {"research": [""]}, role="admin")
    for token in (ALICE, "s3cret"):
        assert (await gateway.identify(token)).groups == frozenset()


async def test_file_that_is_missing_has_no_groups(tmp_path):
    gateway = Gateway(tmp_path, {"research": ["alice"]})
    gateway.file.unlink()
    gateway.clock.now += 1
    assert (await gateway.identify()).groups == frozenset()
    gateway.write({"teaching": ["alice"]})
    assert (await gateway.identify()).groups == {"teaching"}
    assert UserGroups(str(tmp_path / "absent")).of("alice") == frozenset()
    assert UserGroups("").of("alice") == frozenset()


MALFORMED = [
    "",
    "{",
    "[]",
    '{"research": "alice"}',
    '{"research": [1]}',
    '{"": ["alice"]}',
    '{"a\\nb": ["alice"]}',
    "[" * 5000,
    '{"research": ["\xff"]',
    " " * (4 * 1024 * 1024 + 1),
]


@pytest.mark.parametrize("content", MALFORMED, ids=range(len(MALFORMED)))
async def test_file_that_is_malformed_changes_nothing(tmp_path, caplog, content):
    gateway = Gateway(tmp_path, {"research": ["alice"]})
    gateway.write(content)
    for _ in range(3):
        assert (await gateway.identify()).groups == {"research"}
        gateway.clock.now += 1
    (line,) = caplog.messages
    assert "groups.json" in line
    assert line.endswith("The previous content stays in use.")
    with pytest.raises(ConfigurationError, match=r"groups\.json"):
        UserGroups(str(gateway.file))
