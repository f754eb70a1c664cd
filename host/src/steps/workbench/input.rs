//! Feeds standard input to a command through a pipe. A command can neither write to the content nor keep it, has no way
//! to the file, and gets no more than the plugin was told there is. Nothing is held in memory or on disk a second time.

use std::fs::File;
use std::io::{PipeWriter, Read, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::thread::JoinHandle;

use crate::error::{Context as _, Result};
use crate::plugin::workbench::Stdin;

/// Most bytes that are read at a time.
const PIECE: usize = 64 << 10;

/// The thread that writes into the pipe. Dropping it waits until nobody reads any more, so whoever reads must be gone.
#[derive(Debug)]
pub(in crate::steps) struct Feeder(Option<JoinHandle<()>>);

impl Drop for Feeder {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            thread.join().ok();
        }
    }
}

/// Returns the end to read from, and what fills it.
///
/// # Errors
/// If there are no more descriptors.
pub(in crate::steps) fn feed(stdin: Stdin<'_>) -> Result<(File, Feeder)> {
    const FAILED: &str = "cannot make a pipe for the input of a command";
    let (reader, writer) = std::io::pipe().context(FAILED)?;
    let thread = match stdin {
        Stdin::Bytes(bytes) => {
            let bytes = bytes.to_vec();
            std::thread::spawn(move || write(writer, bytes.as_slice()))
        }
        Stdin::File { file, length } => {
            let content = Content { file: file.try_clone().context(FAILED)?, offset: 0 }.take(length);
            std::thread::spawn(move || write(writer, content))
        }
    };
    Ok((File::from(OwnedFd::from(reader)), Feeder(Some(thread))))
}

/// Writes a command's input. The command need not read it all: a closed pipe is no error. A failing disk looks like an
/// early end of the input.
fn write(mut pipe: PipeWriter, mut content: impl Read) {
    let mut piece = vec![0; PIECE];
    while let Ok(length @ 1..) = content.read(&mut piece) {
        if pipe.write_all(&piece[..length]).is_err() {
            return;
        }
    }
}

/// The file read at a place of its own: its position is shared by all who hold it.
struct Content {
    file: File,
    offset: u64,
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.file.read_at(buffer, self.offset)?;
        self.offset = self.offset.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, SeekFrom};

    use super::*;

    fn read(stdin: Stdin<'_>) -> Vec<u8> {
        let (mut input, feeder) = feed(stdin).unwrap();
        let mut all = Vec::new();
        input.read_to_end(&mut all).unwrap();
        drop(input);
        drop(feeder);
        all
    }

    #[test]
    fn all_of_it_comes_and_no_more() {
        let big: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        assert_eq!(read(Stdin::Bytes(&big)), big);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&big).unwrap();
        file.seek(SeekFrom::Start(17)).unwrap();
        let length = u64::try_from(big.len()).unwrap();
        assert_eq!(read(Stdin::File { file: &file, length }), big);
        // It has grown since the plugin opened it.
        assert_eq!(read(Stdin::File { file: &file, length: 5 }), &big[..5]);
        assert_eq!(file.stream_position().unwrap(), 17);
    }

    #[test]
    fn it_cannot_be_written_to() {
        let file = tempfile::tempfile().unwrap();
        let (input, feeder) = feed(Stdin::File { file: &file, length: 9 }).unwrap();
        let error = (&input).write_all(b"x").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::BADF.raw_os_error()));
        assert!(file.set_len(3).is_ok() && (&input).seek(SeekFrom::Start(0)).is_err());
        drop((input, feeder));
    }

    /// A file as long as no disk is fed as it is read, and whoever stops reading ends it.
    #[test]
    fn what_is_not_read_is_not_waited_for() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 40).unwrap();
        let (mut input, feeder) = feed(Stdin::File { file: &file, length: 1 << 40 }).unwrap();
        input.read_exact(&mut [1; 4096]).unwrap();
        drop(input);
        drop(feeder);
    }
}
