"""Packages of the image. What is always needed belongs into ``conf["apt_get_packages"]``."""

from __future__ import annotations

from . import _host


def install(*specs: str, recommends: bool = False) -> None:
    """Sees that packages are installed; ``execute_customizations`` begins anew if they are not yet. Needs ``pkg:install``."""
    _host.call("packages.install", list(specs), recommends)


def remove(*names: str, purge: bool = False) -> None:
    """Sees that packages are not installed. Needs ``pkg:remove:NAME``."""
    _host.call("packages.remove", list(names), purge)


def version(name: str) -> str | None:
    """Returns which version is installed; `None` if the package is not."""
    return _host.call("packages.query", name)
