//! Writes requests to a server and parses its answers: packets with their lengths in front, of version 2 of git's
//! protocol (<https://git-scm.com/docs/protocol-v2>).

use std::io::{ErrorKind, Read, Write};

use super::object::{Format, ObjectId};
use super::{Answer, Fault, GitError};

/// Headers of a request. The version makes servers send a commit by its id, whether or not a branch leads to it.
pub(super) const HEADERS: [(&str, &str); 3] = [
    ("Git-Protocol", "version=2"),
    ("Content-Type", "application/x-git-upload-pack-request"),
    ("Accept", CONTENT_TYPE),
];

pub(super) const CONTENT_TYPE: &str = "application/x-git-upload-pack-result";

/// Longest packet, by the protocol; its length counts the four digits that tell it.
const LONGEST: usize = 65_520;

/// Most packets before the pack, and of words beside it.
const MAX_PACKETS: usize = 100_000;

/// Longest words of a server's that are kept.
const MAX_SAID: usize = 500;

/// Asks for one commit with its files and without its history.
pub(super) fn question(commit: &ObjectId) -> Vec<u8> {
    let mut text = packet("command=fetch");
    if commit.format() == Format::Sha256 {
        text += &packet("object-format=sha256");
    }
    text += "0001";
    for line in ["no-progress", "ofs-delta", "deepen 1", &format!("want {commit}"), "done"] {
        text += &packet(line);
    }
    (text + "0000").into_bytes()
}

fn packet(line: &str) -> String {
    format!("{:04x}{line}\n", line.len() + 5)
}

/// A packet of the protocol: <https://git-scm.com/docs/protocol-common#_pkt_line_format>.
enum Packet {
    Data(Vec<u8>),
    /// The end of a section, or of the answer.
    Mark,
}

fn other_words(cause: &str) -> GitError {
    GitError::new(Fault::Network, format!("the server does not speak version 2 of git's protocol: {cause}"))
}

fn broken(error: &std::io::Error) -> GitError {
    let cause = match error.kind() {
        ErrorKind::UnexpectedEof => "the answer ends too early".to_owned(),
        _ => format!("the answer cannot be read: {error}"),
    };
    GitError::new(Fault::Network, cause)
}

