//! Asks a [`Parser`] about untrusted files. This is the only way to a boot partition's files and to the content of a
//! compressed file.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use serde::{Deserialize, Serialize};

use super::fat::{FatFile, FatReader, FatSummary};
use super::layout::{Bytes, Partition};
use super::models::BootFiles;
use super::models::overlays::Trees;
use super::source::{self, Recognised};
use crate::error::{Context as _, Failure, Result};
use crate::rootfs::device_tree::DeviceTree;
use crate::rootfs::packages;
use crate::sandbox::free_space::Room;
use crate::sandbox::parser::{Inside, Limits, Parser, Piece, serve};

/// Longest text that is read from a boot partition, and most of all of them; those of a card have some kilobytes.
const LONGEST_TEXT: u64 = 1 << 20;
const MOST_TEXT: u64 = 16 << 20;

/// Longest file that comes out of a compressed one: beyond any card that an image is made for, and far below what a
/// decompressor could be made to give.
pub const LONGEST: Bytes = Bytes::mib(256 << 10);

/// Job of a parser, for the first file that it has.
#[derive(Debug, Serialize, Deserialize)]
enum Job {
    /// Answers with a [`BootPartition`].
    Boot(Partition),
    /// Answers with the [`Trees`] of these files of a boot partition.
    Trees { partition: Partition, paths: Vec<String> },
    /// Sends the content of these files of a boot partition, one after the other, all together not longer than `most`.
    Files { partition: Partition, paths: Vec<String>, most: u64 },
    /// Answers with a [`Recognised`].
    Recognise,
    /// Answers with what lies in a partition, if that is known.
    FileSystem(Partition),
    /// Sends what is in a compressed file.
    Unpack,
    /// Answers with the control file of a package.
    ControlFile,
}

/// A boot partition, and the texts in it that firmware reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootPartition {
    pub summary: FatSummary,
    /// Sorted by path.
    pub files: Vec<FatFile>,
    texts: BTreeMap<String, String>,
}

impl BootPartition {
    /// Reads it.
    ///
    /// # Errors
    /// [`Failure::build`] if there is no FAT, or it is broken.
    pub fn read(parser: &Parser, image: &File, partition: &Partition) -> Result<Self> {
        parser.run(Limits::LOOK, &Job::Boot(*partition), &[image], &mut nothing)
    }

    fn parse(image: &File, partition: &Partition) -> Result<Self> {
        let reader = FatReader::open(image, partition)?;
        let files = reader.list()?;
        let mut texts = BTreeMap::new();
        let mut left = MOST_TEXT;
        for file in files.iter().filter(|file| BootFiles::is_text(&file.path) && file.size <= LONGEST_TEXT) {
            left = left.checked_sub(file.size).with_context(|| {
                Failure::build(format!("the boot partition has more than {} of text", Bytes(MOST_TEXT)))
            })?;
            let text = reader.read(&file.path, LONGEST_TEXT)?;
            texts.insert(file.path.clone(), String::from_utf8_lossy(&text).into_owned());
        }
        Ok(Self { summary: reader.summary()?, files, texts })
    }

    /// Returns the files that decide which models boot.
    pub fn boot_files(&self) -> BootFiles {
        let mut boot = BootFiles::new(self.files.iter().map(|file| &file.path));
        self.texts.iter().for_each(|(path, text)| boot.add_text(path, text.clone()));
        boot
    }
}

/// Hands the content of these files of a boot partition to `take`, piece by piece, with the index of the file; together
/// they may not be longer than `most`.
///
/// # Errors
/// If one is not there, or `take` fails.
pub fn read_files(
    parser: &Parser,
    image: &File,
    partition: &Partition,
    paths: &[String],
    most: Bytes,
    take: &mut dyn FnMut(usize, &[u8]) -> Result<()>,
) -> Result<()> {
    let job = Job::Files { partition: *partition, paths: paths.to_vec(), most: most.0 };
    // Before the first piece of each, so that an empty file is seen too.
    let (mut coming, mut left) = (0, most.0);
    let lied = || Failure::build("what reads the boot partition sends more than it was asked for");
    parser.run::<()>(Limits::UNPACK, &job, &[image], &mut |piece| match piece {
        Piece::Next => {
            coming += 1;
            anyhow::ensure!(coming <= paths.len(), lied());
            take(coming - 1, &[])
        }
        Piece::Data(data) => {
            left = left.checked_sub(data.len() as u64).with_context(lied)?;
            take(coming.checked_sub(1).with_context(lied)?, data)
        }
    })
}

