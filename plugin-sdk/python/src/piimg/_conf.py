"""Finds the customization in a module and reads its `conf`: pure, the same in a component, in a test and at a build."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

METHOD = "execute_customizations"

#: Keys of the original's dictionary, and what their values are.
_IMAGE: dict[str, type] = {
    "hostname": str,
    "rootfs_extra_space_mb": int,
    "rootfs": str,
    "flavour": str,
    "release": str,
    "imagedir": str,
    "apt_get_packages": list,
}
_OWN: dict[str, type] = {
    "id": str,
    "version": str,
    "title": str,
    "description": str,
    "params": dict,
    "capabilities": dict,
    "optional_capabilities": dict,
    "after": list,
    "conflicts": list,
    "releases": list,
    "architectures": list,
}
_PARAM = {"title", "default", "choices", "min", "max"}


class ConfError(Exception):
    """What is wrong with a customization, in one sentence with the next step."""


def find(module: ModuleType) -> type:
    """Returns the class of the customization.

    Raises:
        ConfError: if there is none, or more than one.
    """
    own = [it for it in vars(module).values() if inspect.isclass(it) and it.__module__ == module.__name__]
    found = [it for it in own if callable(getattr(it, METHOD, None))]
    # One may be derived from another.
    found = [it for it in found if not any(it is not other and issubclass(other, it) for other in found)]
    if not found:
        raise ConfError(
            f"`{module.__name__}.py` has no class with `{METHOD}`: write `class customizeImage:` with `conf` and `{METHOD}`"
        )
    if len(found) > 1:
        names = " and ".join(f"`{it.__name__}`" for it in found)
        raise ConfError(f"`{module.__name__}.py` has {names}: a plugin is one class with `{METHOD}`; put the others elsewhere")
    return found[0]


def make(kind: type) -> Any:
    """Returns an instance; the token that later versions of the original gave to it is a secret now."""
    names = inspect.signature(kind).parameters
    required = [name for name, it in names.items() if it.default is it.empty and it.kind < it.VAR_POSITIONAL]
    if required not in ([], ["git_token"]):
        raise ConfError(f"`{kind.__name__}` wants `{required[0]}`: piimg makes it without arguments")
    return kind(git_token="") if required else kind()


def read(module: ModuleType) -> dict[str, Any]:
    """Returns the checked answer to `conf()` as plain data, with every key.

    Raises:
        ConfError: naming the key that is wrong.
    """
    kind = find(module)
    made = make(kind)
    conf = getattr(made, "conf", None)
    if callable(conf):
        conf = conf()
    if not isinstance(conf, dict):
        raise ConfError(f"`{kind.__name__}.conf` is {_name_of(conf)}: it must be a dictionary")
    known = {**_IMAGE, **_OWN}
    for key, value in conf.items():
        if key not in known:
            raise ConfError(f"`conf` has the key {key!r}, which means nothing; known are {', '.join(known)}")
        if value is not None and (not isinstance(value, known[key]) or isinstance(value, bool)):
            raise ConfError(f"`conf[{key!r}]` is {_name_of(value)}: it must be {_NAMES[known[key]]}")
    stem = module.__name__.rpartition(".")[2].removeprefix("customize_")
    answer: dict[str, Any] = {
        "id": conf.get("id") or "custom/" + stem.replace("_", "-").lower(),
        "version": conf.get("version") or "0.1.0",
        "title": conf.get("title") or stem.replace("_", " ").capitalize(),
        "description": conf.get("description") or " ".join((module.__doc__ or kind.__doc__ or "").split()),
        "image": {key: conf.get(key) for key in _IMAGE},
        "params": [_param(name, it) for name, it in (conf.get("params") or {}).items()],
        "capabilities": _capabilities(conf),
    }
    answer["image"]["apt_get_packages"] = _texts("apt_get_packages", conf)
    space = answer["image"]["rootfs_extra_space_mb"]
    if space is not None and not 0 <= space < 1 << 32:
        raise ConfError(f"`conf['rootfs_extra_space_mb']` is {space}: it must be a number of MiB")
    for key in ("after", "conflicts", "releases", "architectures"):
        answer[key] = _texts(key, conf)
    return answer


_NAMES = {str: "a text", int: "a whole number", list: "a list", dict: "a dictionary"}


def _name_of(value: Any) -> str:
    if value is None:
        return "missing"
    return _NAMES.get(type(value), f"a {type(value).__name__}")


def _texts(key: str, conf: dict[str, Any]) -> list[str]:
    values = conf.get(key) or []
    for value in values:
        if not isinstance(value, str):
            raise ConfError(f"`conf[{key!r}]` has {_name_of(value)} in it: it must be a list of texts")
    return list(values)


def _capabilities(conf: dict[str, Any]) -> list[dict[str, Any]]:
    answer = []
    for key, optional in (("capabilities", False), ("optional_capabilities", True)):
        for scope, reason in (conf.get(key) or {}).items():
            if not isinstance(scope, str) or not isinstance(reason, str) or not reason.strip():
                raise ConfError(f"`conf[{key!r}]` has {scope!r} without a reason: write {{'fs:write:/etc/motd': 'why'}}")
            answer.append({"scope": scope, "reason": reason, "optional": optional})
    return answer


def _param(name: Any, given: Any) -> dict[str, Any]:
    where = f"`conf['params'][{name!r}]`"
    if not isinstance(name, str) or not isinstance(given, dict) or not isinstance(given.get("title"), str):
        raise ConfError(f"{where} must be a dictionary with a `title`, and a `default` if it has one")
    for key in given:
        if key not in _PARAM:
            raise ConfError(f"{where} has the key {key!r}, which means nothing; known are {', '.join(sorted(_PARAM))}")
    default = given.get("default")
    if "choices" in given:
        kind: Any = ["choice", [str(it) for it in given["choices"]]]
    elif isinstance(default, bool):
        kind = ["boolean", None]
        default = str(default).lower()
    elif isinstance(default, int) or "min" in given or "max" in given:
        kind = ["integer", [given.get("min", -(1 << 63)), given.get("max", (1 << 63) - 1)]]
    else:
        kind = ["text", None]
    return {"name": name, "title": given["title"], "kind": kind, "default": None if default is None else str(default)}
