"""Reports that a launch believes, and the address at which its kernel is."""

import asyncio
import contextlib
import dataclasses
import time

import pytest

from gateway_provisioners.errors import LaunchFailed
from gateway_provisioners.handshake.response_server import Arrival
from gateway_provisioners.model.condition import Condition, Kind
from gateway_provisioners.model.connection_info import ConnectionInfo
from gateway_provisioners.model.launch_progress import LaunchProgress, Phase, Stage
from gateway_provisioners.provisioners.launch_outcome import (
    confirm_address,
    first_of_report_or_failure,
)
from gateway_provisioners.provisioners.report_checks import (
    check_encryption,
    check_family,
    check_ports,
    check_protocol,
)

KERNEL_ID = "6ff4ba43-1e43-4f9e-b1a0-6ab9e4aa9e36"
OWN = "10.0.0.7"
INFO = ConnectionInfo(
    ip=OWN,
    shell_port=40001,
    iopub_port=40002,
    stdin_port=40003,
    control_port=40004,
    hb_port=40005,
    comm_port=40006,
    key="k3y",
)


class Workload:
    """One whose engine reports its addresses when the test says so."""

    progress = Stage(Phase.CREATING, "It waits.")
    removed = False
    condition = None

    def __init__(self, *addresses):
        self.asked = asyncio.Event()
        self.waited, self.unobstructed = asyncio.Event(), asyncio.Event()
        self._addresses = asyncio.get_running_loop().create_future()
        if addresses:
            self.has(*addresses)

    def has(self, *addresses):
        self._addresses.set_result(addresses)

    async def wait_address(self, preferred=""):
        self.asked.set()
        known = await self._addresses
        return preferred if preferred in known else known[0]

    async def start_failure(self, *, unschedulable_grace):
        await asyncio.Event().wait()

    async def wait_progress(self, known):
        await asyncio.Event().wait()

    async def wait_unobstructed(self):
        self.waited.set()
        await self.unobstructed.wait()

    async def log_tail(self):
        return ""

    def remove_soon(self):
        self.removed = True


class Expectation:
    """Hands on the reports that a test makes."""

    kernel_id = KERNEL_ID

    def __init__(self):
        self._arrivals = asyncio.Queue()

    async def next_arrival(self):
        return await self._arrivals.get()

    def add(self, protocol, peer_ip=OWN, **changes):
        info = dataclasses.replace(INFO, protocol=protocol, **changes)
        now = asyncio.get_running_loop().time()
        self._arrivals.put_nowait(Arrival(info, peer_ip, protocol, now))


@pytest.fixture
def expectation():
    return Expectation()


async def report(workload, expectation, timeout=30, wait_timeout=0, spent=0):
    arrival = await first_of_report_or_failure(
        *(workload, expectation, LaunchProgress(time.monotonic)),
        began=asyncio.get_running_loop().time() - spent,
        timeout=timeout,
        wait_timeout=max(timeout, wait_timeout),
        unschedulable_grace=0,
    )
    return arrival.connection_info


@contextlib.asynccontextmanager
async def listening():
    """A launcher of version 1 on loopback; yields its port."""

    async def serve(reader, writer):
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.attack(9)
@pytest.mark.parametrize("protocol", [1, 2])
@pytest.mark.parametrize(
    "named",
    ["127.0.0.1", "0.0.0.0", "::", "::1", "10.0.0.1", "10.0.0.8", "169.254.169.254", "224.0.0.1"],
)
async def test_the_address_is_the_engines_whatever_is_reported(expectation, named, protocol):
    workload = Workload(OWN)
    launch = asyncio.create_task(report(workload, expectation))
    await workload.asked.wait()
    expectation.add(protocol, ip=named)
    assert (await launch).ip == OWN


@pytest.mark.attack(9)
async def test_a_report_waits_until_the_engine_knows_the_address(expectation):
    workload = Workload()
    expectation.add(2, ip="127.0.0.1")
    launch = asyncio.create_task(report(workload, expectation))
    await workload.asked.wait()
    workload.has(OWN)
    assert (await launch).ip == OWN


ENCRYPTED = {"curve_publickey": "x" * 40, "curve_secretkey": "y" * 40}


async def test_an_encrypted_report_from_its_own_address_need_not_wait(expectation):
    expectation.add(2, OWN, ip=OWN, **ENCRYPTED)
    assert (await report(Workload(), expectation)).ip == OWN


