"""The life of one kernel, with workloads that only write down what is asked of them."""

import asyncio
import base64
import contextlib
import dataclasses
import json
import signal
import socket

import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from tornado import web

from gateway_provisioners.errors import ClusterError, KernelBusy, LaunchFailed
from gateway_provisioners.handshake.response_server import Arrival
from gateway_provisioners.model.connection_info import ConnectionInfo
from gateway_provisioners.model.failures import (
    GRACE_SECONDS,
    container_exited,
    out_of_memory,
)
from gateway_provisioners.model.kernel_record import KernelRecord
from gateway_provisioners.model.launch_progress import Phase, Stage
from gateway_provisioners.model.workload_details import WorkloadDetails
from gateway_provisioners.provisioners import last_end
from gateway_provisioners.provisioners.base import RemoteProvisioner
from gateway_provisioners.provisioners.contract import KernelEnd
from kernel_launcher import wire
from message_words import unwrapped
from timeouts import TIMEOUT_SECONDS

KERNEL_ID = "6ff4ba43-1e43-4f9e-b1a0-6ab9e4aa9e36"
SECRET = base64.b64encode(bytes(32)).decode()
PORTS = ("shell", "iopub", "stdin", "control", "hb", "comm")
CONNECTION = ConnectionInfo(
    ip="10.0.0.7",
    key="k3y",
    protocol=2,
    **{f"{name}_port": 5000 + position for position, name in enumerate(PORTS)},
)


class FakeWorkload:
    """A `Workload` that lists the calls, and fails at those in `errors`."""

    is_busy_elsewhere = False
    details = WorkloadDetails("node-1", "acme/kernel:1", {"memory": "2Gi"})
    progress = Stage(Phase.CREATING, "It waits.")

    def __init__(self, name):
        self.name = name
        self.calls = []
        self.code = None
        self.failure = None
        self.addresses = ["10.0.0.7"]
        self.gone = asyncio.Event()
        self.errors = {}
        self.condition = None
        self.announced = []

    def exit_code(self):
        return self.code

    def end_cause(self):
        return "It ran out of memory." if self.code == 137 else None

    async def wait_end_explained(self):
        self.calls.append("wait_end_explained")

    async def wait_address(self, preferred=""):
        return preferred if preferred in self.addresses else self.addresses[0]

    async def wait_progress(self, known):
        await asyncio.Event().wait()

    def announce(self, stage):
        self.announced.append(stage)

    async def wait_gone(self):
        self.calls.append("wait_gone")
        await self.gone.wait()

    async def start_failure(self, *, unschedulable_grace):
        if self.failure is None:
            await asyncio.Event().wait()
        return self.failure

    async def log_tail(self):
        return "no luck\n"

    async def remember(self, record):
        self._do("remember")
        self.record = KernelRecord.from_json(json.loads(json.dumps(record.to_json())))

    async def begin_restart(self):
        self._do("begin_restart")

    async def stop(self):
        self._do("stop")
        self.code = 0

    async def remove_replaced(self):
        self._do("remove_replaced")

    async def give_up_restart(self):
        self._do("give_up_restart")

    def remove_soon(self):
        self._do("remove_soon")

    async def remove(self, *, grace_seconds):
        self._do(f"remove {grace_seconds}")
        self.code = 0

    def release(self):
        self._do("release")

    def _do(self, call):
        self.calls.append(call)
        if call in self.errors:
            raise self.errors[call]


