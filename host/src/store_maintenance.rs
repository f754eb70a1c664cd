//! Implements `piimg cache`: lists a store, tidies it, or compares all of it with its digests. Layers belong to the ids
//! of images, so this always runs in the private namespace.

use std::fs::{self, File};
use std::io;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Context, Result};
use crate::home::Home;
use crate::recipe::host::HostPath;
use crate::sandbox::namespace::{self, Entry};
use crate::steps::partitions;
use crate::store::{self, Kind, Piece, Record, Store, now};
use crate::ui::{Printable as _, Ui, Verbosity, bytes, printable};

/// Action on a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Show each thing.
    List,
    /// Show how much there is.
    Size,
    /// Remove what was not used for longest until it is within its limit; also what the last builds stand on if `all`.
    Collect { all: bool },
    /// Compare everything with its digest, and remove what is damaged if `remove`.
    Verify { remove: bool },
}

/// Parameters of the inner process.
#[derive(Debug, Serialize, Deserialize)]
struct Job {
    action: Action,
    /// Bytes that the store may have, if there is a limit.
    limit: Option<u64>,
    json: bool,
    verbosity: Verbosity,
}

/// Does it; returns the exit code of the inner process, which has said everything.
///
/// # Errors
/// A failure of the kind `Host` if the store cannot be used.
pub fn outside(store: &HostPath, action: Action, limit: Option<u64>, json: bool, ui: &Ui) -> Result<i32> {
    if fs::symlink_metadata(store.path()).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        let shown = store.shown().printable();
        ui.info(&format!("there is no store in `{shown}`: nothing was built yet"));
        return Answer::of_nothing(action).tell(limit, json, ui).map(|()| 0);
    }
    let ids = store::prepare(store, Home::of_user().as_ref())?;
    let job = Job { action, limit, json, verbosity: ui.verbosity() };
    let job = serde_json::to_vec(&job).context("cannot describe the job")?;
    namespace::run(&Entry { ids, role: "__cache", store: store.path(), files: Vec::new(), hidden: Vec::new() }, &job)
}

/// Implements `piimg __cache`: returns the exit code.
///
/// # Errors
/// If the store cannot be read or written.
pub fn inside(arguments: &[String]) -> Result<i32> {
    let job = namespace::enter(arguments)?;
    let job: Job = serde_json::from_slice(&job).context("cannot read the job")?;
    let ui = Ui::new(job.verbosity);
    ui.show_commands();
    let store = Store::open()?;
    let answer = match job.action {
        Action::List => Answer::List(store.pieces()?, store.records()),
        Action::Size => Answer::Size(store.pieces()?, store.records()),
        Action::Collect { all } => {
            // Without a limit nothing is removed for its size.
            let tidied = store.tidy(job.limit.unwrap_or(u64::MAX), all)?;
            Answer::Collected { removed: tidied.removed, left: tidied.left, stood_on: tidied.stood_on }
        }
        Action::Verify { remove } => verify(&store, remove, &ui)?,
    };
    answer.tell(job.limit, job.json, &ui)?;
    Ok(i32::from(answer.has_damage()))
}

/// Something that is not what was put into the store.
#[derive(Debug, Serialize)]
struct Found {
    kind: Kind,
    key: String,
    what: Option<String>,
    damage: String,
    removed: bool,
}

/// Result to report.
#[derive(Debug)]
enum Answer {
    List(Vec<Piece>, Vec<Record>),
    Size(Vec<Piece>, Vec<Record>),
    Collected { removed: Vec<Piece>, left: u64, stood_on: u64 },
    Verified { compared: usize, damaged: Vec<Found> },
}

/// A piece, and the builds that stand on it.
#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    piece: &'a Piece,
    builds: Vec<&'a str>,
}

#[derive(Serialize)]
struct Sum {
    kind: Kind,
    count: usize,
    size: u64,
}

impl Answer {
    fn of_nothing(action: Action) -> Self {
        match action {
            Action::List => Self::List(Vec::new(), Vec::new()),
            Action::Size => Self::Size(Vec::new(), Vec::new()),
            Action::Collect { .. } => Self::Collected { removed: Vec::new(), left: 0, stood_on: 0 },
            Action::Verify { .. } => Self::Verified { compared: 0, damaged: Vec::new() },
        }
    }

