//! Finds out who put a file of an image there.

use std::fmt;
use std::path::Path;

use super::{BuildInfo, Effect, PluginReport};
use crate::rootfs::changes::ChangeKind;
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
    /// It is a directory of many packages, of which these are some.
    Packages { count: usize, some: Vec<String> },
    /// Nobody else: a script of a package made it.
    Script,
    /// Nobody else: it was there before.
    Base { name: String, digest: String },
    /// The image does not tell how it was built, and no package lists it.
    Unknown,
    /// There is nothing of that name in the image.
    Missing,
}

/// More packages than these are counted.
const MOST_PACKAGES: usize = 5;

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plugin { id, version, digest, effect } => {
                let digest = printable(digest);
                write!(f, "plugin {} {} ({digest}): {effect}", printable(id), printable(version))
            }
            Self::Unlisted { id, version, digest, directory, count } => write!(
                f,
                "plugin {} {} ({}): perhaps, it changed {} below {} that are not listed; \
                 all of its calls are in the audit log",
                printable(id),
                printable(version),
                printable(digest),
                crate::ui::count(*count, "path"),
                printable(directory)
            ),
            Self::Step { step } => write!(f, "piimg: {}", printable(step)),
            Self::Package { name } => write!(f, "package {}", printable(name)),
            Self::Packages { count, some } => {
                let some: Vec<String> = some.iter().map(|name| printable(name)).collect();
                write!(f, "{count} packages, {} among them", some.join(", "))
            }
            Self::Script => {
                f.write_str("a package's own script: no list of a package, no plugin and no step of piimg names it")
            }
            Self::Unknown => {
                f.write_str("unknown: no package's list names it, and the image does not tell how it was built")
            }
            Self::Missing => f.write_str("missing: there is no such file in the image"),
            Self::Base { name, digest } => write!(f, "base {} (sha256:{})", printable(name), printable(digest)),
        }
    }
}

/// Returns everybody who took part in `path`, the last one first. `packages` are those whose lists name it; `is_there`
/// says whether it exists.
pub fn origins(info: Option<&BuildInfo>, packages: &[String], path: &str, is_there: bool) -> Vec<Origin> {
    let mut found = Vec::new();
    if !is_there {
        found.push(Origin::Missing);
    }
    let made = parts(&mut found, info, path);
    if packages.len() > MOST_PACKAGES {
        found.push(Origin::Packages { count: packages.len(), some: packages[..MOST_PACKAGES].to_vec() });
    } else {
        found.extend(packages.iter().map(|name| Origin::Package { name: name.clone() }));
    }
    if is_there && !made && packages.is_empty() {
        found.push(match info {
            None => Origin::Unknown,
            Some(BuildInfo { base: Some(base), .. }) => {
                Origin::Base { name: base.name.clone(), digest: base.digest.clone() }
            }
            Some(_) => Origin::Script,
        });
    }
    found
}

/// Adds the parts that plugins and steps of piimg had. Returns whether one of them made the file.
fn parts(found: &mut Vec<Origin>, info: Option<&BuildInfo>, path: &str) -> bool {
    let mut made = false;
    if let Some(info) = info {
        found.extend(info.steps.get(path).map(|step| Origin::Step { step: step.clone() }));
        made |= info.steps.contains_key(path);
        for plugin in info.plugins.iter().rev() {
            let (id, version, digest) = (plugin.id.clone(), plugin.version.clone(), plugin.digest.clone());
            if let Some(effect) = effect_on(plugin, path) {
                made |= effect.change.kind == ChangeKind::Added;
                found.push(Origin::Plugin { id, version, digest, effect: effect.clone() });
            } else if let Some((directory, count)) = unlisted_at(plugin, path) {
                found.push(Origin::Unlisted { id, version, digest, directory, count });
                // Whether it did is not known: nobody else is named for sure.
                made = true;
            }
        }
        let before = info.before.get(path).into_iter().flatten().rev();
        found.extend(before.clone().map(|part| Origin::Step { step: part.step.clone() }));
        made |= before.clone().any(|part| part.made);
    }
    made
}

fn effect_on<'a>(plugin: &'a PluginReport, path: &str) -> Option<&'a Effect> {
    plugin.effects.iter().find(|effect| effect.change.path == path)
}

