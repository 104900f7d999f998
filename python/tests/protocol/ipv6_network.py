"""Two network namespaces with IPv6 alone: a gateway's and a kernel's."""

import contextlib
import ctypes
import os
import uuid
from pathlib import Path

from ci.commands import run

GATEWAY_IP = "fd00:6b::1"
KERNEL_IP = "fd00:6b::2"


class Network:
    """The two namespaces; `kernels` begins a command that runs in the kernel's."""

    def __init__(self, gateways_name, kernels_name):
        self.gateways_name = gateways_name
        self.kernels = ["nsenter", f"--net={_file(kernels_name)}"]

    def addresses(self, *options):
        """Return the addresses of the kernel's namespace that other hosts could reach."""
        return run(*self.kernels, "ip", *options, "-oneline", "address", "show", "scope", "global")


def _file(name):
    return Path("/run/netns") / name


@contextlib.contextmanager
def network():
    """Make both, and have this thread be in the gateway's: its sockets, and processes that it starts."""
    mark = uuid.uuid4().hex[:6]
    ends = {f"gp6g{mark}": GATEWAY_IP, f"gp6k{mark}": KERNEL_IP}
    gateways, kernels = ends
    with contextlib.ExitStack() as cleanup:
        for name in ends:
            run("ip", "netns", "add", name)
            cleanup.callback(run, "ip", "netns", "del", name)
        # It ends with the namespaces.
        pair = ("link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", kernels)
        run("ip", "-n", gateways, *pair)
        for name, ip in ends.items():
            run("ip", "-n", name, "link", "set", "lo", "up")
            # The namespace may have inherited that there is no IPv6.
            switch = "echo 0 | tee /proc/sys/net/ipv6/conf/*/disable_ipv6"
            run("nsenter", f"--net={_file(name)}", "sh", "-c", switch)
            run("ip", "-n", name, "address", "add", f"{ip}/64", "dev", "eth0", "nodad")
            run("ip", "-n", name, "link", "set", "eth0", "up")
        with _inside(_file(gateways)):
            yield Network(gateways, kernels)


@contextlib.contextmanager
def _inside(namespace):
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _enter(namespace)
        try:
            yield
        finally:
            _enter(own)
    finally:
        os.close(own)


def _enter(namespace):
    descriptor = namespace if isinstance(namespace, int) else os.open(namespace, os.O_RDONLY)
    try:
        # setns(2); 0: a namespace of any kind.
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        if descriptor != namespace:
            os.close(descriptor)
