"""Requests for kernel_info while the kernel starts, and the question of this program's own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from gateway_provisioners_client.kernel import info
from gateway_provisioners_client.session import words

# Clients repeat their question each second.
_MOST = 256


class Questions:
    """Answers at once from the last start of such a kernel, or else as soon as the kernel has answered.

    Args:
        cache: of the answers.
        deliver: called with a channel and a message for the clients.
        early: answer from the cache.
    """

    def __init__(
        self, cache: info.InfoCache, deliver: Callable[[str, list[bytes]], None], *, early: bool
    ) -> None:
        self._cache = cache
        self._deliver = deliver
        self._early = early
        self._waiting: deque[tuple[str, bytes]] = deque(maxlen=_MOST)
        self._own = ""
        self._is_answered = False

    def own(self) -> list[bytes]:
        """Return a question of ours, the first that the kernel is asked."""
        question = words.message("kernel_info_request", b"{}", {})
        self._own = words.text_of(words.short_header(question[0]), "msg_id")
        return question

    def take(self, channel: str, header: bytes, failure: str) -> None:
        """Take the question of a client.

        Args:
            failure: the reason why there is no kernel, or "".
        """
        if failure:
            self._answer(channel, header, self._cache.content or info.without_kernel(failure))
        elif self._cache.content and self._early:
            self._answer(channel, header, self._cache.content)
        else:
            self._waiting.append((channel, header))

    def answer_all(self, content: dict[str, Any]) -> None:
        """Answer all that wait."""
        while self._waiting:
            channel, header = self._waiting.popleft()
            self._answer(channel, header, content)

    def is_answer(self, channel: str, parts: list[bytes]) -> bool:
        """Return whether a message is about our own question, which clients did not ask."""
        if not self._own:
            return False
        if words.text_of(words.short_header(parts[1]), "msg_id") != self._own:
            return False
        if channel == "shell":
            self._is_answered = True
            self._cache.keep(parts[3])
            self.answer_all(self._cache.content or info.without_kernel(""))
        elif self._is_answered and b'"idle"' in parts[3]:
            self._own = ""
        return True

    def _answer(self, channel: str, header: bytes, content: dict[str, Any]) -> None:
        self._deliver("iopub", words.status(header, "busy"))
        self._deliver(channel, words.message("kernel_info_reply", header, content))
        self._deliver("iopub", words.status(header, "idle"))
