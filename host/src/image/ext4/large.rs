//! Writes large files: `debugfs` allocates their blocks, and their bytes are copied there without it.
//!
//! `debugfs write` allocates and copies a block at a time. Its `fallocate` takes a whole range, but marks it as
//! unwritten, so that it would read as zeros. A second run of `debugfs` takes that mark off, extent by extent, and the
//! kernel copies the bytes to where the extents lie.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::size::BLOCK;
use crate::error::{Context as _, Failure, Result};
use crate::image::assemble::copy_range;
use crate::sparse;
use crate::ui::Printable as _;

/// Length from which on a file goes this way: below, the further commands cost more than they save.
pub(super) const LARGE: u64 = 64 << 10;

/// Bytes of zeros, from a multiple of their number on, that become a hole.
///
/// A hole for each block of zeros would tear files into many extents.
const HOLE: usize = 64 << 10;

/// Blocks that are copied at once, so that threads share even a single file: 16 MiB.
const PIECE: u64 = (16 << 20) / BLOCK;

/// A large file of the tree.
#[derive(Debug)]
pub(super) struct Large {
    pub(super) source: PathBuf,
    pub(super) length: u64,
    /// The blocks it needs; not empty.
    pub(super) needed: Vec<Range<u64>>,
}

/// Place of a file in the file system.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Placed {
    inode: u64,
    extents: Vec<Extent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    /// First block within the file.
    logical: u64,
    /// First block within the file system.
    physical: u64,
    blocks: u64,
}

/// Returns the blocks that the file `source` needs: all but those of long runs of zeros.
///
/// This looks at the bytes, not at the holes of this copy of the file, so that equal trees give equal images.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn needed(source: &Path, length: u64) -> io::Result<Vec<Range<u64>>> {
    let file = File::open(source)?;
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let mut buffer = vec![0; HOLE];
    for piece in sparse::pieces(&file, length, HOLE) {
        let piece = piece?;
        if piece.is_hole || piece.read(&file, &mut buffer)?.iter().all(|byte| *byte == 0) {
            continue;
        }
        let blocks = piece.start / BLOCK..(piece.start + piece.length as u64).div_ceil(BLOCK);
        match ranges.last_mut() {
            Some(last) if last.end == blocks.start => last.end = blocks.end,
            _ => ranges.push(blocks),
        }
    }
    Ok(ranges)
}

/// Reads from what `debugfs` printed where it put the files whose extents it was asked for.
pub(super) fn placed(output: &str) -> Vec<Placed> {
    let mut found: Vec<Placed> = Vec::new();
    let mut inode = 0;
    // Every command is repeated in a line that starts with `debugfs:`, names in it cannot be taken for an answer.
    for line in output.lines() {
        if let Some(number) = line.strip_prefix("Allocated inode: ") {
            inode = number.trim().parse().unwrap_or(0);
        } else if line.starts_with("Level Entries") {
            found.push(Placed { inode, extents: Vec::new() });
        } else if let Some(extent) = parse_extent(line)
            && let Some(last) = found.last_mut()
        {
            last.extents.push(extent);
        }
    }
    found
}

/// Parses `level/ levels  number/ of  logical - logical  physical - physical  length  flags`.
fn parse_extent(line: &str) -> Option<Extent> {
    let fields: Vec<u64> =
        line.strip_suffix("Uninit")?.split([' ', '/', '-']).filter_map(|field| field.parse().ok()).collect();
    let [_, _, _, _, logical, _, physical, _, blocks] = fields[..] else { return None };
    Some(Extent { logical, physical, blocks })
}

/// Returns the commands that declare the blocks of `placed` as written.
pub(super) fn commands(placed: &[Placed]) -> String {
    let mut commands = String::new();
    for file in placed {
        let mut add = |command: std::fmt::Arguments<'_>| writeln!(commands, "{command}").expect("a string grows");
        add(format_args!("extent_open <{}>", file.inode));
        for Extent { logical, physical, blocks } in &file.extents {
            add(format_args!("goto_block {logical}"));
            add(format_args!("replace_node {logical} {blocks} {physical}"));
        }
        add(format_args!("extent_close"));
    }
    commands
}

