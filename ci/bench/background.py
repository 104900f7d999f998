"""Programs that only make load: they run when the processors have nothing else to do."""

from __future__ import annotations

import os
from pathlib import Path

_LOWEST = 19


def to_background(*processes: int) -> None:
    """Give these processes the lowest priority; each has to be in a session of its own, or with the others.

    All their threads, and their sessions: Linux has a priority for each thread, and one for each session
    (sched(7), autogroup).
    """
    for process in processes:
        for thread in Path(f"/proc/{process}/task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(thread.name), _LOWEST)
        autogroup = Path(f"/proc/{process}/autogroup")
        if autogroup.exists():
            autogroup.write_text(str(_LOWEST))
