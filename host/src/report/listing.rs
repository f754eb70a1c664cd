//! The changes of a plugin that an image lists, for a plugin may change more than anybody wants to carry along.

use std::collections::BTreeMap;

use super::{Effect, Who};

/// Most bytes of all that is listed: some 20,000 changes of usual length.
const LISTED_BYTES: usize = 4 << 20;
/// Bytes that a change takes in the file beside its path and who made it.
const FRAME: usize = 150;
/// Most directories that the others are counted by.
const DIRECTORIES: usize = 1000;

/// The changes of a plugin, of limited length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    pub effects: Vec<Effect>,
    /// Number of further changes, by directory.
    pub unlisted: BTreeMap<String, usize>,
}

/// Lists what deserves a look, and as much of the rest as there is room for, in the order of `effects`.
pub fn listing(effects: Vec<Effect>) -> Listing {
    listing_of(effects, LISTED_BYTES)
}

fn listing_of(effects: Vec<Effect>, mut room: usize) -> Listing {
    let mut take = |effect: &Effect| {
        let fits = length(effect) <= room;
        room = if fits { room - length(effect) } else { 0 };
        fits
    };
    let notable: Vec<bool> = effects.iter().map(|effect| !effect.change.notable.is_empty() && take(effect)).collect();
    let mut listing = Listing::default();
    let mut left_out = Vec::new();
    for (effect, notable) in effects.into_iter().zip(notable) {
        if notable || take(&effect) {
            listing.effects.push(effect);
        } else {
            left_out.push(effect.change.path);
        }
    }
    listing.unlisted = by_directory(&left_out);
    listing
}

fn length(effect: &Effect) -> usize {
    let names = effect.by.iter().map(|who| match who {
        Who::Packages => 0,
        Who::Wish(text) | Who::Command(_, text) | Who::Call(_, text) => text.len(),
    });
    FRAME + effect.change.path.len() + names.sum::<usize>()
}

/// Counts paths by the directories that hold them, or those above if that would be too many.
fn by_directory(paths: &[String]) -> BTreeMap<String, usize> {
    let deepest = paths.iter().map(|path| path.matches('/').count()).max().unwrap_or_default();
    (0..deepest)
        .rev()
        .map(|depth| {
            let mut counts = BTreeMap::new();
            for path in paths {
                *counts.entry(directory(path, depth).to_owned()).or_default() += 1;
            }
            counts
        })
        .find(|counts| counts.len() <= DIRECTORIES)
        .unwrap_or_default()
}

/// Returns the directory of a path that has at most `depth` names.
fn directory(path: &str, depth: usize) -> &str {
    let end = path.match_indices('/').map(|(at, _)| at).take(depth + 1).last().unwrap_or_default();
    if end == 0 { "/" } else { &path[..end] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::changes::{Change, ChangeKind, Notable};

    fn effect(path: &str, notable: &[Notable]) -> Effect {
        Effect {
            change: Change {
                path: path.into(),
                kind: ChangeKind::Added,
                notable: notable.iter().copied().collect(),
                unreadable: false,
                place: Default::default(),
                directory: false,
            },
            by: [Who::Call(1, "fs.write x".into())].into(),
        }
    }

    #[test]
    fn what_deserves_a_look_is_listed_first() {
        let effects = || vec![effect("/opt/a/1", &[]), effect("/opt/b/2", &[]), effect("/usr/su", &[Notable::SetId])];
        let all = listing_of(effects(), 1000);
        assert_eq!((all.effects, all.unlisted.len()), (effects(), 0));
        // Ten bytes for the call, and the path.
        let some = listing_of(effects(), 2 * FRAME + 17 + 19);
        let paths: Vec<&str> = some.effects.iter().map(|effect| effect.change.path.as_str()).collect();
        assert_eq!(paths, ["/opt/a/1", "/usr/su"]);
        assert_eq!(some.unlisted, [("/opt/b".to_owned(), 1)].into());
    }

    #[test]
    fn a_hundred_thousand_files_are_counted_by_directory() {
        let effects = (0..100_000).map(|number| effect(&format!("/opt/app/{}/{number}", number % 2000), &[])).collect();
        let listing = listing(effects);
        assert!(listing.effects.iter().map(length).sum::<usize>() <= LISTED_BYTES);
        let listed = listing.effects.len();
        assert!((1..100_000).contains(&listed), "{listed}");
        assert_eq!(listing.unlisted, [("/opt/app".to_owned(), 100_000 - listed)].into());
    }

    #[test]
    fn directories_are_cut_at_their_names() {
        for (path, depth, expected) in
            [("/etc/x", 1, "/etc"), ("/etc/x", 5, "/etc"), ("/x", 3, "/"), ("/a/b/c", 1, "/a"), ("/a/b/c", 0, "/")]
        {
            assert_eq!(directory(path, depth), expected, "{path} {depth}");
        }
    }
}
