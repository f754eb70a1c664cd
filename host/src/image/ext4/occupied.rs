//! What an ext4 file system has not left free.

use std::fs::File;
use std::ops::Range;

use super::device_in;
use crate::error::{Context as _, Result};
use crate::image::layout::Bytes;
use crate::sandbox::confined::Confined;

/// Every block that is in use in the ext4 at `start` of `image`, as bytes from there.
///
/// Inode tables and journal are among them; `mke2fs` leaves both as holes.
///
/// # Errors
/// [`Failure::host`](crate::error::Failure::host) if `e2fsprogs` is missing, or if there is no ext4.
pub(in crate::image) fn occupied(image: &File, start: Bytes) -> Result<Vec<Range<u64>>> {
    let program = Confined::new("dumpe2fs", &[image])?.without_sync();
    let device = device_in(&program.place(0), start);
    let output = program.arg(device).run()?;
    parse(&output.stdout_text()).context("cannot understand what `dumpe2fs` says of the root file system")
}

/// Turns the lists of free blocks, one for each group, around.
fn parse(text: &str) -> Option<Vec<Range<u64>>> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    let (block, count) = (field("Block size:")?, field("Block count:")?);
    let mut ranges = Vec::new();
    let mut position = 0;
    // The one of the whole file system, a number, is not indented.
    for list in text.lines().filter_map(|line| line.strip_prefix("  Free blocks:")) {
        for free in list.split(',').map(str::trim).filter(|free| !free.is_empty()) {
            let (first, last) = free.split_once('-').unwrap_or((free, free));
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            if first < position || last < first || last >= count {
                return None;
            }
            ranges.push(position..first);
            position = last + 1;
        }
    }
    ranges.push(position..count);
    ranges.retain(|range| !range.is_empty());
    Some(ranges.into_iter().map(|range| range.start * block..range.end * block).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lists: &[&str]) -> String {
        let head = "Block count:              20\nFree blocks:              7\nBlock size:               1024\n";
        let group = |(number, list): (usize, &&str)| format!("Group {number}: (Blocks …)\n  Free blocks: {list}\n");
        format!("{head}{}", lists.iter().enumerate().map(group).collect::<String>())
    }

    #[test]
    fn what_is_not_free_is_occupied() {
        type Expected<'a> = Option<&'a [(u64, u64)]>;
        let cases: &[(&[&str], Expected<'_>)] = &[
            (&["2-3, 5", "10-19"], Some(&[(0, 2048), (4096, 5120), (6144, 10_240)])),
            (&["", "0"], Some(&[(1024, 20_480)])),
            (&["0-9", "10-19"], Some(&[])),
            (&["8-9", "2-3"], None),
            (&["3-20"], None),
            (&["three"], None),
        ];
        for (lists, expected) in cases {
            let found = parse(&text(lists)).map(|ranges| ranges.iter().map(|range| (range.start, range.end)).collect());
            assert_eq!(found, expected.map(<[_]>::to_vec), "{lists:?}");
        }
        assert_eq!(parse("Block count: 20\n"), None);
    }
}
