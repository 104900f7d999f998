"""The answer to a request, and the stream that a websocket takes from it."""

import gc
import socket
import weakref

from tornado.http1connection import HTTP1Connection
from tornado.iostream import IOStream

from gateway_provisioners.gateway.http.answers import Answer


async def test_nothing_keeps_the_stream_of_a_websocket_that_has_ended():
    """A stream holds what its client has not read: memory that may not wait for the garbage collector."""
    ours, theirs = socket.socketpair()
    answer = Answer(HTTP1Connection(IOStream(ours), is_client=False))
    stream = answer.detach()
    ended = weakref.ref(stream)
    gc.disable()
    try:
        stream.close()
        del stream
        assert ended() is None
    finally:
        gc.enable()
        theirs.close()
