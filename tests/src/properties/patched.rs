//! Bytes that are right but for what an input changes: of bytes by chance alone hardly any would be looked at twice.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// Applies an input, which is a list of changes: two bytes that say where, and one that says what is there then. Places
/// come in two sizes, so that an input can reach the first bytes as easily as all others.
pub(super) fn patched(whole: &[u8], input: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for change in input.chunks_exact(3) {
        let place = usize::from(u16::from_le_bytes([change[0], change[1]]));
        let place = if place & 1 == 0 { (place >> 1) % 512 } else { place >> 1 };
        if let Some(byte) = bytes.get_mut(place) {
            *byte = change[2];
        }
    }
    bytes
}

/// Makes a file of these bytes.
pub(super) fn file(bytes: &[u8]) -> File {
    let file = tempfile::tempfile().expect("a file can be made");
    file.write_all_at(bytes, 0).expect("it can be written");
    file
}