class FakeServices:
    """An engine's services and, as its response server, launchers that report at once."""

    kernel_id = KERNEL_ID
    outlives_process = True
    unschedulable_grace = 0
    wait_timeout = 0
    public_key = "key"

    def __init__(self):
        self.holders = 0
        self.launchers_report = True
        self.arrival = Arrival(CONNECTION, "10.0.0.7", 2)
        self.waiting = asyncio.Event()
        self.expected = set()
        self.usage_questions = asyncio.Semaphore(1)

    @property
    def response_server(self):
        assert self.holders
        return self

    async def response_address(self, expectation):
        assert expectation is self
        return "10.0.0.1:8877"

    async def acquire(self):
        self.holders += 1

    async def release(self):
        self.holders -= 1

    @contextlib.contextmanager
    def expect(self, kernel_id, launch_key):
        self.expected.add(launch_key)
        try:
            yield self
        finally:
            self.expected.discard(launch_key)

    async def next_arrival(self):
        if not self.launchers_report:
            self.waiting.set()
            await asyncio.Event().wait()
        return self.arrival


class FakeProvisioner(RemoteProvisioner):
    """Makes workloads with the attributes in `next_workload`."""

    services = None

    def __init__(self, services, **kwargs):
        spec = KernelSpec(display_name="test", language="python")
        super().__init__(kernel_id=KERNEL_ID, kernel_spec=spec, **kwargs)
        self.services = services
        self.launches = []
        self.workloads = []
        self.next_workload = {}

    def admin_settings(self):
        return {"KERNEL_NAMESPACE": "kernels"}

    async def create_workload(self, launch):
        self.launches.append(launch)
        if isinstance(self.next_workload, Exception):
            raise self.next_workload
        workload = FakeWorkload(f"w{launch.attempt}")
        vars(workload).update(self.next_workload)
        self.workloads.append(workload)
        return workload

    async def adopt_workload(self, name):
        self.workloads.append(FakeWorkload(name))
        return self.workloads[-1]

    async def start(self, **env):
        kwargs = await self.pre_launch(env=env)
        return await self.launch_kernel(**kwargs)


@pytest.fixture
def services():
    return FakeServices()


@pytest.fixture
def provisioner(services):
    return FakeProvisioner(services, image_name="a/b:1", launch_timeout=30)


async def restart(provisioner):
    """As jupyter_client does, after the gateway has announced it."""
    await provisioner.begin_restart()
    await provisioner.shutdown_requested(restart=True)
    provisioner.workloads[-1].gone.set()
    await provisioner.cleanup(restart=True)
    return await provisioner.start()


async def test_a_launch_stores_the_record_and_returns_the_connection_info(provisioner, services):
    info = await provisioner.start(GREETING="hello")
    assert (info["ip"], info["shell_port"], info["key"]) == ("10.0.0.7", 5000, b"k3y")
    [launch], [workload] = provisioner.launches, provisioner.workloads
    assert launch.attempt == 1
    assert launch.secret_environment["GREETING"] == "hello"
    assert launch.secret_environment["KERNEL_LAUNCH_KEY"] not in str(launch)
    assert workload.calls == ["remember"]
    assert workload.record.kernel_id == KERNEL_ID
    assert workload.record.environment == {"GREETING": "hello"}
    assert (provisioner.workload_name, provisioner.has_process) == ("w1", True)
    assert (services.holders, services.expected) == (1, set())


async def test_out_of_memory_at_a_start_comes_with_advice(provisioner, monkeypatch):
    monkeypatch.setenv("GP_CONTACT", "ml@example.org")
    provisioner.services.launchers_report = False

    async def message():
        provisioner.next_workload = {"failure": out_of_memory("24Mi")}
        with pytest.raises(web.HTTPError) as refused:
            await provisioner.start()
        return unwrapped(refused.value.log_message)

    assert "its limit of 24Mi and was killed" in await message()
    assert "For more memory, set KERNEL_MEMORY_LIMIT." in await message()
    provisioner.resources = {"limits": {"memory": "1Gi"}}
    advice = "For more memory, ask the administrator of this gateway (ml@example.org)."
    assert advice in await message()


