//! Reads what a package's file says of itself: <https://manpages.debian.org/bookworm/dpkg-dev/deb.5.en.html>.
//!
//! The file may be anybody's: this runs in a process that has it and nothing else.

use std::fs::File;
use std::io::{BufReader, Read};

use crate::error::{Context as _, Failure, Result};

/// Most bytes of the archive with control file and scripts, unpacked; that of a kernel has 100 KB.
const LONGEST_ARCHIVE: u64 = 64 << 20;

/// Most bytes of a control file; the longest of Debian's have some kilobytes.
const LONGEST: u64 = 1 << 20;

/// Returns the control file of the package in `file`.
///
/// # Errors
/// [`Failure::usage`] that says what is wrong with it, if it is no package.
pub fn control(file: &File) -> Result<String> {
    read(file).map_err(|error| Failure::usage(format!("{error:#}")).into())
}

fn read(file: &File) -> Result<String> {
    let mut archive = ar::Archive::new(BufReader::new(file));
    let mut is_first = true;
    while let Some(member) = archive.next_entry() {
        let member = member.context("it is no Debian package")?;
        let name = String::from_utf8_lossy(member.header().identifier()).trim_end_matches('/').to_owned();
        if is_first {
            // The first member says the format.
            anyhow::ensure!(name == "debian-binary", "it is no Debian package: its first member is `{name}`");
            let mut version = String::new();
            member.take(16).read_to_string(&mut version).context("the version of its format is no text")?;
            anyhow::ensure!(version.starts_with("2."), "it is a package of another format, `{}`", version.trim());
            is_first = false;
            continue;
        }
        let unpacked: Box<dyn Read + '_> = match name.as_str() {
            "control.tar" => Box::new(member),
            "control.tar.gz" => Box::new(flate2::read::MultiGzDecoder::new(member)),
            "control.tar.xz" => Box::new(liblzma::read::XzDecoder::new(member)),
            "control.tar.zst" => Box::new(zstd::Decoder::new(member).context("it cannot be unpacked")?),
            // dpkg ignores what begins so.
            other if other.starts_with('_') => continue,
            other => anyhow::bail!("it is no package that dpkg knows: its second member is `{other}`"),
        };
        return find(unpacked.take(LONGEST_ARCHIVE));
    }
    anyhow::bail!("it has no control file: is it whole?")
}

/// Returns the control file of an archive.
fn find(archive: impl Read) -> Result<String> {
    let failed = "its control file cannot be read";
    for entry in tar::Archive::new(archive).entries().context(failed)? {
        let entry = entry.context(failed)?;
        let path = entry.path().context(failed)?.into_owned();
        if path.strip_prefix(".").unwrap_or(&path) != std::path::Path::new("control") {
            continue;
        }
        anyhow::ensure!(entry.header().entry_type().is_file(), "its control file is no file");
        let mut text = String::new();
        let length = entry.take(LONGEST + 1).read_to_string(&mut text).context("its control file is no text")?;
        anyhow::ensure!(length as u64 <= LONGEST, "its control file has more than {LONGEST} bytes");
        return Ok(text);
    }
    anyhow::bail!("it has no control file")
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    const CONTROL: &str = "Package: app\n";

    fn archive(name: &str, content: &[u8]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content).unwrap();
        builder.into_inner().unwrap()
    }

    fn package(members: &[(&str, &[u8])]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        let mut builder = ar::Builder::new(&mut file);
        for (name, content) in members {
            builder.append(&ar::Header::new(name.as_bytes().to_vec(), content.len() as u64), *content).unwrap();
        }
        file.rewind().unwrap();
        file
    }

    fn gz(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(data: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_control_file_is_read_whatever_it_is_compressed_with() {
        let plain = archive("./control", CONTROL.as_bytes());
        let zst = zstd::encode_all(plain.as_slice(), 1).unwrap();
        for (name, data) in [
            ("control.tar", plain.clone()),
            ("control.tar.gz", gz(&plain)),
            ("control.tar.xz", xz(&plain)),
            ("control.tar.zst", zst),
            ("control.tar", archive("control", CONTROL.as_bytes())),
        ] {
            let file = package(&[("debian-binary", b"2.0\n"), (name, &data), ("data.tar", b"")]);
            assert_eq!(control(&file).unwrap(), CONTROL, "{name}");
        }
    }

    #[test]
    fn what_is_no_package_says_why() {
        let plain = archive("./control", CONTROL.as_bytes());
        let long = archive("./control", &vec![b'a'; usize::try_from(LONGEST).unwrap() + 1]);
        let bomb = gz(&vec![0; 1 << 20]);
        let binary: (&str, &[u8]) = ("debian-binary", b"2.0\n");
        for (members, cause) in [
            (&[("control.tar", plain.as_slice())][..], "its first member is `control.tar`"),
            (&[("debian-binary", b"3.0\n")], "it is a package of another format, `3.0`"),
            (&[binary], "it has no control file: is it whole?"),
            (&[binary, ("data.tar", b"")], "its second member is `data.tar`"),
            (&[binary, ("control.tar.bz2", b"")], "its second member is `control.tar.bz2`"),
            (&[binary, ("control.tar.gz", b"garbage")], "its control file cannot be read"),
            (&[binary, ("control.tar.gz", &bomb)], "it has no control file"),
            (&[binary, ("control.tar", &archive("./other", b""))], "it has no control file"),
            (&[binary, ("control.tar", &long)], "its control file has more than 1048576 bytes"),
            (&[binary, ("control.tar", &archive("./control", b"\xff"))], "its control file is no text"),
        ] {
            let error = format!("{:#}", control(&package(members)).unwrap_err());
            assert!(error.contains(cause), "{cause}: {error}");
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"<!doctype html>").unwrap();
        file.rewind().unwrap();
        let error = control(&file).unwrap_err().to_string();
        assert!(error.starts_with("it is no Debian package"), "{error}");
    }
}
