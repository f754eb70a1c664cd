"""What looks like Python's own must do what Python's own does."""

import builtins
import os as real_os
import shutil as real_shutil
import subprocess as real_subprocess
import tarfile

import pytest

from piimg import HostError, files, linux_util, open, os, packages, services, shutil, subprocess, users
from piimg.testing import FakeImage


def script(os, shutil, open, top):
    """Works on a directory and tells what it saw; run once on a real one and once on an image."""
    saw = []
    os.makedirs(top + "/a/b", exist_ok=True)
    for mode, text in (("w", "one\n"), ("a", "two\n")):
        with open(top + "/a/b/c", mode) as file:
            file.write(text)
    with open(top + "/a/b/c") as file:
        saw.append([line for line in file])
    with open(top + "/a/b/c", "r+") as file:
        saw.append(file.read(3))
        file.seek(0)
        file.write("ONE")
    with open(top + "/a/b/raw", "wb") as file:
        file.write(b"\0\xff")
    with open(top + "/a/b/raw", "rb") as file:
        saw.append(file.read())
    os.chmod(top + "/a/b/c", 0o750)
    shutil.copy(top + "/a/b/c", top + "/a")
    shutil.copyfile(top + "/a/b/c", top + "/a/plain")
    shutil.copytree(top + "/a", top + "/copy")
    os.symlink("../copy/c", top + "/a/link")
    saw.append([os.readlink(top + "/a/link"), os.path.islink(top + "/a/link"), open(top + "/a/link").read()])
    os.rename(top + "/a/b", top + "/a/d")
    shutil.move(top + "/a/plain", top + "/copy/moved")
    os.remove(top + "/a/c")
    os.mkdir(top + "/a/empty")
    os.rmdir(top + "/a/empty")
    saw.append([(at[len(top):], sorted(below), sorted(names)) for at, below, names in os.walk(top)])
    saw.append([oct(os.stat(top + "/copy/c").st_mode), os.path.getsize(top + "/copy/c"), sorted(os.listdir(top))])
    for fail in (
        lambda: os.remove(top + "/missing"),
        lambda: os.remove(top + "/a"),
        lambda: os.rmdir(top + "/copy/c"),
        lambda: os.makedirs(top + "/a"),
        lambda: os.mkdir(top + "/a"),
        lambda: open(top + "/missing"),
        lambda: open(top + "/a/d/c", "x"),
        lambda: os.listdir(top + "/missing"),
        lambda: os.readlink(top + "/a/d/c"),
        lambda: os.symlink("x", top + "/a"),
        lambda: shutil.copytree(top + "/a", top + "/copy"),
        lambda: shutil.copy(top + "/missing", top + "/a"),
        lambda: os.stat(top + "/missing"),
    ):
        with pytest.raises(OSError) as failed:
            fail()
        saw.append(failed.value.errno)
    shutil.rmtree(top + "/a")
    saw.append([os.path.exists(top + "/a"), os.path.isdir(top + "/copy"), os.path.isfile(top + "/copy/c")])
    return saw


def test_a_script_sees_the_same_as_on_a_real_directory(tmp_path):
    real = script(real_os, real_shutil, builtins.open, str(tmp_path))
    with FakeImage({"/w/x": ""}) as image:
        os.remove("/w/x")
        assert script(os, shutil, open, "/w") == real
    assert image.read("/copy/c" if False else "/w/copy/c") == "ONE\ntwo\n"


def test_an_exception_writes_nothing():
    with FakeImage() as image:
        with pytest.raises(KeyError), open("/etc/half", "w") as file:
            file.write("half")
            raise KeyError
    assert not image.exists("/etc/half")


def test_what_is_in_files_is_an_asset():
    with FakeImage(assets={"rover.yaml": "speed: 1\n", "site/a.css": "a"}) as image:
        os.makedirs("/etc/rover", exist_ok=True)
        shutil.copy("/files/rover.yaml", "/etc/rover/")
        shutil.copytree("/files/site", "/etc/site")
        assert os.path.exists("/files/rover.yaml") and not os.path.exists("/files/other")
        with pytest.raises(FileNotFoundError, match="--asset"):
            open("/files/other")
        with pytest.raises(OSError, match="are only read"):
            open("/files/rover.yaml", "w").close()
    assert image.read("/etc/rover/rover.yaml") == "speed: 1\n" and image.read("/etc/site/a.css") == "a"
    assert {"asset:rover.yaml", "asset:site/a.css", "fs:write:/etc/rover/rover.yaml"} <= image.needed


