"""The inside of a component: piimg as the host, and the ends that a script may come to.

piimg puts a module beside this one that calls `customization` with the script. All of it is imported when the component
is made, for there are no files afterwards: the component is a copy of Python's memory at that time. It is linked without
WASI, so that it can reach nothing but the functions of piimg; what would call WASI is replaced here by what says so.
"""

from __future__ import annotations

import ast
import gc
import importlib
import io
import linecache
import logging
import random
import sys
import traceback
from types import ModuleType
from typing import Any

from componentize_py_types import Err  # type: ignore[import-not-found]

from . import _boundary, _conf, _errors, _host, _interpreter

#: Directory of the script, as it is mounted when the component is made.
_HERE = "/0/"


def _interface(name: str) -> ModuleType | None:
    # The world has only what `conf` asks for.
    try:
        return importlib.import_module("wit_world.imports." + name.replace("-", "_"))
    except ImportError:
        return None


_INTERFACES = {
    name: _interface(name)
    for name in (
        "log context blobs assets fs process packages wishes boot-config services users net git types manifest"
    ).split()
}
try:
    from wit_world.imports import customization as _customization  # type: ignore[import-not-found]
except ImportError:
    from wit_world.exports import customization as _customization  # type: ignore[import-not-found]


def _raw(name: str) -> Any:
    return _INTERFACES[name]


def _word(value: Any) -> str:
    return value.name.lower().replace("_", "-")


def _owner(user: str, group: str) -> Any:
    return _raw("types").Owner(user, group)


def _attrs(attrs: _host.Attrs | None) -> Any:
    return None if attrs is None else _raw("types").FileAttrs(attrs.mode, _owner(attrs.user, attrs.group))


def _place(place: str, beside: str | None) -> Any:
    name = "Place_" + "".join(part.capitalize() for part in place.split("-"))
    kind = getattr(_raw("fs"), name)
    return kind() if beside is None else kind(beside)


def _command(it: _host.Command) -> Any:
    raw = _raw("process")
    sink = lambda name: raw.Sink[name.upper()]  # noqa: E731
    return raw.Command(it.program, it.args, it.env, it.cwd, it.user, it.timeout_ms, sink(it.stdout), sink(it.stderr))


#: Arguments as the bindings want them, where they are not plain.
_ARGUMENTS = {
    "fs.write": lambda path, data, attrs: (path, data, _attrs(attrs)),
    "fs.install": lambda blob, dest, attrs: (blob, dest, _attrs(attrs)),
    "fs.unpack": lambda blob, dest, user, group, strip: (blob, dest, _owner(user, group), strip),
    "fs.mkdir": lambda path, attrs, parents: (path, _attrs(attrs), parents),
    "fs.set-attrs": lambda path, attrs, recursive: (path, _attrs(attrs), recursive),
    "fs.set-owner": lambda path, user, group, recursive: (path, _owner(user, group), recursive),
    "fs.ensure-line": lambda path, line, place, beside: (path, line, _place(place, beside)),
    "process.run": lambda command, stdin: (_command(command), stdin),
    "services.set-state": lambda unit, state: (unit, _raw("services").State[state.upper()]),
    "users.ensure-user": lambda name, home, shell, groups, system: (
        _raw("users").Account(name, None, home, shell, groups, system),
    ),
    "net.fetch-authorized": lambda url, digest, secret, how: (url, digest, secret, _raw("net").Authorization[how.upper()]),
    "git.checkout": lambda url, commit, path, user, group: (url, commit, path, _owner(user, group)),
    "git.checkout-authorized": lambda url, commit, path, user, group, name, secret: (
        url, commit, path, _owner(user, group), name, secret,
    ),
}  # fmt: skip

#: Results as the package has them, where they are not plain.
_RESULTS = {
    "fs.stat": lambda it: None
    if it is None
    else _host.Stat(_word(it.kind), it.size, it.mode, it.owner.user, it.owner.group, it.target),
    "fs.list-dir": lambda entries: [(entry.name, _word(entry.kind)) for entry in entries],
    "process.run": lambda it: _host.Outcome(it.status, it.stdout, it.stderr, it.tail),
    "packages.query": lambda it: None if it is None else it.version,
    "context.image": lambda it: (it.architecture, it.distribution, it.release, it.hostname, it.flavour, it.epoch),
}


def _exception(raw: Any) -> _errors.HostError:
    return _errors.error(_word(raw.code), raw.message, raw.needed, raw)


class _Blob:
    """A blob whose calls fail as others do."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def size(self) -> int:
        return self.raw.size()

    def read(self, offset: int, length: int) -> bytes:
        try:
            return self.raw.read(offset, length)
        except Err as failed:
            raise _exception(failed.value) from None


class _Piimg:
    """piimg itself."""

    def call(self, function: str, *arguments: Any) -> Any:
        interface, name = function.split(".")
        found = getattr(_raw(interface), name.replace("-", "_"), None)
        if found is None:
            raise _errors.error(
                "denied",
                f"this component has no function `{function}`: `conf` asks for nothing that needs it; "
                "add the capability and build the plugin again",
            )
        given = [it.raw if isinstance(it, _Blob) else it for it in _ARGUMENTS.get(function, lambda *it: it)(*arguments)]
        _boundary.check_call(function, found, given)
        try:
            answer = found(*given)
        except Err as failed:
            raise _exception(failed.value) from None
        if type(answer).__name__ == "Blob":
            return _Blob(answer)
        return _RESULTS.get(function, lambda it: it)(answer)


# --- What a script prints -------------------------------------------------------------------------------------------

#: What runs: `import`, `conf` or `execute`. Only the last one may call the host.
_phase = "import"


def _say(level: str, text: str) -> None:
    if _phase == "execute" and text:
        raw = _raw("log")
        raw.write(raw.Level[level], _boundary.text(text))


class _Lines(io.TextIOBase):
    """Standard output or error: whole lines go to the log."""

    def __init__(self, level: str, before: Any) -> None:
        self._level, self._before, self._line = level, before, ""

    encoding, errors, newlines = "utf-8", "strict", None

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if _phase == "import":
            # Shown by whoever makes the component, if it fails.
            return self._before.write(text)
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            _say(self._level, line or " ")
        return len(text)

    def flush(self) -> None:
        if _phase == "import":
            self._before.flush()

    def finish(self) -> None:
        """Says what has no end of line."""
        _say(self._level, self._line)
        self._line = ""


class _Log(logging.Handler):
    """Python's logging, level by level."""

    def emit(self, record: logging.LogRecord) -> None:
        at = record.levelno
        level = "ERROR" if at >= 40 else "WARN" if at >= 30 else "INFO" if at >= 20 else "DEBUG" if at >= 10 else "TRACE"
        text = self.format(record)
        _say(level, text) if _phase == "execute" else print(text, file=sys.stderr)


