//! Recognises results of earlier builds that lie untouched where they were put: the same build again has nothing to write.
//!
//! The user's process records them in `images/` of the store, which belongs to the user; the build is only told their
//! identities. A file whose inode, length or times have changed does not count. The file that is used is read and compared
//! with what was built, byte for byte: a disk may have lost bytes that nobody touched.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Context, Failure, Result};
use crate::host_files::Directory;
use crate::recipe::host::HostPath;
use crate::sparse;
use crate::store::key;
use crate::ui::Printable as _;

/// Bytes that are read at once: enough for all cores to work on.
const PIECE: usize = 4 << 20;

/// Most bytes of what is remembered of one result.
const LONGEST_RECORD: u64 = 1 << 20;

/// Images that were built before, by identity.
#[derive(Clone, Debug)]
pub(super) struct Earlier {
    /// Directory in the store with a record for each identity.
    records: HostPath,
    /// Directory for images of this build.
    directory: PathBuf,
}

/// One result and what belongs to it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    identity: String,
    directory: PathBuf,
    /// Files of the result, the requested ones first.
    files: Vec<Stamp>,
    /// Number of requested files.
    results: usize,
}

/// A file, and by what it is seen that nobody touched it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    name: String,
    device: u64,
    inode: u64,
    length: u64,
    /// Seconds and nanoseconds since 1970.
    modified: (i64, i64),
    /// The same, of the last change of anything: only the kernel sets it.
    changed: (i64, i64),
    /// BLAKE3 of what was built, in hexadecimal: unlike SHA-256, all cores work on one file.
    blake3: String,
}

impl Stamp {
    fn of(directory: &Path, name: &str, blake3: &str) -> Option<Self> {
        let metadata = fs::symlink_metadata(directory.join(name)).ok().filter(fs::Metadata::is_file)?;
        Some(Self {
            name: name.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            blake3: blake3.to_owned(),
        })
    }
}

impl Record {
    fn is_untouched(&self) -> bool {
        !self.files.is_empty()
            && self.files.iter().all(|file| Stamp::of(&self.directory, &file.name, &file.blake3).as_ref() == Some(file))
    }

    /// Returns the first of the files that does not hold what was built.
    fn damaged(&self) -> Result<Option<&str>> {
        for file in &self.files {
            let path = self.directory.join(&file.name);
            let digest = fs::File::open(&path).and_then(|file| digest(&file));
            if digest.with_context(|| format!("cannot read `{}`", path.printable()))? != file.blake3 {
                return Ok(Some(&file.name));
            }
        }
        Ok(None)
    }
}

/// Returns the BLAKE3 of a whole file, by which a result is known again. Holes are not read.
///
/// # Errors
/// If it cannot be read.
pub(super) fn digest(file: &fs::File) -> io::Result<String> {
    let length = file.metadata()?.len();
    let mut hash = blake3::Hasher::new();
    let (mut buffer, zeros) = (vec![0; PIECE], vec![0; PIECE]);
    for piece in sparse::pieces(file, length, PIECE) {
        let piece = piece?;
        hash.update_rayon(if piece.is_hole { &zeros[..piece.length] } else { piece.read(file, &mut buffer)? });
    }
    Ok(hash.finalize().to_hex().to_string())
}

impl Earlier {
    /// # Errors
    /// If the directory of images cannot be found.
    pub(super) fn new(records: HostPath, directory: &Path) -> Result<Self> {
        let directory = fs::canonicalize(directory).context("cannot find the directory of images")?;
        Ok(Self { records, directory })
    }

    /// Identities of those that are as they were left. What is told of others is forgotten.
    pub(super) fn identities(&self) -> Vec<String> {
        let mut found = Vec::new();
        let Ok(records) = Directory::open(self.records.path(), self.records.links()) else { return found };
        for name in records.names().unwrap_or_default() {
            match record(&records, &name) {
                Some(record) if !record.is_untouched() => {
                    // Another build may have been faster; a record that stays is found wanting again.
                    records.remove(&name).ok();
                }
                Some(record) if record.directory == self.directory => found.push(record.identity),
                _ => {}
            }
        }
        found
    }

