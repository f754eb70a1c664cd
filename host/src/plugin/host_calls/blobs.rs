//! Implements `blobs`: content on the host's side with a number. The number is untrusted and looked up.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;

use sha2::{Digest as _, Sha256};

use super::Answer;
use crate::plugin::workbench::{CallError, ErrorCode};

/// Most bytes in one call.
pub(super) const MAX_CONTENT: usize = 4 << 20;
/// Most bytes that one `read` returns.
const MAX_READ: u32 = 1 << 20;
/// Most blobs at a time.
const MAX_BLOBS: usize = 1000;
/// Most bytes at a time that came from plugins' memory.
const MAX_BYTES: usize = 64 << 20;

/// Content that does not change.
#[derive(Debug)]
pub(super) enum Blob {
    Bytes(Vec<u8>),
    /// A regular file and its size when it was opened.
    File(File, u64),
}

impl Blob {
    pub(super) fn file(file: File) -> Answer<Self> {
        let size = file.metadata().map_err(|error| io(&error))?.len();
        Ok(Self::File(file, size))
    }

    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Bytes(data) => u64::try_from(data.len()).unwrap_or(u64::MAX),
            Self::File(_, size) => *size,
        }
    }

    pub(super) fn digest(&self) -> Answer<String> {
        let mut hash = Sha256::new();
        match self {
            Self::Bytes(data) => hash.update(data),
            Self::File(file, size) => {
                let mut reader = At { file, offset: 0 }.take(*size);
                std::io::copy(&mut reader, &mut hash).map_err(|error| io(&error))?;
            }
        }
        Ok(format!("sha256:{:x}", hash.finalize()))
    }

    /// Returns a file with the content.
    pub(super) fn to_file(&self) -> Answer<File> {
        let file = match self {
            Self::Bytes(data) => tempfile::tempfile().and_then(|mut file| file.write_all(data).map(|()| file)),
            Self::File(file, _) => file.try_clone(),
        };
        file.map_err(|error| io(&error))
    }

    pub(super) fn read(&self, offset: u64, length: u32) -> Answer<Vec<u8>> {
        let length = usize::try_from(length.min(MAX_READ)).map_err(|_| too_big())?;
        match self {
            Self::Bytes(data) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
                Ok(data[start..data.len().min(start + length)].to_vec())
            }
            Self::File(file, size) => {
                let mut data = Vec::new();
                let limit = u64::try_from(length).map_err(|_| too_big())?.min(size.saturating_sub(offset));
                At { file, offset }.take(limit).read_to_end(&mut data).map_err(|error| io(&error))?;
                Ok(data)
            }
        }
    }
}

/// Reads from a place of its own: the file's own position is shared by all who hold it.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl std::io::Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset = self.offset.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}

fn io(error: &std::io::Error) -> CallError {
    CallError::new(ErrorCode::Io, format!("cannot read the content: {error}"))
}

fn too_big() -> CallError {
    CallError::new(ErrorCode::Limit, format!("at most {MAX_CONTENT} bytes travel in one call"))
}

/// # Errors
/// [`ErrorCode::Limit`] for more than one call may carry.
pub(super) fn check_size(data: &[u8]) -> Answer<()> {
    if data.len() > MAX_CONTENT { Err(too_big()) } else { Ok(()) }
}

/// The blobs of one run.
#[derive(Debug, Default)]
pub(in crate::plugin) struct Blobs {
    next: u32,
    held: BTreeMap<u32, Blob>,
    bytes: usize,
}

impl Blobs {
    pub(super) fn add(&mut self, blob: Blob) -> Answer<u32> {
        if self.held.len() >= MAX_BLOBS {
            return Err(CallError::new(ErrorCode::Limit, format!("at most {MAX_BLOBS} blobs can be held at a time")));
        }
        // Numbers are never used twice, so that a stale one finds nothing.
        self.next =
            self.next.checked_add(1).ok_or_else(|| CallError::new(ErrorCode::Limit, "no number is left for a blob"))?;
        self.held.insert(self.next, blob);
        Ok(self.next)
    }

    pub(super) fn add_bytes(&mut self, data: Vec<u8>) -> Answer<u32> {
        check_size(&data)?;
        let bytes = self.bytes + data.len();
        if bytes > MAX_BYTES {
            return Err(CallError::new(
                ErrorCode::Limit,
                format!("at most {MAX_BYTES} bytes can be held in blobs at a time"),
            ));
        }
        let number = self.add(Blob::Bytes(data))?;
        self.bytes = bytes;
        Ok(number)
    }

    pub(super) fn get(&self, number: u32) -> Answer<&Blob> {
        self.held.get(&number).ok_or_else(|| CallError::new(ErrorCode::Invalid, "there is no such blob"))
    }

    pub(super) fn remove(&mut self, number: u32) {
        if let Some(Blob::Bytes(data)) = self.held.remove(&number) {
            self.bytes -= data.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_read_in_pieces_and_counted() {
        let mut blobs = Blobs::default();
        let number = blobs.add_bytes(b"hello".to_vec()).unwrap();
        let blob = blobs.get(number).unwrap();
        assert_eq!((blob.size(), blob.read(1, 3).unwrap(), blob.read(9, 3).unwrap()), (5, b"ell".to_vec(), vec![]));
        assert_eq!(blob.digest().unwrap(), "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
        blobs.remove(number);
        assert_eq!(blobs.get(number).unwrap_err().message, "there is no such blob");
        for _ in 0..16 {
            blobs.add_bytes(vec![0; MAX_CONTENT]).unwrap();
        }
        assert_eq!(blobs.add_bytes(vec![0]).unwrap_err().code, ErrorCode::Limit);
    }

    #[test]
    fn a_file_is_read_at_its_own_place() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"hello", 0).unwrap();
        let blob = Blob::file(file).unwrap();
        assert_eq!((blob.read(1, 3).unwrap(), blob.read(0, 9).unwrap()), (b"ell".to_vec(), b"hello".to_vec()));
        assert!(blob.digest().unwrap().starts_with("sha256:2cf24dba"));
        // What a file has grown by since is no part of it.
        let Blob::File(file, _) = &blob else { panic!("it was made of a file") };
        file.write_all_at(b"!", 5).unwrap();
        assert_eq!((blob.size(), blob.read(4, 9).unwrap(), blob.read(5, 9).unwrap()), (5, b"o".to_vec(), Vec::new()));
        assert!(blob.digest().unwrap().starts_with("sha256:2cf24dba"));
    }
}
