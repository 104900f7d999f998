"""Kernels in containers of Docker or podman, and in Swarm services alike, on real engines."""

import asyncio
import json

import pytest
from kernel_host import EVERY_ENGINE

from gateway_provisioners.dockerd.launched_container import REMOVED
from timeouts import within_timeout

FORK_BOMB = """
import os, signal
children = []
try:
    while len(children) < 1000:
        children.append(os.fork())
        if not children[-1]:
            signal.pause()
except OSError as error:
    print(error.strerror)
finally:
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
"""
# ipykernel keeps the container's own standard output in a copy of its descriptor.
ENDLESS_LOG = """
import os, sys
print(sum(os.write(sys.stdout._original_stdstream_copy, b"spam " * 99 + b"spam\\n") for _ in range(10_000)))
"""
BUSY_LOOP = "begun = True\nprint(begun)\nwhile True: pass"


@pytest.fixture(params=EVERY_ENGINE)
def host(request, hosts):
    return hosts(*EVERY_ENGINE[request.param])


async def test_a_kernel_runs_code_and_leaves_nothing(host):
    async with host.kernel(env={"KERNEL_USERNAME": "ada", "GREETING": 'it\'s "$HOME"\n'}) as kernel:
        assert (await kernel.run("print(6 * 7)"))[1] == "42\n"
        code = "import os; print(os.environ['GREETING'], end='')"
        assert (await kernel.run(code))[1] == 'it\'s "$HOME"\n'
        [container] = host.containers()
        assert container["Config"]["Labels"]["kernel_id"] == kernel.manager.kernel_id
        assert container["Config"]["Labels"]["component"] == "kernel"
        shown = json.dumps([container, *(host.services() if host.is_swarm else [])])
        assert "$HOME" not in shown
        assert "KERNEL_LAUNCH_KEY" not in shown
        file = "/.gateway-provisioners/environment"
        code = f"print(os.getuid(), os.getgid(), os.path.exists({file!r}))"
        assert (await kernel.run(code))[1] == "1000 100 False\n"
    host.wait_gone()


async def test_interrupting_a_busy_loop_keeps_the_variables(host):
    async with host.kernel() as kernel:
        reply, _ = await kernel.run(BUSY_LOOP, on_output=kernel.manager.interrupt_kernel)
        assert reply["ename"] == "KeyboardInterrupt"
        assert (await kernel.run("print(begun)"))[1] == "True\n"


async def test_a_restart_keeps_the_id_and_loses_the_variables(host):
    async with host.kernel() as kernel:
        before = kernel.manager.kernel_id
        await kernel.run("x = 1")
        await kernel.manager.restart_kernel()
        await kernel.connect()
        assert kernel.manager.kernel_id == before
        assert (await kernel.run("x"))[0]["ename"] == "NameError"


async def test_a_kernel_that_ends_by_itself_has_ended(host):
    async with host.kernel() as kernel:
        kernel.client.execute("import os; os._exit(3)")
        workload = kernel.manager.provisioner._workload
        await within_timeout(workload.wait_gone())
        assert not await kernel.manager.is_alive()
        assert await kernel.manager.provisioner.poll() == 3
        end = await kernel.manager.provisioner.explain_end()
        assert end.cause == "The kernel exited with code 3."


async def test_a_kernel_that_needs_too_much_memory_says_so(host):
    async with host.kernel(resources={"limits": {"memory": "200Mi"}}) as kernel:
        kernel.client.execute("x = [bytearray(10**6) for _ in range(10_000)]")
        await within_timeout(kernel.manager.provisioner._workload.wait_gone())
        end = await kernel.manager.provisioner.explain_end()
        assert end.cause.startswith(
            "The kernel needed more memory than its limit of 200Mi and was killed"
        )


async def test_a_kernel_that_another_client_removes_says_so(host):
    async with host.kernel() as kernel:
        workload = kernel.manager.provisioner._workload
        if host.is_swarm:
            host.engine.cli("service", "rm", workload.name)
        else:
            host.engine.cli("rm", "--force", workload.name)
        await within_timeout(workload.wait_gone())
        end = await kernel.manager.provisioner.explain_end()
        assert end.cause == REMOVED


async def test_five_kernels_at_once(host):
    async def use(number):
        async with host.kernel(name=f"test-{number}") as kernel:
            return (await kernel.run(f"print({number} ** 2)"))[1]

    assert await asyncio.gather(*map(use, range(5))) == [f"{n**2}\n" for n in range(5)]


@pytest.mark.attack(19)
async def test_a_fork_bomb_takes_no_more_than_its_own_processes(host):
    async with host.kernel(pids_limit=100) as kernel:
        assert (await kernel.run(FORK_BOMB))[1] == "Resource temporarily unavailable\n"
        assert (await kernel.run("print(6 * 7)"))[1] == "42\n"


@pytest.mark.attack(19)
async def test_an_endless_log_takes_no_more_than_its_files(host):
    async with host.kernel(log_max_bytes=100_000, log_max_files=2) as kernel:
        assert (await kernel.run(ENDLESS_LOG))[1] == "5000000\n"
        [container] = host.containers()
        kept = host.engine.cli("logs", container["Id"])
        assert "spam spam" in kept
        assert len(kept) < 200_000


async def test_storage_that_this_engine_cannot_limit(host):
    refusal = await host.refusal(resources={"limits": {"ephemeral-storage": "1Gi"}})
    assert "The engine cannot limit the kernel's storage: " in refusal
    assert "Remove ephemeral-storage from the limits" in refusal


async def test_a_command_that_is_not_there(host):
    refusal = await host.refusal(
        container_template=host.command("bash", "-c", "echo lost >&2; exec nothing-here")
    )
    assert "exited with code 127" in refusal
    assert "The last lines of its log: lost " in refusal
    assert "nothing-here: not found" in refusal


async def test_a_container_that_cannot_be_started(host):
    refusal = await host.refusal(container_template=host.command("/no/such/program"))
    assert "cannot be created or started" in refusal
    assert "/no/such/program" in refusal


async def test_too_little_memory(host):
    refusal = await host.refusal(resources={"limits": {"memory": "24Mi"}})
    assert "OOMKilled" in refusal
    assert "For more memory, ask the administrator of this gateway." in refusal


async def test_no_kernel_is_root(host):
    assert "would run as root" in await host.refusal(run_as_user=0)


async def test_a_kernel_that_does_not_report_in_time(host):
    refusal = await host.refusal(launch_timeout=15, container_template=host.command("sleep", "60"))
    assert "The kernel's launcher has not reported to the gateway" in refusal


async def test_an_image_that_no_node_has(host):
    refusal = await host.refusal(image_name="acme/nowhere:1")
    assert refusal.startswith("The image cannot be pulled (no such image): 'acme/nowhere:1': ")
    assert "Kernel 'test' (" in refusal


async def test_no_engine(host, monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/missing.sock")
    assert "The Docker engine does not answer" in await host.refusal()