/// Copies the bytes of `files` to where they were placed in `out`, on all cores.
///
/// # Errors
/// If a file cannot be read, has not got the blocks it needs, or `out` cannot be written.
pub(super) fn copy(files: &[Large], placed: &[Placed], out: &File) -> Result<()> {
    let mut pieces = Vec::new();
    if files.len() != placed.len() {
        let message = format!("{} large files got blocks, but there are {}", placed.len(), files.len());
        return Err(Failure::bug(message).into());
    }
    for (file, placed) in files.iter().zip(placed) {
        let needed: u64 = file.needed.iter().map(|range| range.end - range.start).sum();
        let given: u64 = placed.extents.iter().map(|extent| extent.blocks).sum();
        if needed != given {
            let message = format!("`{}` needs {needed} blocks and got {given}", file.source.printable());
            return Err(Failure::bug(message).into());
        }
        for extent in &placed.extents {
            let pieces_of = (0..extent.blocks).step_by(usize::try_from(PIECE).expect("a short length"));
            pieces.extend(pieces_of.map(|skip| {
                let blocks = PIECE.min(extent.blocks - skip);
                (file, Extent { logical: extent.logical + skip, physical: extent.physical + skip, blocks })
            }));
        }
    }
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        while let Some((file, extent)) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            copy_piece(file, *extent, out)
                .with_context(|| format!("cannot copy `{}` into the root partition", file.source.printable()))?;
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn copy_piece(file: &Large, extent: Extent, out: &File) -> io::Result<()> {
    let start = extent.logical * BLOCK;
    let length = (extent.blocks * BLOCK).min(file.length - start);
    copy_range(&File::open(&file.source)?, start, length, out, extent.physical * BLOCK)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn long_runs_of_zeros_need_no_blocks() {
        let hole = HOLE as u64;
        type Blocks<'a> = &'a [(u64, u64)];
        let cases: &[(u64, &[u64], Blocks<'_>)] = &[
            (hole, &[], &[]),
            (hole, &[hole - 1], &[(0, 16)]),
            (4 * hole, &[0, hole], &[(0, 32)]),
            (4 * hole, &[0, 3 * hole], &[(0, 16), (48, 64)]),
            (2 * hole + 5000, &[2 * hole], &[(32, 34)]),
        ];
        for (length, ones, expected) in cases {
            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().set_len(*length).unwrap();
            for position in *ones {
                file.as_file().write_all_at(&[1], *position).unwrap();
            }
            let found: Vec<(u64, u64)> =
                needed(file.path(), *length).unwrap().into_iter().map(|range| (range.start, range.end)).collect();
            assert_eq!(found, *expected, "{length} {ones:?}");
        }
    }

    #[test]
    fn answers_are_told_from_commands() {
        let output = "debugfs: write \"/dev/null\" \"Allocated inode: 5\"\n\
                      Allocated inode: 12\n\
                      debugfs: write \"/small\" \"small\"\n\
                      Allocated inode: 13\n\
                      debugfs: write \"/dev/null\" \"big\"\n\
                      Allocated inode: 14\n\
                      debugfs: dump_extents -l \"./big\"\n\
                      Level Entries       Logical      Physical Length Flags\n \
                      0/ 0   1/  2     0 -    20  4385 -  4405     21 Uninit\n \
                      0/ 0   2/  2    40 -    73  4425 -  4458     34 Uninit\n\
                      debugfs: sif \"./1/ 1 1/ 1 0 - 0 1 - 1 1 Uninit\" mode 0100644\n";
        let extents =
            vec![Extent { logical: 0, physical: 4385, blocks: 21 }, Extent { logical: 40, physical: 4425, blocks: 34 }];
        let found = placed(output);
        assert_eq!(found, [Placed { inode: 14, extents }]);
        assert_eq!(
            commands(&found),
            "extent_open <14>\ngoto_block 0\nreplace_node 0 21 4385\ngoto_block 40\nreplace_node 40 34 4425\n\
             extent_close\n"
        );
    }
}