@pytest.mark.attack(9)
@pytest.mark.parametrize(
    ("protocol", "changes"),
    [(1, ENCRYPTED), (2, {}), (2, {"ip": "10.0.0.8", **ENCRYPTED})],
    ids=["version 1", "not encrypted", "another address"],
)
async def test_other_reports_wait_for_the_engine(expectation, protocol, changes):
    workload = Workload()
    expectation.add(protocol, OWN, **changes)
    launch = asyncio.create_task(report(workload, expectation, timeout=0))
    with pytest.raises(LaunchFailed, match="did not start within"):
        await launch


@pytest.mark.attack(9)
async def test_a_kernel_that_reported_from_elsewhere_is_ended(caplog):
    workload = Workload("10.0.0.9")
    await confirm_address(workload, KERNEL_ID, OWN)
    assert workload.removed
    assert "reported from the address 10.0.0.7, and its own is 10.0.0.9" in caplog.text


@pytest.mark.parametrize("addresses", [(OWN,), ("fd00::7", OWN), ("",)])
async def test_a_kernel_at_one_of_its_addresses_stays(addresses):
    workload = Workload(*addresses)
    await confirm_address(workload, KERNEL_ID, OWN)
    assert not workload.removed


@pytest.mark.parametrize("reported", [OWN, "fd00::7"])
async def test_a_dual_stack_workload_reports_either_of_its_addresses(expectation, reported):
    expectation.add(2, ip=reported)
    assert (await report(Workload(OWN, "fd00::7"), expectation)).ip == reported


async def test_a_container_on_the_hosts_network_has_the_address_it_reports_from(expectation):
    expectation.add(2, "192.168.0.9", ip="127.0.0.1")
    assert (await report(Workload(""), expectation)).ip == "192.168.0.9"


@pytest.mark.attack(12)
async def test_no_claim_speaks_for_a_container_on_the_hosts_network(expectation, caplog):
    expectation.add(1, "192.168.0.9")
    with pytest.raises(LaunchFailed, match="did not start within"):
        await report(Workload(""), expectation, timeout=0.01)
    assert "an address that is not the kernel's" in caplog.text


async def test_claims_from_other_addresses_are_passed_over(expectation):
    workload = Workload(OWN)
    launch = asyncio.create_task(report(workload, expectation))
    await workload.asked.wait()
    for number in range(17):
        expectation.add(1, f"10.0.1.{number}")
    expectation.add(1, OWN, comm_port=50000)
    assert (await launch).comm_port == 50000


@pytest.mark.attack(12)
async def test_a_claim_older_than_the_address_needs_a_launcher_that_answers(expectation, caplog):
    """The address was another kernel's, whose claim must not be taken for the new one's."""
    workload = Workload()
    async with listening() as port:
        expectation.add(1, "127.0.0.1", comm_port=1)
        launch = asyncio.create_task(report(workload, expectation))
        await workload.asked.wait()
        workload.has("127.0.0.1")
        expectation.add(1, "127.0.0.1", comm_port=port)
        assert (await launch).comm_port == port
    assert "no launcher answers" in caplog.text


async def test_an_early_claim_is_taken_if_its_launcher_answers(expectation):
    """The engine may report the address of a pod later than its kernel reports itself."""
    workload = Workload()
    async with listening() as port:
        expectation.add(1, "127.0.0.1", comm_port=port)
        launch = asyncio.create_task(report(workload, expectation))
        await workload.asked.wait()
        workload.has("127.0.0.1")
        assert (await launch).comm_port == port


@pytest.mark.attack(12)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"protocol": 1}, "version 1 of the wire protocol"),
        (
            {"protocol": 1, "curve_publickey": "x" * 40, "curve_secretkey": "x" * 40},
            "version 1 of the wire protocol",
        ),
        ({"protocol": 2}, "ipykernel 7.3 or later"),
    ],
)
def test_required_encryption_is_authenticated(changes, words):
    connection = dataclasses.replace(INFO, **changes)
    with pytest.raises(LaunchFailed, match=words) as failure:
        check_encryption(connection, required=True, image="acme/x:1")
    assert failure.value.reason == "Unencrypted"
    check_encryption(connection, required=False, image="acme/x:1")


@pytest.mark.attack(12)
def test_version_1_is_refused_where_version_2_is_required():
    with pytest.raises(LaunchFailed, match="speaks version 1 of the wire protocol, and 2 is"):
        check_protocol(INFO, oldest=2, image="acme/x:1")
    check_protocol(INFO, oldest=1, image="acme/x:1")
    check_protocol(dataclasses.replace(INFO, protocol=2), oldest=2, image="acme/x:1")


