"""What the Pi's firmware reads: config.txt, and the kernel's command line."""

from __future__ import annotations

from . import _host


def values(key: str, section: str | None = None) -> list[str]:
    """Returns the values of a key of config.txt. Needs ``boot:config:KEY``."""
    return _host.call("boot-config.values", section, key)


def set(key: str, value: object, section: str | None = None) -> None:  # noqa: A001
    """Gives a key its only value. Needs ``boot:config:KEY``."""
    _host.call("boot-config.set", section, key, str(value))


def add(key: str, value: object, section: str | None = None) -> bool:
    """Makes sure that there is this line, beside others with the key. Needs ``boot:config:KEY``."""
    return _host.call("boot-config.add", section, key, str(value))


def overlay(name: str, *parameters: str, section: str | None = None) -> bool:
    """Loads a device tree overlay. Needs ``boot:config:dtoverlay``."""
    return add("dtoverlay", ",".join([name, *parameters]), section)


def remove(key: str, value: str | None = None, section: str | None = None) -> int:
    """Removes lines of config.txt, and returns how many there were. Needs ``boot:config:KEY``."""
    return _host.call("boot-config.remove", section, key, value)


def parameters(name: str) -> list[str]:
    """Returns the parameters of the kernel with this name, whole. Needs ``boot:cmdline:NAME``."""
    return _host.call("boot-config.parameters", name)


def set_parameter(parameter: str) -> None:
    """Puts a parameter of the kernel in the place of all with its name. Needs ``boot:cmdline:NAME``."""
    _host.call("boot-config.set-parameter", parameter)


def add_parameter(parameter: str) -> bool:
    """Makes sure that a parameter is there, beside others with its name. Needs ``boot:cmdline:NAME``."""
    return _host.call("boot-config.add-parameter", parameter)


def remove_parameter(name: str) -> int:
    """Removes the parameters with this name, and returns how many there were. Needs ``boot:cmdline:NAME``."""
    return _host.call("boot-config.remove-parameter", name)
