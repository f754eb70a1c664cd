//! Who put a file of an image there.

use std::fmt;
use std::path::Path;

use super::{BuildInfo, Effect, PluginReport};
use crate::ui::printable;

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Origin {
    /// A plugin changed it last, or after the ones before it in the list.
    Plugin { id: String, version: String, digest: String, effect: Effect },
    /// A plugin that changed more than the image lists: `count` paths below `directory`, of which it may be one.
    Unlisted { id: String, version: String, digest: String, directory: String, count: usize },
    /// A step of piimg wrote it.
    Step { step: String },
    /// It is in a package's list of files.
    Package { name: String },
    /// Nobody else: it was there before.
    Base { name: String, digest: String },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plugin { id, version, digest, effect } => {
                let digest = printable(digest);
                write!(f, "plugin {} {} ({digest}): {effect}", printable(id), printable(version))
            }
            Self::Unlisted { id, version, digest, directory, count } => write!(
                f,
                "plugin {} {} ({}): perhaps, it changed {count} paths below {} that are not listed; \
                 all of its calls are in the audit log",
                printable(id),
                printable(version),
                printable(digest),
                printable(directory)
            ),
            Self::Step { step } => write!(f, "piimg: {}", printable(step)),
            Self::Package { name } => write!(f, "package {}", printable(name)),
            Self::Base { name, digest } => write!(f, "base {} (sha256:{})", printable(name), printable(digest)),
        }
    }
}

/// All that had a part in `path`, the last one first. `packages` are those whose lists name it.
pub fn origins(info: Option<&BuildInfo>, packages: &[String], path: &str) -> Vec<Origin> {
    let mut found = Vec::new();
    if let Some(info) = info {
        found.extend(info.steps.get(path).map(|step| Origin::Step { step: step.clone() }));
        for plugin in info.plugins.iter().rev() {
            let (id, version, digest) = (plugin.id.clone(), plugin.version.clone(), plugin.digest.clone());
            if let Some(effect) = effect_on(plugin, path) {
                found.push(Origin::Plugin { id, version, digest, effect: effect.clone() });
            } else if let Some((directory, count)) = unlisted_at(plugin, path) {
                found.push(Origin::Unlisted { id, version, digest, directory, count });
            }
        }
    }
    found.extend(packages.iter().map(|name| Origin::Package { name: name.clone() }));
    if let (true, Some(base)) = (found.is_empty(), info.and_then(|info| info.base.as_ref())) {
        found.push(Origin::Base { name: base.name.clone(), digest: base.digest.clone() });
    }
    found
}

fn effect_on<'a>(plugin: &'a PluginReport, path: &str) -> Option<&'a Effect> {
    plugin.effects.iter().find(|effect| effect.change.path == path)
}

/// The nearest directory above a path below which there are changes that are not listed.
fn unlisted_at(plugin: &PluginReport, path: &str) -> Option<(String, usize)> {
    let above = Path::new(path).ancestors().skip(1).filter_map(Path::to_str);
    above.filter_map(|directory| Some((directory.to_owned(), *plugin.unlisted.get(directory)?))).next()
}

/// The paths under which a package may list `path`: packages of releases before the merge of `/usr` say `/bin/sh`.
pub fn listed_as(path: &str) -> Vec<String> {
    const MERGED: [&str; 4] = ["/bin/", "/sbin/", "/lib/", "/lib64/"];
    let mut paths = vec![path.to_owned()];
    if let Some(rest) = path.strip_prefix("/usr").filter(|rest| MERGED.iter().any(|top| rest.starts_with(top))) {
        paths.push(rest.to_owned());
    } else if MERGED.iter().any(|top| path.starts_with(top)) {
        paths.push(format!("/usr{path}"));
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{BaseInfo, Who};
    use crate::rootfs::changes::{Change, ChangeKind};

    fn info() -> BuildInfo {
        let effect = |path: &str| Effect {
            change: Change {
                path: path.into(),
                kind: ChangeKind::Added,
                notable: Default::default(),
                unreadable: false,
                directory: false,
                place: path.trim_start_matches('/').into(),
            },
            by: [Who::Command(2, "sh -c x".into())].into(),
        };
        let plugin = |id: &str, path: &str| PluginReport {
            id: id.into(),
            version: "1.0.0".into(),
            digest: "sha256:1".into(),
            granted: Default::default(),
            settings: Default::default(),
            uses: Default::default(),
            packages: Vec::new(),
            wishes: Vec::new(),
            effects: vec![effect(path)],
            unlisted: Default::default(),
        };
        BuildInfo {
            plugins: vec![plugin("a/first", "/etc/x"), plugin("a/second", "/etc/x")],
            steps: [("/etc/hostname".to_owned(), "the host name".to_owned())].into(),
            ..BuildInfo::default()
        }
    }

    #[test]
    fn the_last_one_comes_first() {
        let texts = |path: &str, packages: &[&str]| -> Vec<String> {
            let packages: Vec<String> = packages.iter().map(ToString::to_string).collect();
            origins(Some(&info()), &packages, path).iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            texts("/etc/x", &["base"]),
            [
                "plugin a/second 1.0.0 (sha256:1): /etc/x added by call 2, `sh -c x`",
                "plugin a/first 1.0.0 (sha256:1): /etc/x added by call 2, `sh -c x`",
                "package base",
            ]
        );
        assert_eq!(texts("/etc/hostname", &[]), ["piimg: the host name"]);
        assert!(texts("/etc/y", &[]).is_empty());
        let base = Some(BaseInfo { name: "old.img".into(), digest: "12".into() });
        let info = BuildInfo { base, ..info() };
        assert_eq!(origins(Some(&info), &[], "/etc/y")[0].to_string(), "base old.img (sha256:12)");
        assert_eq!(origins(Some(&info), &[], "/etc/hostname").len(), 1);
    }

    #[test]
    fn what_is_not_listed_is_said_to_be_possible() {
        let mut info = info();
        info.plugins[0].unlisted = [("/opt".to_owned(), 7), ("/opt/app".to_owned(), 5)].into();
        let texts: Vec<String> = ["/opt/app/x", "/opt/y", "/srv/x"]
            .map(|path| origins(Some(&info), &[], path))
            .concat()
            .iter()
            .map(ToString::to_string)
            .collect();
        let said = |text: &str| {
            format!(
                "plugin a/first 1.0.0 (sha256:1): perhaps, it changed {text} that are not listed; all of its calls are in the audit log"
            )
        };
        assert_eq!(texts, [said("5 paths below /opt/app"), said("7 paths below /opt")]);
    }

    #[test]
    fn a_merged_usr_is_looked_through() {
        for (path, expected) in [
            ("/usr/bin/sh", &["/usr/bin/sh", "/bin/sh"][..]),
            ("/bin/sh", &["/bin/sh", "/usr/bin/sh"]),
            ("/usr/share/x", &["/usr/share/x"]),
            ("/libx/y", &["/libx/y"]),
        ] {
            assert_eq!(listed_as(path), expected);
        }
    }
}
