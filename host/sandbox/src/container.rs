//! Finds out what of a container keeps the private namespace from being made, and with which options the container would
//! let it.
//!
//! Only what is seen here is named, and all of it at once: whoever starts a container tries each option that a message
//! names, and a second message after the first is a second try.

use std::fs;
use std::path::Path;

/// Restrictions of a container, as far as they are in the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Restrictions {
    /// Engine that made the container, by the file that it leaves; `None` if there is none or another one.
    engine: Option<Engine>,
    /// A filter refuses system calls.
    filters_calls: bool,
    /// Parts of `/proc` are covered: the kernel then mounts no other `/proc` whose parts would not be
    /// (`mount_too_revealing` in its fs/namespace.c).
    covers_proc: bool,
    /// A profile of AppArmor refuses mounts.
    has_profile: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    Podman,
    Docker,
}

impl Restrictions {
    /// Looks at this process and its mounts. To be called where `/proc` is still the container's.
    pub(super) fn find() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let engine = if Path::new("/run/.containerenv").exists() {
            Some(Engine::Podman)
        } else {
            Path::new("/.dockerenv").exists().then_some(Engine::Docker)
        };
        Self::read(engine, &read("/proc/self/status"), &read("/proc/self/mountinfo"), &read("/proc/self/attr/current"))
    }

    /// Reads what the kernel says: <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html> and
    /// <https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html>.
    fn read(engine: Option<Engine>, status: &str, mounts: &str, profile: &str) -> Self {
        let seccomp = status.lines().find_map(|line| line.strip_prefix("Seccomp:")).map(str::trim);
        let places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        let covers = |place: &str| place.starts_with("/proc/") && place != "/proc/sys/fs/binfmt_misc";
        let profile = profile.trim_end_matches(['\n', '\0']);
        Self {
            engine,
            filters_calls: seccomp == Some("2"),
            covers_proc: places.into_iter().any(covers),
            has_profile: profile.ends_with("(enforce)"),
        }
    }

    /// Leaves the filter out, once a call that it could have refused was made.
    #[must_use]
    pub(super) fn with_calls(self) -> Self {
        Self { filters_calls: false, ..self }
    }

    /// Returns the next step, or `None` if no restriction was seen.
    pub(super) fn hint(&self) -> Option<String> {
        let words = |engine: Engine| {
            let proc = match engine {
                Engine::Podman => "unmask=ALL",
                Engine::Docker => "systempaths=unconfined",
            };
            let all = [
                (self.filters_calls, "seccomp=unconfined"),
                (self.covers_proc, proc),
                (self.has_profile, "apparmor=unconfined"),
            ];
            let missing = all.into_iter().filter(|(is_missing, _)| *is_missing);
            missing.map(|(_, option)| format!("--security-opt {option}")).collect::<Vec<_>>().join(" ")
        };
        let (podman, docker) = (words(Engine::Podman), words(Engine::Docker));
        if podman.is_empty() {
            return None;
        }
        Some(match self.engine {
            Some(Engine::Podman) => format!("start the container with podman run {podman}"),
            Some(Engine::Docker) => format!("start the container with docker run {docker}"),
            None if podman == docker => format!("if this is a container, start it with {podman}"),
            None => format!("if this is a container, start it with {podman} (podman) or {docker} (docker)"),
        })
    }
}

/// Returns the setting of the kernel that forbids user namespaces to this user, as the command that changes it, or `None`
/// if none of the known ones does.
pub(super) fn forbidding_setting(is_root: bool) -> Option<&'static str> {
    setting(is_root, |name| fs::read_to_string(Path::new("/proc/sys").join(name)).ok())
}

