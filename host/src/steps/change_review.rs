//! Compares the changes of a plugin's layer with its grants, whatever made a change and whatever was reported.
//!
//! No package run of the host's is ever in such a layer: what apt or dpkg change when the plugin runs them is as much its own
//! as what any other command changes. The host functions that enable units, make accounts and edit the firmware's files are
//! told apart: they ask the gate by name and choose the paths themselves, so that what such a call wrote stands for the
//! answer of the gate. It stands for that path alone, and only while no command had a part in it: one that came before may
//! be in what the call left, one that came after wrote something else.
//!
//! What no image keeps (files of logs and caches) is not kept in the layer either, and needs no grant. Directories that an
//! image does keep are judged like all others: who may write there decides what comes to be in them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::finalise;
use crate::error::{Context as _, Failure, Result};
use crate::plugin::Need;
use crate::plugin::grant::GrantSet;
use crate::report::{Effect, Who};
use crate::rootfs::change_tracker::Tracker;
use crate::rootfs::changes::{Change, ChangeKind, Notable};
use crate::rootfs::places::Risk;
use crate::secret::leak::Search;
use crate::ui::{Step, printable, shell_quoted};

/// Most findings that an error lists.
const LISTED: usize = 20;
/// Most findings of a kind that the report of a step lists.
const LISTED_OF_KIND: usize = 10;

/// Judges what was changed: returns what the layer keeps.
///
/// # Errors
/// [`Failure::plugin`] naming each change that was not granted, and by whom it was made.
pub(super) fn judge(id: &str, grants: &GrantSet, changes: Vec<Change>, parts: &impl Parts) -> Result<Judged> {
    let mut judged = Judged::default();
    let mut refused = Vec::new();
    for change in changes {
        let is_written = is_written_by_calls(parts.who_itself(&change.place));
        let by = parts.who(&change.place).iter().map(|who| Who::clone(who)).collect();
        let effect = Effect { change, by };
        if is_dropped(&effect.change) {
            judged.dropped.push(effect.change.place);
        } else if is_written || is_granted(grants, &effect.change) {
            judged.kept.push(effect);
        } else {
            refused.push(effect);
        }
    }
    if refused.is_empty() { Ok(judged) } else { Err(refusal(id, grants, &refused).into()) }
}

/// Tells who had a part in which path.
pub(super) trait Parts {
    /// Returns who had a part in `path`; for what a directory hides, who had one in the directory.
    fn who(&self, path: &Path) -> &[Rc<Who>];

    /// Returns who had a part in `path` itself.
    fn who_itself(&self, path: &Path) -> &[Rc<Who>];
}

impl Parts for Tracker<Who> {
    fn who(&self, path: &Path) -> &[Rc<Who>] {
        Self::who(self, path)
    }

    fn who_itself(&self, path: &Path) -> &[Rc<Who>] {
        Self::who_itself(self, path)
    }
}

/// Changes that [`judge`] accepted.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) kept: Vec<Effect>,
    /// Paths that no image keeps, relative to the tree, each directory before its content.
    pub(super) dropped: Vec<PathBuf>,
}

/// Returns whether no image keeps it, whatever it is.
fn is_dropped(change: &Change) -> bool {
    finalise::is_dropped(&change.path) && !(change.directory && finalise::keeps_directories(&change.place))
}

fn need(change: &Change) -> Need {
    let path = change.path.clone();
    // Removing a directory removes everything in it.
    if change.directory && change.kind == ChangeKind::Removed {
        Need::fs_write_tree(path)
    } else {
        Need::fs_write(path)
    }
}

/// Returns whether calls of host functions wrote a path, each allowed by the gate, and no command had a part in it.
fn is_written_by_calls(who: &[Rc<Who>]) -> bool {
    let is_call = |who: &Rc<Who>| matches!(**who, Who::Call(..));
    !who.is_empty() && who.iter().all(is_call)
}

/// Returns whether the plugin may make the change.
pub(super) fn is_granted(grants: &GrantSet, change: &Change) -> bool {
    // A path that cannot be written as a scope cannot be granted.
    !change.unreadable && grants.allows(&need(change)).is_ok()
}

fn refusal(id: &str, grants: &GrantSet, refused: &[Effect]) -> Failure {
    let listed: Vec<String> = refused.iter().take(LISTED).map(|effect| format!("\n  {effect}")).collect();
    let more = refused.len().saturating_sub(LISTED);
    let more = if more == 0 { String::new() } else { format!("\n  and {more} more") };
    let text = format!("the plugin `{}` changed what it was not granted:{}{more}", printable(id), listed.concat());
    let refusals: Vec<_> =
        refused.iter().filter_map(|effect| grants.allows(&need(&effect.change)).err()).take(LISTED).collect();
    let failure = Failure::plugin(text);
    if refusals.is_empty() {
        return failure.hint("such names cannot be granted");
    }
    if refusals.iter().all(|refusal| refusal.requested) {
        let flags: Vec<String> =
            refusals.iter().map(|refusal| format!("--grant {}", shell_quoted(&refusal.needed))).collect();
        return failure.hint(format!("to allow it: {}", flags.join(" ")));
    }
    failure.hint("its author must request in conf() what its commands change; the layer was dropped")
}

