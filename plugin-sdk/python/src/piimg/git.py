"""Sources from git repositories, which piimg fetches."""

from __future__ import annotations

from typing import Any

from . import _host
from ._files import absolute


def checkout(url: str, commit: str, path: Any, user: str = "root", group: str | None = None) -> int:
    """Puts the files of a commit into a directory, and returns how many there are.

    ``commit`` is the whole id. Needs ``net:URL/**`` and ``fs:write:PATH/**``.
    """
    return _host.call("git.checkout", url, commit, absolute(path), user, group or user)


def checkout_authorized(
    url: str, commit: str, path: Any, name: str, secret: str, user: str = "root", group: str | None = None
) -> int:
    """Does the same from a server that wants a name and a password, which is a secret. Needs ``secret:NAME`` too."""
    return _host.call("git.checkout-authorized", url, commit, absolute(path), user, group or user, name, secret)
