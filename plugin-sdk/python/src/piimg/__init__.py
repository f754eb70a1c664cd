"""Customizes Raspberry Pi images: what a script needs to run as a plugin of piimg.

A plugin is one Python file with a class that has ``conf`` and ``execute_customizations``::

    from piimg import open, os, shutil, subprocess

    class customizeImage:
        conf = {
            "id": "example/hello",
            "hostname": "hello",
            "apt_get_packages": ["htop"],
            "capabilities": {"fs:write:/etc/motd": "greets who logs in"},
        }

        def execute_customizations(self):
            with open("/etc/motd", "w") as motd:
                motd.write("Hello.\\n")

The names ``open``, ``os``, ``shutil`` and ``subprocess`` look like Python's own and work on the image, through the
functions that piimg checks. ``piimg plugin build hello.py`` makes the component.
"""

from . import assets, boot_config, context, files, git, linux_util, net, os, packages, services, shutil, subprocess, users
from ._errors import HostError
from ._files import open

__version__ = "0.1.0"

__all__ = [
    "HostError",
    "assets",
    "boot_config",
    "context",
    "files",
    "git",
    "linux_util",
    "net",
    "open",
    "os",
    "packages",
    "services",
    "shutil",
    "subprocess",
    "users",
]
