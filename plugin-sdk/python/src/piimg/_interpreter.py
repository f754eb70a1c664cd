"""What a component replaces of Python itself, because it would call WASI, which is not there: the call would end the
component without a word.
"""

from __future__ import annotations

import _thread
import builtins
import hashlib
import io
import linecache
import os
import random
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any, Callable

from . import _files


class UnavailableError(NotImplementedError):
    """What Python has and a component has not.

    It is no `OSError`, which `os.path.exists` and its like would take for "no".
    """


def _refusal(message: str) -> Callable[..., Any]:
    def refused(*_: Any, **__: Any) -> Any:
        raise UnavailableError(message)

    return refused


# --- Clocks ----------------------------------------------------------------------------------------------------------


def set_clocks(now: Callable[[], int]) -> None:
    """Makes `now`, in seconds since 1970, the only time, as for every plugin; waiting is over at once."""
    gmtime, strftime, asctime = time.gmtime, time.strftime, time.asctime
    time.time = lambda: float(now())
    time.time_ns = lambda: now() * 1_000_000_000
    for name in ("monotonic", "perf_counter", "process_time", "thread_time"):
        setattr(time, name, lambda: 0.0)
        setattr(time, name + "_ns", lambda: 0)
    time.sleep = lambda _: None  # type: ignore[assignment]
    time.get_clock_info = lambda name: SimpleNamespace(  # type: ignore[assignment, misc]
        implementation="piimg", monotonic=name != "time", adjustable=False, resolution=1.0
    )
    time.gmtime = lambda secs=None: gmtime(now() if secs is None else secs)
    # There is no time zone in a component.
    time.localtime = lambda secs=None: gmtime(now() if secs is None else secs)
    time.ctime = lambda secs=None: asctime(time.gmtime(secs))
    time.asctime = lambda it=None: asctime(time.gmtime() if it is None else it)
    time.strftime = lambda form, it=None: strftime(form, time.gmtime() if it is None else it)
    # The one in C asks the clock itself.
    import _pydatetime

    sys.modules["datetime"] = _pydatetime


# --- Random numbers --------------------------------------------------------------------------------------------------


class _Stream:
    """Random bytes that follow from the script, so that the same component always does the same."""

    def __init__(self) -> None:
        self.seed, self.count, self.rest = b"", 0, b""

    def restart(self, seed: bytes) -> None:
        self.seed, self.count, self.rest = seed, 0, b""

    def take(self, size: int) -> bytes:
        while len(self.rest) < size:
            self.rest += hashlib.sha256(self.seed + self.count.to_bytes(8, "little")).digest()
            self.count += 1
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken


stream = _Stream()


def set_random() -> None:
    """Makes `stream` the source of all random numbers."""
    os.urandom = stream.take  # type: ignore[assignment]
    random._urandom = stream.take  # type: ignore[attr-defined]
    seed = random.Random.seed

    def seeded(self: random.Random, a: Any = None, version: int = 2) -> None:
        seed(self, int.from_bytes(stream.take(32), "little") if a is None else a, version)

    random.Random.seed = seeded  # type: ignore[method-assign]
    random.seed = random._inst.seed  # type: ignore[attr-defined]


# --- Locks -----------------------------------------------------------------------------------------------------------


class _Lock:
    """A lock where there is one thread: nobody would ever open it for who waits."""

    def __init__(self) -> None:
        self._held = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self._held and blocking and timeout < 0:
            raise UnavailableError("this would wait for ever: there are no threads in a component")
        taken, self._held = not self._held, True
        return taken

    def release(self) -> None:
        if not self._held:
            raise RuntimeError("release unlocked lock")
        self._held = False

    def locked(self) -> bool:
        return self._held

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def set_locks() -> None:
    """Makes waiting for a lock an error, or over at once if there is a time for it."""
    _thread.allocate_lock = threading.Lock = threading._allocate_lock = _Lock  # type: ignore[assignment, attr-defined, misc]


# --- Files and processes ---------------------------------------------------------------------------------------------

#: Functions of Python's own `os` that ask nobody.
_HARMLESS = {"fspath", "fsencode", "fsdecode", "strerror", "urandom", "WIFEXITED", "WEXITSTATUS", "cpu_count"}
_ENDS = {"_exit": "os._exit()", "abort": "os.abort()"}


def set_files() -> None:
    """Takes Python's own files away. Nothing can be imported any more."""
    import posix

    # What is in it is of the machine that made the component.
    os.environ.clear()
    for name, it in list(vars(posix).items()):
        if callable(it) and not isinstance(it, type) and not name.startswith("__") and name not in _HARMLESS:
            for module in (posix, os):
                if getattr(module, name, None) is it:
                    setattr(module, name, _refusal(_instead_of(name)))
    builtins.open = io.open = _files.open  # type: ignore[assignment]
    # What is in C opens files by itself, the parser that of a syntax error; it goes on without, if this fails.
    sys.addaudithook(_refuse_open)
    sys.stdin = sys.__stdin__ = io.StringIO()  # type: ignore[misc]
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]
    # Tracebacks look for files whose lines they do not have.
    linecache.checkcache = lambda filename=None: None
    linecache.updatecache = lambda filename, module_globals=None: []
    # There is one process; logging asks for its number with each line.
    os.getpid = lambda: 1
    if signal := sys.modules.get("signal"):
        signal.raise_signal = _refusal("there are no signals in a component")  # type: ignore[attr-defined]
    sys.path.clear()
    sys.path_importer_cache.clear()
    sys.meta_path[:] = [finder for finder in sys.meta_path if getattr(finder, "__name__", "") != "PathFinder"]


def _instead_of(name: str) -> str:
    if name in _ENDS:
        return f"{_ENDS[name]} is not for plugins: use sys.exit() or raise an exception"
    return f"Python's own `os.{name}` finds no file here: write `from piimg import open, os, shutil, subprocess` in the script"


def _refuse_open(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        raise UnavailableError(f"Python's own files are not there: {arguments[0]!r} cannot be opened so")
