"""Show what a long command is doing: each step, how long so far, how long last time."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ci.paths import cache

# A terminal shows the seconds pass; a log gets a line now and then.
TICK_TERMINAL = 1.0
TICK_LOG = 30.0


def _times_file() -> Path:
    return cache() / "step-times.json"


def _times() -> dict[str, float]:
    try:
        stored: dict[str, float] = json.loads(_times_file().read_text())
    except (OSError, ValueError):
        return {}
    return stored


def _remember(title: str, seconds: float) -> None:
    times = _times() | {title: round(seconds, 1)}
    _times_file().parent.mkdir(parents=True, exist_ok=True)
    partial = _times_file().with_suffix(f".{threading.get_native_id()}")
    partial.write_text(json.dumps(times, indent=1, sort_keys=True))
    partial.replace(_times_file())


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def say(text: str) -> None:
    """Print one line at once, also into a pipe."""
    print(text, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Show one step of a long command from its start to its end.

    The time it took is kept in the cache under its title; one that fails leaves that time alone.
    """
    last = _times().get(title)
    before = f"last time {_duration(last)}" if last is not None else "first time"
    terminal = sys.stdout.isatty()
    start = time.monotonic()
    done = threading.Event()

    def tick() -> None:
        while not done.wait(TICK_TERMINAL if terminal else TICK_LOG):
            so_far = _duration(time.monotonic() - start)
            if terminal:
                print(f"\r  … {title}: {so_far} ({before})\x1b[K", end="", flush=True)
            else:
                say(f"  … {title}: {so_far} so far ({before})")

    if terminal:
        print(f"  … {title} ({before})", end="", flush=True)
    else:
        say(f"  … {title} ({before})")
    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    mark = "✗"
    try:
        yield
        mark = "✓"
        _remember(title, time.monotonic() - start)
    finally:
        done.set()
        ticker.join()
        took = _duration(time.monotonic() - start)
        line = f"  {mark} {title}: {took} ({before})"
        say(f"\r{line}\x1b[K" if terminal else line)
