import customize_breadcrumb
import pytest
from piimg.testing import FakeImage

ROS = {"/usr/local/bin/ros-env": "", "/home/ubuntu/.profile": "", "/etc/NetworkManager/system-connections/x": ""}
RUN = {"/usr/local/bin/ros-env catkin_make": ""}


def test_it_makes_a_robot():
    with FakeImage(ROS, commands=RUN) as image:
        image.run(customize_breadcrumb)
    unit = next(call[2] for call in image.calls if call[:2] == ("services.install-unit", "breadcrumb.service"))
    assert "User=ubuntu\nExecStart=/usr/local/bin/ros-env roslaunch --wait breadcrumb_bringup base.launch\n" in unit
    assert image.mode("/etc/sudoers.d/breadcrumb") == 0o440
    package = "/home/ubuntu/catkin_ws/src/breadcrumb_bringup/package.xml"
    assert image.read(package).startswith('<package format="2">\n  <name>') and image.owner(package) == "ubuntu:ubuntu"
    asked = {scope.replace("{params.user}", "ubuntu") for scope in image.requested(customize_breadcrumb)}
    covered = {scope for scope in asked if scope.endswith("/**")}
    for needed in image.needed - asked:
        assert any(needed.startswith(scope.removesuffix("/**")) for scope in covered), needed


def test_sources_are_fetched_by_commit_and_with_the_secret_alone_if_they_are_private():
    for private, function in (("false", "git.checkout"), ("true", "git.checkout-authorized")):
        with FakeImage(ROS, params={"commit": "a" * 40, "private": private}, commands=RUN) as image:
            image.run(customize_breadcrumb)
        checkout = next(call for call in image.calls if call[0].startswith("git."))
        assert checkout[:3] == (function, "https://git.example.org/example/breadcrumb", "a" * 40)
        assert ("secret:git-token" in image.needed) == (private == "true")


@pytest.mark.parametrize(
    ("files", "params", "message"),
    [({}, {}, "the image has no ROS: let the plugin `piimg/ros` run"), (ROS, {"launch": "a b; c"}, "is nothing to launch")],
)
def test_what_cannot_be_is_told(files, params, message):
    with FakeImage(files, params=params) as image, pytest.raises(Exception, match=message):
        image.run(customize_breadcrumb)
