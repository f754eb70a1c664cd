"""What is being built. Needs no capability."""

from __future__ import annotations

from typing import NamedTuple

from . import _host


class Image(NamedTuple):
    """The image that is being built."""

    architecture: str
    distribution: str
    release: str
    hostname: str
    flavour: str
    epoch: int


def image() -> Image:
    """Returns what is known of the image; ``epoch`` is the only time that there is."""
    return Image(*_host.call("context.image"))


def param(name: str) -> str | None:
    """Returns the value of a parameter of the plugin's own, as the user would write it; `None` if ``conf`` has no such one."""
    return _host.call("context.param", name)


def granted(scope: str) -> bool:
    """Returns whether an optional capability was granted."""
    return _host.call("context.granted", scope)
