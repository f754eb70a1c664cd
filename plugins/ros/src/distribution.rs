//! Distribution of ROS that a release has, and the names of its packages.

/// A ROS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distribution {
    /// ROS 1 as Debian has packed it, in `/usr`.
    Debian,
    /// A distribution of ROS 1 from the archive of ROS, in `/opt/ros`.
    Ros1(&'static str),
    /// A distribution of ROS 2, by the name in its packages.
    Ros2(&'static str),
}

impl Distribution {
    /// Finds the one for this release.
    ///
    /// # Errors
    /// A sentence for what has none.
    pub(crate) fn of(distribution: &str, release: &str) -> Result<Self, String> {
        match (distribution, release) {
            ("debian" | "raspberry-pi-os", _) => Ok(Self::Debian),
            ("ubuntu", "focal") => Ok(Self::Ros1("noetic")),
            ("ubuntu", "jammy") => Ok(Self::Ros2("humble")),
            ("ubuntu", "noble") => Ok(Self::Ros2("jazzy")),
            _ => Err(format!(
                "there is no ROS for the release `{}` of `{}`: choose one of Debian, or focal, jammy or noble of Ubuntu",
                release.escape_debug(),
                distribution.escape_debug()
            )),
        }
    }

    pub(crate) fn title(self) -> String {
        match self {
            Self::Debian => "ROS 1 of Debian".to_owned(),
            Self::Ros1(name) => format!("ROS 1 {name}"),
            Self::Ros2(name) => format!("ROS 2 {name}"),
        }
    }

    /// Returns whether it has a master, a program that knows all others: only ROS 1 has one.
    pub(crate) fn has_master(self) -> bool {
        !matches!(self, Self::Ros2(_))
    }

    /// Lists the packages of a variant, with what compiles a workspace if that is wanted.
    pub(crate) fn packages(self, variant: &str, tools: bool) -> Vec<String> {
        // The archive of ROS says `ros-` twice, but for the desktop.
        let long = if variant == "desktop" { variant.to_owned() } else { format!("ros-{variant}") };
        let (mut packages, compilers) = match self {
            // `rosrun` is only recommended.
            Self::Debian => (vec![format!("ros-{variant}"), "rosbash".to_owned()], format!("ros-{variant}-dev")),
            Self::Ros1(name) => (vec![format!("ros-{name}-{long}")], String::new()),
            Self::Ros2(name) => (vec![format!("ros-{name}-{long}")], "python3-colcon-common-extensions".to_owned()),
        };
        if tools {
            packages.push("build-essential".to_owned());
            packages.extend(Some(compilers).filter(|it| !it.is_empty()));
        }
        packages
    }
}
