//! Estimates the disk space of a build before it begins, by the last build of its recipe, else of its release. Unknown
//! needs are not counted: a build that is refused could not have succeeded.
//!
//! What builds took is written by the user's process, beside what the store holds: a plan reads it without any privilege.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Failure, Result};
use crate::host_files::Directory;
use crate::recipe::host::HostPath;
use crate::recipe::output::OutputKind;
use crate::recipe::plan::Plan;
use crate::recipe::store_limit::Limit;
use crate::sandbox::free_space::{Free, RESERVED_BYTES};
use crate::steps::output_job::Taken;
use crate::store::key;
use crate::ui::{Printable as _, bytes};

/// Directory in the store with the records of earlier builds.
const TAKEN: &str = "taken";

/// Most bytes of one record.
const LONGEST: u64 = 1 << 16;

/// Space for the base layer and the packages of the smallest release, with the native tools of another architecture.
const LEAST_BASE: u64 = 1 << 30;

/// Space for its partitions.
const LEAST_PARTITIONS: u64 = 640 << 20;

/// Disk space that a build took, and its plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    plan: String,
    taken: Taken,
}

/// A place that a build writes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    /// The store, the directory of images, or both if they share a disk.
    pub places: Vec<PathBuf>,
    /// Bytes that the build needs there, at least.
    pub needed: u64,
    /// Bytes that are free; a plan is the same, however many these are.
    #[serde(skip)]
    pub free: u64,
    /// Usable bytes.
    #[serde(skip)]
    usable: u64,
}

/// Estimates the disk space that `plan` needs; `name` is that of the recipe.
///
/// # Errors
/// If a disk cannot be asked.
pub fn needs(plan: &Plan, name: &str, refresh: bool) -> Result<Vec<Need>> {
    let records = Directory::open(plan.store.below(TAKEN).path(), plan.store.links()).ok();
    let read =
        |key: String| -> Option<Record> { serde_json::from_slice(&records.as_ref()?.read(&key, LONGEST).ok()??).ok() };
    let (own, similar) = (read(own_key(name)), read(similar_key(plan)));
    let (store, images) = estimate(plan, own.as_ref(), similar.as_ref(), refresh);
    let (store, images) = (Disk::of(&plan.store, store)?, Disk::of(&plan.imagedir, images)?);
    Ok(if store.device == images.device {
        vec![Need {
            places: store.need.places.into_iter().chain(images.need.places).collect(),
            needed: store.need.needed + images.need.needed,
            ..store.need
        }]
    } else {
        vec![store.need, images.need]
    })
}

/// Makes one failure for all places without enough space; `None` if there is enough.
pub fn check(needs: &[Need]) -> Option<Failure> {
    let short: Vec<&Need> = needs.iter().filter(|need| need.needed > 0 && need.needed > need.usable).collect();
    let told = |need: &&Need| {
        format!(
            "there is no room for this build in {}: it needs {} or more, and {} are free, of which {} are left to the rest \
             of the machine",
            shown(&need.places),
            bytes(need.needed),
            bytes(need.free),
            bytes(RESERVED_BYTES)
        )
    };
    let text: Vec<String> = short.iter().map(told).collect();
    (!text.is_empty()).then(|| {
        Failure::host(text.join("\n"))
            .hint("make room: `piimg cache gc` removes what builds do not need, `--store-limit` sets how much stays")
            .hint("or choose other places with --store and --imagedir")
    })
}

/// Paths for people.
pub fn shown(places: &[PathBuf]) -> String {
    let quoted: Vec<String> = places.iter().map(|place| format!("`{}`", place.printable())).collect();
    quoted.join(" and ")
}

/// Describes what is known of a place, as an addition to a message.
pub(super) fn told(needs: &[Need], place: &Path) -> String {
    let need = needs.iter().find(|need| need.needed > 0 && need.places.iter().any(|other| other == place));
    need.map_or_else(String::new, |need| {
        format!(
            ", of which the build needs {} or more; {} were free when it began",
            bytes(need.needed),
            bytes(need.free)
        )
    })
}

/// Bytes that the store, and the directory of images, need at least.
fn estimate(plan: &Plan, own: Option<&Record>, similar: Option<&Record>, refresh: bool) -> (u64, u64) {
    let known = own.or(similar).map(|record| record.taken);
    if own.is_some_and(|own| own.plan == digest(plan)) && !refresh {
        // Everything may be in the store.
        return (0, 0);
    }
    // The size of a base image's content is not known in advance.
    let (least_base, least_partitions) = if plan.base.is_some() { (0, 0) } else { (LEAST_BASE, LEAST_PARTITIONS) };
    let base = match known {
        Some(_) if !refresh => 0,
        Some(taken) => taken.base,
        None => least_base,
    };
    let partitions = known.map_or(least_partitions, |taken| taken.partitions);
    let has = |kind| u64::from(plan.outputs.contains(&kind));
    let makes_partitions = has(OutputKind::Image).max(has(OutputKind::Partitions));
    let copies = makes_partitions
        + has(OutputKind::Partitions)
        + has(OutputKind::Tar).max(has(OutputKind::Directory))
        + has(OutputKind::Directory);
    (base + makes_partitions * partitions, copies * partitions)
}

fn digest(plan: &Plan) -> String {
    key(&("plan", plan))
}

fn own_key(name: &str) -> String {
    key(&("taken by a recipe", name))
}

fn similar_key(plan: &Plan) -> String {
    key(&("taken by a release", &plan.release.name, &plan.architecture, plan.base.as_ref().map(HostPath::shown)))
}