/// Reads these device trees of a boot partition; files of another format are left out.
///
/// # Errors
/// If one is not there.
pub fn read_trees(parser: &Parser, image: &File, partition: &Partition, paths: Vec<String>) -> Result<Trees> {
    parser.run(Limits::LOOK, &Job::Trees { partition: *partition, paths }, &[image], &mut nothing)
}

/// Longest device tree that is read; the longest of the Raspberry Pi's has 80 KB.
const LONGEST_TREE: u64 = 1 << 20;

fn trees(image: &File, partition: &Partition, paths: &[String]) -> Result<Trees> {
    let reader = FatReader::open(image, partition)?;
    let files = reader.list()?;
    let mut trees = Trees::new();
    for path in paths {
        let is_it = |file: &&FatFile| file.path.eq_ignore_ascii_case(path) && file.size <= LONGEST_TREE;
        let Some(file) = files.iter().find(is_it) else { continue };
        let tree = DeviceTree::parse(&reader.read(&file.path, LONGEST_TREE)?);
        trees.extend(tree.map(|tree| (path.clone(), tree)));
    }
    Ok(trees)
}

/// Tells what `file` is, compressed or not.
///
/// # Errors
/// [`Failure::usage`] if it is none of what is known, with what to do about it.
pub fn recognise(parser: &Parser, file: &File) -> Result<Recognised> {
    parser.run(Limits::LOOK, &Job::Recognise, &[file], &mut nothing)
}

/// Names what lies in `partition` of `image`, if it is something that is known.
///
/// # Errors
/// If it cannot be read.
pub fn file_system(parser: &Parser, image: &File, partition: &Partition) -> Result<Option<String>> {
    parser.run(Limits::LOOK, &Job::FileSystem(*partition), &[image], &mut nothing)
}

/// Returns the control file of the Debian package in `file`.
///
/// # Errors
/// What is wrong with it, if it is no package.
pub fn control_file(parser: &Parser, file: &File) -> Result<String> {
    parser.run(Limits::LOOK, &Job::ControlFile, &[file], &mut nothing)
}

/// Writes what is in `file` to `out`, an empty file on the disk of `room`, with holes where it is zero; not more than
/// `longest`.
///
/// # Errors
/// If the file is damaged or too long, `out` cannot be written, or the disk has no room.
pub fn unpack(parser: &Parser, file: &File, out: &File, longest: Bytes, room: &mut Room) -> Result<()> {
    let mut position = 0_u64;
    parser.run::<()>(Limits::UNPACK, &Job::Unpack, &[file], &mut |piece| {
        let Piece::Data(data) = piece else { return Ok(()) };
        let length = u64::try_from(data.len()).expect("a length fits 64 bits");
        if data.iter().any(|byte| *byte != 0) {
            room.take(length)?;
            out.write_all_at(data, position).context("cannot write what was unpacked")?;
        }
        position += length;
        if position > longest.0 {
            let failure = Failure::build(format!("it is longer than {longest} when it is unpacked"));
            return Err(failure.hint("no card holds that much: it is damaged, or was made to fill a disk").into());
        }
        Ok(())
    })?;
    out.set_len(position).context("cannot write what was unpacked")
}

fn nothing(_: Piece<'_>) -> Result<()> {
    Err(Failure::build("what reads it sends what nobody asked for").into())
}

/// Implements `piimg __parse`, the parser's side.
///
/// # Errors
/// If it was not started by a host, or the host is gone.
pub(crate) fn inside(arguments: &[String]) -> Result<i32> {
    serve(arguments, |job: Job, inside: &mut Inside| {
        let file = inside.files.first().context(Failure::bug("the host gave no file"))?;
        let file = file.try_clone().context("cannot open it again")?;
        match job {
            // Answers are of different types, and a host knows which it asked for.
            Job::Boot(partition) => BootPartition::parse(&file, &partition).map(Answer::Boot),
            Job::Trees { partition, paths } => trees(&file, &partition, &paths).map(Answer::Trees),
            Job::Recognise => source::recognise(&file).map(Answer::Recognised),
            Job::FileSystem(partition) => source::file_system(&file, &partition).map(Answer::FileSystem),
            Job::Files { partition, paths, mut most } => {
                let reader = FatReader::open(&file, &partition)?;
                for path in &paths {
                    inside.begin_next()?;
                    let length = reader.copy_to(path, most, inside)?;
                    most = most.saturating_sub(length);
                }
                Ok(Answer::Done)
            }
            Job::Unpack => source::unpack(&file, inside).map(|()| Answer::Done),
            Job::ControlFile => packages::control(&file).map(Answer::Text),
        }
    })
}

/// Written as what is in it.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Boot(BootPartition),
    Trees(Trees),
    Recognised(Recognised),
    FileSystem(Option<String>),
    Text(String),
    Done,
}
