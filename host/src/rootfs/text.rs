//! Texts of an image that are edited: what is no UTF-8, such as a name in Latin-1 from an older system, stays byte for byte. Pure.

use std::ops::RangeInclusive;

/// Stand for bytes that are no text: the last characters for private use, which no text has. One that has them all the same
/// is taken for bytes, too.
const STAND_INS: RangeInclusive<char> = '\u{10ff80}'..='\u{10ffff}';

fn stand_in(byte: u8) -> char {
    char::from_u32(0x10_ff00 | u32::from(byte)).expect("the range ends with the last character")
}

/// Returns the text that these bytes are, with stand-ins for bytes that are none.
pub fn decode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut buffer = [0; 4];
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match STAND_INS.contains(&character) {
                true => text.extend(character.encode_utf8(&mut buffer).bytes().map(stand_in)),
                false => text.push(character),
            }
        }
        text.extend(chunk.invalid().iter().map(|byte| stand_in(*byte)));
    }
    text
}

/// Returns the bytes of a text that [`decode`] gave, or that was made of one.
pub fn encode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut buffer = [0; 4];
    for character in text.chars() {
        match STAND_INS.contains(&character) {
            true => bytes.push(u32::from(character).to_le_bytes()[0]),
            false => bytes.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes()),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        let hidden = "a\u{10ff80}\u{10ffff}".as_bytes();
        for bytes in [&b"M\xfcller\n"[..], "Müller\n".as_bytes(), &all, b"\xc3", b"\xf4\x8f\xbf", hidden, b""] {
            assert_eq!(encode(&decode(bytes)), bytes, "{bytes:?}");
        }
        assert_eq!(decode("Müller".as_bytes()), "Müller");
        // No byte changes its neighbours' meaning.
        let passwd = decode(b"ann:x:1000:1000:M\xfcller:/home/ann:/bin/sh\n");
        assert_eq!(passwd.split(':').count(), 7);
        assert_eq!(encode(&passwd.replace("ann", "bob")), b"bob:x:1000:1000:M\xfcller:/home/bob:/bin/sh\n");
    }
}
