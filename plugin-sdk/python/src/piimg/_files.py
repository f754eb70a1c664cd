"""Files of the image as Python's `open` has them: content is read whole, and written whole when the file is closed."""

from __future__ import annotations

import io
import posixpath
from typing import Any

from . import _host
from ._errors import HostError, error

#: Directory from which relative paths start; `os.chdir` changes it.
_cwd = "/"

#: Where the original builder put the files of the customization: here they are assets.
FILES = "/files/"

#: Longest content of one call; more goes through a blob.
_LIMIT = 4 << 20


def absolute(path: Any) -> str:
    """Returns a path of the image as piimg wants it."""
    import os

    text = os.fspath(path)
    if isinstance(text, bytes):
        text = text.decode()
    return posixpath.normpath(posixpath.join(_cwd, text)) if ".." not in text.split("/") else posixpath.join(_cwd, text)


def asset_name(path: str) -> str | None:
    """Returns the asset that a path below ``/files`` stands for."""
    return path[len(FILES) :] if path.startswith(FILES) else None


def stat(path: str) -> _host.Stat | None:
    """Returns what is at a path, a final link not followed; `None` if there is nothing."""
    return _host.call("fs.stat", path)


def stat_followed(path: str) -> _host.Stat | None:
    """Returns what is at a path, links followed; `None` if there is nothing."""
    for _ in range(40):
        found = stat(path)
        if found is None or found.kind != "symlink" or found.target is None:
            return found
        path = posixpath.join(posixpath.dirname(path), found.target)
    raise error("invalid", f"`{path}`: too many symbolic links")


def blob_of(path: str) -> _host.Blob:
    """Opens the asset or the image's file at a path."""
    name = asset_name(path)
    return _host.call("assets.open", name) if name is not None else _host.call("fs.read", path)


def read(path: str) -> bytes:
    """Returns the whole of a file."""
    return _host.read_blob(blob_of(path))


def write(path: str, data: bytes, attrs: _host.Attrs | None = None) -> None:
    """Writes a file whole."""
    if asset_name(path) is not None:
        raise error("invalid", f"cannot write `{path}`: what is below {FILES} are assets, which are only read")
    if len(data) > _LIMIT:
        # More than a call may carry; the host's limit for all blobs of bytes is 64 MiB.
        raise error("limit", f"cannot write `{path}`: {len(data)} bytes are more than 4 MiB; hand it over as an asset")
    _host.call("fs.write", path, data, attrs)


class _Written(io.BytesIO):
    """A file to be written; nothing of it is in the image before it is closed."""

    def __init__(self, path: str, start: bytes = b"") -> None:
        super().__init__(start)
        self.seek(0, io.SEEK_END)
        self.name = path
        self._dropped = False

    def drop(self) -> None:
        """Leaves the image as it is."""
        self._dropped = True

    def close(self) -> None:
        if not self.closed and not self._dropped:
            # Whatever happens, it is tried once.
            self._dropped = True
            data = self.getvalue()
            super().close()
            write(self.name, data)
        super().close()


class _Text(io.TextIOWrapper):
    """Its text counterpart: an exception within ``with`` writes nothing."""

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is not None and isinstance(self.buffer, _Written):
            self.buffer.drop()
        super().__exit__(kind, value, trace)


def open(  # noqa: A001 - it stands for Python's own
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any:
    """Opens a file of the image, with the parameters of Python's `open`.

    ``r`` needs ``fs:read``, ``w`` and ``x`` need ``fs:write`` (``x`` also ``fs:read``), ``a`` and ``+`` need both. What is
    below ``/files/`` is an asset and needs ``asset:NAME``. An encoding that is not named is UTF-8.
    """
    if isinstance(file, int) or opener is not None:
        raise error("unsupported", "open() takes a path of the image: there are no file descriptors")
    path = absolute(file)
    letters = set(mode)
    kinds = letters & set("rwax")
    if len(kinds) != 1 or letters - set("rwaxbt+") or len(letters) != len(mode) or {"b", "t"} <= letters:
        raise ValueError(f"invalid mode: {mode!r}")
    kind, binary, update = kinds.pop(), "b" in letters, "+" in letters
    if kind == "x" and stat(path) is not None:
        raise error("exists", f"`{path}` is there already")
    start = b""
    if kind == "a":
        try:
            start = read(path)
        except FileNotFoundError:
            pass
    elif kind == "r":
        start = read(path)
    if kind == "r" and not update:
        raw: io.BytesIO = io.BytesIO(start)
        raw.name = path  # type: ignore[attr-defined]
    else:
        raw = _Written(path, start)
        if kind == "r":
            raw.seek(0)
    if binary:
        return raw
    return _Text(raw, encoding=encoding or "utf-8", errors=errors, newline=newline, write_through=True)


__all__ = ["HostError", "absolute", "open"]
