"""A robot's application: its workspace, its units and its network."""

import textwrap

from piimg import context, files, git, os, services, subprocess

#: What the plugin `piimg/ros` makes: a program runs in the environment of ROS.
RUN = "/usr/local/bin/ros-env"

#: What the user may do as root: the buttons of the robot's screen.
MAY = [
    "/usr/bin/systemctl poweroff",
    "/usr/bin/systemctl reboot",
    "/usr/bin/systemctl restart roscore.service",
    "/usr/bin/systemctl restart breadcrumb.service",
]

LOGS = """\
[Service]
RuntimeDirectory={name}
Environment=ROS_LOG_DIR=/run/{name}
"""

APPLICATION = (
    """\
[Unit]
Description=Programs of the robot
Wants=roscore.service
PartOf=roscore.service
After=roscore.service network.target

"""
    + LOGS
    + """\
User={user}
ExecStart={run} roslaunch --wait {launch}
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""
)

CONNECTION = """\
[connection]
id=breadcrumb
type=ethernet
interface-name={interface}

[ipv4]
method=manual
address1={address}

[ipv6]
method=link-local
"""


def text(title, default=""):
    return {"title": title, "default": default}


class customizeImage:
    def __init__(self):
        self.conf = {
            "hostname": "breadcrumb",
            "rootfs_extra_space_mb": 2000,
            "flavour": "breadcrumb",
            "apt_get_packages": ["network-manager", "python3-serial", "python3-smbus", "sudo", "unclutter", "zip"],
            "id": "piimg/breadcrumb-python",
            # Those with a ROS 1.
            "releases": ["bookworm", "trixie", "raspios-bookworm", "raspios-trixie", "focal"],
            "after": ["piimg/base", "piimg/desktop", "piimg/ros"],
            "conflicts": ["piimg/breadcrumb"],
            "params": {
                "user": text("who runs it", "ubuntu"),
                "commit": text("whole id of the commit of the sources; empty: none are fetched"),
                "repository": text("where the sources are, below https://", "git.example.org/example/breadcrumb"),
                "private": {"title": "they are fetched with the secret `git-token`", "default": False},
                "launch": text("what starts with the system: PACKAGE FILE", "breadcrumb_bringup base.launch"),
                "interface": text("the interface with a fixed address", "eth0"),
                "address": text("that address, with its network", "192.168.42.125/24"),
            },
            "capabilities": {
                "fs:read:/usr/local/bin/ros-env": "looks whether there is a ROS",
                "fs:write:/home/{params.user}/catkin_ws/**": "the sources, and what is made of them",
                "exec:/usr/local/bin/ros-env catkin_make": "compiles the workspace, as the user",
                "fs:write:/etc/sudoers.d/breadcrumb": "lets the user switch the robot off",
                "svc:install:breadcrumb.service": "the robot's programs",
                "svc:enable:breadcrumb.service": "starts them with the system",
                "svc:install:roscore.service": "keeps the logs of ROS off the card",
                "fs:write:/etc/NetworkManager/system-connections/breadcrumb.nmconnection": "gives the cable a fixed address",
            },
            "optional_capabilities": {
                "net:https://git.example.org/example/breadcrumb/**": "fetches the sources",
                "secret:git-token": "fetches sources that are not everybody's",
            },
        }

    def execute_customizations(self):
        user, launch = context.param("user"), context.param("launch")
        if len(launch.split()) != 2 or not all(word.replace("_", "").replace(".", "").replace("-", "").isalnum() for word in launch.split()):
            raise ValueError(f"{launch!r} is nothing to launch: it is a package and a file, such as 'robot base.launch'")
        if not os.path.exists(RUN):
            raise RuntimeError("the image has no ROS: let the plugin `piimg/ros` run before this one")
        self.set_up_network()
        self.add_sources(user)
        subprocess.run([RUN, "catkin_make"], cwd=f"/home/{user}/catkin_ws", user=user, check=True)
        # sudo ignores files that others can write.
        files.write("/etc/sudoers.d/breadcrumb", f"{user} ALL=(root) NOPASSWD: {', '.join(MAY)}\n", mode=0o440)
        services.add("breadcrumb.service", APPLICATION.format(name="breadcrumb", user=user, run=RUN, launch=launch))
        services.drop_in("roscore.service", "breadcrumb", LOGS.format(name="roscore"))

    def set_up_network(self):
        connection = CONNECTION.format(interface=context.param("interface"), address=context.param("address"))
        # NetworkManager ignores a connection that others can read.
        files.write("/etc/NetworkManager/system-connections/breadcrumb.nmconnection", connection, mode=0o600)

    def add_sources(self, user):
        sources = f"/home/{user}/catkin_ws/src"
        files.make_directory(f"{sources}/breadcrumb_bringup/launch", user=user, group=user)
        for path, content in PACKAGE.items():
            files.write(f"{sources}/breadcrumb_bringup/{path}", textwrap.dedent(content).lstrip(), user=user, group=user)
        commit = context.param("commit")
        if not commit:
            print("no commit was given: the workspace has the package `breadcrumb_bringup` alone")
            return
        url, place = "https://" + context.param("repository"), f"{sources}/breadcrumb"
        if context.param("private") == "true":
            count = git.checkout_authorized(url, commit, place, "git", "git-token", user=user)
        else:
            count = git.checkout(url, commit, place, user=user)
        print(count, "files of", url)


#: The package that every workspace has, and what is in it.
PACKAGE = {
    "package.xml": """
        <package format="2">
          <name>breadcrumb_bringup</name>
          <version>0.1.0</version>
          <description>Starts the robot</description>
          <maintainer email="nobody@example.org">nobody</maintainer>
          <license>Apache-2.0</license>
          <buildtool_depend>catkin</buildtool_depend>
        </package>
        """,
    "CMakeLists.txt": """
        cmake_minimum_required(VERSION 3.0.2)
        project(breadcrumb_bringup)
        find_package(catkin REQUIRED)
        catkin_package()
        """,
    "launch/base.launch": """
        <launch>
          <param name="robot" value="breadcrumb"/>
        </launch>
        """,
}
