//! Images and root file systems that others made: what a file is, and what is in it when it is unpacked.

mod kinds;

use std::fs::File;
use std::io::{BufReader, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;

pub use kinds::Kind;
use serde::{Deserialize, Serialize};

use super::ext4::Superblock;
use super::layout::Partition;
use super::mbr::{self, Table};
use super::parsing::{self, BootPartition};
use super::root;
use crate::error::{Context as _, Failure, Result};
use crate::sandbox::parser::Parser;

/// A piece of what is read; one of zeros becomes a hole where it is written.
const PIECE: usize = crate::sandbox::parser::PIECE;

/// Format of a file, and whether it is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recognised {
    pub kind: Kind,
    pub is_packed: bool,
}

/// Tells what `file` is, compressed or not; in a parser only.
///
/// # Errors
/// [`Failure::usage`] if it is none of what is known, with what to do about it.
pub fn recognise(file: &File) -> Result<Recognised> {
    let mut head = Vec::new();
    let (content, is_packed) = unpacked(file)?;
    content
        .take(kinds::HEAD as u64)
        .read_to_end(&mut head)
        .context(Failure::usage("cannot unpack it: is it damaged?"))?;
    Ok(Recognised { kind: kinds::kind(&head)?, is_packed })
}

/// Names what lies in `partition` of `image`, if it is something that is known; in a parser only.
///
/// # Errors
/// If it cannot be read.
pub fn file_system(image: &File, partition: &Partition) -> Result<Option<String>> {
    let mut head = Vec::new();
    let mut image = image.try_clone().context("cannot read it")?;
    image.seek(SeekFrom::Start(partition.start.to_bytes().0)).context("cannot read it")?;
    image.take(kinds::HEAD as u64).read_to_end(&mut head).context("cannot read it")?;
    Ok(kinds::file_system(&head).map(str::to_owned))
}

/// Writes what is in `file` to `out`.
///
/// There is no end to what a compressed file may hold: in a parser only, whose host counts.
///
/// # Errors
/// If the file is damaged or `out` cannot be written.
pub fn unpack(file: &File, out: &mut impl Write) -> Result<()> {
    let (mut source, _) = unpacked(file)?;
    let mut piece = vec![0; PIECE];
    loop {
        let length = fill(&mut source, &mut piece).context("cannot unpack it: is it damaged?")?;
        if length == 0 {
            return Ok(());
        }
        out.write_all(&piece[..length]).context("cannot write what was unpacked")?;
    }
}

/// Reads until `piece` is full or the source is at its end.
fn fill(source: &mut impl Read, piece: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < piece.len() {
        match source.read(&mut piece[length..])? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}

/// Returns the content of `file`, and whether it is compressed, by how it begins.
fn unpacked(file: &File) -> Result<(Box<dyn Read>, bool)> {
    let mut magic = [0; 6];
    let length = file.read_at(&mut magic, 0).context("cannot read it")?;
    let mut file = file.try_clone().context("cannot read it")?;
    file.rewind().context("cannot read it")?;
    let file = BufReader::with_capacity(PIECE, file);
    let unpacked: Box<dyn Read> = match &magic[..length] {
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(liblzma::read::XzDecoder::new_multi_decoder(file)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(file).context("cannot unpack it")?),
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(file)),
        _ => return Ok((Box::new(file), false)),
    };
    Ok((unpacked, true))
}

/// Returns the partition table of `image`.
///
/// # Errors
/// [`Failure::usage`] that says what the file is if it is no image, and what to do.
pub fn table(image: &File, parser: &Parser) -> Result<Table> {
    let table = mbr::read(image);
    // Whatever has these is an image; of all else it is to be said what it is.
    if table.as_ref().is_ok_and(|table| table.boot().is_some() && table.root().is_some()) {
        return table;
    }
    match parsing::recognise(parser, image)? {
        Recognised { kind: Kind::Image, is_packed: false } => table,
        Recognised { is_packed: true, .. } => Err(Failure::usage("it is compressed").hint("unpack it first").into()),
        Recognised { kind: Kind::Tar, .. } => {
            let failure = Failure::usage("it is a tar archive, not an image");
            Err(failure.hint("build an image on it with `piimg build --base`").into())
        }
    }
}

