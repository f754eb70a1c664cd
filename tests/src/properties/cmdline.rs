//! Edits of cmdline.txt: one parameter changes, the others and what follows stay.

use piimg::rootfs::cmdline::Cmdline;

use super::naive::{choices, rest, word, words};

const PIECES: [&str; 20] = [
    "quiet",
    " ",
    "  ",
    "root=x ",
    "a=1 ",
    "a-b=2 ",
    "a_b=3 ",
    "a=\"b c\" ",
    "\"",
    " -- ",
    "--",
    " init ",
    "\n",
    "\r\n",
    "console=tty0 ",
    "console=tty1",
    "\t",
    "\u{a0}",
    "=",
    "é ",
];
const PARAMETERS: [&str; 12] =
    ["quiet", "a=2", "a", "a-b", "a_b=4", "console=tty0", "root=y", "rw", "a=\"x", "x y", "-a", "init=/bin/sh"];

/// Reads the kernel's own parameters, of the first line.
fn read(text: &str) -> Vec<String> {
    let line = text.split(['\n', '\r']).next().unwrap_or_default();
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        if c == '"' {
            quoted = !quoted;
        }
        if c.is_ascii_whitespace() && !quoted {
            words.push(std::mem::take(&mut word));
        } else {
            word.push(c);
        }
    }
    words.push(word);
    words.into_iter().filter(|word| !word.is_empty()).take_while(|word| word != "--").collect()
}

fn name(parameter: &str) -> String {
    parameter.split('=').next().unwrap_or_default().replace('-', "_")
}

/// Returns the text from the first `--` that stands alone, and the other lines.
fn tail(text: &str) -> String {
    let line_end = text.find(['\n', '\r']).unwrap_or(text.len());
    let mut quoted = false;
    let is_end = |at: usize, quoted: bool| {
        !quoted
            && text[at..].starts_with("--")
            && text[..at].chars().next_back().is_none_or(|c| c.is_ascii_whitespace())
            && text[at + 2..].chars().next().is_none_or(|c| c.is_ascii_whitespace())
    };
    for (at, c) in text[..line_end].char_indices() {
        if is_end(at, quoted) {
            return text[at..].to_owned();
        }
        quoted ^= c == '"';
    }
    text[line_end..].to_owned()
}

pub(super) fn check(data: &[u8]) -> bool {
    choices(data, |input| {
        let step = input.int_in_range(0..=2)?;
        let mut parameter = word(input, &PARAMETERS)?;
        if step == 2 {
            // It is by name that parameters are removed.
            parameter.truncate(parameter.find('=').unwrap_or(parameter.len()));
        }
        let mut text = words(input, &PIECES, 12)?.concat();
        text.push_str(rest(input));
        let mut line = Cmdline::parse(&text);
        assert_eq!(line.print(), text);
        let old = read(&text);
        let meant = name(&parameter);
        let is_meant = |known: &&String| name(known) == meant;
        let result = match step {
            0 => line.set(&parameter).map(|()| vec![parameter.clone()]),
            1 => line.add(&parameter).map(|added| {
                let known: Vec<String> = old.iter().filter(is_meant).cloned().collect();
                assert_eq!(added, !known.contains(&parameter), "{text:?} and {parameter:?}");
                known.into_iter().chain(added.then(|| parameter.clone())).collect()
            }),
            _ => line.remove(&parameter).map(|count| {
                assert_eq!(count, old.iter().filter(is_meant).count(), "{text:?} without {parameter:?}");
                Vec::new()
            }),
        };
        let new = line.print();
        let Ok(expected) = result else {
            assert_eq!(new, text, "what fails changes nothing");
            return Ok(false);
        };
        let words = read(&new);
        assert_eq!(words.iter().filter(is_meant).cloned().collect::<Vec<_>>(), expected, "{text:?} is {new:?}");
        let others =
            |words: &[String]| words.iter().filter(|known| name(known) != meant).cloned().collect::<Vec<String>>();
        assert_eq!(others(&words), others(&old), "{text:?} with {parameter:?} is {new:?}");
        assert_eq!(tail(&new), tail(&text), "{text:?} with {parameter:?} is {new:?}");
        assert_eq!(Cmdline::parse(&new), line, "it is read as it is printed");
        Ok(new != text)
    })
}
