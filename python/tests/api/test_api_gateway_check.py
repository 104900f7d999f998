"""The program of `helm test`: its output for a gateway that works, and for each failure."""

import pytest

from api.certificates import write_certificate
from api.provisioners import IMAGE_MISSING, Failing
from api.running import TOKEN, running_gateway
from gateway_provisioners.cli.chart.gateway_check import CheckFailed, check


def environment(gateway, **changes):
    return {"JUPYTER_GATEWAY_URL": gateway.url, "JUPYTER_GATEWAY_AUTH_TOKEN": TOKEN, **changes}


async def test_each_step_that_works_is_printed(capsys):
    async with running_gateway() as gateway:
        await check(environment(gateway, KERNEL_USERNAME="alice", HOME="/"))
        assert await gateway.client.kernels() == {}
        assert capsys.readouterr().out.splitlines() == [
            f"ok       gateway: {gateway.url} accepts the token and lists local, python3",
            "ok       local: a pod runs it",
            "ok       local: 1 + 1 gives 2",
            "ok       local: its pod is removed",
        ]


async def test_certificate_validation_can_be_turned_off(tmp_path, capsys):
    write_certificate(tmp_path, "gateway.example.com")
    files = {"certfile": str(tmp_path / "tls.crt"), "keyfile": str(tmp_path / "tls.key")}
    async with running_gateway(**files) as gateway:
        url = gateway.url.replace("http:", "https:")
        https = environment(gateway, JUPYTER_GATEWAY_URL=url)
        with pytest.raises(CheckFailed, match=f"^{url} cannot be reached: .*certificate"):
            await check(https)
        await check({**https, "JUPYTER_GATEWAY_VALIDATE_CERT": "false"})
    assert "1 + 1 gives 2" in capsys.readouterr().out


async def test_a_kernel_that_does_not_start_fails_with_the_reason(add_provisioner):
    add_provisioner("failing", Failing)
    async with running_gateway(default_kernel_name="failing") as gateway:
        with pytest.raises(CheckFailed) as failure:
            await check(environment(gateway))
    assert str(failure.value) == f"POST /api/kernels: 500 {IMAGE_MISSING}"


async def test_a_kernel_that_does_not_answer_in_time_is_shut_down():
    async with running_gateway() as gateway:
        with pytest.raises(CheckFailed, match=r"^the kernel runs, but did not answer within 0 s$"):
            await check(environment(gateway), timeout=0)
        assert await gateway.client.kernels() == {}


async def test_a_wrong_token():
    async with running_gateway() as gateway:
        with pytest.raises(CheckFailed, match=r"^GET /api/kernelspecs: 40[13] "):
            await check(environment(gateway, JUPYTER_GATEWAY_AUTH_TOKEN="wrong"))


async def test_an_unreachable_gateway(unused_tcp_port):
    url = f"http://127.0.0.1:{unused_tcp_port}"
    variables = {"JUPYTER_GATEWAY_URL": url, "JUPYTER_GATEWAY_AUTH_TOKEN": TOKEN}
    with pytest.raises(CheckFailed, match=f"^{url} cannot be reached: "):
        await check(variables)
