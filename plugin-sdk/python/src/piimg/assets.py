"""Files that the person who builds hands to the plugin; as files they are below ``/files/``."""

from __future__ import annotations

from . import _host


def names() -> list[str]:
    """Returns the names of all that may be opened, sorted."""
    return _host.call("assets.names")


def read(name: str) -> bytes:
    """Returns the content of one. Needs ``asset:NAME``."""
    return _host.read_blob(_host.call("assets.open", name))
