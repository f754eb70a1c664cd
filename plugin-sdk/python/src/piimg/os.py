"""Python's `os`, as far as it is about files and commands of the image."""

from __future__ import annotations

import errno
import os as _os
import posixpath
import stat as _stat
from typing import Any, Iterator

from . import _files, _host
from ._errors import error
from ._files import absolute

#: Variables for commands that are started without ``env``. Each is a part of the command's capability.
environ: dict[str, str] = {}

sep, linesep, curdir, pardir, devnull, name = "/", "\n", ".", "..", "/dev/null", "posix"
F_OK, X_OK, W_OK, R_OK = 0, 1, 2, 4
fspath, PathLike = _os.fspath, _os.PathLike


class _Path:
    """Python's `os.path`: texts as there, questions about files to the image."""

    abspath = realpath = staticmethod(lambda it: posixpath.normpath(absolute(it)))
    for _name in (
        "basename commonpath commonprefix dirname expandvars isabs join normcase normpath relpath split splitdrive splitext"
    ).split():
        locals()[_name] = staticmethod(getattr(posixpath, _name))
    del _name
    sep = "/"

    @staticmethod
    def expanduser(path: str) -> str:
        """Puts the home directory of root, as which a customization works, in place of ``~``."""
        return "/root" + path[1:] if path == "~" or path.startswith("~/") else path

    @staticmethod
    def exists(path: Any) -> bool:
        """Returns whether something is there, links followed. Needs ``fs:read``."""
        return _found(path) is not None

    @staticmethod
    def lexists(path: Any) -> bool:
        """Returns whether something is there, if only a link that leads nowhere."""
        return _files.stat(absolute(path)) is not None

    @staticmethod
    def isfile(path: Any) -> bool:
        """Returns whether a file is there."""
        found = _found(path)
        return found is not None and found.kind == "file"

    @staticmethod
    def isdir(path: Any) -> bool:
        """Returns whether a directory is there."""
        found = _found(path)
        return found is not None and found.kind == "directory"

    @staticmethod
    def islink(path: Any) -> bool:
        """Returns whether a symbolic link is there."""
        found = _files.stat(absolute(path))
        return found is not None and found.kind == "symlink"

    @staticmethod
    def getsize(path: Any) -> int:
        """Returns the length of a file."""
        return stat(path).st_size


path = _Path()


def _found(at: Any) -> _host.Stat | None:
    text = absolute(at)
    name = _files.asset_name(text)
    if name is not None:
        names = _host.call("assets.names")
        if name in names:
            return _host.Stat("file", 0, 0o644, "root", "root", None)
        is_directory = any(it.startswith(name + "/") for it in names)
        return _host.Stat("directory", 0, 0o755, "root", "root", None) if is_directory else None
    try:
        return _files.stat_followed(text)
    except (FileNotFoundError, NotADirectoryError):
        return None


class stat_result:
    """What `stat` returns: mode and size, and the owner by name too, as images have other numbers than this machine."""

    _KINDS = {"file": _stat.S_IFREG, "directory": _stat.S_IFDIR, "symlink": _stat.S_IFLNK, "other": _stat.S_IFIFO}

    def __init__(self, found: _host.Stat) -> None:
        self.st_mode: int = found.mode | self._KINDS[found.kind]
        self.st_size: int = found.size
        self.user: str = found.user
        self.group: str = found.group


def stat(path: Any, *, follow_symlinks: bool = True) -> stat_result:
    """Returns what is known of a file. Needs ``fs:read``."""
    text = absolute(path)
    found = _files.stat_followed(text) if follow_symlinks else _files.stat(text)
    if found is None:
        raise error("not-found", f"`{text}` is not there")
    return stat_result(found)


def lstat(path: Any) -> stat_result:
    """Returns what is known of a file or of a link itself."""
    return stat(path, follow_symlinks=False)


def access(path: Any, mode: int) -> bool:
    """Returns whether a file is there, and for ``X_OK`` whether it can be executed."""
    found = _found(path)
    return found is not None and (not mode & X_OK or bool(found.mode & 0o111))


def listdir(path: Any = ".") -> list[str]:
    """Returns the names in a directory, sorted. Needs ``fs:read`` of it."""
    return [name for name, _ in _entries(absolute(path))]


def _entries(at: str) -> list[tuple[str, str]]:
    name = _files.asset_name(at.rstrip("/") + "/")
    if name is None:
        return _host.call("fs.list-dir", at)
    found: dict[str, str] = {}
    for asset in _host.call("assets.names"):
        if asset.startswith(name):
            first, _, rest = asset[len(name) :].partition("/")
            found[first] = "directory" if rest else "file"
    return sorted(found.items())


