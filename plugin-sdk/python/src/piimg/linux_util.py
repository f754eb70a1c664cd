"""What the original builder's module of this name offered to customizations."""

from __future__ import annotations

from typing import Any

from . import os, subprocess, users


def run_as_user(user: str, args: Any, **options: Any) -> Any:
    """Runs a command as a user of the image."""
    return subprocess.run(args, user=user, **options)


def make_executable(path: Any) -> None:
    """Lets everybody who may read a file execute it. Needs ``fs:read`` and ``fs:write``."""
    mode = os.stat(path).st_mode & 0o1777
    os.chmod(path, mode | (mode & 0o444) >> 2)


def add_user_sudo(user: str) -> None:
    """Puts a user into the group ``sudo``. Needs ``user:create:USER`` and ``user:group:sudo``."""
    users.ensure(user, ["sudo"])
