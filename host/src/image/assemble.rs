//! Puts table and partitions together in one sparse file.

use std::fs::File;
use std::os::fd::AsFd as _;

use rustix::io::Errno;

use super::layout::{Bytes, Layout};
use super::mbr;
use crate::error::{Context as _, Failure, Result};
use crate::sparse;

/// Builds the image in `out`, which is emptied first: table, boot partition and root partition.
///
/// Each partition's file may be shorter than its partition; the rest stays a hole.
///
/// # Errors
/// If a partition's file is longer than its partition, or writing fails.
pub fn assemble(out: &File, layout: &Layout, disk_signature: u32, boot: &File, root: &File) -> Result<()> {
    out.set_len(0).context("cannot empty the image")?;
    out.set_len(layout.total().0).with_context(|| format!("cannot make an image of {}", layout.total()))?;
    mbr::write(out, layout, disk_signature)?;
    for (name, source, partition) in [("boot", boot, &layout.boot), ("root", root, &layout.root)] {
        let length = source.metadata().with_context(|| format!("cannot read the {name} partition"))?.len();
        let room = partition.length.to_bytes();
        if length > room.0 {
            return Err(Failure::bug(format!(
                "{} of data do not fit into the {name} partition of {room}",
                Bytes(length)
            ))
            .into());
        }
        copy_extents(source, Bytes(0), Bytes(length), out, partition.start.to_bytes())
            .with_context(|| format!("cannot copy the {name} partition into the image"))?;
    }
    Ok(())
}

/// Copies `length` bytes at `from` in `source` to `to` in `out`, skipping holes.
///
/// Blocks are shared instead of copied where the file system can do that. `out` must be a hole there already.
///
/// # Errors
/// If reading or writing fails, or `source` is shorter.
pub fn copy_extents(source: &File, from: Bytes, length: Bytes, out: &File, to: Bytes) -> std::io::Result<()> {
    let end = from.0 + length.0;
    let mut position = from.0;
    while position < end {
        let data = sparse::next_data(source, position, end)?;
        if data.start >= end {
            // Only a hole is left.
            break;
        }
        position = data.end.min(end);
        copy_range(source, data.start, position - data.start, out, to.0 + (data.start - from.0))?;
    }
    Ok(())
}

/// Copies `length` bytes at `from` in `source` to `to` in `out`, holes as zeros.
///
/// # Errors
/// If reading or writing fails, or `source` is shorter.
pub(super) fn copy_range(
    source: &File,
    mut from: u64,
    mut length: u64,
    out: &File,
    mut to: u64,
) -> std::io::Result<()> {
    while length > 0 {
        let step = usize::try_from(length.min(1 << 30)).expect("a gibibyte fits");
        // The kernel clones the range itself if both files are on a file system that shares blocks.
        let copied =
            match rustix::fs::copy_file_range(source.as_fd(), Some(&mut from), out.as_fd(), Some(&mut to), step) {
                Ok(copied) => copied,
                Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                    let copied = copy_buffered(source, from, step.min(1 << 20), out, to)?;
                    from += u64::try_from(copied).expect("a short length");
                    to += u64::try_from(copied).expect("a short length");
                    copied
                }
                Err(error) => return Err(error.into()),
            };
        if copied == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        length -= u64::try_from(copied).expect("not more than asked for");
    }
    Ok(())
}

fn copy_buffered(source: &File, from: u64, length: usize, out: &File, to: u64) -> std::io::Result<usize> {
    use std::os::unix::fs::FileExt as _;
    let mut buffer = vec![0; length];
    let read = source.read_at(&mut buffer, from)?;
    out.write_all_at(&buffer[..read], to)?;
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};

    use super::*;

    #[test]
    fn holes_stay_holes_and_data_arrives() {
        let layout = Layout::new(Bytes::mib(40), Bytes::mib(64)).unwrap();
        let [boot, root, out] = std::array::from_fn(|_| tempfile::tempfile().unwrap());
        boot.set_len(40 << 20).unwrap();
        root.set_len(64 << 20).unwrap();
        boot.write_all_at(b"boot", 5 << 20).unwrap();
        root.write_all_at(b"root", (64 << 20) - 4).unwrap();
        out.write_all_at(b"left over", 9 << 20).unwrap();
        assemble(&out, &layout, 1, &boot, &root).unwrap();
        let mut found = [0; 4];
        out.read_exact_at(&mut found, 13 << 20).unwrap();
        assert_eq!(&found, b"boot");
        out.read_exact_at(&mut found, (112 << 20) - 4).unwrap();
        assert_eq!(&found, b"root");
        out.read_exact_at(&mut found, 9 << 20).unwrap();
        assert_eq!(found, [0; 4]);
        let metadata = out.metadata().unwrap();
        assert_eq!(metadata.len(), 112 << 20);
        assert!(metadata.blocks() < 200, "{} blocks", metadata.blocks());
    }

    #[test]
    fn a_partition_that_is_too_long_is_named() {
        let layout = Layout::new(Bytes::mib(40), Bytes::mib(64)).unwrap();
        let [boot, root, out] = std::array::from_fn(|_| tempfile::tempfile().unwrap());
        root.set_len(65 << 20).unwrap();
        let error = assemble(&out, &layout, 1, &boot, &root).unwrap_err();
        assert_eq!(error.to_string(), "65 MiB of data do not fit into the root partition of 64 MiB");
    }
}
