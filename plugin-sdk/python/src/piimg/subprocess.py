"""Python's `subprocess`, for commands inside the image: in piimg's box, without a shell in between."""

from __future__ import annotations

import shlex
from subprocess import CalledProcessError, CompletedProcess, SubprocessError, TimeoutExpired
from typing import Any

from . import _host, os
from ._errors import error
from ._files import absolute

PIPE, STDOUT, DEVNULL = -1, -2, -3


def _arguments(args: Any, shell: bool) -> list[str]:
    if isinstance(args, (str, bytes)) or hasattr(args, "__fspath__"):
        text = args.decode() if isinstance(args, bytes) else os.fspath(args)
        return ["/bin/sh", "-c", text] if shell else [text]
    words = [word.decode() if isinstance(word, bytes) else str(os.fspath(word)) for word in args]
    return ["/bin/sh", "-c", *words] if shell else words


def _sink(where: Any, name: str) -> str:
    if where is None:
        return "log"
    if where == PIPE:
        return "capture"
    if where == DEVNULL:
        return "discard"
    raise error("unsupported", f"{name} can be None, PIPE or DEVNULL: capture the output and write it to the file")


def _input(given: Any, stdin: Any, encoding: str) -> Any:
    if given is not None:
        data = given.encode(encoding) if isinstance(given, str) else bytes(given)
        return _host.call("blobs.from-bytes", data)
    if stdin is None or stdin == DEVNULL:
        return None
    if hasattr(stdin, "read"):
        data = stdin.read()
        return _host.call("blobs.from-bytes", data.encode(encoding) if isinstance(data, str) else data)
    if isinstance(stdin, int):
        raise error("unsupported", "stdin can be DEVNULL or an open file; pass a text with input=")
    # A blob, which never enters the plugin.
    return stdin


def _start(
    args: list[str],
    *,
    stdin: Any = None,
    stdout: Any = None,
    stderr: Any = None,
    cwd: Any = None,
    env: Any = None,
    user: Any = None,
    timeout: float | None = None,
    check: bool = False,
) -> CompletedProcess[bytes]:
    variables = os.environ if env is None else env
    directory = absolute(cwd) if cwd is not None else (os.getcwd() if os.getcwd() != "/" else None)
    joined = stderr == STDOUT
    command = _host.Command(
        program=args[0],
        args=args[1:],
        env=sorted((str(key), str(value)) for key, value in variables.items()),
        cwd=directory,
        user=None if user is None else str(user),
        timeout_ms=None if timeout is None else max(1, int(timeout * 1000)),
        stdout=_sink(stdout, "stdout"),
        stderr=_sink(stdout if joined else stderr, "stderr"),
    )
    try:
        outcome = _host.call("process.run", command, stdin)
    except TimeoutError as late:
        raise TimeoutExpired(args, timeout or 0) from late
    out = outcome.stdout if command.stdout == "capture" else None
    err = outcome.stderr if command.stderr == "capture" else None
    if joined and out is not None:
        # The two come apart; what was written when is not known.
        out, err = out + (err or b""), None
    # A signal has its number below zero in Python, and above 128 in the contract.
    status = 128 - outcome.status if outcome.status > 128 else outcome.status
    if check and status != 0:
        failed = CalledProcessError(status, args, out, err)
        # Python has a line for it in tracebacks; without it, one had to look for the cause in the log.
        if outcome.tail:
            failed.add_note(outcome.tail) if hasattr(failed, "add_note") else None
        raise failed
    return CompletedProcess(args, status, out, err)


def run(
    args: Any,
    *,
    stdin: Any = None,
    input: Any = None,  # noqa: A002
    stdout: Any = None,
    stderr: Any = None,
    capture_output: bool = False,
    shell: bool = False,
    cwd: Any = None,
    timeout: float | None = None,
    check: bool = False,
    encoding: str | None = None,
    errors: str | None = None,
    text: bool | None = None,
    universal_newlines: bool | None = None,
    env: Any = None,
    user: Any = None,
) -> CompletedProcess[Any]:
    """Runs a command to its end, with the parameters of Python's `subprocess.run`. Needs ``exec:PROGRAM ARGUMENTS``.

    Output that is not captured goes to the log. ``shell=True`` runs ``/bin/sh -c TEXT``, for which the grant is wider.
    """
    if capture_output:
        if stdout is not None or stderr is not None:
            raise ValueError("stdout and stderr arguments may not be used with capture_output.")
        stdout = stderr = PIPE
    is_text = bool(text or universal_newlines or encoding or errors)
    coding = encoding or "utf-8"
    blob = _input(input, stdin, coding)

    def decoded(data: Any) -> Any:
        return data.decode(coding, errors or "strict") if is_text and isinstance(data, bytes) else data

    try:
        done = _start(
            _arguments(args, shell), stdin=blob, stdout=stdout, stderr=stderr, cwd=cwd, env=env, user=user,
            timeout=timeout, check=check,
        )  # fmt: skip
    except CalledProcessError as failed:
        failed.cmd, failed.output, failed.stderr = args, decoded(failed.output), decoded(failed.stderr)
        raise
    return CompletedProcess(args, done.returncode, decoded(done.stdout), decoded(done.stderr))


def call(args: Any, **options: Any) -> int:
    """Runs a command and returns its status."""
    return run(args, **options).returncode


def check_call(args: Any, **options: Any) -> int:
    """Runs a command, which must succeed."""
    return run(args, check=True, **options).returncode


def check_output(args: Any, **options: Any) -> Any:
    """Runs a command, which must succeed, and returns what it prints."""
    return run(args, stdout=PIPE, check=True, **options).stdout


def getstatusoutput(cmd: str) -> tuple[int, str]:
    """Runs a command line with a shell; returns its status and what it prints."""
    done = run(cmd, shell=True, stdout=PIPE, stderr=STDOUT, text=True)
    return done.returncode, done.stdout.removesuffix("\n")


def getoutput(cmd: str) -> str:
    """Runs a command line with a shell, and returns what it prints."""
    return getstatusoutput(cmd)[1]


def list2cmdline(seq: Any) -> str:
    """Returns arguments as one line, for a message."""
    return shlex.join(map(str, seq))


class Popen:
    """Refuses: nothing runs beside a customization."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise error("unsupported", "subprocess.Popen is not offered: a command runs to its end; use subprocess.run")


__all__ = [
    "CalledProcessError", "CompletedProcess", "DEVNULL", "PIPE", "Popen", "STDOUT", "SubprocessError", "TimeoutExpired",
    "call", "check_call", "check_output", "getoutput", "getstatusoutput", "list2cmdline", "run",
]  # fmt: skip