async def test_a_manager_connects_to_kernels_with_ipv6_addresses(services):
    manager = KernelManager()
    provisioner = FakeProvisioner(services, image_name="a/b:1", launch_timeout=30, parent=manager)
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        port = listener.getsockname()[1]
        connection = dataclasses.replace(CONNECTION, ip="::1", shell_port=port, comm_port=port)
        services.arrival = Arrival(connection, "::1", 2)
        provisioner.next_workload = {"addresses": ["::1"]}
        info = await provisioner.start()
        listener.accept()[0].close()  # the gateway's look at the launcher
        manager.load_connection_info(info)
        with manager.connect_shell():
            listener.settimeout(TIMEOUT_SECONDS)
            listener.accept()[0].close()
    manager.context.destroy()


@pytest.mark.parametrize(
    ("env", "status", "words"),
    [
        ({"KERNEL_LAUNCH_TIMEOUT": "soon"}, 400, "KERNEL_LAUNCH_TIMEOUT='soon'"),
        ({"KERNEL_NAMESPACE": "kube-system"}, 403, "KERNEL_NAMESPACE"),
        ({"KERNEL_USERNAME": "root"}, 403, "User 'root' may not start kernel 'test'"),
    ],
)
async def test_a_request_that_is_refused_makes_nothing(provisioner, services, env, status, words):
    with pytest.raises(web.HTTPError) as refusal:
        await provisioner.start(**env)
    assert refusal.value.status_code == status
    assert words in refusal.value.log_message
    assert (provisioner.launches, services.holders) == ([], 0)


async def test_a_kernelspec_without_an_image_is_refused(services):
    with pytest.raises(web.HTTPError) as refusal:
        await FakeProvisioner(services).start()
    assert "The kernelspec 'test' has no image: set image_name" in refusal.value.log_message


async def test_a_wrong_variable_is_refused_by_name(provisioner, monkeypatch):
    monkeypatch.setenv("GP_CLIENT_IDS", "perhaps")
    with pytest.raises(web.HTTPError) as refusal:
        await provisioner.start()
    assert "GP_CLIENT_IDS='perhaps' must be true or false." in refusal.value.log_message


@pytest.mark.parametrize(
    ("next_workload", "reports", "words"),
    [
        (LaunchFailed("Quota", "There is no room."), False, "There is no room."),
        ({"failure": container_exited(3)}, False, "exited with code 3"),
        ({"errors": {"remember": ClusterError("It was not stored.")}}, True, "It was not stored."),
    ],
)
async def test_a_launch_that_fails_leaves_nothing(
    provisioner, services, next_workload, reports, words
):
    services.launchers_report = reports
    provisioner.next_workload = next_workload
    with pytest.raises(web.HTTPError) as failure:
        await provisioner.start()
    assert words in failure.value.log_message
    for workload in provisioner.workloads:
        assert workload.calls[-2:] == ["remove_soon", "release"]
    assert (services.holders, services.expected) == (0, set())
    assert not provisioner.has_process


async def test_a_launch_that_takes_too_long_says_how_far_it_came(services):
    services.launchers_report = False
    provisioner = FakeProvisioner(services, image_name="a/b:1", launch_timeout=0)
    with pytest.raises(web.HTTPError) as failure:
        await provisioner.start()
    message = unwrapped(failure.value.log_message)
    assert message.startswith("It waits. The kernel did not start within 0 seconds. ")
    assert "The last lines of its log: no luck Kernel 'test' (" in message
    assert provisioner.workloads[0].calls == ["remove_soon", "release"]


async def test_a_launch_that_is_cancelled_leaves_nothing(provisioner, services):
    services.launchers_report = False
    starting = asyncio.create_task(provisioner.start())
    await services.waiting.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert provisioner.workloads[0].calls == ["remove_soon", "release"]
    assert services.holders == 0


async def closing(reader, writer):
    writer.close()


async def garbled(reader, writer):
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    writer.close()


async def refusing(reader, writer):
    """A launcher of the same kernel that does not do what it is asked to."""
    challenge = wire.new_challenge()
    writer.write(wire.challenge_line(challenge))
    await reader.readline()
    key = wire.LaunchKey(base64.b64decode(SECRET), KERNEL_ID)
    writer.write(key.reply({"ok": False, "error": "10.96.0.1:443 is open"}, challenge))
    writer.close()