/// Returns the superblock of the root file system in `partition`.
///
/// # Errors
/// [`Failure::build`] that names what lies there instead.
pub fn superblock(image: &File, partition: &Partition, parser: &Parser) -> Result<Superblock> {
    Superblock::read(image, partition.start.to_bytes()).map_err(|error| {
        match parsing::file_system(parser, image, partition) {
            Ok(Some(found)) => {
                let failure = Failure::build(format!("the root partition holds {found}, not ext4"));
                failure.hint("piimg reads and builds root file systems of ext4 alone").into()
            }
            _ => error,
        }
    })
}

/// An image's table, and what piimg works with of it.
#[derive(Debug)]
pub struct Disk {
    pub table: Table,
    pub boot: Partition,
    pub root: Partition,
}

/// Finds the boot and the root partition of an image.
///
/// # Errors
/// [`Failure::usage`] if it is no image, [`Failure::build`] if it has no such partition.
pub fn disk(image: &File, parser: &Parser) -> Result<Disk> {
    let table = table(image, parser)?;
    let lacks = |what: &str| Failure::build(format!("it has no {what} partition in its partition table"));
    let (_, boot) = *table.boot().with_context(|| lacks("boot"))?;
    let files = || BootPartition::read(parser, image, &boot).ok().map(|boot| boot.boot_files());
    let (_, root) = *root::find(image, &table, files)?.with_context(|| lacks("Linux"))?;
    Ok(Disk { table, boot, root })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::error::report;
    use crate::image::layout::{PartitionType, Sectors};

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn image() -> Vec<u8> {
        let mut image = vec![0; 3 * PIECE + 5];
        image[446 + 4] = 0x0c;
        image[510..512].copy_from_slice(&[0x55, 0xaa]);
        image[2 * PIECE + 7] = 1;
        image
    }

    #[test]
    fn what_is_in_a_file_is_known_however_it_is_packed() {
        let image = image();
        let gzip = {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&image).unwrap();
            encoder.finish().unwrap()
        };
        let zstd = zstd::encode_all(&image[..], 1).unwrap();
        let mut xz = Vec::new();
        // Several streams behind one another, as parallel compressors write them.
        for half in image.chunks(PIECE) {
            liblzma::read::XzEncoder::new(half, 1).read_to_end(&mut xz).unwrap();
        }
        for packed in [&image, &gzip, &zstd, &xz] {
            let file = file(packed);
            let is_packed = packed != &image;
            assert_eq!(recognise(&file).unwrap(), Recognised { kind: Kind::Image, is_packed });
            let mut content = Vec::new();
            unpack(&file, &mut content).unwrap();
            assert!(content == image);
        }
        let mut tar = vec![0; 1024];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(recognise(&file(&tar)).unwrap(), Recognised { kind: Kind::Tar, is_packed: false });
    }

    #[test]
    fn what_is_cut_off_is_told() {
        let packed = zstd::encode_all(&image()[..], 1).unwrap();
        let cut = file(&packed[..packed.len() - 3]);
        let error = unpack(&cut, &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "cannot unpack it: is it damaged?");
        let report = report(&recognise(&file(&packed[..10])).unwrap_err());
        assert_eq!(report.messages[0], "cannot unpack it: is it damaged?");
    }

    #[test]
    fn the_file_system_of_a_partition_is_named() {
        let mut image = vec![0; 3 << 20];
        image[(1 << 20) + 0x400..][..4].copy_from_slice(&[0x10, 0x20, 0xf5, 0xf2]);
        let partition = |start| Partition { kind: PartitionType::LINUX, start: Sectors(start), length: Sectors(2048) };
        let named = |start| file_system(&file(&image), &partition(start)).unwrap();
        assert_eq!((named(2048).as_deref(), named(4096), named(1 << 30)), (Some("f2fs"), None, None));
    }
}
