//! Images and root file systems that others made: what a file is, and what is in it when it is unpacked.

use std::fs::File;
use std::io::{BufReader, Read, Seek as _, Write};
use std::os::unix::fs::FileExt as _;

use serde::{Deserialize, Serialize};

use super::layout::Partition;
use super::mbr;
use crate::error::{Context as _, Failure, Result};

/// Bytes that are looked at to tell what a file is.
const HEAD: usize = 512;

/// A piece of what is read; one of zeros becomes a hole where it is written.
const PIECE: usize = crate::sandbox::parser::PIECE;

/// What a file can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A partition table, and file systems.
    Image,
    /// A tree, as `tar` writes it.
    Tar,
}

/// Tells what `file` is, compressed or not; in a parser only.
///
/// # Errors
/// [`Failure::usage`] if it is none of what is known, with what to do about it.
pub fn recognise(file: &File) -> Result<Kind> {
    let mut head = Vec::new();
    unpacked(file)?
        .take(HEAD as u64)
        .read_to_end(&mut head)
        .context(Failure::usage("cannot unpack it: is it damaged?"))?;
    if head.get(257..262) == Some(b"ustar") {
        return Ok(Kind::Tar);
    }
    // The mark of a partition table.
    if head.get(510..) == Some(&[0x55, 0xaa]) {
        return Ok(Kind::Image);
    }
    let failure = Failure::usage("it is neither an image with a partition table nor a tar archive");
    Err(if head.starts_with(b"PK") { failure.hint("it looks like a ZIP file: unpack it first") } else { failure }
        .into())
}

/// Writes what is in `file` to `out`.
///
/// There is no end to what a compressed file may hold: in a parser only, whose host counts.
///
/// # Errors
/// If the file is damaged or `out` cannot be written.
pub fn unpack(file: &File, out: &mut impl Write) -> Result<()> {
    let mut source = unpacked(file)?;
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

/// The content of `file`, by how it begins.
fn unpacked(file: &File) -> Result<Box<dyn Read>> {
    let mut magic = [0; 6];
    let length = file.read_at(&mut magic, 0).context("cannot read it")?;
    let mut file = file.try_clone().context("cannot read it")?;
    file.rewind().context("cannot read it")?;
    let file = BufReader::with_capacity(PIECE, file);
    Ok(match &magic[..length] {
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(liblzma::read::XzDecoder::new_multi_decoder(file)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(file).context("cannot unpack it")?),
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(file)),
        _ => Box::new(file),
    })
}

/// The boot and the root partition of an image, and how many partitions it has.
///
/// # Errors
/// [`Failure::build`] if it has no such partition.
pub fn partitions(image: &File) -> Result<(Partition, Partition, usize)> {
    let table = mbr::read(image)?;
    let lacks = |what: &str| Failure::build(format!("it has no {what} partition in its partition table"));
    let (_, boot) = table.boot().with_context(|| lacks("boot"))?;
    let (_, root) = table.root().with_context(|| lacks("Linux"))?;
    Ok((*boot, *root, table.partitions.len()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::error::report;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn image() -> Vec<u8> {
        let mut image = vec![0; 3 * PIECE + 5];
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
            assert_eq!(recognise(&file).unwrap(), Kind::Image);
            let mut content = Vec::new();
            unpack(&file, &mut content).unwrap();
            assert!(content == image);
        }
        let mut tar = vec![0; 1024];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(recognise(&file(&tar)).unwrap(), Kind::Tar);
    }

    #[test]
    fn other_files_are_refused_with_what_to_do() {
        for (content, hints) in
            [(&b""[..], 0), (b"hello", 0), (&[0; 4096], 0), (&[b"PK\x03\x04".as_slice(), &[0; 600]].concat(), 1)]
        {
            let report = report(&recognise(&file(content)).unwrap_err());
            assert_eq!(report.messages, ["it is neither an image with a partition table nor a tar archive"]);
            assert_eq!(report.hints.len(), hints);
        }
        let packed = zstd::encode_all(&image()[..], 1).unwrap();
        let cut = file(&packed[..packed.len() - 3]);
        let error = unpack(&cut, &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "cannot unpack it: is it damaged?");
    }
}