@pytest.mark.attack(10)
async def test_a_failed_command_says_the_same_whatever_the_port_does(services, caplog):
    messages = set()
    for serve in (closing, garbled, refusing, None):
        server = await asyncio.start_server(serve or closing, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        if serve is None:  # nothing listens
            server.close()
            await server.wait_closed()
        connection = dataclasses.replace(CONNECTION, ip="127.0.0.1", comm_port=port)
        services.arrival = Arrival(connection, "127.0.0.1", 2, secret=SECRET)
        provisioner = FakeProvisioner(services, image_name="a/b:1", launch_timeout=30)
        provisioner.next_workload = {"addresses": ["127.0.0.1"]}
        await provisioner.start()
        with pytest.raises(web.HTTPError) as failure:
            await provisioner.send_signal(signal.SIGINT)
        messages.add(unwrapped(failure.value.log_message))
        await provisioner.release()
        server.close()
    [message] = messages
    assert message.startswith("The kernel did not take the signal. Try again, or restart it;")
    causes = (
        "connection was closed",
        "not valid JSON",
        "10.96.0.1:443 is open",
        "cannot be reached",
    )
    assert all(cause in caplog.text for cause in causes)


class UsageLauncher:
    """Answers the command `usage` with what a test says, and counts the commands."""

    def __init__(self, **reply):
        self.reply = reply
        self.commands = []

    async def serve(self, reader, writer):
        challenge = wire.new_challenge()
        writer.write(wire.challenge_line(challenge))
        key = wire.LaunchKey(base64.b64decode(SECRET), KERNEL_ID)
        self.commands.append(key.open_command(await reader.readline(), challenge))
        writer.write(key.reply(self.reply, challenge))
        writer.close()

    @contextlib.asynccontextmanager
    async def kernel(self, services, **connection):
        """Start a kernel with this launcher; yields its provisioner."""
        async with await asyncio.start_server(self.serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            fields = {"ip": "127.0.0.1", "comm_port": port, "features": ("usage",), **connection}
            info = dataclasses.replace(CONNECTION, **fields)
            services.arrival = Arrival(info, "127.0.0.1", 2, secret=SECRET)
            provisioner = FakeProvisioner(services, image_name="a/b:1", launch_timeout=30)
            provisioner.next_workload = {"addresses": ["127.0.0.1"]}
            await provisioner.start()
            yield provisioner
            await provisioner.release()


USAGE = {"memory": 2**30, "memory_limit": 2**31, "cpu": 1.5, "cpu_limit": None}


async def test_a_launcher_says_what_its_kernel_uses(services):
    launcher = UsageLauncher(ok=True, usage=USAGE)
    async with launcher.kernel(services) as provisioner:
        assert (await provisioner.usage()).to_json() == USAGE
        assert (await provisioner.usage()).to_json() == USAGE
        assert launcher.commands == [{"usage": 1}]
        assert provisioner.details.node == "node-1"
        adopter = FakeProvisioner(services, image_name="a/b:1")
        await adopter.adopt("w1", provisioner.workloads[0].record)
        assert (await adopter.usage()).to_json() == USAGE
        assert len(launcher.commands) == 2
        adopter.workloads[0].code = 137
        assert await adopter.usage() is None
        await adopter.release()
    assert await provisioner.usage() is None
    assert provisioner.details == WorkloadDetails()


@pytest.mark.parametrize("connection", [{"features": ("state",)}, {"features": (), "protocol": 1}])
async def test_a_launcher_that_does_not_offer_it_is_not_asked(services, connection):
    launcher = UsageLauncher(ok=True, usage=USAGE)
    async with launcher.kernel(services, **connection) as provisioner:
        assert await provisioner.usage() is None
    assert launcher.commands == []


@pytest.mark.parametrize(
    ("reply", "cause"),
    [
        ({"ok": False, "error": "no cgroup"}, "no cgroup"),
        ({"ok": True}, "the usage is not a JSON object"),
        ({"ok": True, "usage": {**USAGE, "memory": -1}}, "the usage's memory is malformed"),
        ({"ok": True, "usage": {**USAGE, "cpu": "1"}}, "the usage's cpu is malformed"),
        ({"ok": True, "usage": {**USAGE, "x": "x" * 4096}}, "the line is too long"),
    ],
)
async def test_usage_of_a_launcher_that_lies_is_unknown(services, caplog, reply, cause):
    caplog.set_level("INFO")
    async with UsageLauncher(**reply).kernel(services) as provisioner:
        assert await provisioner.usage() is None
    assert f"The usage of kernel {KERNEL_ID} is not known: " in caplog.text
    assert cause in caplog.text


async def test_the_client_can_extend_the_timeout_only(provisioner):
    await provisioner.start(KERNEL_LAUNCH_TIMEOUT="60")
    await restart(provisioner)
    assert [launch.timeout for launch in provisioner.launches] == [60, 30]


async def test_a_shutdown_removes_the_workload_once(provisioner, services):
    await provisioner.start()
    await provisioner.shutdown_requested()
    await provisioner.cleanup()
    assert provisioner.workloads[0].calls == ["remember", f"remove {GRACE_SECONDS}", "release"]
    assert services.holders == 0
    assert await provisioner.poll() == 0


async def test_a_kernel_is_killed_without_grace(provisioner):
    await provisioner.start()
    await provisioner.kill()
    assert provisioner.workloads[0].calls == ["remember", "remove 0"]


async def test_a_restart_replaces_the_workload_when_the_next_one_runs(provisioner, services):
    await provisioner.start()
    await restart(provisioner)
    first, second = provisioner.workloads
    assert first.calls == [
        "remember",
        "begin_restart",
        "stop",
        "wait_gone",
        "release",
        "remove_replaced",
    ]
    assert second.calls == ["remember"]
    assert second.record.attempt == 2
    assert second.record.launch_key != first.record.launch_key
    assert services.holders == 1


async def test_a_restart_that_another_gateway_makes_is_not_made_here(provisioner):
    provisioner.next_workload = {"errors": {"begin_restart": KernelBusy("Another gateway does.")}}
    await provisioner.start()
    with pytest.raises(KernelBusy):
        await provisioner.begin_restart()
    await provisioner.give_up_restart()
    assert provisioner.workloads[0].calls == ["remember", "begin_restart"]


async def test_a_restart_that_fails_can_be_given_up_and_done_again(provisioner, services):
    await provisioner.start()
    provisioner.next_workload = LaunchFailed("Quota", "There is no room.")
    with pytest.raises(web.HTTPError):
        await restart(provisioner)
    await provisioner.give_up_restart()
    assert provisioner.workload_name == "w1"
    assert provisioner.workloads[0].calls[-1] == "give_up_restart"
    assert services.holders == 1
    provisioner.next_workload = {}
    await restart(provisioner)
    assert provisioner.workload_name == "w3"
    assert provisioner.workloads[0].calls[-1] == "remove_replaced"


async def test_a_kernel_that_was_ended_during_its_restart_ends(provisioner, services):
    await provisioner.start()
    provisioner.workloads[0].errors["remove_replaced"] = KernelBusy("It was ended.")
    with pytest.raises(web.HTTPError) as failure:
        await restart(provisioner)
    assert failure.value.status_code == 409
    assert provisioner.workloads[1].calls == ["remember", "remove_soon", "release"]
    assert services.holders == 0


async def test_the_cause_of_an_end_is_logged_once(provisioner, caplog):
    await provisioner.start()
    assert await provisioner.poll() is None
    provisioner.workloads[0].code = 137
    assert (await provisioner.poll(), await provisioner.poll()) == (137, 137)
    assert caplog.text.count("in w1 has ended. It ran out of memory.") == 1


async def test_a_kernel_that_is_restarted_keeps_the_cause_of_its_end(provisioner):
    await provisioner.start()
    assert provisioner.end_cause == ""
    provisioner.workloads[0].code = 137
    assert provisioner.end_cause == "It ran out of memory."
    await provisioner.poll()
    await restart(provisioner)
    assert (provisioner.workload_name, provisioner.end_cause) == ("w2", "It ran out of memory.")
    await restart(provisioner)
    assert (provisioner.workload_name, provisioner.end_cause) == ("w3", "")


async def test_a_cause_that_comes_after_the_exit_code_is_logged(provisioner, caplog):
    await provisioner.start()
    workload = provisioner.workloads[0]
    workload.code, workload.end_cause = 137, lambda: None
    assert await provisioner.poll() == 137
    workload.end_cause = lambda: "It was evicted."
    await restart(provisioner)
    assert caplog.text.count("in w1 has ended. It was evicted.") == 1
    assert provisioner.end_cause == "It was evicted."


async def test_an_exit_is_explained_by_its_code_and_its_log(provisioner, caplog):
    await provisioner.start()
    workload = provisioner.workloads[0]
    workload.code = 3
    assert await provisioner.explain_end() == KernelEnd(
        "The kernel exited with code 3.", "no luck\n"
    )
    assert workload.calls[-1] == "wait_end_explained"
    assert provisioner.end_cause == "The kernel exited with code 3."
    assert "in w1 has ended. The kernel exited with code 3." in caplog.text
    assert "no luck" not in caplog.text
    record = workload.record
    await provisioner.adopt("w2", record)  # another gateway has restarted it
    assert provisioner.end_cause == "The kernel exited with code 3."
    await provisioner.adopt("w3", record)
    assert provisioner.end_cause == ""


async def test_an_end_that_the_engine_explains_needs_no_log(provisioner):
    assert await provisioner.explain_end() == KernelEnd()
    await provisioner.start()
    provisioner.workloads[0].code = 137
    assert await provisioner.explain_end() == KernelEnd("It ran out of memory.")
    await restart(provisioner)
    provisioner.workloads[1].code = 0
    assert await provisioner.explain_end() == KernelEnd("The kernel exited with code 0.")


async def test_an_engine_that_does_not_answer_delays_no_restart(provisioner, monkeypatch):
    monkeypatch.setattr(last_end, "_EXPLAINED_SECONDS", 0)
    monkeypatch.setattr(last_end, "_LOG_SECONDS", 0)
    await provisioner.start()
    workload = provisioner.workloads[0]
    workload.code = 3
    workload.wait_end_explained = workload.log_tail = asyncio.Event().wait
    assert await provisioner.explain_end() == KernelEnd("The kernel exited with code 3.")


async def test_a_kernel_that_another_gateway_restarts_keeps_the_cause(provisioner):
    await provisioner.start()
    record = provisioner.workloads[0].record
    provisioner.workloads[0].code = 137
    await provisioner.adopt("w2", record)
    assert provisioner.end_cause == "It ran out of memory."
    await provisioner.adopt("w3", record)
    assert provisioner.end_cause == ""


async def test_a_kernel_that_is_released_goes_on(provisioner, services):
    await provisioner.start()
    await provisioner.release()
    await provisioner.cleanup()
    assert provisioner.workloads[0].calls == ["remember", "release"]
    assert services.holders == 0


async def test_another_process_adopts_the_kernel_from_its_record(provisioner, services):
    await provisioner.start(GREETING="hello")
    record = provisioner.workloads[0].record
    successor = FakeProvisioner(services, image_name="a/b:1")
    await successor.adopt("w1", record)
    assert (successor.workload_name, successor.outlives_process) == ("w1", True)
    assert successor.connection_info == provisioner.connection_info
    info = await successor.get_provisioner_info()
    assert KernelRecord.from_json(json.loads(json.dumps(info))) == record
