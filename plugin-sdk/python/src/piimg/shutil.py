"""Python's `shutil`, on files of the image. Sources below ``/files/`` are assets."""

from __future__ import annotations

import posixpath
from typing import Any, Callable, Iterable

from . import _files, _host, files, os
from ._errors import error
from ._files import absolute


class Error(OSError):
    """A copy that makes no sense."""


class SameFileError(Error):
    """Source and destination are the same."""


def _copy(src: Any, dst: Any, with_mode: bool, into: bool) -> str:
    source, dest = absolute(src), absolute(dst)
    # Only a trailing slash says without a question to the image that the destination is a directory.
    if into and (str(dst).endswith("/") or _is_directory(dest)):
        dest = posixpath.join(dest, posixpath.basename(source))
    if source == dest:
        raise SameFileError(f"`{source}` is to be copied to itself")
    attrs = None
    if with_mode and _files.asset_name(source) is None:
        found = _files.stat_followed(source)
        if found is None:
            raise error("not-found", f"`{source}` is not there")
        attrs = _host.Attrs(found.mode & 0o1777)
    _host.call("fs.install", _files.blob_of(source), dest, attrs)
    return dest


def _is_directory(dest: str) -> bool:
    # Asking needs `fs:read`, which a script that names the file itself can do without.
    try:
        return os.path.isdir(dest)
    except PermissionError:
        return False


def copyfile(src: Any, dst: Any, *, follow_symlinks: bool = True) -> str:
    """Copies the content of a file. Needs ``fs:read`` of the source or ``asset:NAME``, and ``fs:write``."""
    return _copy(src, dst, False, False)


def copy(src: Any, dst: Any, *, follow_symlinks: bool = True) -> str:
    """Copies a file with its mode, to a file or into a directory; it belongs to root."""
    return _copy(src, dst, True, True)


copy2 = copy


def copytree(
    src: Any,
    dst: Any,
    symlinks: bool = False,
    ignore: Callable[[str, list[str]], Iterable[str]] | None = None,
    dirs_exist_ok: bool = False,
) -> str:
    """Copies a directory of the image or of assets, with all below it."""
    source, dest = absolute(src), absolute(dst)
    if not dirs_exist_ok and os.path.exists(dest):
        raise error("exists", f"`{dest}` is there already")
    entries = os._entries(source)
    os.makedirs(dest, exist_ok=True)
    ignored = set(ignore(source, [name for name, _ in entries])) if ignore else set()
    for name, kind in entries:
        old, new = posixpath.join(source, name), posixpath.join(dest, name)
        if name in ignored:
            continue
        if kind == "directory":
            copytree(old, new, symlinks, ignore, True)
        elif kind == "symlink" and symlinks:
            os.symlink(os.readlink(old), new)
        else:
            _copy(old, new, True, False)
    return dest


def ignore_patterns(*patterns: str) -> Callable[[str, list[str]], set[str]]:
    """Returns a function for ``ignore`` of `copytree`."""
    import fnmatch

    return lambda _, names: {name for pattern in patterns for name in fnmatch.filter(names, pattern)}


def rmtree(path: Any, ignore_errors: bool = False, onerror: Any = None) -> None:
    """Removes a directory with all below it. Needs ``fs:write`` of all of it."""
    try:
        _host.call("fs.remove", absolute(path), True)
    except OSError:
        if not ignore_errors:
            raise


def move(src: Any, dst: Any) -> str:
    """Renames a file or directory, or moves it into a directory."""
    source, dest = absolute(src), absolute(dst)
    if str(dst).endswith("/") or _is_directory(dest):
        dest = posixpath.join(dest, posixpath.basename(source))
    _host.call("fs.rename", source, dest)
    return dest


def chown(path: Any, user: Any = None, group: Any = None) -> None:
    """Sets the owner of a file; what is not named is kept."""
    if user is None and group is None:
        raise ValueError("user and/or group must be set")
    os.chown(path, -1 if user is None else user, -1 if group is None else group)


def which(cmd: str) -> str | None:
    """Returns where a program of the image is. Needs ``fs:read`` of the places that are looked at."""
    for directory in "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".split(":"):
        if os.access(posixpath.join(directory, cmd), os.X_OK):
            return posixpath.join(directory, cmd)
    return None


def unpack_archive(filename: Any, extract_dir: Any, format: str | None = None) -> None:  # noqa: A002
    """Unpacks a tar archive, plain or compressed with gzip, xz or zstd, into a directory; all of it belongs to root.

    Needs ``fs:read`` of the archive or ``asset:NAME``, and ``fs:write:DIRECTORY/**``.
    """
    name = str(filename)
    ends = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.zst")
    if not name.endswith(ends):
        raise ValueError(f"`{name}` is no archive that can be unpacked: .tar, .tar.gz, .tar.xz, .tar.zst")
    files.unpack(filename, extract_dir)


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"`shutil.{name}` is nothing that a customization can do in an image; the README of piimg-plugin-sdk lists what there is"
    )
