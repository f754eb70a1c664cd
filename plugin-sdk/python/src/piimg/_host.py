"""The one door to the image: each call of a host function passes through `call`.

In a component the host is piimg. In a test it is `piimg.testing.FakeImage`. Elsewhere there is none.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol


class Attrs(NamedTuple):
    """Mode and owner of a file."""

    mode: int
    user: str = "root"
    group: str = "root"


class Stat(NamedTuple):
    """What is known of a file: kind is ``file``, ``directory``, ``symlink`` or ``other``."""

    kind: str
    size: int
    mode: int
    user: str
    group: str
    target: str | None


class Command(NamedTuple):
    """A command inside the image; output goes to ``log``, ``capture`` or ``discard``."""

    program: str
    args: list[str]
    env: list[tuple[str, str]]
    cwd: str | None
    user: str | None
    timeout_ms: int | None
    stdout: str
    stderr: str


class Outcome(NamedTuple):
    """How a command ended."""

    status: int
    stdout: bytes
    stderr: bytes
    tail: str


class Blob(Protocol):
    """Content on the host's side."""

    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes: ...


class Host(Protocol):
    """Whoever answers calls."""

    def call(self, function: str, *arguments: Any) -> Any:
        """Calls ``interface.function`` of the contract."""


_current: Host | None = None


def install(host: Host | None) -> Host | None:
    """Makes this the host of all calls, and returns the one before."""
    global _current
    before, _current = _current, host
    return before


def call(function: str, *arguments: Any) -> Any:
    """Calls a host function.

    Raises:
        HostError: if piimg refuses the call or it fails.
        RuntimeError: if there is no image here.
    """
    if _current is None:
        raise RuntimeError(
            f"`{function}` was called where there is no image: call it in execute_customizations(), "
            "and in a test within `with piimg.testing.FakeImage():`"
        )
    return _current.call(function, *arguments)


def read_blob(blob: Blob) -> bytes:
    """Returns all of a blob."""
    parts, offset, size = [], 0, blob.size()
    while offset < size:
        part = blob.read(offset, 1 << 20)
        if not part:
            break
        parts.append(part)
        offset += len(part)
    return b"".join(parts)
