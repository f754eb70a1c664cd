//! The plainest ways to an answer, and how inputs are cut into choices.

use arbitrary::{Result, Unstructured};

/// Returns whether a pattern, whose only wildcard is `*`, matches a text: by trying everything.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    fn from(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skip| from(rest, &text[skip..])),
            Some((c, rest)) => text.first() == Some(c) && from(rest, &text[1..]),
        }
    }
    from(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>())
}

/// Matches segments, of which `**` stands for any number.
pub(super) fn segments<P: AsRef<str>, T: AsRef<str>>(pattern: &[P], items: &[T]) -> bool {
    match pattern.split_first() {
        None => items.is_empty(),
        Some((first, rest)) if first.as_ref() == "**" => (0..=items.len()).any(|skip| segments(rest, &items[skip..])),
        Some((first, rest)) => {
            items.first().is_some_and(|item| glob(first.as_ref(), item.as_ref())) && segments(rest, &items[1..])
        }
    }
}

/// Chooses some of these words, one after the other.
pub(super) fn words<'a>(input: &mut Unstructured<'_>, from: &[&'a str], most: usize) -> Result<Vec<&'a str>> {
    let count = input.int_in_range(0..=most)?;
    (0..count).map(|_| input.choose(from).copied()).collect()
}

/// Chooses one of these words, or, now and then, any text at all.
pub(super) fn word(input: &mut Unstructured<'_>, from: &[&str]) -> Result<String> {
    if input.ratio(1, 8)? {
        return Ok(input.arbitrary::<&str>()?.to_owned());
    }
    Ok((*input.choose(from)?).to_owned())
}

/// Returns the rest of the input, or nothing if it is no text.
pub(super) fn rest<'a>(input: &mut Unstructured<'a>) -> &'a str {
    let left = input.bytes(input.len()).unwrap_or_default();
    std::str::from_utf8(left).unwrap_or_default()
}

/// Runs a property over an input that is cut into choices; one that is too short comes to nothing.
pub(super) fn choices(data: &[u8], check: impl FnOnce(&mut Unstructured<'_>) -> Result<bool>) -> bool {
    check(&mut Unstructured::new(data)).unwrap_or(false)
}

/// Returns the input as text.
pub(super) fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// Checks that what is shown to people neither steers their terminals nor is endless.
#[track_caller]
pub(super) fn assert_printable(message: &str) {
    assert_eq!(piimg::ui::printable(message), message, "a message that steers a terminal");
    assert!(message.len() < 100_000, "a message of {} bytes", message.len());
}
