"""Values of clients in refusals: on one line, and little of them."""

import msgspec
import pytest

from gateway_provisioners.errors import InvalidRequest, PolicyViolation
from gateway_provisioners.gateway.http.start_request import (
    UnknownKernel,
    parse_session_request,
    parse_start_request,
)
from gateway_provisioners.model.quota import KernelQuota, KernelUsage
from gateway_provisioners.model.request.client_policy import ClientPolicy
from gateway_provisioners.model.request.launch_request import parse_launch_request
from gateway_provisioners.provisioners.authorization import check_user

FORGED = "\r\n[I] forged\x1b[2J\u2028" + "x" * 1_000_000
OPTIONS = {
    "known_names": lambda: {"local"},
    "default_name": "local",
    "forced_name": "",
    "client_variables": (),
}
VOLUME = '[{"name": "a", "persistentVolumeClaim": {"claimName": "%s"}}]'
MOUNT = '[{"name": "a", "mountPath": "/a", "%s": 1}]'


def is_short(error):
    return len(str(error)) < 1000 and str(error).isprintable()


@pytest.mark.attack(20)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            (name, FORGED)
            for name in (
                *("KERNEL_NAMESPACE", "KERNEL_POD_NAME", "KERNEL_UID", "KERNEL_GID"),
                *("KERNEL_CPUS", "KERNEL_CPUS_LIMIT", "KERNEL_MEMORY", "KERNEL_MEMORY_LIMIT"),
                *("KERNEL_GPUS", "KERNEL_GPUS_LIMIT", "KERNEL_SERVICE_ACCOUNT_NAME"),
                *("KERNEL_VOLUMES", "KERNEL_VOLUME_MOUNTS", "KERNEL_WORKING_DIR"),
                *("KERNEL_LAUNCH_TIMEOUT", "KERNEL_SPARK_CONTEXT_INIT_MODE"),
                *("KERNEL_MAILBOX_BYTES", "KERNEL_MAILBOX_DISK_BYTES"),
            )
        ),
        ("KERNEL_MEMORY", "9" * 1_000_000),
        ("KERNEL_VOLUMES", VOLUME % ("x" * 1_000_000)),
        ("KERNEL_VOLUME_MOUNTS", MOUNT % ("x" * 1_000_000)),
        (FORGED, "x"),
        ("KERNEL_X", FORGED),
    ],
)
def test_refusal_of_a_variable_quotes_little_of_it(name, value):
    policy = ClientPolicy(client_ids=True, mirror_working_dirs=True)
    with pytest.raises((InvalidRequest, PolicyViolation)) as refused:
        parse_launch_request({name: value}, admin_settings={}, policy=policy)
    assert is_short(refused.value)


@pytest.mark.attack(20)
@pytest.mark.parametrize("parse", [parse_start_request, parse_session_request])
@pytest.mark.parametrize("key", ["name", "kernel_id", "env", "variable"])
def test_refusal_of_a_request_quotes_little_of_it(parse, key):
    request = {"env": {FORGED: "x"}} if key == "variable" else {key: FORGED}
    body = request if parse is parse_start_request else {"path": "a", "kernel": request}
    with pytest.raises((InvalidRequest, UnknownKernel)) as refused:
        parse(msgspec.json.encode(body), **OPTIONS)
    assert is_short(refused.value)


@pytest.mark.attack(20)
def test_refusal_of_a_user_quotes_little_of_the_name():
    with pytest.raises(PolicyViolation) as refused:
        check_user(FORGED, kernel_name="local", authorized={"alice"}, unauthorized=set())
    assert is_short(refused.value)
    kernels = [KernelUsage(str(number), FORGED, FORGED, FORGED) for number in range(2)]
    assert is_short(KernelQuota(most_per_user=1).refusal(kernels[:1], kernels[1]))