def test_commands_are_as_pythons():
    ways = [
        lambda it: it.run(["sh", "-c", "echo out; echo err >&2; exit 3"], capture_output=True, text=True).returncode,
        lambda it: it.check_output(["echo", "a"], text=True),
        lambda it: it.run(["cat"], input="given", stdout=it.PIPE, text=True).stdout,
        lambda it: it.call(["false"]),
        lambda it: it.getoutput("echo b"),
    ]
    commands = {
        "sh -c": lambda *_: (3, "out\n"),
        "echo a": "a\n",
        "cat": lambda image, command, given: given.decode(),
        "false": lambda *_: (1, ""),
        "/bin/sh -c echo b": "b\n",
    }
    with FakeImage(commands=commands) as image:
        for way in ways:
            assert way(subprocess) == way(real_subprocess)
        with pytest.raises(subprocess.CalledProcessError) as failed:
            subprocess.check_call(["false"])
        assert isinstance(failed.value, real_subprocess.CalledProcessError) and failed.value.returncode == 1
        os.environ["LANG"] = "C"
        os.chdir("/opt")
        linux_util.run_as_user("ann", ["make"], check=True)
        with pytest.raises(OSError, match="use subprocess.run"):
            subprocess.Popen(["x"])
    assert "exec:LANG=C make" in image.needed and image.ran[-1] == ["make"]


def test_what_is_not_there_says_so():
    for module, name in ((os, "fork"), (shutil, "disk_usage")):
        with pytest.raises(AttributeError, match=f"`{module.__name__.split('.')[1]}.{name}` is nothing that a customization can do"):
            getattr(module, name)


def test_without_an_image_a_call_says_what_to_do():
    with pytest.raises(RuntimeError, match=r"`fs.stat` was called where there is no image: call it in execute_customizations"):
        os.stat("/etc")


def test_a_command_that_was_expected_must_run():
    with pytest.raises(AssertionError, match=r"never run: \['make'\]; correct the test"):
        with FakeImage(commands={"make": ""}):
            pass


def test_what_is_needed_is_written_down():
    with FakeImage({"/etc/x": "a\n"}) as image:
        files.ensure_line("/etc/x", "b")
        services.add("app.service", "[Unit]\n")
        users.ensure("ann", ["i2c"])
        packages.install("htop=3")
        linux_util.make_executable("/etc/x")
    assert image.mode("/etc/x") == 0o755
    assert image.needed == {
        "fs:read:/etc/x", "fs:write:/etc/x", "svc:install:app.service", "svc:enable:app.service", "user:create:ann",
        "user:group:i2c", "pkg:install:htop",
    }  # fmt: skip


def test_errors_are_hosts_and_pythons():
    with FakeImage(), pytest.raises(HostError) as failed:
        open("/etc/missing")
    assert isinstance(failed.value, FileNotFoundError) and failed.value.code == "not-found"
    assert str(failed.value) == "`/etc/missing` is not there"


def test_an_archive_is_unpacked_below_a_directory(tmp_path):
    source, archive = tmp_path / "app-1", tmp_path / "app.tar.gz"
    source.mkdir()
    (source / "run").write_text("#!/bin/sh\n")
    (source / "run").chmod(0o755)
    (source / "current").symlink_to("run")
    with tarfile.open(archive, "w:gz") as made:
        made.add(source, "app-1")
    with FakeImage({"/opt/": ""}, assets={"app.tar.gz": archive.read_bytes()}) as image:
        shutil.unpack_archive("/files/app.tar.gz", "/opt/a")
        assert files.unpack("/files/app.tar.gz", "/opt/b", "ann", "ann", strip=1) == 2
        with pytest.raises(ValueError, match=r"is no archive that can be unpacked"):
            shutil.unpack_archive("/files/app.zip", "/opt/a")
    assert image.read("/opt/a/app-1/run") == image.read("/opt/b/run") == "#!/bin/sh\n"
    assert image.mode("/opt/b/run") == 0o755
    assert {"fs:write:/opt/a/**", "fs:write:/opt/b/**", "asset:app.tar.gz"} <= image.needed
