//! Reads an initramfs: one or more `cpio` archives, each compressed or not, one behind the other.
//!
//! The kernel's `Documentation/driver-api/early-userspace/buffer-format.rst` describes the format.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;

use cpio::NewcReader;
use sha2::{Digest as _, Sha256};

use super::compare::{Aspect, Comparison, Difference};
use crate::error::{Context as _, Result};

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
/// If one cannot be read, or is in no known format.
pub fn compare(a: &Path, b: &Path) -> Result<Comparison> {
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

fn entries(path: &Path) -> Result<BTreeMap<String, Entry>> {
    let data = fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let mut found = BTreeMap::new();
    segments(&data, &mut found).with_context(|| format!("cannot unpack the initramfs `{}`", path.display()))?;
    Ok(found)
}

/// Adds the entries of all archives in `data`; a later one hides an earlier one of the same name, as in the kernel.
fn segments(mut data: &[u8], found: &mut BTreeMap<String, Entry>) -> Result<()> {
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
        let mut unpacked = Vec::new();
        if data.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            zstd::stream::copy_decode(data, &mut unpacked)?;
        } else if data.starts_with(&[0x1f, 0x8b]) {
            flate2::read::MultiGzDecoder::new(data).read_to_end(&mut unpacked)?;
        } else {
            anyhow::bail!("its compression is neither zstd nor gzip");
        }
        // A compressed archive is always the last one: nothing tells where it ends.
        return segments(&unpacked, found);
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
    use std::io::Write as _;

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

    fn written(data: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(data).unwrap();
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
        let found = compare(written(&a).path(), written(&b).path()).unwrap();
        assert_eq!(found, Comparison { paths: 3, differences: Vec::new() });
    }

    #[test]
    fn what_differs_inside_is_named() {
        let a = packed(&[("init", "one"), ("bin/sh", "x")], 1);
        let b = packed(&[("init", "three")], 1);
        let found = compare(written(&a).path(), written(&b).path()).unwrap().differences;
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
    fn an_unknown_format_is_an_error() {
        let file = written(b"hello");
        let error = compare(file.path(), file.path()).unwrap_err();
        assert!(format!("{error:#}").ends_with("its compression is neither zstd nor gzip"), "{error:#}");
    }
}
