//! A plugin that brings an archive: the guest `archives`, into which a test writes which one.

use std::path::Path;

/// The line of the guest's text by which it is found, and the length of the text.
const MARK: &[u8] = b"piimg: the archive that a test brings\n";
const LENGTH: usize = 6000;

/// Writes `archives.wasm` into the directory: a plugin that brings the archive that `words` describe (name, address, suite
/// and component), with these fingerprints and keys, and lists the package `robot-tool`.
///
/// # Panics
/// If the text is too long, or the guest was not built.
pub fn bring(directory: &Path, words: &str, fingerprints: &[String], keys: &[u8]) {
    let mut component = std::fs::read(crate::guest("archives")).expect("the guest was built");
    let at = component.windows(MARK.len()).position(|window| window == MARK).expect("the guest holds the line");
    let mut text = [MARK, format!("{words}\n{}\n", fingerprints.join(" ")).as_bytes(), keys].concat();
    assert!(text.len() <= LENGTH);
    text.resize(LENGTH, b'\n');
    component[at..at + LENGTH].copy_from_slice(&text);
    std::fs::write(directory.join("archives.wasm"), component).expect("a directory of the test can be written to");
}
