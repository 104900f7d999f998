import asyncio

import pytest

from gateway_provisioners.dockerd.events import EventStream
from gateway_provisioners.errors import EngineError

BROKEN = EngineError("gone")


class ScriptedEngine:
    """Plays lists and streams in order; an EngineError in their place is raised."""

    def __init__(self, *, lists, streams):
        self._lists = list(lists)
        self._streams = list(streams)
        self.exhausted = asyncio.Event()
        self.seen = []

    async def clock(self):
        return 12.0

    async def relist(self):
        step = self._lists.pop(0)
        if step is not None:
            raise step
        self.seen.append("list")

    async def events(self, since):
        self.seen.append(since)
        if not self._streams:
            self.exhausted.set()
            await asyncio.Event().wait()
        for step in self._streams.pop(0):
            if isinstance(step, EngineError):
                raise step
            yield step


@pytest.mark.parametrize(
    ("lists", "streams", "seen", "paused"),
    [
        ([None], [], ["list", 12.0], []),
        ([None, None], [["a", BROKEN]], ["list", 12.0, "a", "list", 12.0], [0.2]),
        # Pauses grow from failure to failure, and start over after a success that lasts.
        (
            [BROKEN, BROKEN, None, None],
            [["a", BROKEN]],
            ["list", 12.0, "a", "list", 12.0],
            [0.2, 0.4, 0.8],
        ),
    ],
)
async def test_a_stream_that_breaks_begins_with_a_list(lists, streams, seen, paused):
    engine = ScriptedEngine(lists=lists, streams=streams)
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)

    stream = EventStream(engine, relist=engine.relist, listener=engine.seen.append, pause=pause)
    await stream.start()
    await engine.exhausted.wait()
    assert engine.seen == seen
    assert pauses == paused
    await stream.stop()


async def test_an_unforeseen_error_is_raised_by_start():
    async def relist():
        raise KeyError("Names")

    engine = ScriptedEngine(lists=[], streams=[])
    stream = EventStream(engine, relist=relist, listener=engine.seen.append)
    with pytest.raises(KeyError):
        await stream.start()
    assert not stream.fresh