fn next(answer: &mut impl Read) -> Answer<Packet> {
    let mut digits = [0; 4];
    answer.read_exact(&mut digits).map_err(|error| broken(&error))?;
    let text = std::str::from_utf8(&digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let length = text.and_then(|text| usize::from_str_radix(text, 16).ok());
    match length.ok_or_else(|| other_words("a packet has no length"))? {
        0..=2 => Ok(Packet::Mark),
        3 => Err(other_words("a packet has the length 3")),
        length if length > LONGEST => Err(other_words("a packet is too long")),
        length => {
            let mut data = vec![0; length - digits.len()];
            answer.read_exact(&mut data).map_err(|error| broken(&error))?;
            Ok(Packet::Data(data))
        }
    }
}

/// Writes the pack in the answer to `out`.
pub(super) fn read(mut answer: impl Read, out: &mut impl Write, most: u64, commit: &ObjectId) -> Answer<()> {
    let mut words = 0;
    let mut count_word = || {
        words += 1;
        if words > MAX_PACKETS { Err(other_words("it says too much")) } else { Ok(()) }
    };
    // Which commits have no parents here is told first; it is known.
    loop {
        count_word()?;
        let Packet::Data(data) = next(&mut answer)? else { continue };
        let line = data.strip_suffix(b"\n").unwrap_or(&data);
        match line.strip_prefix(b"ERR ") {
            Some(said) => return Err(refusal(said, commit)),
            None if line == b"packfile" => break,
            None if line == b"shallow-info" || line.starts_with(b"shallow ") => {}
            None => return Err(other_words("it does not send a pack")),
        }
    }
    let mut size = 0;
    loop {
        let Packet::Data(data) = next(&mut answer)? else { return Ok(()) };
        match data.split_first() {
            Some((1, piece)) => {
                size += u64::try_from(piece.len()).unwrap_or(u64::MAX);
                if size > most {
                    let cause = format!("the commit takes more than {}", crate::ui::bytes(most));
                    return Err(GitError::new(Fault::Limit, cause));
                }
                out.write_all(piece).map_err(|error| GitError::io(&error))?;
            }
            Some((2, _)) => count_word()?,
            Some((3, said)) => return Err(refusal(said, commit)),
            _ => return Err(other_words("a piece of the pack is none")),
        }
    }
}

fn refusal(said: &[u8], commit: &ObjectId) -> GitError {
    let said = String::from_utf8_lossy(&said[..said.len().min(MAX_SAID)]).trim().to_owned();
    let error = if said.contains("not our ref") {
        GitError::new(Fault::NotFound, format!("the repository has no commit {commit}"))
    } else {
        GitError::new(Fault::Network, "the server refuses")
    };
    GitError { said: Some(said), ..error }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "ce013625030ba8dba906f756967f9e9ca394464a";

    fn read_all(answer: &str, most: u64) -> Result<String, GitError> {
        let mut out = Vec::new();
        read(answer.as_bytes(), &mut out, most, &ObjectId::parse(ID).unwrap())?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_question_names_one_commit() {
        let text = String::from_utf8(question(&ObjectId::parse(ID).unwrap())).unwrap();
        assert_eq!(
            text,
            format!(
                "0012command=fetch\n00010010no-progress\n000eofs-delta\n000ddeepen 1\n0032want {ID}\n0009done\n0000"
            )
        );
        let longer = String::from_utf8(question(&ObjectId::parse(&"ab".repeat(32)).unwrap())).unwrap();
        assert!(longer.starts_with("0012command=fetch\n0019object-format=sha256\n0001"), "{longer}");
    }

    #[test]
    fn the_pack_is_what_comes_on_the_first_band() {
        let shallow = format!("0011shallow-info\n0035shallow {ID}\n0001");
        let answer = format!("{shallow}000dpackfile\n0009\u{1}PACK0008\u{2}abc0007\u{1}xy0000");
        assert_eq!(read_all(&answer, 6).as_deref(), Ok("PACKxy"));
        let error = read_all(&answer, 5).unwrap_err();
        assert_eq!((error.fault, error.to_string().as_str()), (Fault::Limit, "the commit takes more than 5 B"));
    }

    #[test]
    fn what_is_no_answer_says_why() {
        for (answer, fault, cause) in [
            ("", Fault::Network, "the answer ends too early"),
            ("000dpackfile\n0009\u{1}PA", Fault::Network, "the answer ends too early"),
            ("000dpackfile\n0009\u{1}PACK", Fault::Network, "the answer ends too early"),
            ("<html>", Fault::Network, "a packet has no length"),
            ("+00d", Fault::Network, "a packet has no length"),
            ("0003", Fault::Network, "a packet has the length 3"),
            ("fff1", Fault::Network, "a packet is too long"),
            ("0008NAK\n", Fault::Network, "it does not send a pack"),
            ("000dpackfile\n0004", Fault::Network, "a piece of the pack is none"),
            ("000dpackfile\n0005\u{4}", Fault::Network, "a piece of the pack is none"),
            ("0014ERR no access \u{1b}[", Fault::Network, "the server refuses: `no access \\u{1b}["),
            ("000dpackfile\n0009\u{3}died", Fault::Network, "the server refuses: `died`"),
            ("0020ERR upload-pack: not our ref", Fault::NotFound, "the repository has no commit ce0136"),
        ] {
            let error = read_all(answer, 100).unwrap_err();
            assert_eq!(error.fault, fault, "{answer:?}: {error}");
            assert!(error.to_string().contains(cause), "{answer:?}: {error}");
        }
        let endless = "0006\u{2}x".repeat(MAX_PACKETS + 1);
        let error = read_all(&format!("000dpackfile\n{endless}0000"), 100).unwrap_err();
        assert!(error.to_string().contains("it says too much"), "{error}");
    }
}
