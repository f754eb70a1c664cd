//! Sources of the code that a command runs: the directory of a Makefile, the file of a script. Who may write there
//! decides what the command does.

use super::ExecPattern;
use super::risk::is_interpreter;

/// Programs that run what they find in a directory or a file that they are told: of builds, of packages, of hooks.
const BUILDERS: [&str; 52] = [
    "make",
    "gmake",
    "bmake",
    "ninja",
    "cmake",
    "ctest",
    "meson",
    "scons",
    "bazel",
    "just",
    "task",
    "rake",
    "ant",
    "mvn",
    "gradle",
    "sbt",
    "npm",
    "npx",
    "yarn",
    "pnpm",
    "bun",
    "deno",
    "pip",
    "pipx",
    "uv",
    "uvx",
    "poetry",
    "tox",
    "nox",
    "pytest",
    "easy_install",
    "cargo",
    "go",
    "bundle",
    "gem",
    "composer",
    "colcon",
    "catkin_make",
    "catkin",
    "rosrun",
    "roslaunch",
    "ros",
    "git",
    "dpkg",
    "apt",
    "apt-get",
    "dpkg-buildpackage",
    "debuild",
    "ansible-playbook",
    "insmod",
    "crontab",
    "source",
];

/// The source of a command's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeFrom {
    /// Its program alone.
    Program,
    /// These paths and all below them, which may be globs.
    Paths(Vec<String>),
    /// Wherever the plugin says: an argument may be any, or the directory in which it is started is what counts.
    Anywhere,
}

/// Tells where from a command takes what it runs, beside its program.
pub(super) fn code_from(pattern: &ExecPattern) -> CodeFrom {
    let name = pattern.program().rsplit('/').next().unwrap_or_default();
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    if !(is_interpreter(name) || BUILDERS.contains(&name) || BUILDERS.contains(&plain)) {
        return CodeFrom::Program;
    }
    let paths: Vec<String> = pattern.args.iter().filter_map(|arg| path_of(arg)).collect();
    if pattern.more || paths.is_empty() || pattern.args.iter().any(|arg| arg == "*") {
        return CodeFrom::Anywhere;
    }
    CodeFrom::Paths(paths)
}

/// Finds the absolute path in an argument: `/a`, `-C/a`, `--directory=/a`, `-e/a`.
fn path_of(arg: &str) -> Option<String> {
    let path = &arg[arg.find('/')?..];
    let before = &arg[..arg.len() - path.len()];
    let is_option = before.is_empty() || before.starts_with('-') || before.ends_with('=');
    // `a/b` is relative to where it is started, and `https://` is no path.
    let plain = path.trim_end_matches('/');
    (is_option && !path.starts_with("//") && !plain.is_empty()).then(|| plain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::Scope as _;
    use super::*;

    #[test]
    fn code_comes_from_the_paths_in_the_arguments() {
        let paths = |of: &[&str]| CodeFrom::Paths(of.iter().map(ToString::to_string).collect());
        for (command, expected) in [
            ("make -C /home/robot/ws", paths(&["/home/robot/ws"])),
            ("make -C/home/robot/ws", paths(&["/home/robot/ws"])),
            ("make --directory=/ws/ install", paths(&["/ws"])),
            ("make", CodeFrom::Anywhere),
            ("make **", CodeFrom::Anywhere),
            ("make -C *", CodeFrom::Anywhere),
            ("sh /opt/x.sh", paths(&["/opt/x.sh"])),
            ("/usr/bin/python3.11 /opt/x.py /etc/x", paths(&["/opt/x.py", "/etc/x"])),
            ("python3 -m app", CodeFrom::Anywhere),
            ("pip3 install /opt/app", paths(&["/opt/app"])),
            ("pip install https://example.org/x", CodeFrom::Anywhere),
            ("npm --prefix /opt/app ci", paths(&["/opt/app"])),
            ("cmake -S /src -B /build", paths(&["/src", "/build"])),
            ("dpkg -i /opt/x.deb", paths(&["/opt/x.deb"])),
            ("locale-gen", CodeFrom::Program),
            ("dconf compile /etc/dconf/db/x", CodeFrom::Program),
            ("htop --version", CodeFrom::Program),
        ] {
            assert_eq!(code_from(&ExecPattern::parse(command).unwrap()), expected, "{command}");
        }
    }
}
