"""An image in memory, for tests of a customization with pytest and without a component::

    from piimg.testing import FakeImage
    import customize_hello

    def test_it_greets():
        with FakeImage() as image:
            image.run(customize_hello)
        assert image.read("/etc/motd") == "Hello.\\n"
        assert image.needed <= image.requested(customize_hello)

It decides nothing: each call succeeds as far as the files allow it, and what piimg would ask the gate for is written down in
`FakeImage.needed`, in the exact form of a narrow grant. Whether what ``conf`` asks for covers that, links within the image
and other releases' files are piimg's own to judge: run the component with ``piimg plugin run``, or build an image.
"""

from __future__ import annotations

import io
import posixpath
import tarfile
from types import ModuleType
from typing import Any, Callable

from . import _conf, _errors, _files, _host, os


class _Node:
    def __init__(self, kind: str, data: Any = b"", mode: int = 0o644, user: str = "root", group: str = "root") -> None:
        self.kind, self.data, self.mode, self.user, self.group = kind, data, mode, user, group


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


#: What a command answers with: status, output, and what it does to the image.
Answer = Callable[["FakeImage", _host.Command, bytes], "tuple[int, str] | str | None"]


class FakeImage:
    """An image in memory; within ``with`` it is what the helpers of the package work on."""

    def __init__(
        self,
        files: dict[str, str | bytes] | None = None,
        *,
        assets: dict[str, str | bytes] | None = None,
        params: dict[str, str] | None = None,
        refused: tuple[str, ...] = (),
        commands: dict[str, Answer | str] | None = None,
        hostname: str = "raspberrypi",
        release: str = "bookworm",
        architecture: str = "arm64",
        distribution: str = "debian",
        flavour: str = "custom",
        epoch: int = 1_700_000_000,
    ) -> None:
        """Makes one with the usual directories and these files.

        ``commands`` maps the beginning of a command line to its output, or to a function; a command that is not there
        succeeds without output. ``refused`` are optional capabilities that `context.granted` denies.
        """
        self._nodes: dict[str, _Node] = {"/": _Node("directory", mode=0o755)}
        self._assets = {name: _bytes(data) for name, data in (assets or {}).items()}
        self._params = dict(params or {})
        self._refused = set(refused)
        self._commands = dict(commands or {})
        self._image = (architecture, distribution, release, hostname, flavour, epoch)
        self._used: set[str] = set()
        #: What a build would have to grant, as narrow capabilities.
        self.needed: set[str] = set()
        #: Command lines that were run, as lists.
        self.ran: list[list[str]] = []
        #: Function and arguments of all other calls that change more than files.
        self.calls: list[tuple[Any, ...]] = []
        for path in ("/boot/firmware", "/etc/systemd/system", "/etc/sudoers.d", "/home", "/opt", "/root", "/usr/bin", "/var/lib"):
            self._make_parents(path + "/x")
        for path, data in (files or {}).items():
            self._make_parents(path)
            self._nodes[path] = _Node("file", _bytes(data))
        self._before: Any = None

    def __enter__(self) -> FakeImage:
        self._before = _host.install(self)
        _files._cwd = "/"
        os.environ.clear()
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        _host.install(self._before)
        unused = set(self._commands) - self._used
        if kind is None and unused:
            raise AssertionError(f"these commands were expected and never run: {sorted(unused)}; correct the test, or the script")

    def run(self, module: ModuleType) -> None:
        """Runs the customization of a module, with the defaults of its parameters where the test gives none."""
        for param in _conf.read(module)["params"]:
            if param["default"] is not None:
                self._params.setdefault(param["name"], param["default"])
        getattr(_conf.make(_conf.find(module)), _conf.METHOD)()

    @staticmethod
    def requested(module: ModuleType) -> set[str]:
        """Returns the capabilities that the module's ``conf`` asks for, as they are written there."""
        return {it["scope"] for it in _conf.read(module)["capabilities"]}

    # What a test asks -----------------------------------------------------------------------------------------------

    def read(self, path: str) -> str:
        """Returns the text of a file."""
        return self._get(path, "file").data.decode()

    def exists(self, path: str) -> bool:
        """Returns whether something is there."""
        return self._resolve(path) in self._nodes

    def mode(self, path: str) -> int:
        """Returns the mode of a file or directory."""
        return self._get(path).mode

    def owner(self, path: str) -> str:
        """Returns ``user:group`` of a file or directory."""
        node = self._get(path)
        return f"{node.user}:{node.group}"

    # Host ------------------------------------------------------------------------------------------------------------

    def call(self, function: str, *arguments: Any) -> Any:
        """Answers a call of a host function."""
        answer = getattr(self, "_" + function.replace(".", "__").replace("-", "_"), None)
        if answer is None:
            raise NotImplementedError(f"`{function}` cannot be tried in memory: test the component with `piimg plugin run`")
        return answer(*arguments)

    def _resolve(self, path: str, final: bool = True) -> str:
        if not path.startswith("/") or "\0" in path:
            raise _errors.error("invalid", f"`{path}` is no absolute path")
        at, left, links = "/", [part for part in path.split("/") if part not in ("", ".")], 0
        while left:
            part = left.pop(0)
            if part == "..":
                at = posixpath.dirname(at)
                continue
            at = posixpath.join(at, part)
            node = self._nodes.get(at)
            if node is not None and node.kind == "symlink" and (left or final):
                links += 1
                if links > 40:
                    raise _errors.error("invalid", f"`{path}`: too many symbolic links")
                left = [it for it in node.data.split("/") if it not in ("", ".")] + left
                at = "/" if node.data.startswith("/") else posixpath.dirname(at)
        return at

    def _get(self, path: str, kind: str | None = None) -> _Node:
        node = self._nodes.get(self._resolve(path))
        if node is None:
            raise _errors.error("not-found", f"`{path}` is not there")
        if kind is not None and node.kind != kind:
            raise _errors.error("not-a-file" if kind == "file" else "not-a-directory", f"`{path}` is a {node.kind}")
        return node

    def _make_parents(self, path: str) -> None:
        parts = path.split("/")[1:-1]
        for end in range(1, len(parts) + 1):
            self._nodes.setdefault("/" + "/".join(parts[:end]), _Node("directory", mode=0o755))

    def _parent(self, path: str) -> None:
        self._get(posixpath.dirname(path), "directory")

    def _below(self, path: str) -> list[str]:
        return sorted(it for it in self._nodes if it.startswith(path.rstrip("/") + "/"))

    def _need(self, kind: str, path: str, tree: bool = False) -> None:
        self.needed.add(f"{kind}:{path}" + ("/**" if tree else ""))

    def _fs__stat(self, path: str) -> _host.Stat | None:
        at = self._resolve(path, final=False)
        self._need("fs:read", at)
        node = self._nodes.get(at)
        if node is None:
            return None
        size = len(node.data) if node.kind == "file" else 0
        target = node.data if node.kind == "symlink" else None
        return _host.Stat(node.kind, size, node.mode, node.user, node.group, target)

    def _fs__read(self, path: str) -> _Bytes:
        self._need("fs:read", self._resolve(path))
        return _Bytes(self._get(path, "file").data)

    def _fs__list_dir(self, path: str) -> list[tuple[str, str]]:
        at = self._resolve(path)
        self._need("fs:read", at)
        self._get(path, "directory")
        names = [it for it in self._below(at) if "/" not in it[len(at.rstrip("/")) + 1 :]]
        return [(posixpath.basename(it), self._nodes[it].kind) for it in names]

    def _fs__write(self, path: str, data: bytes, attrs: _host.Attrs | None) -> None:
        at = self._resolve(path)
        self._need("fs:write", at)
        self._parent(at)
        before = self._nodes.get(at)
        if before is not None and before.kind != "file":
            raise _errors.error("not-a-file", f"`{path}` is a {before.kind}")
        if attrs is None:
            attrs = _host.Attrs(before.mode, before.user, before.group) if before else _host.Attrs(0o644)
        self._nodes[at] = _Node("file", bytes(data), *attrs)

    def _fs__install(self, blob: _host.Blob, dest: str, attrs: _host.Attrs | None) -> None:
        self._fs__write(dest, _host.read_blob(blob), attrs)

    def _fs__unpack(self, blob: _host.Blob, dest: str, user: str, group: str, strip: int) -> int:
        top = self._resolve(dest)
        self._need("fs:write", top, True)
        self._parent(top)
        self._nodes.setdefault(top, _Node("directory", b"", 0o755, user, group))
        count = 0
        try:
            opened = tarfile.open(fileobj=io.BytesIO(_host.read_blob(blob)))
        except tarfile.ReadError as error:
            raise _errors.error("invalid", f"cannot unpack into `{dest}`: no tar archive that Python's tarfile reads") from error
        with opened as archive:
            for member in archive:
                parts = [it for it in member.name.split("/") if it not in ("", ".")][strip:]
                if ".." in parts:
                    raise _errors.error("invalid", f"cannot unpack `{member.name}`: it leads out of the archive")
                for depth in range(1, len(parts)):
                    above = posixpath.join(top, *parts[:depth])
                    self._nodes.setdefault(above, _Node("directory", b"", 0o755, user, group))
                if not parts:
                    continue
                at, mode = posixpath.join(top, *parts), member.mode & 0o1777
                if member.isdir():
                    self._nodes.setdefault(at, _Node("directory", b"", mode, user, group))
                    continue
                if member.issym():
                    self._nodes[at] = _Node("symlink", member.linkname, 0o777, user, group)
                elif (content := archive.extractfile(member) if member.isfile() or member.islnk() else None) is not None:
                    self._nodes[at] = _Node("file", content.read(), mode, user, group)
                else:
                    raise _errors.error("invalid", f"cannot unpack `{member.name}`: it is a device, a pipe or a socket")
                count += 1
        return count

    def _fs__mkdir(self, path: str, attrs: _host.Attrs | None, parents: bool) -> None:
        at = self._resolve(path)
        missing = [at]
        while parents and missing[0] != "/" and posixpath.dirname(missing[0]) not in self._nodes:
            missing.insert(0, posixpath.dirname(missing[0]))
        if at in self._nodes:
            if not parents:
                raise _errors.error("exists", f"`{path}` is there already")
            self._get(at, "directory")
            return
        self._parent(missing[0])
        for it in missing:
            self._need("fs:write", it)
            self._nodes[it] = _Node("directory", b"", *(attrs or _host.Attrs(0o755)))

    def _fs__symlink(self, path: str, target: str) -> None:
        at = self._resolve(path, final=False)
        self._need("fs:write", at)
        self._parent(at)
        self._nodes[at] = _Node("symlink", target, 0o777)

    def _fs__rename(self, source: str, dest: str) -> None:
        old, new = self._resolve(source, final=False), self._resolve(dest, final=False)
        if old not in self._nodes:
            raise _errors.error("not-found", f"`{source}` is not there")
        self._parent(new)
        tree = self._nodes[old].kind == "directory"
        for kind, at in (("fs:read", old), ("fs:write", old), ("fs:write", new)):
            self._need(kind, at, tree)
        for it in [*self._below(old), old]:
            self._nodes[new + it[len(old) :]] = self._nodes.pop(it)

    def _each(self, path: str, recursive: bool) -> list[_Node]:
        at = self._resolve(path)
        self._get(path)
        self._need("fs:write", at, recursive)
        return [self._nodes[it] for it in [at, *(self._below(at) if recursive else [])]]

    def _fs__set_attrs(self, path: str, attrs: _host.Attrs, recursive: bool) -> None:
        for node in self._each(path, recursive):
            search = (attrs.mode & 0o444) >> 2 if recursive and node.kind == "directory" else 0
            node.mode, node.user, node.group = attrs.mode | search, attrs.user, attrs.group

    def _fs__set_owner(self, path: str, user: str, group: str, recursive: bool) -> None:
        for node in self._each(path, recursive):
            node.user, node.group = user, group

    def _fs__remove(self, path: str, recursive: bool) -> None:
        at = self._resolve(path, final=False)
        if at not in self._nodes:
            raise _errors.error("not-found", f"`{path}` is not there")
        below = self._below(at)
        if below and not recursive:
            raise _errors.error("invalid", f"`{path}` is not empty")
        self._need("fs:write", at, recursive and self._nodes[at].kind == "directory")
        for it in [*below, at]:
            del self._nodes[it]

    def _fs__ensure_line(self, path: str, line: str, place: str, beside: str | None) -> bool:
        self._need("fs:read", self._resolve(path))
        self._need("fs:write", self._resolve(path))
        node = self._get(path, "file")
        lines = node.data.decode().splitlines()
        if line in lines:
            return False
        at = next((n for n, it in enumerate(lines) if beside is not None and it.startswith(beside)), None)
        if place == "start":
            lines.insert(0, line)
        elif at is None:
            lines.append(line)
        elif place == "instead-of":
            lines[at] = line
        else:
            lines.insert(at + (place == "after"), line)
        node.data = "".join(it + "\n" for it in lines).encode()
        return True

    def _fs__replace(self, path: str, old: str, new: str) -> int:
        self._need("fs:read", self._resolve(path))
        self._need("fs:write", self._resolve(path))
        node = self._get(path, "file")
        text = node.data.decode()
        node.data = text.replace(old, new).encode()
        return text.count(old)

    def _assets__names(self) -> list[str]:
        return sorted(self._assets)

    def _assets__open(self, name: str) -> _Bytes:
        if name not in self._assets:
            raise _errors.error("not-found", f"there is no asset `{name}`: the person who builds hands it over with --asset")
        self.needed.add(f"asset:{name}")
        return _Bytes(self._assets[name])

    def _blobs__from_bytes(self, data: bytes) -> _Bytes:
        return _Bytes(data)

    def _process__run(self, command: _host.Command, stdin: _host.Blob | None) -> _host.Outcome:
        words = [f"{name}={value}" for name, value in command.env] + [command.program, *command.args]
        self.needed.add("exec:" + " ".join(words))
        line = [command.program, *command.args]
        self.ran.append(line)
        text = " ".join(line)
        found = max((it for it in self._commands if text == it or text.startswith(it + " ")), key=len, default=None)
        if found is None:
            return _host.Outcome(0, b"", b"", "")
        self._used.add(found)
        answer = self._commands[found]
        given = b"" if stdin is None else _host.read_blob(stdin)
        said = answer(self, command, given) if callable(answer) else answer
        status, out = said if isinstance(said, tuple) else (0, said or "")
        return _host.Outcome(status, out.encode() if command.stdout == "capture" else b"", b"", out)

    def _context__image(self) -> tuple[Any, ...]:
        return self._image

    def _context__param(self, name: str) -> str | None:
        return self._params.get(name)

    def _context__granted(self, scope: str) -> bool:
        return scope not in self._refused

    def _packages__query(self, name: str) -> str | None:
        return None

    def _remember(function: str, *needs: str) -> Any:  # type: ignore[misc]  # noqa: N805
        def remember(self: FakeImage, *arguments: Any) -> bool:
            self.calls.append((function, *arguments))
            for need in needs:
                self.needed.add(need.format(*arguments))
            return True

        return remember

    _services__install_unit = _remember("services.install-unit", "svc:install:{0}")
    _services__drop_in = _remember("services.drop-in", "svc:install:{0}")
    _users__ensure_group = _remember("users.ensure-group", "user:group:{0}")
    _users__authorize_keys = _remember("users.authorize-keys", "user:keys:{0}")
    _users__set_password_from = _remember("users.set-password-from", "user:password:{0}", "secret:{1}")
    _boot_config__set = _remember("boot-config.set", "boot:config:{1}")
    _boot_config__add = _remember("boot-config.add", "boot:config:{1}")
    _boot_config__remove = _remember("boot-config.remove", "boot:config:{1}")
    _git__checkout = _remember("git.checkout", "net:{0}/**", "fs:write:{2}/**")
    _git__checkout_authorized = _remember("git.checkout-authorized", "net:{0}/**", "fs:write:{2}/**", "secret:{6}")

    def _services__set_state(self, unit: str, state: str) -> bool:
        self.calls.append(("services.set-state", unit, state))
        verb = {"enabled": "enable", "disabled": "disable"}.get(state, "mask")
        self.needed.add(f"svc:{verb}:{unit}")
        return True

    def _users__ensure_user(self, name: str, home: str | None, shell: str | None, groups: list[str], system: bool) -> bool:
        self.calls.append(("users.ensure-user", name, groups, system))
        self.needed |= {f"user:create:{name}", *(f"user:group:{group}" for group in groups)}
        return True

    def _packages__install(self, specs: list[str], recommends: bool) -> None:
        self.calls.append(("packages.install", specs, recommends))
        self.needed |= {"pkg:install:" + spec.partition("=")[0] for spec in specs}

    def _packages__remove(self, names: list[str], purge: bool) -> None:
        self.calls.append(("packages.remove", names, purge))
        self.needed |= {"pkg:remove:" + name for name in names}

    def _parameter(function: str) -> Any:  # type: ignore[misc]  # noqa: N805
        def remember(self: FakeImage, parameter: str) -> bool:
            self.calls.append((function, parameter))
            self.needed.add("boot:cmdline:" + parameter.partition("=")[0])
            return True

        return remember

    _boot_config__set_parameter = _parameter("boot-config.set-parameter")
    _boot_config__add_parameter = _parameter("boot-config.add-parameter")
    _boot_config__remove_parameter = _parameter("boot-config.remove-parameter")


def _bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data