fn setting(is_root: bool, read: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    let has = |name, value| read(name).is_some_and(|text| text.trim() == value);
    if has("user/max_user_namespaces", "0") {
        return Some("sudo sysctl user.max_user_namespaces=65536");
    }
    if is_root {
        return None;
    }
    if has("kernel/unprivileged_userns_clone", "0") {
        return Some("sudo sysctl kernel.unprivileged_userns_clone=1");
    }
    has("kernel/apparmor_restrict_unprivileged_userns", "1")
        .then_some("sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0")
}

/// Next step where the ids of a container are too few for those of an image beside its own.
pub(super) const TOO_FEW_IDS: &str = "where an ordinary user starts the container: give that user 65536 more subordinate ids \
     on the host (sudo usermod --add-subuids 200000-265535 --add-subgids 200000-265535 USER), then `podman system migrate`";

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: &str = "22 1 0:20 / /proc rw - proc proc rw\n30 22 0:25 / /proc/sys/fs/binfmt_misc rw - autofs x rw\n";
    const COVERED: &str = "22 1 0:20 / /proc rw - proc proc rw\n31 22 0:20 /sys /proc/sys ro - proc proc rw\n";
    const FILTERED: &str = "Name:\tpiimg\nSeccomp:\t2\nSeccomp_filters:\t1\n";

    #[test]
    fn each_option_that_is_missing_is_named_and_no_other() {
        for (engine, status, mounts, profile, expected) in [
            (Some(Engine::Podman), "Seccomp:\t0\n", FREE, "unconfined\n", None),
            (None, "", "", "", None),
            (
                Some(Engine::Podman),
                FILTERED,
                COVERED,
                "unconfined",
                Some("start the container with podman run --security-opt seccomp=unconfined --security-opt unmask=ALL"),
            ),
            (
                Some(Engine::Podman),
                FILTERED,
                FREE,
                "",
                Some("start the container with podman run --security-opt seccomp=unconfined"),
            ),
            (
                Some(Engine::Podman),
                "Seccomp:\t0",
                COVERED,
                "",
                Some("start the container with podman run --security-opt unmask=ALL"),
            ),
            (
                Some(Engine::Docker),
                FILTERED,
                COVERED,
                "docker-default (enforce)\n",
                Some(
                    "start the container with docker run --security-opt seccomp=unconfined --security-opt \
                     systempaths=unconfined --security-opt apparmor=unconfined",
                ),
            ),
            (None, FILTERED, FREE, "", Some("if this is a container, start it with --security-opt seccomp=unconfined")),
            (
                None,
                "",
                COVERED,
                "",
                Some(
                    "if this is a container, start it with --security-opt unmask=ALL (podman) or --security-opt \
                     systempaths=unconfined (docker)",
                ),
            ),
        ] {
            let found = Restrictions::read(engine, status, mounts, profile);
            assert_eq!(found.hint().as_deref(), expected, "{found:?}");
        }
    }

    #[test]
    fn a_filter_that_let_the_call_pass_is_not_blamed() {
        let found = Restrictions::read(Some(Engine::Podman), FILTERED, COVERED, "").with_calls();
        let expected = "start the container with podman run --security-opt unmask=ALL";
        assert_eq!(found.hint().as_deref(), Some(expected));
    }

    #[test]
    fn the_setting_that_forbids_namespaces_is_named() {
        let apparmor = "kernel/apparmor_restrict_unprivileged_userns";
        for (name, value, is_root, expected) in [
            ("none", "", false, None),
            ("user/max_user_namespaces", "0\n", true, Some("sudo sysctl user.max_user_namespaces=65536")),
            ("user/max_user_namespaces", "96365\n", false, None),
            ("kernel/unprivileged_userns_clone", "0\n", false, Some("sudo sysctl kernel.unprivileged_userns_clone=1")),
            (apparmor, "1\n", false, Some("sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0")),
            (apparmor, "1\n", true, None),
        ] {
            let read = |asked: &str| (asked == name).then(|| value.to_owned());
            assert_eq!(setting(is_root, read), expected, "{name} {value} {is_root}");
        }
    }
}
