"""The variables of a kernel's container, and where their values come from."""

import pytest
from jupyter_client.kernelspec import KernelSpec

from gateway_provisioners.model.features import GATEWAY_FEATURES
from gateway_provisioners.model.request.launch_request import LaunchRequest
from gateway_provisioners.provisioners.kernel_environment import kernel_environment

MODE = "KERNEL_SPARK_CONTEXT_INIT_MODE"
EAGER = ["launch_kubernetes.py", "--spark-context-initialization-mode", "eager"]


@pytest.mark.parametrize(
    ("asked_for", "env", "argv", "mode"),
    [
        ("none", {MODE: "lazy"}, EAGER, "none"),
        (None, {MODE: "lazy"}, EAGER, "lazy"),
        (None, {}, EAGER, "eager"),
        (None, {}, [], "none"),
    ],
)
def test_the_spark_mode_of_the_client_comes_before_the_kernelspecs(asked_for, env, argv, mode):
    spec = KernelSpec(language="scala", env=env, argv=argv)
    assert environment(spec, spark_init_mode=asked_for)[MODE] == mode


def test_the_launcher_learns_the_gateways_features():
    given = environment(KernelSpec(language="scala"))
    assert given["KERNEL_GATEWAY_FEATURES"].split(",") == list(GATEWAY_FEATURES)


@pytest.mark.parametrize(
    ("env", "sent"),
    [
        ({"A": "b"}, {"A": "b"}),
        ({"A": "$B ${} ${1} $(C) $$"}, {"A": "$B ${} ${1} $(C) $$"}),
        ({"PATH": "/opt:${PATH}"}, {"KERNEL_EXPAND_PATH": "/opt:${PATH}"}),
        ({"A": "${B}"}, {"A": "${B}", "KERNEL_EXPAND_A": "${B}"}),
        ({"a.b": "${B}"}, {"a.b": "${B}"}),
    ],
)
def test_references_are_sent_to_the_container_as_they_are(monkeypatch, env, sent):
    monkeypatch.setenv("B", "the gateway's")
    without = environment(KernelSpec(language="r"))
    given = environment(KernelSpec(language="r", env=env))
    assert {name: given[name] for name in given.keys() - without.keys()} == sent


def test_a_reference_does_not_replace_what_the_gateway_sets():
    given = environment(KernelSpec(language="r", env={"KERNEL_ID": "${X}", "PUBLIC_KEY": "${X}"}))
    assert not [name for name in given if name.startswith("KERNEL_EXPAND_")]
    assert given["KERNEL_ID"] == "1"


def environment(spec, **request):
    return kernel_environment(
        spec,
        LaunchRequest(username="alice", **request),
        kernel_id="1",
        kernel_name="scala",
        transport_encryption="auto",
        response_address="127.0.0.1:8877",
        public_key="key",
        port_range="0..0",
        max_message_bytes=2**25,
    )