    /// Returns the file names of the result with that identity, if it still is as it was left.
    pub(super) fn results(&self, identity: &str) -> Option<Vec<String>> {
        let records = Directory::open(self.records.path(), self.records.links()).ok()?;
        let record = record(&records, &self.name(identity)).filter(Record::is_untouched)?;
        Some(record.files.into_iter().take(record.results).map(|file| file.name).collect())
    }

    /// Reads the result with that identity, and what lies beside it. Returns the name of a file that is not as it was built:
    /// what is told of the result is forgotten then.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn damaged(&self, identity: &str) -> Result<Option<String>> {
        let records = Directory::open(self.records.path(), self.records.links()).context("cannot open the store")?;
        let name = self.name(identity);
        let Some(record) = record(&records, &name) else { return Ok(None) };
        let damaged = record.damaged()?.map(str::to_owned);
        if damaged.is_some() {
            records.remove(&name).context("cannot write to the store")?;
        }
        Ok(damaged)
    }

    /// Remembers files that were just named, the results first; of each, `digests` has the [`digest`] by its name.
    ///
    /// # Errors
    /// If the store cannot be written to.
    pub(super) fn remember(
        &self,
        identity: &str,
        results: &[String],
        others: &[String],
        digests: &BTreeMap<String, String>,
    ) -> Result<()> {
        let stamp = |name: &String| {
            let digest = digests.get(name).context(Failure::bug("a result was not read"))?;
            Stamp::of(&self.directory, name, digest).context("what was built is gone")
        };
        let files = results.iter().chain(others).map(stamp).collect::<Result<_>>()?;
        let record =
            Record { identity: identity.to_owned(), directory: self.directory.clone(), files, results: results.len() };
        let failed = "cannot remember the image in the store";
        let text = serde_json::to_vec(&record).context(failed)?;
        let records = Directory::create(self.records.path(), self.records.links(), 0o700).context(failed)?;
        records.replace(&self.name(identity), &text, 0o600).context(failed)
    }

    /// Returns the name of the record: builds of the same image in several directories, which may run at the same time, have
    /// one each.
    fn name(&self, identity: &str) -> String {
        key(&("an image in its directory", identity, &self.directory))
    }
}

