"""The launchers of the documentation: docs/write-a-launcher.md's own, and that of examples/bash-kernel."""

import ast
import base64
import json
import os
import re
import socket
import textwrap
import threading
import types

import pytest
import reference_v1
from cryptography.exceptions import InvalidTag
from launched import LAUNCHERS
from test_vectors import VECTORS, fix_random, named, private_key, public_key

from gateway_provisioners.handshake import payload

ROOT = LAUNCHERS.parent
PAGE = (ROOT / "docs/write-a-launcher.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
EXAMPLE = ROOT / "examples/bash-kernel/launch"


def function_of_the_page(name):
    """One function of the page's launcher, without the rest of it, which would run."""
    tree = ast.parse(BLOCKS[0])
    tree.body = [
        node
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom) or getattr(node, "name", "") == name
    ]
    names = {}
    exec(compile(tree, "write-a-launcher.md", "exec"), names)
    return names[name]


@pytest.fixture(scope="module")
def example():
    """The Bash kernel's launcher as a module, of which no bytecode is left beside it."""
    module = types.ModuleType("bash_launcher")
    exec(compile(EXAMPLE.read_text(), EXAMPLE, "exec"), vars(module))
    return module


def launch_key(example, entry):
    return example.LaunchKey(base64.b64decode(entry["launch_key"]), entry["kernel_id"])


@pytest.mark.parametrize("entry", named(e for e in VECTORS["reports"] if e["version"] == 1))
def test_the_pages_report(entry):
    report = function_of_the_page("report")
    aes_key = base64.b64decode(entry["aes_key"])
    blob = report(json.loads(entry["plaintext"]), public_key(entry["rsa_key"]), aes_key)
    assert json.loads(base64.b64decode(blob))["conn_info"] == entry["encrypted"]
    assert reference_v1.decode(blob, private_key(entry["rsa_key"])) == entry["connection_info"]


@pytest.mark.parametrize("entry", named(e for e in VECTORS["reports"] if e["version"] == 2))
def test_the_examples_report(example, entry, monkeypatch):
    fix_random(monkeypatch, base64.b64decode(entry["nonce"]))
    blob = launch_key(example, entry).report(json.loads(entry["plaintext"]))
    assert json.loads(base64.b64decode(blob)) == json.loads(base64.b64decode(entry["blob"]))


@pytest.mark.parametrize("entry", named(VECTORS["commands"]))
def test_the_example_reads_commands(example, entry):
    command = launch_key(example, entry).open_command(entry["line"], entry["challenge"])
    assert command == entry["message"]


@pytest.mark.parametrize("entry", named(VECTORS["replies"]))
def test_the_examples_reply(example, entry, monkeypatch):
    fix_random(monkeypatch, base64.b64decode(entry["nonce"]))
    line = launch_key(example, entry).reply(entry["message"], entry["challenge"])
    assert json.loads(line) == json.loads(entry["line"])
    assert line.endswith(b"\n")


@pytest.mark.parametrize("name", VECTORS["invalid_commands"]["lines"])
def test_the_example_obeys_no_other_command(example, name):
    invalid = VECTORS["invalid_commands"]
    # What `serve` takes for a command that has no effect.
    refusals = (OSError, ValueError, KeyError, TypeError, AttributeError, InvalidTag)
    with pytest.raises(refusals):
        launch_key(example, invalid).open_command(invalid["lines"][name], invalid["challenge"])


@pytest.mark.parametrize(("command", "ok"), [({"signum": 0}, True), ({"usage": 1}, False)])
def test_the_example_answers_commands(example, command, ok):
    entry = VECTORS["commands"][0]
    key = entry["launch_key"], entry["kernel_id"]
    kernel = types.SimpleNamespace(pid=os.getpid())
    ours, theirs = socket.socketpair()
    serving = threading.Thread(
        target=example.serve, args=(theirs, kernel, launch_key(example, entry))
    )
    with ours, ours.makefile("rb") as lines:
        serving.start()
        challenge = payload.parse_challenge(lines.readline())
        ours.sendall(payload.seal_command(command, *key, challenge))
        assert payload.open_reply(lines.readline(), *key, challenge)["ok"] is ok
    serving.join()


def test_the_page_quotes_the_example():
    source = EXAMPLE.read_text()
    for block in BLOCKS[1:]:
        assert textwrap.dedent(block).strip() in source


def test_the_pages_launcher_has_forty_lines():
    lines = [line for line in BLOCKS[0].splitlines() if line.strip()]
    assert "forty lines" in PAGE
    assert 38 <= len(lines) <= 42
