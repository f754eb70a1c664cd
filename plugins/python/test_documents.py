"""The examples of the documents run as they are printed."""

import io
import pathlib
import re
import tarfile
import types

import pytest

from piimg.testing import FakeImage

TOP = pathlib.Path(__file__).parents[2]


def example(document, needle):
    blocks = re.findall(r"```python\n(.*?)```", (TOP / document).read_text(), re.S)
    found = [block for block in blocks if needle in block]
    assert len(found) == 1, (document, needle, len(found))
    module = types.ModuleType("customize_example")
    exec(compile(found[0], document, "exec"), vars(module))
    return module


def an_archive():
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("Makefile"))
    return data.getvalue()


def is_covered(needed, asked):
    for scope in asked:
        if needed == scope or (scope.endswith("/**") and (needed + "/").startswith(scope.removesuffix("**"))):
            return True
    return False


@pytest.mark.parametrize(
    ("document", "needle"),
    [
        ("docs/migrating-from-pi_image2.md", '"id": "example/rover"'),
        ("plugin-sdk/python/README.md", '"id": "example/hello"'),
    ],
)
def test_an_example_runs_and_needs_no_more_than_it_asks_for(document, needle):
    module = example(document, needle)
    files = {
        "/etc/ssh/sshd_config": "#PermitRootLogin prohibit-password\n",
        "/etc/udev/rules.d/x": "",
        "/etc/modules-load.d/x": "",
        "/etc/NetworkManager/system-connections/x": "",
    }
    with FakeImage(files, assets={"rover.yaml": "a: 1\n", "rover.tar.gz": an_archive()}) as image:
        image.run(module)
    asked = image.requested(module)
    assert [it for it in image.needed if not is_covered(it, asked)] == []
    if "rover" in needle:
        assert image.read("/etc/ssh/sshd_config") == "PermitRootLogin no\n"
        assert ["make"] in image.ran and image.owner("/opt/rover/Makefile") == "ubuntu:ubuntu"