def walk(top: Any, topdown: bool = True) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yields each directory with the names of its directories and of everything else."""
    at = absolute(top)
    entries = _entries(at)
    below = [name for name, kind in entries if kind == "directory"]
    others = [name for name, kind in entries if kind != "directory"]
    if topdown:
        yield at, below, others
    for name in below:
        yield from walk(posixpath.join(at, name), topdown)
    if not topdown:
        yield at, below, others


def mkdir(path: Any, mode: int = 0o777) -> None:
    """Makes a directory. Needs ``fs:write``. The usual mask of 022 is applied to the mode."""
    _host.call("fs.mkdir", absolute(path), _host.Attrs(mode & 0o1777 & ~0o022), False)


def makedirs(name: Any, mode: int = 0o777, exist_ok: bool = False) -> None:
    """Makes a directory and those above it. Needs ``fs:write`` of each one made, and ``fs:read`` without ``exist_ok``."""
    path = absolute(name)
    if not exist_ok and _files.stat(path) is not None:
        raise error("exists", f"`{path}` is there already")
    _host.call("fs.mkdir", path, _host.Attrs(mode & 0o1777 & ~0o022), True)


def chmod(path: Any, mode: int) -> None:
    """Sets the mode of a file and keeps its owner. Needs ``fs:read`` and ``fs:write``."""
    found = stat(path)
    _host.call("fs.set-attrs", absolute(path), _host.Attrs(mode, found.user, found.group), False)


def chown(path: Any, uid: Any, gid: Any) -> None:
    """Sets the owner of a file, by number or name; -1 keeps one of the two. Needs ``fs:write``, with -1 also ``fs:read``."""
    kept = stat(path) if -1 in (uid, gid) else None
    user = kept.user if kept is not None and uid == -1 else str(uid)
    group = kept.group if kept is not None and gid == -1 else str(gid)
    _host.call("fs.set-owner", absolute(path), user, group, False)


def remove(path: Any) -> None:
    """Removes a file or link. Needs ``fs:write``, and ``fs:read`` to tell that it is no directory."""
    text = absolute(path)
    found = _files.stat(text)
    if found is not None and found.kind == "directory":
        raise error("not-a-file", f"`{text}` is a directory")
    _host.call("fs.remove", text, False)


unlink = remove


def rmdir(path: Any) -> None:
    """Removes an empty directory. Needs ``fs:write``, and ``fs:read`` to tell that it is one."""
    text = absolute(path)
    found = _files.stat(text)
    if found is not None and found.kind != "directory":
        raise error("not-a-directory", f"`{text}` is no directory")
    _host.call("fs.remove", text, False)


def rename(src: Any, dst: Any) -> None:
    """Renames a file, link or directory. Needs ``fs:read`` and ``fs:write`` of the source, ``fs:write`` of the other."""
    _host.call("fs.rename", absolute(src), absolute(dst))


replace = rename


def symlink(src: Any, dst: Any, target_is_directory: bool = False) -> None:
    """Makes ``dst`` a symbolic link to ``src``. Needs ``fs:write`` of ``dst``."""
    link = absolute(dst)
    if _is_there_if_readable(link):
        raise error("exists", f"`{link}` is there already")
    _host.call("fs.symlink", link, _os.fspath(src))


def _is_there_if_readable(at: str) -> bool:
    # Asking would need a capability that the call itself does not: without it, piimg's own answer counts.
    try:
        return _files.stat(at) is not None
    except PermissionError:
        return False


def readlink(path: Any) -> str:
    """Returns the target of a link. Needs ``fs:read``."""
    text = absolute(path)
    found = _files.stat(text)
    if found is None:
        raise error("not-found", f"`{text}` is not there")
    if found.target is None:
        raise OSError(errno.EINVAL, f"`{text}` is no symbolic link")
    return found.target


def chdir(path: Any) -> None:
    """Makes relative paths and commands start at a directory."""
    _files._cwd = absolute(path)


def getcwd() -> str:
    """Returns where relative paths start."""
    return _files._cwd


def getenv(key: str, default: str | None = None) -> str | None:
    """Returns a variable that the script set itself: there are no others."""
    return environ.get(key, default)


def putenv(key: str, value: str) -> None:
    """Sets a variable for commands."""
    environ[key] = value


def system(command: str) -> int:
    """Runs a command line with a shell of the image. Needs ``exec:/bin/sh -c …``; `subprocess.run` needs less."""
    from . import subprocess

    return subprocess.run(command, shell=True).returncode << 8


def getuid() -> int:
    """Returns the number of root, as which a customization works on the image."""
    return 0


geteuid = getgid = getegid = getuid


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"`os.{name}` is nothing that a customization can do in an image; the README of piimg-plugin-sdk lists what there is"
    )
