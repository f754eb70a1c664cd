"""Errors of host functions, as the exceptions that Python scripts already expect."""

from __future__ import annotations

import errno


class HostError(OSError):
    """A call that piimg refused or that failed.

    Each is also the exception that Python raises for the same cause: `FileNotFoundError`, `PermissionError` and so on.
    """

    #: Kind of failure, such as ``denied`` or ``not-found``; the contract's ``error-code`` lists them.
    code: str = "io"
    #: On ``denied``: the narrowest capability that would have allowed the call.
    needed: str | None = None
    #: The contract's error, to be handed back to piimg.
    raw: object = None

    def __str__(self) -> str:
        return str(self.strerror)


class _Denied(HostError, PermissionError):
    pass


class _NotFound(HostError, FileNotFoundError):
    pass


class _Exists(HostError, FileExistsError):
    pass


class _NotADirectory(HostError, NotADirectoryError):
    pass


class _NotAFile(HostError, IsADirectoryError):
    pass


class _Timeout(HostError, TimeoutError):
    pass


_KINDS: dict[str, tuple[type[HostError], int]] = {
    "denied": (_Denied, errno.EACCES),
    "not-found": (_NotFound, errno.ENOENT),
    "exists": (_Exists, errno.EEXIST),
    "not-a-directory": (_NotADirectory, errno.ENOTDIR),
    "not-a-file": (_NotAFile, errno.EISDIR),
    "timeout": (_Timeout, errno.ETIMEDOUT),
    "invalid": (HostError, errno.EINVAL),
}


def error(code: str, message: str, needed: str | None = None, raw: object = None) -> HostError:
    """Returns the exception for a kind of failure."""
    kind, number = _KINDS.get(code, (HostError, errno.EIO))
    made = kind(number, message)
    made.code, made.needed, made.raw = code, needed, raw
    return made
