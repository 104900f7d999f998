import asyncio

import pytest

from gateway_provisioners.errors import ClusterError
from gateway_provisioners.kube.cache import ObjectCache


def item(name, version, **more):
    return {"metadata": {"name": name, "resourceVersion": str(version)}, **more}


class ScriptedSource:
    """Plays lists and streams in order; a ClusterError in their place is raised."""

    def __init__(self, *, lists, streams):
        self._lists = list(lists)
        self._streams = list(streams)
        self.watched_from = []
        self.exhausted = asyncio.Event()

    async def list(self):
        if not self._lists:
            await self._end()
        step = self._lists.pop(0)
        if isinstance(step, ClusterError):
            raise step
        return step

    async def changes(self, resource_version):
        self.watched_from.append(resource_version)
        if not self._streams:
            await self._end()
        for step in self._streams.pop(0):
            if isinstance(step, ClusterError):
                raise step
            yield step

    async def _end(self):
        self.exhausted.set()
        await asyncio.Event().wait()


class Pauses:
    """Instead of time: remembers each pause and does not wait."""

    def __init__(self):
        self.seconds = []

    async def __call__(self, seconds):
        self.seconds.append(seconds)


async def play(source, cache):
    cache.start()
    await source.exhausted.wait()


@pytest.fixture
def pauses():
    return Pauses()


async def following(lists, streams, pauses):
    source = ScriptedSource(lists=lists, streams=streams)
    cache = ObjectCache("things", source, pause=pauses)
    heard = []
    cache.subscribe(lambda change, thing: heard.append((change, thing["metadata"]["name"])))
    await play(source, cache)
    await cache.stop()
    return source, cache, heard


async def test_lists_once_and_follows_the_stream(pauses):
    source, cache, heard = await following(
        [([item("a", 1)], "5")],
        [
            [
                ("ADDED", item("b", 6)),
                ("MODIFIED", item("a", 7, new=True)),
                ("DELETED", item("b", 8)),
            ]
        ],
        pauses,
    )
    assert dict(cache.objects) == {"a": item("a", 7, new=True)}
    assert heard == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]
    assert source.watched_from == ["5", "8"]
    assert pauses.seconds == []


async def test_a_bookmark_advances_the_version_without_a_change(pauses):
    source, _, heard = await following(
        [([], "5")], [[("BOOKMARK", item("", 90))], [("ADDED", item("a", 91))]], pauses
    )
    assert source.watched_from == ["5", "90", "91"]
    assert heard == [("ADDED", "a")]


async def test_an_old_version_is_listed_again_without_a_pause(pauses):
    source, cache, heard = await following(
        [([item("a", 1), item("b", 1)], "5"), ([item("b", 1)], "50")],
        [[ClusterError("too old", status=410)]],
        pauses,
    )
    assert dict(cache.objects) == {"b": item("b", 1)}
    assert ("DELETED", "a") in heard
    assert source.watched_from == ["5", "50"]
    assert pauses.seconds == []


async def test_a_broken_stream_keeps_what_is_known_until_the_api_is_back(pauses):
    broken = ClusterError("connection refused")
    source = ScriptedSource(
        lists=[([item("a", 1)], "5"), broken, broken, ([item("a", 1)], "9")], streams=[[broken]]
    )
    heard = []
    known_while_broken = []

    async def pause(seconds):
        known_while_broken.append((dict(cache.objects), cache.fresh))
        pauses.seconds.append(seconds)

    cache = ObjectCache("things", source, pause=pause)
    cache.subscribe(lambda change, thing: heard.append(change))
    await play(source, cache)
    assert known_while_broken == [({"a": item("a", 1)}, False)] * 3
    assert "DELETED" not in heard
    assert cache.fresh
    await cache.stop()


async def test_pauses_grow_and_are_bounded(pauses):
    broken = ClusterError("connection refused")
    await following([broken] * 20 + [([], "1")], [], pauses)
    assert len(pauses.seconds) == 20
    assert pauses.seconds[0] <= 0.2
    assert 5 <= pauses.seconds[-1] <= 10


async def test_a_listener_for_one_name_hears_nothing_else(pauses):
    source = ScriptedSource(lists=[([item("a", 1), item("b", 1)], "5")], streams=[])
    cache = ObjectCache("things", source, pause=pauses)
    heard = []
    unsubscribe = cache.subscribe(lambda change, thing: heard.append(thing), name="b")
    await play(source, cache)
    assert heard == [item("b", 1)]
    unsubscribe()
    unsubscribe()
    await cache.stop()


async def test_not_synced_before_the_first_list(pauses):
    cache = ObjectCache("things", ScriptedSource(lists=[], streams=[]), pause=pauses)
    assert not cache.synced
    assert not cache.fresh


async def test_an_answer_is_known_before_the_stream_reports_it(pauses):
    streamed = asyncio.Queue()

    class Source(ScriptedSource):
        async def changes(self, resource_version):
            while True:
                yield await streamed.get()

    cache = ObjectCache("things", Source(lists=[([item("a", 4)], "5")], streams=[]), pause=pauses)
    heard = []
    cache.subscribe(lambda change, thing: heard.append(thing["metadata"]["resourceVersion"]))
    cache.start()
    await cache.wait_synced()
    cache.learn(item("a", 8))
    all_streamed = asyncio.Event()
    cache.subscribe(lambda change, thing: all_streamed.set(), name="c")
    cache.learn(item("b", 3))  # older than the list, which no longer had it
    for version in (7, 8, 9):
        streamed.put_nowait(("MODIFIED", item("a", version)))
    streamed.put_nowait(("DELETED", item("a", 10)))
    streamed.put_nowait(("ADDED", item("c", 11)))
    await all_streamed.wait()
    cache.learn(item("a", 9))  # it is gone, and the answer to an earlier request comes late
    assert heard == ["4", "8", "8", "9", "10", "11"]
    assert list(cache.objects) == ["c"]
    await cache.stop()
