"""The task for a kernel, from the command line and what the process before this one left."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from gateway_provisioners_client.kernel.options import Options
from gateway_provisioners_client.kernel.quick_start import QuickStart


def _new_id() -> str:
    return str(uuid.uuid4())


@dataclass
class Plan:
    """The task for a kernel.

    Attributes:
        kernel_id: its id; the gateway may choose another for a new one.
        session_id: names this client at the gateway.
        restart: True for the kernel of the process before this one.
        attach: True for a kernel that runs, and stays as it is.
        abandoned: the id of a kernel that the process before this one did not see come up; "" for none.
        quick: the request that is under way already.
    """

    kernel_id: str = field(default_factory=_new_id)
    session_id: str = field(default_factory=_new_id)
    restart: bool = False
    attach: bool = False
    abandoned: str = ""
    quick: QuickStart | None = None


def plan_for(options: Options, left: dict[str, Any]) -> Plan:
    """Return what has to be done.

    Args:
        options: of the command line.
        left: the state file of the process before this one; {} without one.
    """
    if options.config is None:
        return Plan()
    before = left.get("kernel_id")
    same = (options.config.to_options(), options.kernel_name)
    if isinstance(before, str) and (left.get("options"), left.get("kernel_name")) == same:
        if left.get("starting") is False:
            # With a session of its own: nothing of what the kernel said before is wanted.
            return Plan(before, restart=True)
    else:
        before = ""
    if options.attach:
        return Plan(options.attach, attach=True)
    return Plan(abandoned=before)


def begin(plan: Plan, options: Options) -> None:
    """Send the request of a new kernel, in a thread."""
    if options.config is not None and not (plan.attach or plan.restart):
        plan.quick = QuickStart(
            options.config, options.kernel_name, plan.kernel_id, options.kernel_env()
        )
        plan.quick.start()
