//! Reads an initramfs: one or more `cpio` archives, each compressed or not, one behind the other.
//!
//! The kernel's `Documentation/driver-api/early-userspace/buffer-format.rst` describes the format.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Cursor, Read};

use cpio::NewcReader;
use sha2::{Digest as _, Sha256};

use super::compare::{Aspect, Comparison, Difference};
use crate::error::{Context as _, Result};

/// Most bytes that a file, or what is packed in it, may have: one with all modules has 100 MB, and unpacks to 400.
const LIMIT: u64 = 2 << 30;
/// Most nested compressions of an archive.
const DEEPEST: usize = 4;

/// One entry; times and numbers of inodes are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    mode: u32,
    owner: (u32, u32),
    device: (u32, u32),
    size: u64,
    digest: String,
}

/// Compares the content of two initramfs files, as [`super::compare::compare`] compares trees.
///
/// # Errors
/// If one cannot be read, is in no known format, or is too big.
pub fn compare(a: &File, b: &File) -> Result<Comparison> {
    let (a, b) = (entries(a)?, entries(b)?);
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let mut comparison = Comparison { paths: names.len(), differences: Vec::new() };
    for name in names {
        let aspects: BTreeSet<Aspect> = match (a.get(name), b.get(name)) {
            (Some(a), Some(b)) => differing(a, b),
            _ => [Aspect::Existence].into(),
        };
        if !aspects.is_empty() {
            comparison.differences.push(Difference { path: name.clone(), aspects });
        }
    }
    Ok(comparison)
}

fn differing(a: &Entry, b: &Entry) -> BTreeSet<Aspect> {
    /// The bits of a mode that are the type of the file.
    const TYPE: u32 = 0o170_000;
    [
        (Aspect::Type, a.mode & TYPE != b.mode & TYPE),
        (Aspect::Mode, a.mode & !TYPE != b.mode & !TYPE),
        (Aspect::Owner, a.owner != b.owner),
        (Aspect::Size, a.size != b.size),
        (Aspect::Content, a.digest != b.digest || a.device != b.device),
    ]
    .into_iter()
    .filter_map(|(aspect, differs)| differs.then_some(aspect))
    .collect()
}

fn entries(file: &File) -> Result<BTreeMap<String, Entry>> {
    let data = bounded(file).context("cannot read the initramfs")?;
    let mut found = BTreeMap::new();
    segments(&data, &mut found, 0).context("cannot unpack the initramfs")?;
    Ok(found)
}

/// Reads `data` to its end, within the limit.
fn bounded(data: impl Read) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    data.take(LIMIT + 1).read_to_end(&mut all)?;
    let fits = u64::try_from(all.len()).is_ok_and(|length| length <= LIMIT);
    anyhow::ensure!(fits, "it has more than {} GiB", LIMIT >> 30);
    Ok(all)
}

/// Adds the entries of all archives in `data`; a later one hides an earlier one of the same name, as in the kernel.
fn segments(mut data: &[u8], found: &mut BTreeMap<String, Entry>, depth: usize) -> Result<()> {
    // A compressed file can unpack to itself.
    anyhow::ensure!(depth <= DEEPEST, "it is compressed more than {DEEPEST} times");
    loop {
        // Archives may be padded with null bytes.
        let padding = data.iter().take_while(|byte| **byte == 0).count();
        data = &data[padding..];
        if data.is_empty() {
            return Ok(());
        }
        if data.starts_with(b"07070") {
            data = archive(data, found)?;
            continue;
        }
        let unpacked = if data.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            bounded(zstd::stream::Decoder::new(data)?)?
        } else if data.starts_with(&[0x1f, 0x8b]) {
            bounded(flate2::read::MultiGzDecoder::new(data))?
        } else {
            anyhow::bail!("its compression is neither zstd nor gzip");
        };
        // A compressed archive is always the last one: nothing tells where it ends.
        return segments(&unpacked, found, depth + 1);
    }
}

/// Adds the entries of one archive and returns what follows it.
fn archive<'a>(data: &'a [u8], found: &mut BTreeMap<String, Entry>) -> Result<&'a [u8]> {
    let mut reader = Cursor::new(data);
    loop {
        let mut file = NewcReader::new(reader)?;
        if file.entry().is_trailer() {
            let rest = file.finish()?;
            let position = usize::try_from(rest.position()).context("the archive is too long")?;
            return Ok(data.get(position..).unwrap_or_default());
        }
        let entry = file.entry();
        let (name, mode, size) = (entry.name().to_owned(), entry.mode(), u64::from(entry.file_size()));
        let (owner, device) = ((entry.uid(), entry.gid()), (entry.rdev_major(), entry.rdev_minor()));
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        found.insert(name, Entry { mode, owner, device, size, digest: hex::encode(Sha256::digest(&content)) });
        reader = file.finish()?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use cpio::newc;

    use super::*;

    /// An archive of files, each with a time of its own.
    fn packed(files: &[(&str, &str)], mtime: u32) -> Vec<u8> {
        let mut data = Vec::new();
        for (name, content) in files {
            let builder = newc::Builder::new(name).mode(0o100_644).mtime(mtime);
            let mut writer = builder.write(&mut data, u32::try_from(content.len()).unwrap());
            writer.write_all(content.as_bytes()).unwrap();
            writer.finish().unwrap();
        }
        newc::trailer(&mut data).unwrap();
        data
    }

    fn written(data: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(data).unwrap();
        file.rewind().unwrap();
        file
    }

    #[test]
    fn times_and_compression_make_no_difference() {
        let early = packed(&[("kernel/x", "microcode")], 1);
        let files = [("init", "#!/bin/sh"), ("etc/fstab", "none")];
        let mut a = early.clone();
        a.extend([0; 8]);
        a.extend(zstd::stream::encode_all(&packed(&files, 1)[..], 1).unwrap());
        let mut b = early;
        let mut gzip = flate2::write::GzEncoder::new(&mut b, flate2::Compression::fast());
        gzip.write_all(&packed(&files, 2)).unwrap();
        gzip.finish().unwrap();
        let found = compare(&written(&a), &written(&b)).unwrap();
        assert_eq!(found, Comparison { paths: 3, differences: Vec::new() });
    }

    #[test]
    fn what_differs_inside_is_named() {
        let a = packed(&[("init", "one"), ("bin/sh", "x")], 1);
        let b = packed(&[("init", "three")], 1);
        let found = compare(&written(&a), &written(&b)).unwrap().differences;
        let difference = |path: &str, aspects: &[Aspect]| Difference {
            path: path.into(),
            aspects: aspects.iter().copied().collect(),
        };
        assert_eq!(
            found,
            [difference("bin/sh", &[Aspect::Existence]), difference("init", &[Aspect::Size, Aspect::Content])]
        );
    }

    #[test]
    fn what_is_compressed_without_end_is_refused() {
        let mut data = packed(&[("init", "x")], 1);
        for _ in 0..=DEEPEST {
            data = zstd::stream::encode_all(&data[..], 1).unwrap();
        }
        let file = written(&data);
        let error = compare(&file, &file).unwrap_err();
        assert!(format!("{error:#}").ends_with("it is compressed more than 4 times"), "{error:#}");
    }

    #[test]
    fn an_unknown_format_is_an_error() {
        let file = written(b"hello");
        let error = compare(&file, &file).unwrap_err();
        assert!(format!("{error:#}").ends_with("its compression is neither zstd nor gzip"), "{error:#}");
    }
}
