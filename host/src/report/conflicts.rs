//! Plugins of one image that want different things. The later one has its way, which its author may not have meant.

use super::{PluginReport, Who};
use crate::plugin::functions::{self, Effects};
use crate::ui::printable;

/// A plugin that ran, and those that its author knew to run before.
#[derive(Clone, Copy, Debug)]
pub struct Ran<'a> {
    pub report: &'a PluginReport,
    pub after: &'a [String],
}

/// Describes each disagreement between two plugins in one line; `plugins` are in the order in which they ran.
///
/// A plugin that asks to run after another one means to build on it, and may change what that one did.
pub fn conflicts(plugins: &[Ran<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    for (index, later) in plugins.iter().enumerate() {
        for earlier in plugins[..index].iter().filter(|earlier| !later.after.contains(&earlier.report.id)) {
            found.extend(settings(earlier.report, later.report));
            found.extend(files(earlier.report, later.report));
        }
    }
    found
}

fn settings(earlier: &PluginReport, later: &PluginReport) -> Vec<String> {
    let differ = |(what, value): (&String, &String)| {
        let other = later.settings.get(what).filter(|other| *other != value)?;
        let (first, second) = (printable(&earlier.id), printable(&later.id));
        let shown =
            |value: &str| if value.is_empty() { "without a value".into() } else { format!("`{}`", printable(value)) };
        Some(format!("both `{first}` and `{second}` set {}: {}, then {}", printable(what), shown(value), shown(other)))
    };
    earlier.settings.iter().filter_map(differ).collect()
}

fn files(earlier: &PluginReport, later: &PluginReport) -> Vec<String> {
    let replaces = |who: &Who| matches!(who, Who::Call(_, call) if functions::of_call(call).is_some_and(|it| it.effect == Effects::Replaces));
    let replaced = later.effects.iter().filter(|effect| effect.by.iter().any(replaces));
    let own = |path: &str| {
        earlier
            .effects
            .iter()
            .any(|effect| effect.change.path == path && !effect.change.directory && !effect.is_of_packages())
    };
    replaced
        .filter(|effect| own(&effect.change.path))
        .map(|effect| {
            let (first, second) = (printable(&earlier.id), printable(&later.id));
            format!(
                "`{second}` puts something else in the place of `{}`, which `{first}` made or changed",
                printable(&effect.change.path)
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Effect;
    use crate::rootfs::changes::{Change, ChangeKind};

    fn report(id: &str, settings: &[(&str, &str)], writes: &[(&str, &str)]) -> PluginReport {
        let effect = |(path, call): &(&str, &str)| Effect {
            change: Change {
                path: (*path).into(),
                kind: ChangeKind::Added,
                notable: Default::default(),
                unreadable: false,
                directory: false,
                place: Default::default(),
            },
            by: [Who::Call(1, format!("{call} {path}"))].into(),
        };
        PluginReport {
            id: id.into(),
            version: "1.0.0".into(),
            digest: "sha256:1".into(),
            granted: Default::default(),
            uses: Default::default(),
            packages: Vec::new(),
            wishes: Vec::new(),
            settings: settings.iter().map(|(what, value)| ((*what).into(), (*value).into())).collect(),
            effects: writes.iter().map(effect).collect(),
            unlisted: Default::default(),
        }
    }

    #[test]
    fn what_two_plugins_want_otherwise_is_named() {
        let first = report(
            "a/first",
            &[("gpu_mem of config.txt", "64"), ("the unit ssh.service", "enabled"), ("dtoverlay=x of config.txt", "")],
            &[("/etc/motd", "fs.write"), ("/etc/issue", "fs.write"), ("/etc/fstab.d", "fs.write")],
        );
        let second = report(
            "b/second",
            &[
                ("gpu_mem of config.txt", "128"),
                ("the unit ssh.service", "enabled"),
                ("dtoverlay=x of config.txt", "y=1"),
            ],
            &[
                ("/etc/motd", "fs.install"),
                ("/etc/issue", "fs.rename /tmp/new to"),
                ("/etc/fstab.d", "fs.ensure-line"),
                ("/etc/other", "fs.write"),
            ],
        );
        let ran = |after: &[String]| conflicts(&[Ran { report: &first, after: &[] }, Ran { report: &second, after }]);
        assert_eq!(
            ran(&[]),
            [
                "both `a/first` and `b/second` set dtoverlay=x of config.txt: without a value, then `y=1`",
                "both `a/first` and `b/second` set gpu_mem of config.txt: `64`, then `128`",
                "`b/second` puts something else in the place of `/etc/motd`, which `a/first` made or changed",
                "`b/second` puts something else in the place of `/etc/issue`, which `a/first` made or changed",
            ]
        );
        assert!(ran(&["a/first".to_owned()]).is_empty(), "it was meant");
    }
}
