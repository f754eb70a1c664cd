//! Buffers the stream below `fatfs` while it writes.
//!
//! `fatfs` reads and writes the allocation tables four bytes at a time, between the clusters of a file. They are
//! kept in memory until the end; everything behind them goes straight to its place. It also reads directories
//! field by field, for which the block read last is kept.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;

const BLOCK: u64 = 4096;

/// A file with its first bytes in memory.
#[derive(Debug)]
pub(super) struct Disk<'a> {
    file: &'a File,
    head: Vec<u8>,
    changed: bool,
    /// The block read last and where it lies, behind the head.
    recent: (u64, Vec<u8>),
    position: u64,
    length: u64,
}

impl<'a> Disk<'a> {
    /// Opens `file`, keeping its first `head` bytes in memory.
    pub(super) fn open(file: &'a File, head: usize) -> io::Result<Self> {
        let mut bytes = vec![0; head];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(Self {
            file,
            head: bytes,
            changed: false,
            recent: (0, Vec::new()),
            position: 0,
            length: file.metadata()?.len(),
        })
    }

    /// Returns the part of the memory from the position on, if it lies there.
    fn in_head(&self) -> Option<usize> {
        usize::try_from(self.position).ok().filter(|position| *position < self.head.len())
    }

    /// Reads the block at the position, and returns it from there on.
    fn read_block(&mut self) -> io::Result<&[u8]> {
        let (start, inside) = (self.position - self.position % BLOCK, self.position % BLOCK);
        if self.recent.0 != start || self.recent.1.is_empty() {
            let mut block = vec![0; usize::try_from(BLOCK.min(self.length.saturating_sub(start))).unwrap_or_default()];
            self.file.read_exact_at(&mut block, start)?;
            self.recent = (start, block);
        }
        Ok(self.recent.1.get(usize::try_from(inside).unwrap_or_default()..).unwrap_or_default())
    }

    fn advance(&mut self, count: usize) -> usize {
        self.position += count as u64;
        count
    }
}

impl Read for Disk<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self.in_head() {
            Some(position) => (&self.head[position..]).read(buffer)?,
            None => self.read_block()?.read(buffer)?,
        };
        Ok(self.advance(count))
    }
}

impl Write for Disk<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = match self.in_head() {
            Some(position) => {
                self.changed = true;
                (&mut self.head[position..]).write(buffer)?
            }
            None => {
                let room = usize::try_from(self.length.saturating_sub(self.position)).unwrap_or(usize::MAX);
                self.recent.1.clear();
                self.file.write_at(&buffer[..buffer.len().min(room)], self.position)?
            }
        };
        Ok(self.advance(count))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Disk<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl Disk<'_> {
    /// Writes what is in memory to the file, leaving blocks of zeros as holes.
    pub(super) fn store(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.changed) {
            let mut stored = vec![0; self.head.len()];
            self.file.read_exact_at(&mut stored, 0)?;
            let length = usize::try_from(BLOCK).unwrap_or(usize::MAX);
            for ((block, stored), at) in self.head.chunks(length).zip(stored.chunks(length)).zip((0..).step_by(length))
            {
                if block != stored {
                    self.file.write_all_at(block, at)?;
                }
            }
        }
        Ok(())
    }
}
