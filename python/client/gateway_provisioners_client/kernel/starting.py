"""The start of a kernel at the gateway, or its restart, or nothing of the kind for one that runs."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

from gateway_provisioners_client.errors import ClientError, GatewayRefused, GatewayUnreachable
from gateway_provisioners_client.gateway import answers
from gateway_provisioners_client.gateway.answers import Answer
from gateway_provisioners_client.gateway.api import GatewayApi
from gateway_provisioners_client.kernel.options import Options
from gateway_provisioners_client.kernel.plan import Plan
from gateway_provisioners_client.kernel.quick_start import QuickStart

_KERNEL_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")

# A proxy in front of the gateway answers these when it waited too long; the start goes on.
_OF_PROXIES = {502, 503, 504}


async def carry_out(plan: Plan, api: GatewayApi, options: Options) -> str:
    """Return the id of the kernel once it is up.

    Raises:
        ClientError: it cannot be used, with the reason in full.
    """
    if plan.attach:
        if await api.kernel(plan.kernel_id) is None:
            raise ClientError(
                "The kernel does not exist any longer at the gateway, or is not yours. Choose a new kernel."
            )
        return plan.kernel_id
    if plan.restart:
        try:
            await _through_lost_answers(api, plan.kernel_id, lambda: api.restart(plan.kernel_id))
        except GatewayRefused as error:
            if error.status != 404:
                raise
        else:
            return plan.kernel_id
    return await _start(plan, api, options)


async def _start(plan: Plan, api: GatewayApi, options: Options) -> str:
    async def start() -> dict[str, Any]:
        if plan.quick is not None:
            await plan.quick.done()
            if plan.quick.was_sent and plan.quick.status not in (401, 403):
                return _answer_of(plan.quick, api)
        return await api.start(options.kernel_name, plan.kernel_id, options.kernel_env())

    model = await _through_lost_answers(api, plan.kernel_id, start)
    kernel_id = str((model or {}).get("id", plan.kernel_id))
    if not _KERNEL_ID.fullmatch(kernel_id):
        raise ClientError(
            "The gateway's answer has no valid kernel id. Check that the URL is a gateway's."
        )
    return kernel_id


async def _through_lost_answers(
    api: GatewayApi, kernel_id: str, request: Callable[[], Any]
) -> dict[str, Any] | None:
    """Return the answer to a request; None if it was lost, and the kernel came up all the same."""
    try:
        return cast("dict[str, Any] | None", await request())
    except ClientError as error:
        if not _is_of_proxy(error):
            raise
        async for step in api.progress(kernel_id):
            if step.failed:
                raise ClientError(step.message) from error
        with contextlib.suppress(ClientError):
            if await api.kernel(kernel_id) is not None:
                return None
        raise


def _is_of_proxy(error: ClientError) -> bool:
    if isinstance(error, GatewayRefused):
        return error.status in _OF_PROXIES and not error.reason
    return isinstance(error, GatewayUnreachable)


def _answer_of(quick: QuickStart, api: GatewayApi) -> dict[str, Any]:
    if not quick.status:
        raise GatewayUnreachable(
            f"The connection to {api.config.host} was lost while the kernel started. Restart the kernel."
        )
    url = urlsplit(api.config.url)
    answer = Answer(quick.status, "POST", url.hostname or "", f"{url.path}/api/kernels")
    if quick.status >= 300:
        raise answers.refusal(answer, quick.body, "")
    model = answers.json_of(quick.body, answer)
    if not isinstance(model, dict):
        raise answers.not_a_gateway(answer)
    return model
