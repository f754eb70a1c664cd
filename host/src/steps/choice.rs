//! Remembers apt's choice for a wish. The choice names the layer made of it: the same packages on the same layers are
//! the same layer, whether apt chose them freely or by a lock.
//!
//! What was chosen is remembered: with nothing locked there is one choice for a wish, for the state of the archive is part of
//! what lies below. With a lock, any earlier choice serves that the lock does not contradict, so that a lock which got
//! another package makes no layer anew that has nothing to do with it.

use serde::{Deserialize, Serialize};

use super::layer::mount_above;
use super::{Build, Layers, locked};
use crate::error::Result;
use crate::recipe::locked::{Locked, Packages};
use crate::store::key;
use crate::ui::Step;

/// Choices of one wish that are remembered for locks: as many that were made for one, and that were made without.
const MOST_REMEMBERED: usize = 8;

/// A wish for packages on certain layers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    /// The digest of all that it depends on but for what is locked.
    pub(super) key: &'a str,
    /// Names, each optionally `=version`.
    pub(super) specs: &'a [String],
    pub(super) recommends: bool,
}

/// Earlier choices of one kind, each with what else is known of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Choices<T> {
    /// The one that was made last with nothing locked.
    free: Option<T>,
    /// Earlier choices, the newest first: a lock may belong to their state of the archive.
    #[serde(default = "Vec::new")]
    earlier: Vec<T>,
    /// Choices made with a lock, the newest first.
    locked: Vec<T>,
}

impl<T> Default for Choices<T> {
    fn default() -> Self {
        Self { free: None, earlier: Vec::new(), locked: Vec::new() }
    }
}

impl<T: PartialEq> Choices<T> {
    /// Returns the choices that may serve a build with that lock, or without one. The last one made without a lock
    /// comes first.
    pub(super) fn candidates(&self, lock: Option<&Locked>) -> impl Iterator<Item = &T> {
        let of_lock = self.locked.iter().chain(&self.earlier).filter(move |_| lock.is_some());
        self.free.iter().chain(of_lock)
    }

    /// Remembers a choice that was made with that lock, or without one.
    pub(super) fn remember(&mut self, lock: Option<&Locked>, choice: T) {
        let insert = |all: &mut Vec<T>, choice: T| {
            all.retain(|other| *other != choice);
            all.insert(0, choice);
            all.truncate(MOST_REMEMBERED);
        };
        if lock.is_some() {
            insert(&mut self.locked, choice);
        } else {
            let last = self.free.replace(choice);
            last.into_iter().for_each(|last| insert(&mut self.earlier, last));
            self.earlier.retain(|earlier| self.free.as_ref() != Some(earlier));
        }
    }
}

/// Returns the key of the layer that is made of what was chosen for the wish of that key.
pub(super) fn layer_key(wish: &str, chosen: &Packages) -> String {
    key(&(wish, chosen))
}

/// Returns the packages that an earlier build chose for the wish with that key, if they serve this build.
pub(super) fn known(build: &Build<'_>, wish: &str) -> Option<Packages> {
    let lock = build.plan.locked.as_ref();
    let choices = build.store.head::<Choices<Packages>>(&head_key(wish))?;
    let mut serving = choices.candidates(lock).filter(|chosen| lock.is_none_or(|lock| lock.refuses(chosen).is_empty()));
    serving.next().cloned()
}

/// Returns the packages chosen earlier for the wish, or lets apt choose now. The caller holds the lock of the wish's
/// key.
///
/// # Errors
/// If apt cannot have the packages, or if others are locked than it takes.
pub(super) fn make(build: &Build<'_>, layers: &Layers, wish: &Wish<'_>, step: &Step) -> Result<Packages> {
    if let Some(chosen) = known(build, wish.key) {
        return Ok(chosen);
    }
    step.note("resolving packages");
    let stage = build.store.stage()?;
    let (_, mounted) = mount_above(build, layers, &stage, step)?;
    let chosen = layers.archive.choose(mounted.path(), wish.specs, wish.recommends)?;
    drop(mounted);
    locked::refuse(build, &chosen)?;
    remember(build, wish.key, chosen.clone())?;
    Ok(chosen)
}

fn remember(build: &Build<'_>, wish: &str, chosen: Packages) -> Result<()> {
    let head = head_key(wish);
    let mut choices = build.store.head::<Choices<Packages>>(&head).unwrap_or_default();
    choices.remember(build.plan.locked.as_ref(), chosen);
    build.store.set_head(&head, &choices)
}

/// Returns the key under which choices for a wish are remembered.
fn head_key(wish: &str) -> String {
    key(&("what apt chose", wish))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::packages::sample::packages;

    #[test]
    fn a_lock_may_be_served_by_every_choice_and_no_lock_by_one() {
        let lock = Locked::default();
        let mut choices = Choices::default();
        for number in 0..2 * MOST_REMEMBERED {
            choices.remember(Some(&lock), number);
        }
        assert_eq!(choices.candidates(None).count(), 0);
        choices.remember(None, 100);
        choices.remember(None, 101);
        assert_eq!(choices.candidates(None).collect::<Vec<_>>(), [&101]);
        let all: Vec<usize> = choices.candidates(Some(&lock)).copied().collect();
        assert_eq!(all[..3], [101, 15, 14]);
        // What the archive gave before may be what is locked.
        assert_eq!(all[1 + MOST_REMEMBERED..], [100]);
        choices.remember(None, 101);
        choices.remember(None, 100);
        assert_eq!(choices.candidates(Some(&lock)).count(), 2 + MOST_REMEMBERED);
    }

    #[test]
    fn a_layer_is_named_by_what_it_is_made_of() {
        let one = packages(&[("aa:all", "1", 'a')]);
        let names = [
            layer_key("wish", &one),
            layer_key("other", &one),
            layer_key("wish", &packages(&[("aa:all", "2", 'a')])),
            layer_key("wish", &packages(&[("aa:all", "1", 'b')])),
        ];
        let different: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(different.len(), names.len());
        assert_eq!(names[0], layer_key("wish", &one));
    }
}
