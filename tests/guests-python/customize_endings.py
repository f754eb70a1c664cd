"""Does one thing of many, by its parameter: what a script prints, asks of Python, and how it ends."""

import datetime
import errno
import logging
import os as pythons_os
import pathlib
import random
import sys
import threading
import time
import uuid

from piimg import context, open, os, shutil, subprocess

print("imported")
log = logging.getLogger("endings")


def print_and_log():
    print("to standard output")
    print("to standard error", file=sys.stderr)
    print("without an end of line", end="")
    sys.stdout.flush()
    log.warning("a warning of %s", "logging")
    log.debug("for the author")


def fail():
    raise ValueError("the shelf is empty")


def fail_within():
    try:
        {}["missing"]
    except KeyError as missing:
        raise RuntimeError("cannot read the settings") from missing


def leave():
    sys.exit("nothing to do here")


def leave_well():
    sys.exit(0)


def hard():
    pythons_os._exit(3)


def clocks():
    now = datetime.datetime.now(datetime.timezone.utc)
    time.sleep(5)
    print("clocks", int(time.time()), now.isoformat(), datetime.date.today(), time.strftime("%Y"), time.monotonic())


def chance():
    print("chance", random.random(), uuid.uuid4(), pythons_os.urandom(4).hex(), random.Random().random())


def pythons_files():
    pythons_os.mkdir("/etc/mine")


def paths():
    pathlib.Path("/etc/mine").mkdir()


def exists():
    print(pathlib.Path("/etc").exists())


def syntax():
    eval("1 +")


def waits():
    print("waited", threading.Event().wait(1))
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def asks():
    input("anybody? ")


def half():
    print("half \udcff")
    os.mkdir("/etc/out/\udcff")


def wrong_type():
    context.param(5)


def lost():
    open("/etc/out/big", "wb").write(bytes(5 << 20))


def late():
    import json

    print("late", json.dumps({"a": 1}), hash("a") == hash("a"))


def refused():
    with open("/etc/shadow", "w") as shadow:
        shadow.write("")


def unknown_function():
    subprocess.run(["true"])


def caught():
    try:
        open("/etc/missing")
    except FileNotFoundError as missing:
        print("caught", errno.errorcode[missing.errno], type(missing).__mro__[1].__name__)
    os.makedirs("/etc/out", exist_ok=True)
    with open("/etc/out/half", "w") as half:
        try:
            with open("/etc/out/none", "w") as none:
                none.write("x")
                raise KeyError("x")
        except KeyError:
            half.write("whole\n")


def files():
    os.makedirs("/etc/out/a/b", exist_ok=True)
    with open("/etc/out/a/b/c", "w") as file:
        file.write("one\n")
    with open("/etc/out/a/b/c", "a") as file:
        file.write("two\n")
    with open("/etc/out/a/b/c") as file:
        print("lines", [line.strip() for line in file])
    os.chmod("/etc/out/a/b/c", 0o750)
    shutil.copy("/etc/out/a/b/c", "/etc/out/a/")
    shutil.copytree("/etc/out/a", "/etc/out/copy")
    os.symlink("../copy/c", "/etc/out/a/link")
    os.rename("/etc/out/a/b", "/etc/out/a/d")
    os.remove("/etc/out/a/c")
    shutil.rmtree("/etc/out/copy/b")
    print("left", list(os.walk("/etc/out")), os.path.exists("/etc/out/a/link"), oct(os.stat("/etc/out/copy/c").st_mode))


class customizeImage:
    conf = {
        "id": "test/endings-python",
        "params": {"do": {"title": "what to do", "default": "print_and_log"}},
        "capabilities": {
            "fs:read:/etc/**": "reads what it wrote, and looks for what is not there",
            "fs:write:/etc/out/**": "writes something",
        },
    }

    def execute_customizations(self):
        globals()[context.param("do")]()
