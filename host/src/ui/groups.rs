//! Folds what a step prints in the log of a CI service, where the services have marks for that.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Whether a group is open: services know no groups in groups, and steps may run at the same time.
static IS_OPEN: AtomicBool = AtomicBool::new(false);
/// Number of groups so far, for their names.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// A service that folds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// <https://docs.github.com/actions/using-workflows/workflow-commands-for-github-actions#grouping-log-lines>
    GitHub,
    /// <https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections>
    GitLab,
}

impl Service {
    /// Returns the service whose variables are set.
    pub(super) fn of(is_set: impl Fn(&str) -> bool) -> Option<Self> {
        let known = [("GITHUB_ACTIONS", Self::GitHub), ("GITLAB_CI", Self::GitLab)];
        known.into_iter().find(|(variable, _)| is_set(variable)).map(|(_, service)| service)
    }
}

/// An open group; whoever has it closes it.
#[derive(Debug)]
pub(super) struct Group {
    service: Service,
    name: String,
}

impl Group {
    /// Opens a group, unless another one is. Returns its first line, too.
    #[expect(clippy::disallowed_methods, reason = "it names a part of this log alone")]
    pub(super) fn open(service: Service, title: &str) -> Option<(Self, String)> {
        if IS_OPEN.swap(true, Ordering::SeqCst) {
            return None;
        }
        let name = format!("piimg_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let line = match service {
            Service::GitHub => format!("::group::{title}"),
            Service::GitLab => format!("\u{1b}[0Ksection_start:{}:{name}[collapsed=true]\r\u{1b}[0K{title}", now()),
        };
        Some((Self { service, name }, line))
    }

    /// Returns its last line.
    pub(super) fn last_line(&self) -> String {
        match self.service {
            Service::GitHub => "::endgroup::".to_owned(),
            Service::GitLab => format!("\u{1b}[0Ksection_end:{}:{}\r\u{1b}[0K", now(), self.name),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        IS_OPEN.store(false, Ordering::SeqCst);
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_group_is_open_at_a_time_and_has_the_marks_of_its_service() {
        assert_eq!(Service::of(|name| name == "GITLAB_CI"), Some(Service::GitLab));
        assert_eq!(Service::of(|_| false), None);
        let (group, first) = Group::open(Service::GitHub, "Bootstrap").unwrap();
        assert_eq!((first.as_str(), group.last_line().as_str()), ("::group::Bootstrap", "::endgroup::"));
        assert!(Group::open(Service::GitHub, "Another").is_none());
        drop(group);
        let (group, first) = Group::open(Service::GitLab, "Bootstrap").unwrap();
        let (start, name) = first.rsplit_once(":piimg_").unwrap();
        assert!(start.starts_with("\u{1b}[0Ksection_start:") && name.ends_with("[collapsed=true]\r\u{1b}[0KBootstrap"));
        let name = name.split('[').next().unwrap();
        assert!(group.last_line().ends_with(&format!(":piimg_{name}\r\u{1b}[0K")), "{}", group.last_line());
    }
}
