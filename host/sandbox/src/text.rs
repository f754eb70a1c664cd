//! Text for people: lengths, times, numbers, and what makes the text of others fit for a terminal.

mod printable;

use std::time::Duration;

pub use printable::{Printable, json, printable, shown};

/// Formats a duration: `0.4 s`, `12 s`, `3 min 07 s`.
pub fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    match whole {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{whole} s"),
        _ => format!("{} min {:02} s", whole / 60, whole % 60),
    }
}

/// Formats a number with its noun: `1 package`, `3 packages`. `noun` is the singular of a noun with the plural in `s`.
pub fn count<T: Copy + std::fmt::Display + PartialEq + From<u8>>(number: T, noun: &str) -> String {
    format!("{number} {noun}{}", if number == T::from(1) { "" } else { "s" })
}

/// Formats a length for people: `512 MiB`, `1.4 GiB`.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub fn bytes(length: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = length as f64;
    let mut unit = 0;
    // What would be rounded to 1024 is 1 of the next one.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimal = (value * 10.0).round() / 10.0;
    let value = if value >= 100.0 { value.round() } else { decimal };
    format!("{value} {}", UNITS[unit])
}

/// Returns a word as a shell takes it, to be copied from a hint.
pub fn shell_quoted(text: &str) -> String {
    format!("'{}'", printable(text).replace('\'', r"'\''"))
}

/// Breaks a text into lines of at most `width` characters, at spaces: the first begins with `first`, the others with `rest`.
/// A word that is longer than a line stays whole, to be copied.
pub fn wrapped(first: &str, rest: &str, text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line, mut is_empty) = (Vec::new(), first.to_owned(), true);
    for word in text.split(' ') {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::replace(&mut line, rest.to_owned()));
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines.push(line.trim_end().to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_times_and_numbers_read_well() {
        for (length, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1 << 20, "1 MiB"),
            ((1 << 20) - 1, "1 MiB"),
            (1_500_000_000, "1.4 GiB"),
            ((2 << 30) - (1 << 20), "2 GiB"),
            (512 << 20, "512 MiB"),
        ] {
            assert_eq!(bytes(length), text);
        }
        for (millis, text) in [(400, "0.4 s"), (12_000, "12 s"), (187_000, "3 min 07 s")] {
            assert_eq!(seconds(Duration::from_millis(millis)), text);
        }
        for (number, text) in [(0, "0 packages"), (1, "1 package"), (2, "2 packages")] {
            assert_eq!(count(number, "package"), text);
        }
    }
}
