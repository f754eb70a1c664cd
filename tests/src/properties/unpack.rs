//! Compressed files: whatever is in one, unpacking ends where its taker says, and at the latest where the file does.

use std::io::Write;

use piimg::image::source::{recognise, unpack};

use super::patched::file;

/// Bytes that are taken.
const MOST: usize = 1 << 20;

struct Bounded(usize);

impl Write for Bounded {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(data.len()).ok_or_else(|| std::io::Error::other("that is enough"))?;
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(super) fn check(data: &[u8]) -> bool {
    let file = file(data);
    // Whatever it is said to be.
    recognise(&file).ok();
    let mut out = Bounded(MOST);
    unpack(&file, &mut out).is_ok() && out.0 < MOST
}