def _now() -> int:
    return _raw("context").image().epoch if _phase == "execute" else 0


def _preload(source: str) -> None:
    """Imports what the script imports anywhere: within a function it would be too late."""
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            try:
                importlib.import_module(name)
            except ImportError:
                # Whoever needs it is told by the import itself.
                continue


# --- Ends ------------------------------------------------------------------------------------------------------------


#: What was refused when Python closed a file by itself, as in `open(path, "w").write(text)`: nobody could catch it.
_lost: list[BaseException] = []


def _keep_lost(unraisable: Any) -> None:
    error = unraisable.exc_value
    _trace(error)
    if isinstance(error, _errors.HostError):
        _lost.append(error)


def _place_of(error: BaseException) -> str:
    """Returns file and line of the script where it happened."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(_HERE) and "/piimg/" not in frame.filename]
    if not own:
        return ""
    return f"{own[-1].filename.removeprefix(_HERE)}:{own[-1].lineno}"


def _describe(error: BaseException) -> str:
    text = _boundary.text(str(error))
    if isinstance(error, (_errors.HostError, _interpreter.UnavailableError)):
        said = text
    elif isinstance(error, SystemExit):
        said = f"sys.exit({error.code!r})"
    else:
        said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    place = _place_of(error)
    return f"{said} ({place})" if place else said


def _failure(error: BaseException) -> Err:
    causes, seen = [], error
    while (seen := seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)) and len(causes) < 10:  # type: ignore[assignment]
        causes.append(_describe(seen))
    raw = getattr(error, "raw", None)
    return Err(_customization.Failure(_describe(error), causes, raw))


def _trace(error: BaseException) -> None:
    for line in "".join(traceback.format_exception(error)).rstrip("\n").split("\n"):
        _say("ERROR", line.replace(f'"{_HERE}', '"'))


def _answer(conf: dict[str, Any]) -> Any:
    raw = _raw("manifest")
    kinds = {
        "boolean": lambda _: raw.ParamKind_Boolean(),
        "integer": lambda it: raw.ParamKind_Integer(tuple(it)),
        "text": lambda _: raw.ParamKind_Text(),
        "choice": raw.ParamKind_Choice,
    }

    def param(it: dict[str, Any]) -> Any:
        kind, value = it["kind"]
        return raw.Param(it["name"], it["title"], kinds[kind](value), it["default"])

    fields = {key: value for key, value in conf.items() if key not in ("image", "params", "capabilities")}
    made = raw.PluginConf(
        image=raw.ImageParams(**conf["image"]),
        params=[param(it) for it in conf["params"]],
        capabilities=[raw.Capability(**it) for it in conf["capabilities"]],
        **fields,
    )
    _boundary.check(made, raw.PluginConf, "conf")
    return made


def customization(name: str, source: str, seed: str) -> type:
    """Returns the export of a component for the script in the module of that name."""
    global _phase
    out, err = _Lines("INFO", sys.stdout), _Lines("WARN", sys.stderr)
    sys.stdout, sys.stderr = out, err  # type: ignore[assignment]
    logging.root.addHandler(_Log())
    logging.root.setLevel(logging.NOTSET)
    sys.unraisablehook = _keep_lost
    # Before the script is imported: it may take functions of these modules by name.
    _interpreter.set_clocks(_now)
    _interpreter.set_random()
    _interpreter.set_locks()
    _interpreter.stream.restart(seed.encode())
    _preload(source)
    # Not the modules' own: a script that imports them by their plain names gets what works here.
    module = importlib.import_module(name)
    # What is wrong with it is told when the component is made.
    answer = _answer(_conf.read(module))
    # Tracebacks quote the script, which is in no file then.
    path = module.__file__ or ""
    linecache.cache[path] = (len(source), None, source.splitlines(keepends=True), path)
    _interpreter.set_files()
    gc.collect()
    _host.install(_Piimg())
    _phase = "conf"

    class Customization:
        def conf(self) -> Any:
            return answer

        def execute(self) -> None:
            global _phase
            _phase = "execute"
            _interpreter.stream.restart(seed.encode())
            random.seed()
            try:
                made = _conf.make(_conf.find(module))
                getattr(made, _conf.METHOD)()
                if _lost:
                    raise _lost[0]
            except SystemExit as end:
                if end.code not in (None, 0):
                    _trace(end)
                    raise _failure(end) from None
            except BaseException as error:
                _trace(error)
                raise _failure(error) from None
            finally:
                out.finish()
                err.finish()

    return Customization
