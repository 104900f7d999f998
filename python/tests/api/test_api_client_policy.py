"""The policy for clients of kernel pods: each refusal, as a client gets it."""

import pytest

from api.running import running_gateway
from ci.gateway_client import Refused
from message_words import unwrapped


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
        ({"KERNEL_MEMORY_LIMIT": "0"}, 400, "KERNEL_MEMORY_LIMIT='0' is too small for a limit;"),
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
            {"KERNEL_EXTRA_SPARK_OPTS": "--jars https://example.com/a.jar"},
            403,
            (
                "KERNEL_EXTRA_SPARK_OPTS is not allowed: the administrator of this gateway chooses the "
                "options of spark-submit (client_spark_options). Remove KERNEL_EXTRA_SPARK_OPTS from"
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
        assert unwrapped(answer.message).startswith(message)
        assert await gateway.client.kernels() == {}


async def test_a_kernelspec_can_have_its_own_policy(add_pod_kernel, monkeypatch):
    monkeypatch.setenv("GP_MAX_GPUS", "0")
    add_pod_kernel(max_gpus="8", client_ids=True, prohibited_uids=["0-999"])
    async with running_gateway() as gateway:
        answer = await refused(gateway, KERNEL_GPUS="9")
        assert "at most 8 (max_gpus)" in unwrapped(answer.message)
        answer = await refused(gateway, KERNEL_UID="999")
        assert unwrapped(answer.message) == (
            "KERNEL_UID=999 is not allowed; prohibited ids: 0-999 (prohibited_uids)."
        )


async def test_a_kernels_own_limits_are_the_maximum(add_pod_kernel):
    add_pod_kernel(resources={"limits": {"cpu": 2, "memory": "1Gi"}}, max_cpus="3")
    async with running_gateway() as gateway:
        for wish, most in (
            ({"KERNEL_MEMORY_LIMIT": "512Gi"}, "1Gi, the kernel's own limit."),
            ({"KERNEL_MEMORY": "2Gi"}, "1Gi, the kernel's own limit."),
            ({"KERNEL_CPUS_LIMIT": "64"}, "3 (max_cpus)."),
            ({"KERNEL_GPUS": "8"}, "0, the kernel's own limit."),
        ):
            answer = await refused(gateway, **wish)
            assert (answer.status, answer.reason) == (403, "PolicyViolation")
            assert f"more than clients may request for this kernel: at most {most}" in unwrapped(
                answer.message
            )


@pytest.mark.attack(17)
@pytest.mark.parametrize(
    "value", ["0", "00", "0999", "999", "+0", "-0", "0\n", "0x0", "0e0", "4294967296"]
)
async def test_no_spelling_of_a_prohibited_id_starts_a_kernel(add_pod_kernel, value):
    add_pod_kernel(client_ids=True, prohibited_uids=["0-999"], prohibited_gids=["0-999"])
    async with running_gateway() as gateway:
        for name in ("KERNEL_UID", "KERNEL_GID"):
            assert (await refused(gateway, **{name: value})).status in {400, 403}


@pytest.mark.attack(17)
async def test_no_spelling_of_an_amount_exceeds_the_maximum(add_pod_kernel):
    add_pod_kernel(max_memory="1Gi", max_cpus="1")
    async with running_gateway() as gateway:
        for value in ("1025Mi", "1.1Gi", "1073741825", "2e9", "1e99", "1Ei", "1_0Gi", "Infinity"):
            for name in ("KERNEL_MEMORY", "KERNEL_MEMORY_LIMIT"):
                assert (await refused(gateway, **{name: value})).status in {400, 403}
        for value in ("1001m", "1.001", "2", "1e1", "1k", "inf"):
            assert (await refused(gateway, KERNEL_CPUS=value)).status in {400, 403}


@pytest.mark.attack(17)
async def test_prohibited_ids_in_reverse_order_refuse_every_start(add_pod_kernel):
    add_pod_kernel(client_ids=True, prohibited_uids=["999-0"])
    async with running_gateway() as gateway:
        answer = await refused(gateway, KERNEL_UID="500")
    assert (answer.status, answer.reason) == (500, "Configuration")


async def test_an_invalid_policy_setting_refuses_every_start(add_pod_kernel, monkeypatch):
    monkeypatch.setenv("GP_MAX_MEMORY", "16GB")
    add_pod_kernel()
    async with running_gateway() as gateway:
        answer = await refused(gateway)
        assert (answer.status, answer.reason) == (500, "Configuration")
        assert "The setting max_memory cannot be read: '16GB' is not a valid quantity" in unwrapped(
            answer.message
        )


async def test_variables_that_clients_may_set_are_named(monkeypatch):
    monkeypatch.setenv("GP_CLIENT_ENVS", "MLFLOW_TRACKING_URI,AWS_PROFILE")
    async with running_gateway() as gateway:
        with pytest.raises(Refused) as caught:
            await gateway.client.start("local", LD_PRELOAD="x")
    assert caught.value.status == 403
    assert unwrapped(caught.value.message) == (
        "Clients of this gateway may not set LD_PRELOAD, only KERNEL_*, AWS_PROFILE, "
        "MLFLOW_TRACKING_URI. Its administrator can allow it by adding it to GP_CLIENT_ENVS."
    )
