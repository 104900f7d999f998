"""The private names of other packages that this package uses; a new version may drop them."""

import ast
import importlib
import inspect
import pkgutil
import re
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from textwrap import dedent

import pytest
from jupyter_client.ioloop.restarter import AsyncIOLoopKernelRestarter
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_core.application import JupyterApp
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.kernelmanager import (
    AsyncMappingKernelManager,
    ServerKernelManager,
)
from kernel_gateway.services.sessions.sessionmanager import SessionManager
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config.kube_config import KubeConfigLoader
from tornado.websocket import WebSocketProtocol13
from traitlets.config.loader import KVArgParseConfigLoader
from zmq.eventloop.zmqstream import ZMQStream

import gateway_provisioners

PRIVATES = {
    AsyncIOLoopKernelRestarter: {
        "_fire_callbacks",
        "_initial_startup",
        "_restart_count",
        "_restarting",
    },
    AsyncMappingKernelManager: {
        "_activity_stream",
        "_add_kernel_when_ready",
        "_created_context",
        "_finish_kernel_start",
        "_get_changed_ports",
        "_handle_kernel_died",
        "_initialized_culler",
        "_kernel_ports",
        "_kernel_buffers",
        "_kernel_connections",
        "_kernels",
        "_pending_kernels",
    },
    JupyterApp: {"_create_loader"},
    KubeConfigLoader: {"_cluster", "_get_base_path", "_load_user_token", "_user"},
    KVArgParseConfigLoader: {"_handle_unrecognized_alias", "_parse_args"},
    KernelSpecManager: {"_get_kernel_spec_by_name"},
    RESTClientObject: {"_create_connector"},
    ServerKernelManager: {
        "_async_cleanup_resources",
        "_async_post_start_kernel",
        "_attempted_start",
        "_close_control_socket",
        "_create_connected_socket",
        "_kernel_spec",
        "_launch_args",
        "_ready",
        "_reconcile_connection_info",
    },
    SessionManager: {"_sessions"},
    ZMQChannelsWebsocketConnection: {
        "_close_future",
        "_finish_kernel_info",
        "_kernel_info_future",
        "_open_sessions",
        "_open_sockets",
        "_send_status_message",
    },
    ZMQStream: {"_handle_events"},
    WebSocketProtocol13: {
        "_abort",
        "_fragmented_message_buffer",
        "_handle_message",
        "_read_bytes",
        "_receive_frame_loop",
        "_run_callback",
        "_write_frame",
    },
}


def is_ours(cls):
    return cls.__module__.startswith("gateway_provisioners.")


@cache
def source(cls):
    try:
        return inspect.getsource(cls)
    except (TypeError, OSError):  # a builtin
        return ""


def upstream_has(cls, name):
    """Return whether an upstream class, or a base of it, defines or assigns the name."""
    bases = [base for base in cls.__mro__ if not is_ours(base)]
    return any(name in vars(b) or re.search(rf"\.{name}\b", source(b)) for b in bases)


def name_of(node):
    """Return the private name that a node reads, assigns or defines, or ""."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        decorators = {getattr(getattr(d, "func", d), "id", "") for d in node.decorator_list}
        # traitlets calls these by their decorator, not by their name.
        name = "" if decorators & {"default", "validate"} else node.name
    else:
        name = getattr(node, "attr", getattr(node, "id", ""))
    return name if re.fullmatch(r"_[a-z]\w*", name) else ""


def our_classes():
    for found in pkgutil.walk_packages(gateway_provisioners.__path__, "gateway_provisioners."):
        if not found.name.startswith("gateway_provisioners._"):
            module = importlib.import_module(found.name)
            yield from (c for c in vars(module).values() if inspect.isclass(c) and is_ours(c))


@pytest.mark.parametrize(
    ("cls", "name"), [(cls, name) for cls, names in PRIVATES.items() for name in sorted(names)]
)
def test_upstream_still_has_the_name(cls, name):
    (distribution, *_) = packages_distributions()[cls.__module__.partition(".")[0]]
    assert upstream_has(cls, name), (
        f"{distribution} {version(distribution)} has no {cls.__name__}.{name}, which "
        f"gateway_provisioners uses: adapt the code, or restrict the version in pyproject.toml"
    )


def test_the_list_names_all_that_subclasses_use():
    used = {}
    for cls in our_classes():
        upstream = next(base for base in cls.__mro__ if not is_ours(base))
        names = {name_of(node) for node in ast.walk(ast.parse(dedent(source(cls))))} - {""}
        if found := {name for name in names if upstream_has(upstream, name)}:
            used.setdefault(upstream, set()).update(found)
    assert used == PRIVATES


def test_the_list_names_all_that_other_code_uses():
    files = Path(gateway_provisioners.__file__).parent.rglob("*.py")
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    read = {name_of(node) for node in nodes if isinstance(node, ast.Attribute)} - {""}
    ours = {
        name_of(node)
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        or isinstance(getattr(node, "ctx", None), ast.Store)
    }
    assert read - ours <= set().union(*PRIVATES.values())
