"""Units of systemd in the image, named with their suffix."""

from __future__ import annotations

from . import _host


def install(name: str, text: str) -> None:
    """Writes a unit. Needs ``svc:install:UNIT``."""
    _host.call("services.install-unit", name, text)


def drop_in(unit: str, name: str, text: str) -> None:
    """Adds to a unit of a package, or changes it. Needs ``svc:install:UNIT``."""
    _host.call("services.drop-in", unit, name, text)


def enable(unit: str) -> bool:
    """Starts a unit with the system; true if it was not so before. Needs ``svc:enable:UNIT``."""
    return _host.call("services.set-state", unit, "enabled")


def disable(unit: str) -> bool:
    """Starts it no longer by itself. Needs ``svc:disable:UNIT``."""
    return _host.call("services.set-state", unit, "disabled")


def mask(unit: str) -> bool:
    """Never starts it. Needs ``svc:mask:UNIT``."""
    return _host.call("services.set-state", unit, "masked")


def add(name: str, text: str) -> None:
    """Writes a unit and enables it."""
    install(name, text)
    enable(name)
