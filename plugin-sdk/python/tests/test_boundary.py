"""Values are compared with the types that the generated code declares, which ends the component when they differ."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import List, Optional, Tuple

import pytest
from piimg import _boundary


class Kind(enum.Enum):
    FILE = 0


@dataclass
class Attrs:
    mode: int
    kind: Kind
    names: List[str]


# The generated code has types, not their names.
Attrs.__dataclass_fields__["mode"].type = int
Attrs.__dataclass_fields__["kind"].type = Kind
Attrs.__dataclass_fields__["names"].type = List[str]


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("é", str),
        (b"\xff", bytes),
        (0o755, int),
        (True, bool),
        (None, Optional[str]),
        ("a", Optional[str]),
        ([("a", "b")], List[Tuple[str, str]]),
        (Attrs(1, Kind.FILE, ["a"]), Attrs),
        (Attrs(1, Kind.FILE, []), Optional[Attrs]),
    ],
)
def test_what_fits_may_pass(value: object, hint: object) -> None:
    _boundary.check(value, hint, "fs.write")


@pytest.mark.parametrize(
    ("value", "hint", "why"),
    [
        (5, str, "`fs.write` wants str where it was given 5, a value of type int"),
        ("text", bytes, "wants bytes where it was given 'text'"),
        (True, int, "wants int where it was given True"),
        (1, bool, "wants bool"),
        (-1, int, "was given -1: it takes 0 to 4294967295"),
        (1 << 32, int, "was given 4294967296"),
        ("\udcff", str, "which is not UTF-8"),
        (["a", 5], List[str], "wants str"),
        (("a",), List[str], "wants list"),
        ([("a",)], List[Tuple[str, str]], "1 values in place of 2"),
        (5, Optional[str], "was given 5, a value of type int"),
        (["\udcff"], Optional[List[str]], "which is not UTF-8"),
        (Attrs("a", Kind.FILE, []), Attrs, "wants int"),
        (Attrs(1, 0, []), Attrs, "wants Kind"),
        (Attrs(1, Kind.FILE, [b"a"]), Optional[Attrs], "wants str"),
    ],
)
def test_what_does_not_is_named(value: object, hint: object, why: str) -> None:
    with pytest.raises((TypeError, OSError), match=re.escape(why)):
        _boundary.check(value, hint, "fs.write")


def test_calls_have_all_their_arguments() -> None:
    def write(path: str, data: bytes) -> None: ...

    write.__annotations__ = {"path": str, "data": bytes, "return": None}
    _boundary.check_call("fs.write", write, ["/a", b"b"])
    with pytest.raises(TypeError, match="`fs.write` takes 2 values, not 1"):
        _boundary.check_call("fs.write", write, ["/a"])


def test_text_can_always_be_sent() -> None:
    assert _boundary.text("a\udcffé") == "a\\udcffé"
