//! The package that every workspace has: a node that says once a second that the robot is up.

/// Paths in the package, and what is there.
pub(crate) const FILES: [(&str, &str); 4] = [
    ("package.xml", include_str!("bringup/package.xml")),
    ("CMakeLists.txt", include_str!("bringup/CMakeLists.txt")),
    ("src/heartbeat.cpp", include_str!("bringup/src/heartbeat.cpp")),
    ("launch/base.launch", include_str!("bringup/launch/base.launch")),
];
