"""What piimg does to files in one call, where Python would need several."""

from __future__ import annotations

from typing import Any

from . import _files, _host
from ._files import absolute


def write(path: Any, text: str | bytes, mode: int = 0o644, user: str = "root", group: str = "root") -> None:
    """Writes a file with its mode and owner. Needs ``fs:write``."""
    data = text.encode() if isinstance(text, str) else text
    _host.call("fs.write", absolute(path), data, _host.Attrs(mode, user, group))


def make_directory(path: Any, mode: int = 0o755, user: str = "root", group: str = "root") -> None:
    """Makes a directory and those above it that are missing, with mode and owner; one that exists is left as it is."""
    _host.call("fs.mkdir", absolute(path), _host.Attrs(mode, user, group), True)


def ensure_line(path: Any, line: str, place: str = "end", beside: str | None = None) -> bool:
    """Makes sure that a text file has a line; true if it was not there before. Needs ``fs:read`` and ``fs:write``.

    ``place`` is ``start`` or ``end``, or ``before``, ``after`` or ``instead-of`` the line that begins with ``beside``.
    """
    return _host.call("fs.ensure-line", absolute(path), line, place, beside)


def replace(path: Any, old: str, new: str) -> int:
    """Replaces every occurrence of a text, and returns how many there were. Needs ``fs:read`` and ``fs:write``."""
    return _host.call("fs.replace", absolute(path), old, new)


def chown_all(path: Any, user: str, group: str) -> None:
    """Sets the owner of a file or directory and of everything below it. Needs ``fs:write`` of all of it."""
    _host.call("fs.set-owner", absolute(path), user, group, True)


def unpack(archive: Any, directory: Any, user: str = "root", group: str = "root", strip: int = 0) -> int:
    """Unpacks a tar archive, compressed or not, into a directory, and returns the number of files and links.

    ``archive`` is a path of the image, or of an asset below ``/files``. Of each path in it the first ``strip`` parts are left
    out. Needs ``fs:read`` of the archive or ``asset:NAME``, and ``fs:write`` of the directory and all below it.
    """
    return _host.call("fs.unpack", _files.blob_of(absolute(archive)), absolute(directory), user, group, strip)
