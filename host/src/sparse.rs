//! Walks files that have holes, without reading the holes: one may be longer than anybody would read.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// Returns the next data at or after `position`; empty at `length` if only a hole is left. Moves the file's position.
/// See `SEEK_DATA` in <https://man7.org/linux/man-pages/man2/lseek.2.html>.
///
/// # Errors
/// If the file cannot be searched.
pub(crate) fn next_data(file: &File, position: u64, length: u64) -> io::Result<Range<u64>> {
    match rustix::fs::seek(file, SeekFrom::Data(position)) {
        Ok(start) => Ok(start..rustix::fs::seek(file, SeekFrom::Hole(start))?),
        Err(Errno::NXIO) => Ok(length..length),
        Err(error) => Err(error.into()),
    }
}

/// A piece of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) start: u64,
    pub(crate) length: usize,
    /// All of it is in a hole: it is zeros.
    pub(crate) is_hole: bool,
}

impl Piece {
    /// Reads the piece into the beginning of `buffer`, and returns that part.
    ///
    /// # Errors
    /// If the file cannot be read, or has become shorter.
    pub(crate) fn read<'a>(&self, file: &File, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let part = &mut buffer[..self.length];
        file.read_exact_at(part, self.start)?;
        Ok(part)
    }
}

/// Returns the pieces of a file of that length, each of `size` bytes but for the last one.
pub(crate) fn pieces(file: &File, length: u64, size: usize) -> impl Iterator<Item = io::Result<Piece>> {
    let (mut position, mut data) = (0, 0..0);
    std::iter::from_fn(move || {
        if position >= length {
            return None;
        }
        if data.end <= position {
            data = match next_data(file, position, length) {
                Ok(data) => data,
                Err(error) => {
                    position = length;
                    return Some(Err(error));
                }
            };
        }
        let (start, step) = (position, usize::try_from(length - position).map_or(size, |rest| rest.min(size)));
        position += step as u64;
        Some(Ok(Piece { start, length: step, is_hole: data.start >= position }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_told_from_data() {
        const SIZE: usize = 1 << 16;
        let at = |piece: usize| (piece * SIZE) as u64;
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"data", at(1)).unwrap();
        file.write_all_at(b"more", at(4) - 4).unwrap();
        file.set_len(at(5) + 7).unwrap();
        let found: Vec<Piece> = pieces(&file, at(5) + 7, SIZE).collect::<io::Result<_>>().unwrap();
        let expected = [true, false, true, false, true, true].into_iter().enumerate().map(|(at_, is_hole)| Piece {
            start: at(at_),
            length: if at_ == 5 { 7 } else { SIZE },
            is_hole,
        });
        assert_eq!(found, expected.collect::<Vec<_>>());
        assert_eq!(&found[3].read(&file, &mut vec![0; SIZE]).unwrap()[SIZE - 4..], b"more");
        assert_eq!(pieces(&file, 0, SIZE).count(), 0);
    }
}