fn record(records: &Directory, identity: &str) -> Option<Record> {
    serde_json::from_slice(&records.read(identity, LONGEST_RECORD).ok()??).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    fn digests(directory: &Path, names: &[&str]) -> BTreeMap<String, String> {
        let digest_of = |name: &&str| digest(&fs::File::open(directory.join(name)).unwrap()).unwrap();
        names.iter().map(|name| ((*name).to_owned(), digest_of(name))).collect()
    }

    #[test]
    fn a_result_of_many_pieces_has_the_digest_that_others_find() {
        let file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..u32::try_from(PIECE).unwrap() / 4 * 2 + 1).flat_map(u32::to_le_bytes).collect();
        file.write_all_at(&content, 0).unwrap();
        assert_eq!(digest(&file).unwrap(), blake3::hash(&content).to_string());
        // A hole of several pieces in the midst, and one at the end.
        let end = content.len() as u64;
        file.write_all_at(b"behind", 7 * PIECE as u64).unwrap();
        file.set_len(9 * PIECE as u64 + 1).unwrap();
        let mut whole = content;
        whole.resize(9 * PIECE + 1, 0);
        whole[7 * PIECE..7 * PIECE + 6].copy_from_slice(b"behind");
        assert!(end < 3 * PIECE as u64 && digest(&file).unwrap() == blake3::hash(&whole).to_string());
    }

    #[test]
    fn the_same_image_in_another_directory_is_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let records = HostPath::named(dir.path().join("records"));
        let [first, second] = ["one", "two"].map(|name| {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("a.img"), "content").unwrap();
            let earlier = Earlier::new(records.clone(), &dir.path().join(name)).unwrap();
            earlier.remember("id", &["a.img".to_owned()], &[], &digests(&dir.path().join(name), &["a.img"])).unwrap();
            earlier
        });
        for earlier in [&first, &second] {
            assert_eq!(earlier.identities(), ["id"]);
            assert_eq!(earlier.results("id"), Some(vec!["a.img".to_owned()]));
        }
    }

    #[test]
    fn an_image_is_known_again_until_anything_touches_it() {
        let dir = tempfile::tempdir().unwrap();
        let images = dir.path().join("images");
        fs::create_dir(&images).unwrap();
        let names = ["a.img".to_owned(), "a.img.sha256".to_owned()];
        let earlier = Earlier::new(HostPath::named(dir.path().join("records")), &images).unwrap();
        let remember = || {
            for name in &names {
                fs::write(images.join(name), "content").unwrap();
            }
            let digests = digests(&images, &["a.img", "a.img.sha256"]);
            earlier.remember("id", &names[..1], &names[1..], &digests).unwrap();
            assert_eq!(earlier.identities(), ["id"]);
            assert_eq!(earlier.results("id"), Some(vec!["a.img".to_owned()]));
        };
        assert!(earlier.identities().is_empty());
        let touches: [(&str, &dyn Fn()); 4] = [
            ("other content of the same length", &|| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                fs::write(images.join("a.img"), "CONTENT").unwrap();
            }),
            ("removal of what lies beside it", &|| fs::remove_file(images.join("a.img.sha256")).unwrap()),
            ("a copy in its place", &|| {
                fs::copy(images.join("a.img"), images.join("copy")).unwrap();
                fs::rename(images.join("copy"), images.join("a.img")).unwrap();
            }),
            ("a link in its place", &|| {
                fs::rename(images.join("a.img"), images.join("moved")).unwrap();
                std::os::unix::fs::symlink("moved", images.join("a.img")).unwrap();
            }),
        ];
        for (what, touch) in touches {
            fs::remove_file(images.join("a.img")).ok();
            remember();
            touch();
            assert_eq!(earlier.results("id"), None, "after {what}");
            assert!(earlier.identities().is_empty(), "after {what}");
            assert_eq!(fs::read_dir(dir.path().join("records")).unwrap().count(), 0, "after {what}");
        }
    }

    #[test]
    fn what_a_disk_lost_is_seen_though_nobody_touched_it() {
        let dir = tempfile::tempdir().unwrap();
        let images = dir.path().join("images");
        fs::create_dir(&images).unwrap();
        let earlier = Earlier::new(HostPath::named(dir.path().join("records")), &images).unwrap();
        for lost in ["a.img", "a.img.sha256"] {
            for name in ["a.img", "a.img.sha256"] {
                fs::write(images.join(name), "content").unwrap();
            }
            let digests = digests(&images, &["a.img", "a.img.sha256"]);
            earlier.remember("id", &["a.img".to_owned()], &["a.img.sha256".to_owned()], &digests).unwrap();
            assert_eq!(earlier.damaged("id").unwrap(), None);
            // No test can make a disk lose a byte: the file is changed, and what is remembered of its times with it.
            fs::write(images.join(lost), "cOntent").unwrap();
            let file = dir.path().join("records").join(earlier.name("id"));
            let mut record: Record = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            for stamp in &mut record.files {
                *stamp = Stamp::of(&images, &stamp.name, &stamp.blake3).unwrap();
            }
            fs::write(&file, serde_json::to_vec(&record).unwrap()).unwrap();
            assert_eq!(earlier.results("id"), Some(vec!["a.img".to_owned()]), "its times say nothing");
            assert_eq!(earlier.damaged("id").unwrap().as_deref(), Some(lost));
            assert_eq!(earlier.results("id"), None);
        }
    }

    #[test]
    fn an_image_elsewhere_is_not_the_one_that_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let (here, there) = (dir.path().join("here"), dir.path().join("there"));
        fs::create_dir(&here).unwrap();
        fs::create_dir(&there).unwrap();
        fs::write(here.join("a.img"), "content").unwrap();
        let records = HostPath::named(dir.path().join("records"));
        Earlier::new(records.clone(), &here)
            .unwrap()
            .remember("id", &["a.img".to_owned()], &[], &digests(&here, &["a.img"]))
            .unwrap();
        assert!(Earlier::new(records, &there).unwrap().identities().is_empty());
        assert_eq!(fs::read_dir(dir.path().join("records")).unwrap().count(), 1);
    }
}
