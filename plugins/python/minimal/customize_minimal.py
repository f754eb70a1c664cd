"""A small image with one package and a note in /etc that says which image it is."""

from piimg import context, open, subprocess


class customizeImage:
    def __init__(self):
        self.conf = {
            # The original's keys.
            "hostname": "piimg-minimal",
            "rootfs_extra_space_mb": 200,
            "rootfs": None,
            "flavour": "minimal",
            "release": "bookworm",
            "imagedir": None,
            "apt_get_packages": ["htop"],
            # What piimg wants to know beside them.
            "id": "piimg/minimal-python",
            "capabilities": {
                "fs:write:/etc/piimg-minimal": "writes which image this is",
                "exec:htop --version": "checks that the package works",
            },
        }

    def execute_customizations(self):
        image = context.image()
        with open("/etc/piimg-minimal", "w") as note:
            note.write(f"HOSTNAME={image.hostname}\nFLAVOUR={image.flavour}\nRELEASE={image.release}\n")
        version = subprocess.check_output(["htop", "--version"], text=True)
        print(image.hostname, "is ready with", version.splitlines()[0])