/// Remembers what a build took.
///
/// # Errors
/// If it cannot be written.
pub(super) fn remember(plan: &Plan, name: &str, taken: Taken) -> Result<()> {
    let failed = "cannot remember in the store what the build took";
    let text = serde_json::to_vec(&Record { plan: digest(plan), taken }).context(failed)?;
    let place = plan.store.below(TAKEN);
    let directory = Directory::create(place.path(), place.links(), 0o700).context(failed)?;
    for key in [own_key(name), similar_key(plan)] {
        directory.replace(&key, &text, 0o600).context(failed)?;
    }
    Ok(())
}

/// A need, and the disk that it is of.
struct Disk {
    device: u64,
    need: Need,
}

impl Disk {
    /// Returns the place need not be there yet.
    fn of(place: &HostPath, needed: u64) -> Result<Self> {
        let unusable = || {
            Failure::host(format!("cannot use the directory `{}`", place.shown().printable()))
                .hint("choose another place with --store or --imagedir")
        };
        let (directory, device) = existing(place.path()).with_context(unusable)?;
        let free = Free::at(&directory).context("cannot ask how much is free")?;
        let places = vec![place.shown().to_owned()];
        Ok(Self { device, need: Need { places, needed, free: free.bytes, usable: free.usable().bytes } })
    }
}

/// Returns the directory, or the nearest one above that is there.
fn existing(path: &Path) -> std::io::Result<(File, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let mut at = path;
    loop {
        let named = if at.as_os_str().is_empty() { Path::new(".") } else { at };
        match open(named) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            opened => {
                let file = opened?;
                let metadata = file.metadata()?;
                return if metadata.is_dir() {
                    Ok((file, metadata.dev()))
                } else {
                    Err(std::io::ErrorKind::NotADirectory.into())
                };
            }
        }
        at = at.parent().ok_or(std::io::ErrorKind::NotFound)?;
    }
}

/// Opens whatever it is, without waiting for anybody.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// Returns the bytes that a limit is, for a store in that place; `None` without a limit.
///
/// # Errors
/// If the disk cannot be asked.
pub fn limit_of(store: &HostPath, limit: Limit) -> Result<Option<u64>> {
    let failed = || format!("cannot ask how large the disk of `{}` is", store.shown().printable());
    let (directory, _) = existing(store.path()).with_context(failed)?;
    let stat = rustix::fs::fstatvfs(&directory).with_context(failed)?;
    Ok(limit.of(stat.f_blocks.saturating_mul(stat.f_frsize)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::file::RecipeFile;
    use crate::recipe::host::Admitted;
    use crate::recipe::overrides::Overrides;
    use crate::recipe::plan::{Environment, plan};
    use crate::recipe::release::Releases;

    const TAKEN: Taken = Taken { base: 2000, partitions: 700 };

    fn sample() -> Plan {
        let environment = Environment { default_store: "/s".into(), current_directory: "/i".into(), epoch: None };
        let releases = Releases::builtin().unwrap();
        plan(&RecipeFile::default(), Admitted::default(), &Overrides::default(), &[], &releases, &environment).unwrap()
    }

    fn record(plan: &Plan) -> Record {
        Record { plan: digest(plan), taken: TAKEN }
    }

    #[test]
    fn a_need_is_what_the_last_build_took() {
        let mut plan = sample();
        let same = record(&plan);
        let other = Record { plan: String::new(), ..same.clone() };
        assert_eq!(estimate(&plan, None, None, false), (LEAST_BASE + LEAST_PARTITIONS, LEAST_PARTITIONS));
        assert_eq!(estimate(&plan, Some(&same), Some(&other), false), (0, 0), "it may be there");
        let on_a_base = Plan { base: Some(HostPath::named("/a.img")), ..plan.clone() };
        assert_eq!(estimate(&on_a_base, None, None, false), (0, 0), "nobody knows");
        assert_eq!(estimate(&plan, Some(&same), None, true), (2700, 700));
        assert_eq!(estimate(&plan, Some(&other), None, false), (700, 700), "the base is there");
        assert_eq!(estimate(&plan, None, Some(&other), false), (700, 700));
        for (outputs, expected) in [
            (&[OutputKind::Tar][..], (0, 700)),
            (&[OutputKind::Directory], (0, 1400)),
            (&[OutputKind::Tar, OutputKind::Directory], (0, 1400)),
            (&[OutputKind::Image, OutputKind::Partitions], (700, 1400)),
        ] {
            plan.outputs = outputs.iter().copied().collect();
            assert_eq!(estimate(&plan, Some(&other), None, false), expected, "{outputs:?}");
        }
    }

    #[test]
    fn what_is_short_is_said_with_all_places() {
        let need = |place: &str, needed, usable| Need { places: vec![place.into()], needed, free: 300 << 20, usable };
        assert!(check(&[need("/a", 0, 0), need("/b", 5, 5)]).is_none());
        let report = crate::error::report(&check(&[need("/a", 1 << 30, 44 << 20), need("/b", 6, 5)]).unwrap().into());
        let expected = "there is no room for this build in `/a`: it needs 1 GiB or more, and 300 MiB are free, of which \
                        256 MiB are left to the rest of the machine\nthere is no room for this build in `/b`: ";
        assert!(report.messages[0].starts_with(expected), "{report:?}");
        assert!(report.hints[0].contains("piimg cache gc"), "{report:?}");
    }

    #[test]
    fn a_place_that_is_not_there_yet_is_on_the_disk_of_what_is() {
        let dir = tempfile::tempdir().unwrap();
        let (_, device) = existing(dir.path()).unwrap();
        assert_eq!(existing(&dir.path().join("a/b")).unwrap().1, device);
        assert_eq!(existing(Path::new("none/at/all")).unwrap().1, existing(Path::new("")).unwrap().1);
        assert!(limit_of(&HostPath::named(dir.path()), Limit::Percent(50)).unwrap().unwrap() > 0);
    }
}
