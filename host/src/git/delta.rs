//! Deltas of git's packs: an object told by what it has in common with another. Pure.

/// Applies `delta` to `base` (<https://git-scm.com/docs/pack-format#_deltified_representation>). Returns `None` for a
/// malformed delta, a wrong length of `base`, or a result of more than `most` bytes.
pub(super) fn apply(base: &[u8], delta: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut rest = delta;
    let from = usize::try_from(number(&mut rest)?).ok()?;
    let to = usize::try_from(number(&mut rest)?).ok()?;
    if from != base.len() || to > most {
        return None;
    }
    let mut made = Vec::with_capacity(to);
    while let Some((&code, after)) = rest.split_first() {
        rest = after;
        let piece = if code & 0x80 == 0 {
            // As many bytes follow. None is reserved.
            let (piece, after) = rest.split_at_checked(usize::from(code)).filter(|_| code != 0)?;
            rest = after;
            piece
        } else {
            let offset = sparse(code, 0..4, &mut rest)?;
            let length = match sparse(code, 4..7, &mut rest)? {
                0 => 0x1_0000,
                length => length,
            };
            base.get(offset..offset.checked_add(length)?)?
        };
        if piece.len() > to - made.len() {
            return None;
        }
        made.extend_from_slice(piece);
    }
    (made.len() == to).then_some(made)
}

/// Decodes a number of seven bits a byte, the lowest first; the highest bit says that more follow.
pub(super) fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Returns a number of which only the bytes that are not zero are there; the bits of `code` say which.
fn sparse(code: u8, bits: std::ops::Range<u32>, rest: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for (place, bit) in bits.enumerate() {
        if code & (1 << bit) != 0 {
            let (&byte, after) = rest.split_first()?;
            *rest = after;
            value |= usize::from(byte) << (8 * place);
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_the_base_and_new_ones_are_put_together() {
        let base = b"hello, world";
        for (delta, made) in [
            (&b"\x0c\x05\x90\x05"[..], Some(&b"hello"[..])),
            (b"\x0c\x05\x91\x07\x05", Some(b"world")),
            (b"\x0c\x06\x90\x05\x01!", Some(b"hello!")),
            (b"\x0c\x00", Some(b"")),
            // Another base, a length that is not kept, a piece beyond the end, a reserved code, an end too early.
            (b"\x0b\x05\x90\x05", None),
            (b"\x0c\x06\x90\x05", None),
            (b"\x0c\x04\x90\x05", None),
            (b"\x0c\x05\x91\x08\x05", None),
            (b"\x0c\x00\x00", None),
            (b"\x0c\x05\x91\x07", None),
            (b"\x0c\x05\x05hell", None),
            (b"\x0c", None),
            (b"", None),
            // Longer than any number, and more than is taken.
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", None),
            (b"\x0c\x65\x90\x05", None),
        ] {
            assert_eq!(apply(base, delta, 100).as_deref(), made, "{delta:?}");
        }
        // Without a length, a piece has 64 KiB.
        let long = vec![b'x'; 0x1_0000];
        assert_eq!(apply(&long, b"\x80\x80\x04\x80\x80\x04\x80", 0x1_0000), Some(long.clone()));
    }
}
