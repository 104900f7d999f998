"""The number of kernels of one user that a gateway starts at the same time, over HTTP."""

import asyncio
import json

from api.provisioners import Slow
from api.running import running_gateway
from ci.gateway_client import Gateway
from message_words import unwrapped

TOKENS = {name: f"the-token-of-{name}-which-is-long" for name in ("alice", "bob")}


async def test_a_user_who_starts_many_kernels_does_not_keep_others_waiting(
    tmp_path, monkeypatch, add_provisioner
):
    people = tmp_path / "people"
    people.mkdir()
    for name, token in TOKENS.items():
        (people / name).write_text(token)
    methods = {"people": {"type": "token", "tokensFolder": str(people)}}
    monkeypatch.setenv("GP_AUTH_METHODS", json.dumps(methods))
    monkeypatch.setenv("GP_MAX_STARTS_PER_USER", "2")
    add_provisioner("slow", Slow)
    Slow.launching, Slow.go_on = asyncio.Event(), asyncio.Event()
    async with (
        running_gateway() as gateway,
        Gateway(gateway.url, TOKENS["alice"]) as alice,
        Gateway(gateway.url, TOKENS["bob"]) as bob,
    ):
        starts = {asyncio.create_task(alice.start("slow")) for _ in range(3)}
        [refused], starting = await asyncio.wait(starts, return_when=asyncio.FIRST_COMPLETED)
        error = refused.exception()
        assert (error.status, error.reason) == (429, "TooManyStarts")
        assert unwrapped(error.message).startswith("2 of your kernels are being started")
        await bob.start("local")
        administrators = [asyncio.create_task(gateway.client.start("slow")) for _ in range(3)]
        Slow.go_on.set()
        started = await asyncio.gather(*starting, *administrators)
        assert set(started[:2]) == set(await alice.kernels())
        await asyncio.gather(alice.start("local"), alice.start("local"))
