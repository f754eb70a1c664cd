"""What may go to piimg: the generated code between a component and its host ends the component without a word when a value
is not of the contract's type, so that each one is looked at before.
"""

from __future__ import annotations

import dataclasses
import typing
from enum import Enum
from typing import Any, Callable

from . import _errors

#: Integers of the contract have 32 bits, or 64 where no plugin needs more than these.
_LARGEST = 2**32 - 1


def text(it: str) -> str:
    """Returns text that can be sent: halves of characters, as in names that are not UTF-8, become `\\udcff`."""
    return it.encode("utf-8", "backslashreplace").decode()


def check_call(name: str, function: Callable[..., Any], arguments: list[Any]) -> None:
    """Compares the arguments of a host function with what it declares.

    Raises:
        TypeError: for one of another type.
        HostError: for text that is none, and numbers that are out of range.
    """
    hints = [hint for key, hint in function.__annotations__.items() if key != "return"]
    if len(hints) != len(arguments):
        raise TypeError(f"`{name}` takes {len(hints)} values, not {len(arguments)}")
    for argument, hint in zip(arguments, hints):
        check(argument, hint, name)


def check(value: Any, hint: Any, name: str) -> None:
    """Compares a value with the type that the generated code declares; errors are those of `check_call`."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Union:
        _check_union(value, inner, name)
    elif origin is list:
        _check_type(value, list, name)
        for item in value:
            check(item, inner[0], name)
    elif origin is tuple:
        _check_type(value, tuple, name)
        if len(value) != len(inner):
            raise TypeError(f"`{name}` was given {len(value)} values in place of {len(inner)}: {value!r}")
        for item, its in zip(value, inner):
            check(item, its, name)
    elif isinstance(hint, type):
        _check_type(value, hint, name)
        _check_plain(value, name)
        if dataclasses.is_dataclass(hint) and not isinstance(value, Enum):
            for field in dataclasses.fields(hint):
                check(getattr(value, field.name), field.type, name)


def _check_union(value: Any, inner: tuple[Any, ...], name: str) -> None:
    fits = [one for one in inner if isinstance(value, typing.get_origin(one) or one)]
    if not fits:
        raise TypeError(f"`{name}` was given {_shown(value)}")
    check(value, fits[0], name)


def _check_type(value: Any, hint: type, name: str) -> None:
    # For Python, True is a number.
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is int):
        raise TypeError(f"`{name}` wants {hint.__name__} where it was given {_shown(value)}")


def _check_plain(value: Any, name: str) -> None:
    if isinstance(value, str) and text(value) != value:
        raise _errors.error("invalid", f"`{name}` was given {value!r}, which is not UTF-8")
    if isinstance(value, int) and not 0 <= value <= _LARGEST:
        raise _errors.error("invalid", f"`{name}` was given {value}: it takes 0 to {_LARGEST}")


def _shown(value: Any) -> str:
    return f"{value!r:.80}, a value of type {type(value).__name__}"
