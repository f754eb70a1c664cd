//! Makes text of others (plugins, images, archives, recipes, servers) fit for a terminal. Invisible and moving
//! characters are escaped, so that no text can move the cursor, hide a part of a line or reorder it. See
//! <https://www.unicode.org/reports/tr36/>.
//!
//! Which characters these are is Unicode's to say, by property, in the tables of `icu_properties`: a list of one's own
//! misses the next one. A mark is shown where it stands on a letter: on anything else it would change what somebody else
//! wrote, such as the quotation mark before it.

use std::fmt::Write as _;
use std::path::Path;

use icu_properties::props::{BidiControl, DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};
use serde::Serialize;

/// Returns whether a character shows itself and nothing else.
fn is_plain(c: char) -> bool {
    // Nearly all text, and no table.
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    let is_hidden = CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        || CodePointSetData::new::<BidiControl>().contains(c);
    let is_nothing = match CodePointMapData::<GeneralCategory>::new().get(c) {
        GeneralCategory::Control
        | GeneralCategory::Format
        | GeneralCategory::LineSeparator
        | GeneralCategory::ParagraphSeparator
        // A space that is none of the usual width or meaning: `--grant` and what follows look like one word, or two.
        | GeneralCategory::SpaceSeparator
        // What a font makes of it is its own affair; what is not assigned yet may be any of these one day.
        | GeneralCategory::PrivateUse
        | GeneralCategory::Unassigned
        | GeneralCategory::Surrogate => true,
        // A letter of dots, all of which are missing: a blank by another name.
        _ => c == '\u{2800}',
    };
    !is_hidden && !is_nothing
}

/// Marks on one letter: no writing has more, and a heap of them covers the lines above and below.
const MOST_MARKS: usize = 6;

/// Tells marks on letters from those that would be drawn onto what somebody else wrote.
#[derive(Debug, Default)]
struct Marks {
    /// Number of combining characters that may still follow.
    room: usize,
}

impl Marks {
    /// Returns whether `c` stands for itself where it is: plain, and no mark that has no letter of its own.
    fn are_plain_with(&mut self, c: char) -> bool {
        let category = CodePointMapData::<GeneralCategory>::new().get(c);
        let is_mark = matches!(category, GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark);
        let has_letter = self.room > 0;
        self.room = match category {
            _ if is_mark => self.room.saturating_sub(1),
            GeneralCategory::SpacingMark => MOST_MARKS,
            _ if c.is_alphanumeric() => MOST_MARKS,
            _ => 0,
        };
        is_plain(c) && (has_letter || !is_mark)
    }
}

/// Returns the text on one line, with what is not plain as `\u{…}`.
pub fn printable(text: &str) -> String {
    let mut marks = Marks::default();
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if marks.are_plain_with(c) {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
        out
    })
}

/// Paths in messages. The user's own may have a line break in it; `Path::display`, which shows that as it is, is disallowed.
pub trait Printable {
    /// Returns it as [`printable`] does; what is not UTF-8 is shown as `\u{fffd}` is.
    fn printable(&self) -> String;
}

impl Printable for Path {
    fn printable(&self) -> String {
        printable(&self.to_string_lossy())
    }
}

/// Beginnings of piimg's own lines.
const LABELS: [&str; 4] = ["error:", "warning:", "hint:", "caused by:"];

/// Longest line in a message, in characters. A longer one is somebody's whole file, and hides the cause.
const LONGEST_LINE: usize = 4000;

/// Returns the line, with its middle left out if it is too long: the beginning says what it is about, and the end often
/// why.
fn bounded(line: &str) -> String {
    let count = line.chars().count();
    if count <= LONGEST_LINE {
        return line.to_owned();
    }
    let half = LONGEST_LINE / 2;
    let (start, end) = (line.chars().take(half), line.chars().skip(count - half));
    format!("{} … ({} more) … {}", start.collect::<String>(), count - 2 * half, end.collect::<String>())
}

/// Makes text of several lines printable, each of bounded length. Marks a later line that begins like one of piimg's
/// own: a name with a line break could imitate it.
pub fn shown(text: &str) -> String {
    let is_forged = |line: &str| LABELS.iter().any(|label| line.trim_start().starts_with(label));
    let mark = |(at, line): (usize, &str)| match bounded(&printable(line)) {
        line if at > 0 && is_forged(&line) => format!("  | {line}"),
        line => line,
    };
    text.lines().enumerate().map(mark).collect::<Vec<_>>().join("\n")
}

