"""The launcher's relay, between a kernel and clients that the tests are."""

import threading

import pytest
import zmq

from kernel_launcher.execution import ExecutionState
from kernel_launcher.ports import reserve
from kernel_launcher.relay import PORTS, Relay

MEGABYTE = 10**6


@pytest.fixture
def kernel():
    """A kernel's iopub that waits for the relay, as Python kernels do."""
    with zmq.Context() as context, context.socket(zmq.XPUB) as iopub:
        iopub.setsockopt(zmq.XPUB_NODROP, 1)
        iopub.sndhwm = 1
        iopub.linger = 0
        iopub.sndtimeo = 500
        yield iopub


@pytest.fixture
def relay(kernel, tmp_path):
    """A relay that has subscribed to the kernel."""
    addresses = {name: n for n, name in enumerate(PORTS)}
    kernel.bind(f"ipc://{tmp_path}/kernel-{addresses['iopub_port']}")
    info = {"key": "key", "ip": f"{tmp_path}/kernel", **addresses}
    relay = Relay(
        info, reserve((0, 0), len(PORTS)), MEGABYTE, MEGABYTE, 2 * MEGABYTE, b"key", pytest.fail
    )
    assert kernel.recv() == b"\1"
    yield relay
    relay.stop()


def test_a_relay_that_is_slow_reads_few_large_messages_ahead(monkeypatch, kernel, relay):
    go_on = threading.Event()
    monkeypatch.setattr(ExecutionState, "follow", lambda *_: go_on.wait())
    sent = 0
    try:
        while sent < 100:
            kernel.send_multipart([b"stream", b"x" * MEGABYTE])
            sent += 1
    except zmq.Again:
        pass
    finally:
        go_on.set()
    assert sent <= 16
