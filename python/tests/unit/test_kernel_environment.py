"""The literal environment of a kernel's container."""

import pytest
from jupyter_client.kernelspec import KernelSpec

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
    environment = kernel_environment(
        KernelSpec(language="scala", env=env, argv=argv),
        LaunchRequest(username="alice", spark_init_mode=asked_for),
        kernel_id="1",
        kernel_name="scala",
        transport_encryption="auto",
        response_address="127.0.0.1:8877",
        public_key="key",
        port_range="0..0",
    )
    assert environment[MODE] == mode