    fn has_damage(&self) -> bool {
        matches!(self, Self::Verified { damaged, .. } if damaged.iter().any(|found| !found.removed))
    }

    fn tell(&self, limit: Option<u64>, json: bool, ui: &Ui) -> Result<()> {
        if json {
            return ui.json(&self.document(limit));
        }
        self.lines(limit, now()).iter().for_each(|line| ui.data(line));
        Ok(())
    }

    fn document(&self, limit: Option<u64>) -> serde_json::Value {
        use serde_json::json;
        match self {
            Self::List(pieces, records) => {
                let builds: Vec<_> =
                    records.iter().map(|record| json!({ "name": record.name, "built": record.built })).collect();
                let pieces: Vec<Listed<'_>> = pieces.iter().map(|piece| listed(piece, records)).collect();
                json!({ "size": sizes(pieces.iter().map(|it| it.piece)), "limit": limit, "pieces": pieces, "builds": builds })
            }
            Self::Size(pieces, records) => json!({
                "size": sizes(pieces),
                "limit": limit,
                "stood_on": Store::stood_on(pieces, records),
                "kinds": sums(pieces),
            }),
            Self::Collected { removed, left, stood_on } => json!({
                "removed": removed,
                "freed": sizes(removed),
                "size": left,
                "limit": limit,
                "stood_on": stood_on,
            }),
            Self::Verified { compared, damaged } => json!({ "compared": compared, "damaged": damaged }),
        }
    }

    fn lines(&self, limit: Option<u64>, now: u64) -> Vec<String> {
        let of = |size: u64| match limit {
            Some(limit) => format!("{} of at most {}", bytes(size), bytes(limit)),
            None => bytes(size),
        };
        match self {
            Self::List(pieces, records) => list_lines(pieces, records, now),
            Self::Size(pieces, records) => {
                let mut lines = vec![of(sizes(pieces))];
                for Sum { kind, count, size } in sums(pieces) {
                    lines.push(format!("  {:>9}  {count} {}", bytes(size), kind.name()));
                }
                let stood_on = bytes(Store::stood_on(pieces, records));
                lines.push(format!("{stood_on} of it is what the last builds of {} recipes stand on", records.len()));
                lines
            }
            Self::Collected { removed, left, stood_on } => {
                let mut lines: Vec<String> =
                    removed.iter().map(|piece| format!("removed  {}", line(piece, now))).collect();
                lines.push(format!("{} freed; {} left", bytes(sizes(removed)), of(*left)));
                if limit.is_some_and(|limit| *left > limit) {
                    let stood_on = bytes(*stood_on);
                    lines.push(format!("{stood_on} is what the last builds stand on, and the rest is in use"));
                }
                lines
            }
            Self::Verified { compared, damaged } => {
                let told = |found: &Found| {
                    let what = found.what.as_deref().unwrap_or(found.kind.name());
                    let end = if found.removed { "removed" } else { "still there: `piimg cache verify --remove`" };
                    format!("damaged  {} ({}): {}; {end}", found.key, printable(what), found.damage)
                };
                let mut lines: Vec<String> = damaged.iter().map(told).collect();
                lines.push(format!("{compared} things compared, {} damaged", damaged.len()));
                lines
            }
        }
    }
}

fn sizes<'a>(pieces: impl IntoIterator<Item = &'a Piece>) -> u64 {
    pieces.into_iter().map(|piece| piece.size).sum()
}

fn sums(pieces: &[Piece]) -> Vec<Sum> {
    let of = |kind: Kind| pieces.iter().filter(move |piece| piece.kind == kind);
    Kind::ALL.map(|kind| Sum { kind, count: of(kind).count(), size: sizes(of(kind)) }).into()
}

fn listed<'a>(piece: &'a Piece, records: &'a [Record]) -> Listed<'a> {
    let builds = records.iter().filter(|record| record.has(piece)).map(|record| record.name.as_str()).collect();
    Listed { piece, builds }
}

