"""Downloads, which piimg makes: a plugin itself has no network."""

from __future__ import annotations

from typing import Any

from . import _host
from ._files import absolute


def fetch(url: str, digest: str, path: Any) -> None:
    """Downloads a file of a known content, ``sha256:…``, to a path of the image. Needs ``net:URL`` and ``fs:write``."""
    _host.call("fs.install", _host.call("net.fetch", url, digest), absolute(path), None)


def fetch_authorized(url: str, digest: str, path: Any, secret: str) -> None:
    """Does the same with a secret as bearer token, which the plugin never sees. Needs ``secret:NAME`` too."""
    _host.call("fs.install", _host.call("net.fetch-authorized", url, digest, secret, "bearer"), absolute(path), None)