/// Returns a value as JSON with several lines, in which strings have the escapes of JSON for what is not plain: any
/// program reads the same strings from it.
///
/// # Errors
/// If the value has no form in JSON.
pub fn json(value: &impl Serialize) -> serde_json::Result<String> {
    // Nothing but strings has any such character, line breaks between values aside.
    let text = serde_json::to_string_pretty(value)?;
    let mut marks = Marks::default();
    Ok(text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if marks.are_plain_with(c) || c == '\n' {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").expect("writing to a string");
            }
        }
        out
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_escaped() {
        assert_eq!(printable("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(printable("x\u{202e}y\nz"), "x\\u{202e}y\\u{a}z");
        for text in
            ["Grüße", "naïve", "日本語", "русский", "עברית", "العربية", "한국어", "🎃", "e\u{301}", "a b", "→ ✓ …"]
        {
            assert_eq!(printable(text), text);
        }
    }

    #[test]
    fn a_line_of_others_is_not_taken_for_one_of_piimg() {
        let text = "cannot read `x\n  hint: run this\nwarning: no\n  /etc/x added`";
        assert_eq!(shown(text), "cannot read `x\n  |   hint: run this\n  | warning: no\n  /etc/x added`");
        assert_eq!(shown("hint: the first line is piimg's"), "hint: the first line is piimg's");
    }

    #[test]
    fn a_line_of_a_message_has_an_end() {
        let line = format!("`{}` is too long", "a=[".repeat(50_000));
        let said = shown(&format!("{line}\nand so on"));
        assert!(said.starts_with("`a=[a=[") && said.ends_with("` is too long\nand so on"), "{said}");
        assert!(said.contains(" … (146014 more) … ") && said.len() < 4100, "{said}");
        assert_eq!(shown(&"x".repeat(LONGEST_LINE)), "x".repeat(LONGEST_LINE));
    }

    #[test]
    fn a_mark_stands_on_a_letter_of_its_own_text() {
        for text in
            ["हिन्दी", "ที่นี่", "བརྒྱད་", "e\u{302}\u{301}", "مَرْحَبًا", "שָׁלוֹם", "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}"]
        {
            assert_eq!(printable(text), text);
        }
        for (text, expected) in [
            ("\u{338}", "\\u{338}"),
            ("/\u{338}etc", "/\\u{338}etc"),
            ("a \u{20e3}", "a \\u{20e3}"),
            ("-\u{301}\u{301}", "-\\u{301}\\u{301}"),
        ] {
            assert_eq!(printable(text), expected);
        }
        let heap = format!("a{}", "\u{30d}".repeat(MOST_MARKS + 2));
        let expected = format!("a{}{}", "\u{30d}".repeat(MOST_MARKS), "\\u{30d}".repeat(2));
        assert_eq!(printable(&heap), expected);
        assert!(json(&["\u{338}x"]).unwrap().contains(r#""\u0338x""#));
    }

    #[test]
    fn whatever_cannot_be_seen_is_escaped() {
        for c in [
            '\u{0}',
            '\t',
            '\r',
            '\u{7f}',
            '\u{85}',
            '\u{9b}',
            '\u{a0}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{1160}',
            '\u{1680}',
            '\u{17b4}',
            '\u{17b5}',
            '\u{180b}',
            '\u{180e}',
            '\u{180f}',
            '\u{2003}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{202f}',
            '\u{205f}',
            '\u{2060}',
            '\u{2061}',
            '\u{2064}',
            '\u{2065}',
            '\u{2066}',
            '\u{2069}',
            '\u{206a}',
            '\u{206f}',
            '\u{2800}',
            '\u{3000}',
            '\u{3164}',
            '\u{e000}',
            '\u{fe00}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff0}',
            '\u{fff8}',
            '\u{fff9}',
            '\u{fffb}',
            '\u{1bca0}',
            '\u{1d173}',
            '\u{1d17a}',
            '\u{e0000}',
            '\u{e0001}',
            '\u{e0020}',
            '\u{e007f}',
            '\u{e0100}',
            '\u{e01ef}',
            '\u{e0fff}',
            '\u{f0000}',
            '\u{10ffff}',
        ] {
            assert_eq!(printable(&format!("a{c}b")), format!("a{}b", c.escape_unicode()));
        }
    }

    /// Found a second time, over all characters there are.
    #[test]
    fn no_character_of_these_properties_is_let_through() {
        for c in '\u{0}'..=char::MAX {
            let hidden = CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
                || CodePointSetData::new::<BidiControl>().contains(c)
                || c.is_control()
                || c.is_whitespace() && c != ' ';
            assert!(!hidden || printable(&c.to_string()) == c.escape_unicode().to_string(), "{c:?}");
        }
    }

    #[test]
    fn json_says_the_same_and_hides_nothing() {
        let texts = ["x\u{202e}y", "tab\t\u{1b}\n\"quoted\"\\", "\u{e0041}", "Grüße 🎃", "\u{2028}\u{feff}"];
        let value = serde_json::json!({ "te\u{200b}xts": texts, "number": 1 });
        let text = json(&value).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        assert!(text.lines().all(|line| printable(line) == line), "{text}");
        assert!(
            text.contains(r#""x\u202ey""#) && text.contains(r#""\udb40\udc41""#) && text.contains("Grüße 🎃"),
            "{text}"
        );
    }
}