/// Removes from the finished upper directory what no image keeps: the layer below shows again.
///
/// # Errors
/// If the store cannot be written to.
pub(super) fn drop_paths(upper: &Path, paths: &[PathBuf]) -> Result<()> {
    for path in paths.iter().rev() {
        let place = upper.join(path);
        let removed = match std::fs::symlink_metadata(&place) {
            Ok(metadata) if metadata.is_dir() && finalise::keeps_directories(path) => Ok(()),
            Ok(metadata) if metadata.is_dir() => match std::fs::remove_dir(&place) {
                // Entries that remain in it have reasons of their own.
                Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => Ok(()),
                removed => removed,
            },
            Ok(_) => std::fs::remove_file(&place),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let path = printable(&path.to_string_lossy());
                return Err(error).with_context(|| format!("cannot remove `/{path}` from the layer"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Looks for the secrets that the plugin may use in the finished upper directory and in the log of its calls.
///
/// # Errors
/// [`Failure::plugin`] naming the path and the secret.
pub(super) fn check_secrets(id: &str, search: &Search<'_>, upper: &Path, log: &Path) -> Result<()> {
    if let Some(leak) = search.find(upper)? {
        let place = printable(&format!("/{}", leak.path));
        let place = if leak.is_in_name { format!("a name in `{place}`") } else { format!("`{place}`") };
        return Err(leaked(id, &leak.secret, &place).into());
    }
    search.find(log)?.map_or(Ok(()), |leak| Err(leaked(id, &leak.secret, "the log of its calls").into()))
}

fn leaked(id: &str, secret: &str, place: &str) -> Failure {
    Failure::plugin(format!("after the plugin `{}` the secret `{secret}` is in {place}", printable(id)))
        .hint("an image must not hold it, and the layer was dropped; is it in a file or a parameter that the plugin was given?")
}

/// Names what always deserves a look, granted or not, packages' own files too where packages do not usually have such:
/// the gravest first, and of each kind some, so that many of one kind hide none of another.
pub(super) fn announce(step: &Step, plugin: &str, effects: &[Effect]) {
    for line in announcement(effects) {
        step.line(&format!("{} | {line}", printable(plugin)));
    }
}

fn announcement(effects: &[Effect]) -> Vec<String> {
    let mut kinds: BTreeMap<(Reverse<Risk>, Notable), Vec<&Effect>> = BTreeMap::new();
    // Effects of wishes were reported when they happened.
    for effect in effects.iter().filter(|effect| !effect.is_of_a_wish()) {
        for notable in effect.notable() {
            kinds.entry((Reverse(notable.risk()), notable)).or_default().push(effect);
        }
    }
    let mut lines = Vec::new();
    for ((_, notable), effects) in kinds {
        for effect in effects.iter().take(LISTED_OF_KIND) {
            let (path, kind) = (printable(&effect.change.path), &effect.change.kind);
            lines.push(format!("{path} {notable}: {kind} by {}", effect.by()));
        }
        if let Some(more @ 1..) = effects.len().checked_sub(LISTED_OF_KIND) {
            lines.push(format!("and {more} more, each of which {notable}; all are in the image's own record"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(path: &str, notable: Notable, who: Who) -> Effect {
        let change = Change {
            path: path.into(),
            kind: ChangeKind::Added,
            notable: [notable].into(),
            unreadable: false,
            directory: false,
            place: PathBuf::new(),
        };
        Effect { change, by: [who].into() }
    }

    #[test]
    fn directories_that_stay_in_an_image_are_not_dropped_unjudged() {
        for (path, directory, expected) in [
            ("/var/log/x.log", false, true),
            ("/var/log/app", true, false),
            ("/var/log/app/deep", true, false),
            ("/var/log/app/x.log", false, true),
            ("/var/log", true, false),
            ("/var/tmp/x", true, true),
            ("/var/tmp", true, false),
            ("/root/.cache/pip", true, true),
            ("/etc/app", true, false),
        ] {
            let mut change = effect(path, Notable::Open, Who::Packages).change;
            change.directory = directory;
            change.place = PathBuf::from(&path[1..]);
            assert_eq!(is_dropped(&change), expected, "{path}");
        }
    }

    #[test]
    fn many_of_one_kind_hide_none_of_another() {
        let call = || Who::Call(1, "fs.write x".into());
        let mut effects: Vec<Effect> =
            (0..100).map(|number| effect(&format!("/etc/hosts{number}"), Notable::At("network"), call())).collect();
        effects.push(effect("/usr/zz/su", Notable::SetId, call()));
        effects.push(effect("/usr/bin/of-a-package", Notable::At("programs"), Who::Packages));
        effects.push(effect("/etc/cron.d/of-a-package", Notable::At("cron"), Who::Packages));
        effects.push(effect("/usr/bin/of-a-plugin", Notable::At("programs"), call()));
        effects.push(effect("/etc/apt/preferences.d/x", Notable::At("package-manager"), Who::Wish("Pin x".into())));
        let lines = announcement(&effects);
        let expected = [
            "/usr/zz/su runs with the rights of its owner or group: added by call 1, fs.write x",
            "/etc/cron.d/of-a-package is run by the clock: added by packages",
            "/usr/bin/of-a-plugin is a program that everybody runs: added by call 1, fs.write x",
        ];
        assert_eq!(lines[..3], expected);
        assert_eq!(lines.len(), 3 + LISTED_OF_KIND + 1);
        let last = "and 90 more, each of which decides with which machines it talks; all are in the image's own record";
        assert_eq!(lines[3 + LISTED_OF_KIND], last);
    }
}