def test_authenticated_encryption_is_enough():
    keys = {"curve_publickey": "x" * 40, "curve_secretkey": "y" * 40}
    check_encryption(dataclasses.replace(INFO, protocol=2, **keys), required=True, image="acme/x:1")


@pytest.mark.attack(9)
@pytest.mark.parametrize(
    "port_name", ["shell_port", "iopub_port", "comm_port", "hb_port", "mailbox_port"]
)
@pytest.mark.parametrize(
    ("port", "port_range"),
    [(22, "0..0"), (1023, "0..0"), (39999, "40000..41000"), (41001, "40000..41000")],
)
def test_ports_of_other_services_are_refused(port_name, port, port_range):
    with pytest.raises(LaunchFailed, match=f"reported port {port}"):
        check_ports(dataclasses.replace(INFO, **{port_name: port}), port_range)


@pytest.mark.parametrize("port_range", ["0..0", "40000..41000", "40001..40006"])
def test_ports_in_the_range_are_accepted(port_range):
    check_ports(INFO, port_range)


async def test_a_launcher_that_listens_on_ipv4_alone_is_named(unused_tcp_port):
    older = dataclasses.replace(INFO, ip="::1", comm_port=unused_tcp_port)
    words = "launcher listens on IPv4 alone, and the kernel's address is ::1.* image 'acme/x:1'"
    with pytest.raises(LaunchFailed, match=words) as failure:
        await check_family(older, image="acme/x:1")
    assert failure.value.reason == "OldLauncher"

    async def hang_up(_reader, writer):
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(hang_up, "::1", unused_tcp_port):
        await check_family(older, image="acme/x:1")


async def test_a_kernel_at_an_ipv4_address_is_not_asked(unused_tcp_port):
    await check_family(
        dataclasses.replace(INFO, ip="127.0.0.1", comm_port=unused_tcp_port), image="acme/x:1"
    )


GATED = Condition(Kind.AWAITED, "SchedulingGated", "A gate holds it back.", "Have it removed.")
NO_NODE = Condition(Kind.FINAL, "Unschedulable", "No node can take it.")


async def timed_out(workload, expectation, **seconds):
    with pytest.raises(LaunchFailed) as caught:
        await report(workload, expectation, **seconds)
    return caught.value


async def test_a_time_out_says_how_far_it_came(expectation):
    failure = await timed_out(Workload(OWN), expectation, timeout=0.01)
    assert failure.reason == "Timeout"
    assert str(failure) == "It waits. The kernel did not start within 0.01 seconds."
    assert not failure.can_pass


@pytest.mark.parametrize(("condition", "can_pass"), [(GATED, True), (NO_NODE, False)])
async def test_a_time_out_has_the_reason_of_its_condition(expectation, condition, can_pass):
    workload = Workload(OWN)
    workload.condition = condition
    failure = await timed_out(workload, expectation, timeout=0.01)
    assert (failure.reason, failure.can_pass) == (condition.reason, can_pass)


async def test_a_start_waits_for_a_condition_until_the_wait_timeout(expectation):
    workload = Workload(OWN)
    workload.condition = GATED
    failure = await timed_out(workload, expectation, timeout=0.01, wait_timeout=0.03)
    assert failure.can_pass
    assert "within 0.03 seconds" in str(failure)


async def test_a_start_has_its_time_once_the_condition_has_passed(expectation):
    workload = Workload(OWN)
    workload.condition = GATED
    launch = asyncio.create_task(report(workload, expectation, timeout=0.05, wait_timeout=30))
    await workload.waited.wait()
    workload.condition = None
    workload.unobstructed.set()
    expectation.add(2, OWN, ip=OWN)
    assert (await launch).ip == OWN


async def test_the_time_of_refused_requests_counts(expectation):
    failure = await timed_out(Workload(OWN), expectation, timeout=30, spent=29.99)
    assert "within 30 seconds" in str(failure)


async def test_seconds_are_written_in_full(expectation):
    failure = await timed_out(Workload(OWN), expectation, timeout=1200, spent=1200)
    assert "within 1200 seconds" in str(failure)


async def test_a_condition_that_cannot_pass_is_not_waited_for(expectation):
    workload = Workload(OWN)
    workload.condition = NO_NODE
    failure = await timed_out(workload, expectation, timeout=0.01, wait_timeout=600)
    assert "within 0.01 seconds" in str(failure)
