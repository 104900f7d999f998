"""The annotations that gateways write for each other."""

import asyncio

import pytest

from gateway_provisioners.aio import Backoff
from gateway_provisioners.errors import ClusterError
from gateway_provisioners.gateway.backends import annotation_writer as module
from gateway_provisioners.gateway.backends.annotation_writer import AnnotationWriter


class Api:
    """Takes annotations, one call after the other, when the test lets it."""

    def __init__(self):
        self.written = []
        self.errors = []
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, pod, values):
        await self.open.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.written.append((pod, dict(values)))


@pytest.fixture
def api():
    return Api()


async def settled(writer):
    await writer._writes.wait("p")


async def test_a_value_is_written_once(api):
    writer = AnnotationWriter(api)
    for _ in range(3):
        writer.announce("p", "a", "1")
        await settled(writer)
    assert api.written == [("p", {"a": "1"})]


async def test_of_several_values_the_newest_is_written(api):
    writer = AnnotationWriter(api)
    api.open.clear()
    writer.announce("p", "a", "1")
    await asyncio.sleep(0)
    for value in ("2", "3"):
        writer.announce("p", "a", value)
    writer.announce("p", "b", None)
    api.open.set()
    await settled(writer)
    assert api.written == [("p", {"a": "1"}), ("p", {"a": "3"})]


async def test_a_failed_write_is_repeated(api, monkeypatch):
    monkeypatch.setattr(module, "_BACKOFF", Backoff(0, 0))
    api.errors = [ClusterError("no answer in time")]
    writer = AnnotationWriter(api)
    writer.announce("p", "a", "1")
    await settled(writer)
    assert api.written == [("p", {"a": "1"})]


async def test_a_pod_that_is_gone_is_not_annotated(api):
    api.errors = [ClusterError("not found", status=404)]
    writer = AnnotationWriter(api)
    writer.announce("p", "a", "1")
    await settled(writer)
    assert api.written == []


async def test_the_last_values_are_written(api):
    writer = AnnotationWriter(api)
    writer.announce("p", "a", "1")
    await writer.finish()
    assert api.written == [("p", {"a": "1"})]
