"""The progress of a start, as a user follows it in a terminal."""

import asyncio
import html
import json
import uuid

import pytest
from browser import new_page
from sight import picture, see

from ci.gateway_client import Refused
from programs import program
from timeouts import eventually

TERMINAL = """
<body style="margin: 0; background: #1e1e1e; color: #e0e0e0">
<pre style="margin: 16px; font: 14px 'DejaVu Sans Mono'; white-space: pre-wrap">$ {command}
{output}</pre></body>
"""
WINDOW = {"width": 1000, "height": 340}


async def test_the_progress_of_a_start_in_a_terminal(on_kubernetes, browser):
    gateway, kernel_id = on_kubernetes, str(uuid.uuid4())
    body = {"name": "nowhere", "kernel_id": kernel_id}
    start = asyncio.create_task(gateway.request("POST", "/api/kernels", body))

    async def is_known():
        try:
            return await anext(gateway.progress(kernel_id))
        except Refused:
            return None

    await eventually(is_known)
    # As docs/clients.md has it, with the addresses of this test.
    header = f"Authorization: token {gateway.token}"
    url = f"{gateway.url}/api/kernels/{kernel_id}/progress"
    output = await program("curl", "--silent", "--no-buffer", "--header", header, url)
    with pytest.raises(Refused):
        await start
    events = [json.loads(line[6:]) for line in output.splitlines() if line.startswith("data: ")]
    assert events[-1]["failed"]
    shown = "\n".join(dict.fromkeys(event["message"] for event in events))
    command = "curl --silent --no-buffer --header ... $JUPYTER_GATEWAY_URL/api/kernels/$ID/progress"
    async with new_page(browser, WINDOW) as page:
        await page.set_content(
            TERMINAL.format(command=html.escape(command), output=html.escape(shown))
        )
        await see(page.locator("pre"), "The kernel is being started.", "cannot be pulled")
        await picture(page, "progress")