/// Returns the nearest directory above a path below which there are changes that are not listed.
fn unlisted_at(plugin: &PluginReport, path: &str) -> Option<(String, usize)> {
    let above = Path::new(path).ancestors().skip(1).filter_map(Path::to_str);
    above.filter_map(|directory| Some((directory.to_owned(), *plugin.unlisted.get(directory)?))).next()
}

/// Returns the paths under which a package may list `path`: packages of releases before the merge of `/usr` say
/// `/bin/sh`.
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
    use crate::report::{BaseInfo, Part, Who};
    use crate::rootfs::changes::Change;

    fn part(step: &str, made: bool) -> Part {
        Part { step: step.into(), made }
    }

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
            before: [
                ("/home/ann".to_owned(), vec![part("for ann", true)]),
                ("/etc/passwd".to_owned(), vec![part("groups", false), part("for ann", false)]),
            ]
            .into(),
            ..BuildInfo::default()
        }
    }

    fn texts_of(info: Option<&BuildInfo>, path: &str, packages: &[&str], is_there: bool) -> Vec<String> {
        let packages: Vec<String> = packages.iter().map(ToString::to_string).collect();
        origins(info, &packages, path, is_there).iter().map(ToString::to_string).collect()
    }

    const SCRIPT: &str = "a package's own script: no list of a package, no plugin and no step of piimg names it";

    #[test]
    fn the_last_one_comes_first() {
        let own = info();
        let texts = |path: &str, packages: &[&str]| texts_of(Some(&own), path, packages, true);
        assert_eq!(
            texts("/etc/x", &["base"]),
            [
                "plugin a/second 1.0.0 (sha256:1): /etc/x added by call 2, `sh -c x`",
                "plugin a/first 1.0.0 (sha256:1): /etc/x added by call 2, `sh -c x`",
                "package base",
            ]
        );
        assert_eq!(texts("/etc/hostname", &[]), ["piimg: the host name"]);
        assert_eq!(texts("/etc/y", &[]), [SCRIPT]);
        assert_eq!(texts("/home/ann", &[]), ["piimg: for ann"]);
        // What was changed was made by somebody else.
        assert_eq!(texts("/etc/passwd", &[]), ["piimg: for ann", "piimg: groups", SCRIPT]);
        assert_eq!(texts("/etc/passwd", &["p"]), ["piimg: for ann", "piimg: groups", "package p"]);
        let base = Some(BaseInfo { name: "old.img".into(), digest: "12".into() });
        let info = BuildInfo { base, ..info() };
        assert_eq!(texts_of(Some(&info), "/etc/y", &[], true), ["base old.img (sha256:12)"]);
        assert_eq!(texts_of(Some(&info), "/etc/hostname", &[], true).len(), 1);
    }

    #[test]
    fn what_is_not_there_is_said_to_be_missing() {
        let missing = "missing: there is no such file in the image";
        assert_eq!(texts_of(Some(&info()), "/etc/y", &[], false), [missing]);
        assert_eq!(texts_of(Some(&info()), "/etc/hostname", &[], false), [missing, "piimg: the host name"]);
        assert_eq!(texts_of(None, "/etc/y", &["p"], false), [missing, "package p"]);
        let unknown = "unknown: no package's list names it, and the image does not tell how it was built";
        assert_eq!(texts_of(None, "/etc/y", &[], true), [unknown]);
    }

    #[test]
    fn a_directory_of_many_packages_is_told_in_one_line() {
        let names = ["a", "b", "c", "d", "e", "f"];
        assert_eq!(texts_of(Some(&info()), "/usr/bin", &names, true), ["6 packages, a, b, c, d, e among them"]);
        assert_eq!(texts_of(Some(&info()), "/usr/bin", &names[..5], true).len(), 5);
    }

    #[test]
    fn what_is_not_listed_is_said_to_be_possible() {
        let mut info = info();
        info.plugins[0].unlisted = [("/opt".to_owned(), 7), ("/opt/app".to_owned(), 5)].into();
        let texts: Vec<String> = ["/opt/app/x", "/opt/y", "/srv/x"]
            .map(|path| origins(Some(&info), &[], path, path != "/srv/x"))
            .concat()
            .iter()
            .map(ToString::to_string)
            .collect();
        let said = |text: &str| {
            format!(
                "plugin a/first 1.0.0 (sha256:1): perhaps, it changed {text} that are not listed; all of its calls are in the audit log"
            )
        };
        let missing = "missing: there is no such file in the image".to_owned();
        assert_eq!(texts, [said("5 paths below /opt/app"), said("7 paths below /opt"), missing]);
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
