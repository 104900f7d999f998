"""The policy for clients of kernel pods: each refusal, as a client gets it."""

import pytest

from api.running import running_gateway
from cluster.gateway_client import Refused


@pytest.fixture
def add_pod_kernel(add_kernelspec):
    """Add a kernelspec of the real provisioner; requests are refused before it needs a cluster."""

    def add(**config):
        provisioner = {
            "provisioner_name": "kubernetes-provisioner",
            "config": {"image_name": "acme/data-sci-py:2.0", **config},
        }
        add_kernelspec("pod", metadata={"kernel_provisioner": provisioner})

    return add


async def refused(gateway, **env):
    with pytest.raises(Refused) as caught:
        await gateway.client.start("pod", **env)
    return caught.value


@pytest.mark.parametrize(
    ("env", "status", "message"),
    [
        (
            {"KERNEL_CPUS": "4500m"},
            403,
            "KERNEL_CPUS='4500m' is more than clients may request for this kernel: at most 4 (max_cpus).",
        ),
        (
            {"KERNEL_MEMORY_LIMIT": "17179869185"},
            403,
            (
                "KERNEL_MEMORY_LIMIT='17179869185' is more than clients may request for this kernel: "
                "at most 16Gi (max_memory)."
            ),
        ),
        (
            {"KERNEL_GPUS": "2"},
            403,
            "KERNEL_GPUS='2' is more than clients may request for this kernel: at most 1 (max_gpus).",
        ),
        ({"KERNEL_MEMORY": "16 Gi"}, 400, "KERNEL_MEMORY='16 Gi' is not a valid quantity;"),
        ({"KERNEL_MEMORY_LIMIT": "0"}, 400, "KERNEL_MEMORY_LIMIT='0': Kubernetes treats"),
        ({"KERNEL_UID": "0"}, 403, "KERNEL_UID='0' is not allowed:"),
        ({"KERNEL_UID": "0x0"}, 400, "KERNEL_UID='0x0' is not a valid id;"),
        ({"KERNEL_UID": " 0"}, 400, "KERNEL_UID=' 0' is not a valid id;"),
        ({"KERNEL_GID": "\u0660"}, 400, "KERNEL_GID='\u0660' is not a valid id;"),
        (
            {"KERNEL_NAMESPACE": "kube-system"},
            403,
            (
                "KERNEL_NAMESPACE='kube-system' is not allowed: it is set by the administrator of this "
                "gateway, to 'notebooks'. Remove KERNEL_NAMESPACE from the kernel's environment."
            ),
        ),
        (
            {"KERNEL_SERVICE_ACCOUNT_NAME": "admin"},
            403,
            (
                "KERNEL_SERVICE_ACCOUNT_NAME='admin' is not allowed: it is set by the administrator of this "
                "gateway, to 'kernel' or 'spark' (client_service_accounts)."
            ),
        ),
        (
            {"KERNEL_VOLUMES": '[{"name": "x", "hostPath": {"path": "/"}}]'},
            403,
            "Volume 1 of KERNEL_VOLUMES is not allowed:",
        ),
        (
            {
                "KERNEL_VOLUMES": '[{"name": "x", "persistentVolumeClaim": {"claimName": "home-bob"}}]'
            },
            403,
            (
                "KERNEL_VOLUMES asks for the claim 'home-bob'; clients of this kernel may mount: "
                "'datasets', 'home-jovyan' (client_claims)."
            ),
        ),
        ({"KERNEL_WORKING_DIR": "work"}, 400, "KERNEL_WORKING_DIR='work' must be an absolute path"),
        ({"KERNEL_USERNAME": "root"}, 403, "User 'root' may not start kernel 'pod':"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_each_refusal_names_its_rule(add_pod_kernel, monkeypatch, env, status, message):
    for name, value in {
        "GP_MAX_CPUS": "4",
        "GP_MAX_MEMORY": "16Gi",
        "GP_MAX_GPUS": "1",
        "GP_CLIENT_SERVICE_ACCOUNTS": "spark",
        "GP_CLIENT_CLAIMS": "datasets,home-{username}",
        "GP_DEFAULT_KERNEL_SERVICE_ACCOUNT_NAME": "kernel",
        "GP_MIRROR_WORKING_DIRS": "true",
        "GP_NAMESPACE": "notebooks",
    }.items():
        monkeypatch.setenv(name, value)
    add_pod_kernel()
    async with running_gateway() as gateway:
        answer = await refused(gateway, **env)
        assert answer.status == status
        assert answer.reason == ("PolicyViolation" if status == 403 else "InvalidRequest")
        assert answer.message.startswith(message)
        assert await gateway.client.kernels() == {}


async def test_a_kernelspec_can_have_its_own_policy(add_pod_kernel, monkeypatch):
    monkeypatch.setenv("GP_MAX_GPUS", "0")
    add_pod_kernel(max_gpus="8", client_ids=True, prohibited_uids=["0-999"])
    async with running_gateway() as gateway:
        answer = await refused(gateway, KERNEL_GPUS="9")
        assert "at most 8 (max_gpus)" in answer.message
        answer = await refused(gateway, KERNEL_UID="999")
        assert answer.message == (
            "KERNEL_UID=999 is not allowed; prohibited ids: 0-999 (prohibited_uids)."
        )


async def test_an_invalid_policy_setting_refuses_every_start(add_pod_kernel, monkeypatch):
    monkeypatch.setenv("GP_MAX_MEMORY", "16GB")
    add_pod_kernel()
    async with running_gateway() as gateway:
        answer = await refused(gateway)
        assert (answer.status, answer.reason) == (500, "Configuration")
        assert (
            "The setting max_memory cannot be read: '16GB' is not a valid quantity"
            in answer.message
        )


async def test_variables_that_clients_may_set_are_named(monkeypatch):
    monkeypatch.setenv("GP_CLIENT_ENVS", "MLFLOW_TRACKING_URI,AWS_PROFILE")
    async with running_gateway() as gateway:
        with pytest.raises(Refused) as caught:
            await gateway.client.start("local", LD_PRELOAD="x")
    assert caught.value.status == 403
    assert caught.value.message == (
        "Clients of this gateway may not set LD_PRELOAD, only KERNEL_*, AWS_PROFILE, "
        "MLFLOW_TRACKING_URI. Its administrator can allow it by adding it to GP_CLIENT_ENVS."
    )
