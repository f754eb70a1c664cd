//! What a plugin's layer changed, judged by what the plugin was granted: whatever made the change, and whatever it said.
//!
//! No package run of the host's is ever in such a layer: what apt or dpkg change when the plugin runs them is as much its own
//! as what any other command changes. The host functions that enable units, make accounts and edit the firmware's files are
//! told apart: they ask the gate by name and choose the paths themselves, so that what such a call wrote stands for the
//! answer of the gate. It stands for that path alone, and only while no command had a part in it: one that came before may
//! be in what the call left, one that came after wrote something else.
//!
//! What no image keeps (logs, caches) is not kept in the layer either, and needs no grant.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::finalise;
use crate::error::{Context as _, Failure, Result};
use crate::plugin::Need;
use crate::plugin::grant::GrantSet;
use crate::report::{Effect, Who};
use crate::rootfs::changes::{Change, ChangeKind};
use crate::rootfs::tracker::Tracker;
use crate::secret::leak::Search;
use crate::ui::{Step, printable, shell_quoted};

/// How many findings an error or the report of a step lists.
const LISTED: usize = 20;

/// Judges what was changed: returns what the layer keeps.
///
/// # Errors
/// [`Failure::plugin`] naming each change that was not granted, and by whom it was made.
pub(super) fn judge(id: &str, grants: &GrantSet, changes: Vec<Change>, tracker: &Tracker<Who>) -> Result<Judged> {
    let mut judged = Judged::default();
    let mut refused = Vec::new();
    for change in changes {
        let is_written = is_written_by_calls(tracker.who_itself(&change.place));
        let by = tracker.who(&change.place).iter().map(|who| Who::clone(who)).collect();
        let effect = Effect { change, by };
        if finalise::is_dropped(&effect.change.path) {
            judged.dropped.push(effect.change.place);
        } else if is_written || is_granted(grants, &effect.change) {
            judged.kept.push(effect);
        } else {
            refused.push(effect);
        }
    }
    if refused.is_empty() { Ok(judged) } else { Err(refusal(id, grants, &refused).into()) }
}

/// What [`judge`] found nothing wrong with.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) kept: Vec<Effect>,
    /// What no image keeps, relative to the tree, each directory before what is in it.
    pub(super) dropped: Vec<PathBuf>,
}

fn need(change: &Change) -> Need {
    let path = change.path.clone();
    // With a directory everything goes that was in it.
    if change.directory && change.kind == ChangeKind::Removed { Need::FsWriteTree(path) } else { Need::FsWrite(path) }
}

/// Whether calls of host functions wrote a path, each allowed by the gate, and no command had a part in it.
fn is_written_by_calls(who: &[Rc<Who>]) -> bool {
    let is_call = |who: &Rc<Who>| matches!(**who, Who::Call(..));
    !who.is_empty() && who.iter().all(is_call)
}

/// Whether the plugin may make the change.
pub(super) fn is_granted(grants: &GrantSet, change: &Change) -> bool {
    // A name that cannot be written cannot be granted.
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
                // What stays in it has a reason of its own.
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

/// Names what always deserves a look, granted or not, packages' own files too.
pub(super) fn announce(step: &Step, plugin: &str, effects: &[Effect]) {
    let mut count = 0;
    for effect in effects {
        for notable in &effect.change.notable {
            count += 1;
            if count <= LISTED {
                let (path, kind) = (printable(&effect.change.path), &effect.change.kind);
                step.line(&format!("{} | {path} {notable}: {kind} by {}", printable(plugin), effect.by()));
            }
        }
    }
    if count > LISTED {
        step.line(&format!("{} | and {} more such files; all are in the audit log", printable(plugin), count - LISTED));
    }
}