/// Layers and partitions, those that were used last first, and the sum of what there may be hundreds of.
fn list_lines(pieces: &[Piece], records: &[Record], now: u64) -> Vec<String> {
    let mut whole: Vec<&Piece> =
        pieces.iter().filter(|piece| matches!(piece.kind, Kind::Layer | Kind::Partitions)).collect();
    whole.sort_by_key(|piece| std::cmp::Reverse(piece.used));
    let mut lines: Vec<String> = Vec::new();
    for piece in whole {
        lines.push(line(piece, now));
        for name in listed(piece, records).builds {
            lines.push(format!("{:34}for {}", "", printable(name)));
        }
    }
    for Sum { kind, count, size } in sums(pieces) {
        if matches!(kind, Kind::Package | Kind::Download) {
            lines.push(format!("{:>9}  {count} {}", bytes(size), kind.name()));
        }
    }
    lines.push(format!("{:>9}  in all", bytes(sizes(pieces))));
    lines
}

fn line(piece: &Piece, now: u64) -> String {
    let what = piece.what.as_deref().unwrap_or_else(|| piece.kind.name());
    format!(
        "{:>9}  {:>12}  {}  {}",
        bytes(piece.size),
        ago(now, piece.used),
        &piece.key[..piece.key.len().min(8)],
        printable(what)
    )
}

/// Describes how long ago `then` was.
fn ago(now: u64, then: u64) -> String {
    match now.saturating_sub(then) {
        seconds @ 0..60 => format!("{seconds} s ago"),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..86_400 => format!("{} h ago", seconds / 3600),
        seconds @ 86_400..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

/// Compares everything of the store with the digests that there are of it.
fn verify(store: &Store, remove: bool, ui: &Ui) -> Result<Answer> {
    let step = ui.step("Compare the store with its digests");
    let pieces = store.pieces()?;
    let compared = pieces.len();
    let mut damaged = Vec::new();
    for piece in pieces {
        step.note(&printable(piece.what.as_deref().unwrap_or(&piece.key)));
        let Some(damage) = damage(store, &piece)? else { continue };
        if remove {
            store.drop_piece(&piece)?;
        }
        damaged.push(Found { kind: piece.kind, key: piece.key, what: piece.what, damage, removed: remove });
    }
    step.done();
    Ok(Answer::Verified { compared, damaged })
}

/// Describes the damage to a piece; `None` if it is intact or gone.
fn damage(store: &Store, piece: &Piece) -> Result<Option<String>> {
    match piece.kind {
        Kind::Layer => store.damage_of_layer(&piece.key),
        Kind::Partitions => partitions::damage(store, &piece.key),
        Kind::Package | Kind::Download => {
            let Some(digest) = digest_in(&piece.key) else { return Ok(None) };
            match File::open(store.place(piece.kind, &piece.key)).and_then(sha256) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Ok(Some(error.to_string())),
                Ok(found) => Ok((found != digest).then(|| format!("its content has the digest {found}"))),
            }
        }
    }
}

/// Returns the digest that a file has as its name; that of a commit is not one of the file, and whoever reads it
/// compares.
fn digest_in(name: &str) -> Option<&str> {
    (name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(name)
}

fn sha256(mut file: File) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(&mut file, &mut hash)?;
    Ok(hex::encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_roughly() {
        for (then, expected) in [(100, "0 s ago"), (41, "59 s ago"), (40, "1 min ago")] {
            assert_eq!(ago(100, then), expected);
        }
        assert_eq!([ago(90_000, 0), ago(172_800, 0)], ["25 h ago", "2 days ago"]);
        assert_eq!(ago(86_399, 0), "23 h ago");
        // A clock that was set back.
        assert_eq!(ago(0, 100), "0 s ago");
    }

    #[test]
    fn only_a_digest_is_compared() {
        assert!(digest_in(&"a".repeat(64)).is_some());
        for other in ["commit-aa", "aa", &"x".repeat(64), "partial"] {
            assert_eq!(digest_in(other), None, "{other}");
        }
    }
}
