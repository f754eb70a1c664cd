"""Users and groups of the image."""

from __future__ import annotations

from typing import Iterable

from . import _host


def ensure(name: str, groups: Iterable[str] = (), system: bool = False, home: str | None = None, shell: str | None = None) -> bool:
    """Makes sure that a user exists and is in its groups. Needs ``user:create:NAME`` and ``user:group:GROUP``."""
    return _host.call("users.ensure-user", name, home, shell, list(groups), system)


def ensure_group(name: str, system: bool = True) -> bool:
    """Makes sure that a group exists. Needs ``user:group:NAME``."""
    return _host.call("users.ensure-group", name, None, system)


def authorize_keys(user: str, keys: Iterable[str]) -> int:
    """Lets the owners of keys log in, and returns how many are new. Needs ``user:keys:USER``."""
    return _host.call("users.authorize-keys", user, list(keys))


def set_password_from(user: str, secret: str) -> bool:
    """Makes a secret the password of a user. Needs ``user:password:USER`` and ``secret:SECRET``."""
    return _host.call("users.set-password-from", user, secret)
