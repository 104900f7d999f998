"""A stand-in for the gateway's side of the mailbox port; as a program, one that can be killed.

As a program: `mailbox_peer.py CONNECTION SESSION ACKNOWLEDGE CODE`, where CONNECTION is JSON of the
connection info and the mailbox's key. It executes CODE, prints its request's id and each message's number,
and acknowledges the first ACKNOWLEDGE of them. Then it attaches again, and prints `welcome` once the mailbox
has read that, and so the acknowledgements before it.
"""

import hmac
import json
import sys
import uuid

import zmq
from jupyter_client.session import Session


class Peer:
    """One connection to the mailbox port; blocking."""

    def __init__(self, info, session, *, key=None, route=None, features=("unknown",)):
        self.session = Session(key=info["key"].encode(), session=session)
        self._context = zmq.Context()
        sock = self._context.socket(zmq.DEALER)
        sock.linger = 1000
        sock.rcvtimeo = 120_000
        sock.routing_id = route or uuid.uuid4().hex.encode()
        if info.get("curve_publickey"):
            sock.curve_publickey, sock.curve_secretkey = zmq.curve_keypair()
            sock.curve_serverkey = info["curve_publickey"].encode()
        sock.connect(f"tcp://127.0.0.1:{info['mailbox_port']}")
        self.socket = sock
        content = json.dumps({"session": session, "features": list(features)}).encode()
        key = key or bytes.fromhex(info["mailbox_key"])
        signature = hmac.new(key, b"attach" + content, "sha256")
        self._attach_frames = [b"attach", signature.hexdigest().encode(), content]
        self.attach()

    def attach(self):
        """Ask for what was not acknowledged, which comes after a welcome."""
        self.socket.send_multipart(self._attach_frames)

    def welcome(self):
        kind, content = self.socket.recv_multipart()
        assert kind == b"welcome"
        return json.loads(content)

    def receive(self, *, acknowledge=True):
        """The next message, with its channel and number."""
        frames = self.socket.recv_multipart()
        if len(frames) < 3:
            return {"channel": frames[0].decode(), "msg_type": "", "content": frames[1:]}
        if acknowledge:
            self.socket.send_multipart([b"ack", frames[1]])
        _, parts = self.session.feed_identities(frames[2:])
        message = self.session.deserialize(parts)
        return {**message, "channel": frames[0].decode(), "number": int(frames[1])}

    def execute(self, code, request=None, **content):
        message = self.session.msg("execute_request", {"code": code, "silent": False, **content})
        # The session's own ids begin anew with each connection, and messages of an earlier one may come
        # again.
        request = message["header"]["msg_id"] = request or uuid.uuid4().hex
        self.send("shell", message)
        return request

    def send(self, channel, message):
        self.socket.send_multipart([channel.encode(), *self.session.serialize(message)])

    def until_idle(self, request, **options):
        """Return a request's messages until the kernel is idle, replies included."""
        messages = []
        missing = {"execute_reply", "idle"}
        while missing:
            message = self.receive(**options)
            if message.get("parent_header", {}).get("msg_id") == request:
                messages.append(message)
                missing.discard(message["content"].get("execution_state", message["msg_type"]))
        return messages

    def close(self):
        self.socket.close()
        self._context.term()


def printed(messages):
    return "".join(m["content"]["text"] for m in messages if m["msg_type"] == "stream")


def _print_line(word):
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    connection, session, acknowledge, code = sys.argv[1:]
    peer = Peer(json.loads(connection), session)
    peer.welcome()
    _print_line(peer.execute(code))
    for _ in range(int(acknowledge)):
        _print_line(peer.receive()["number"])
    peer.attach()
    while True:  # unparsed: what comes again has a signature that the session has seen
        channel, number = peer.socket.recv_multipart()[:2]
        _print_line("welcome" if channel == b"welcome" else number.decode())
