"""The names `spark`, `sc` and `sql` in a Python kernel, created as the init mode says."""

from __future__ import annotations

import atexit
import signal
from typing import TYPE_CHECKING, Any

from kernel_launcher.errors import NO_RUNTIME, LaunchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipykernel.kernelapp import IPKernelApp


def prepare(app: IPKernelApp, mode: str) -> None:
    """Put the names of a Spark session into the namespace of the kernel's user.

    Args:
        app: initialized; its kernel has an IPython shell.
        mode: "eager" starts the session now, "lazy" at the first use of one of the names.

    Raises:
        LaunchError: the image has no pyspark, or the kernel has no namespace for the names.
    """
    try:
        from pyspark.sql import SparkSession  # type: ignore[import-not-found]
    except ImportError as error:
        message = f"Spark is to be initialized ({mode}), but pyspark cannot be imported: {error}"
        raise LaunchError(NO_RUNTIME, message) from error
    if app.shell is None:
        message = f"Spark is to be initialized ({mode}), but this kernel class has no IPython shell"
        raise LaunchError(NO_RUNTIME, message)
    session = _Session(SparkSession.builder.getOrCreate, app.shell.push)
    signal.signal(signal.SIGUSR2, lambda *_: session.cancel_jobs())
    if mode == "eager":
        session.start()
    else:
        names = {name: _AtFirstUse(session, name) for name in ("spark", "sc", "sql")}
        app.shell.push(names, interactive=False)


class _Session:
    def __init__(self, create: Callable[[], Any], push: Callable[..., None]) -> None:
        self._create = create
        self._push = push
        self._names: dict[str, Any] = {}

    def start(self) -> dict[str, Any]:
        """Create the session at the first call, and replace the names' placeholders."""
        if not self._names:
            session = self._create()
            atexit.register(session.stop)
            self._names = {"spark": session, "sc": session.sparkContext, "sql": session.sql}
            self._push(self._names, interactive=False)
        return self._names

    def cancel_jobs(self) -> None:
        if self._names:
            self._names["sc"].cancelAllJobs()


class _AtFirstUse:
    """A placeholder for one name of the session; any use of it starts the session."""

    def __init__(self, session: _Session, name: str) -> None:
        self._session = session
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        # IPython looks for _repr_html_ and the like on everything it might show.
        if attribute.startswith(("_repr_", "_ipython_", "__")):
            raise AttributeError(attribute)
        return getattr(self._session.start()[self._name], attribute)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._session.start()[self._name](*arguments, **keywords)

    def __dir__(self) -> list[str]:
        return dir(self._session.start()[self._name])

    def __repr__(self) -> str:
        return repr(self._session.start()[self._name])
