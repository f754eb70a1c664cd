//! Changes of text, without the image: each returns the new text, or nothing if there is nothing to change. They go
//! with [`crate::fs::edit`].

/// Replaces every occurrence of a text, literally.
///
/// ```
/// use piimg_plugin_sdk::text;
///
/// assert_eq!(text::replaced("old, old", "old", "new").as_deref(), Some("new, new"));
/// ```
#[must_use]
pub fn replaced(text: &str, old: &str, new: &str) -> Option<String> {
    let changed = (!old.is_empty()).then(|| text.replace(old, new))?;
    (changed != text).then_some(changed)
}

/// Adds a line at the end unless it is there.
///
/// ```
/// use piimg_plugin_sdk::text;
///
/// assert_eq!(text::with_line("a\n", "b").as_deref(), Some("a\nb\n"));
/// assert_eq!(text::with_line("a\n", "a"), None);
/// ```
#[must_use]
pub fn with_line(text: &str, line: &str) -> Option<String> {
    (!text.lines().any(|it| it == line)).then(|| joined(text.lines().chain([line])))
}

/// Activates a line that is commented out, `#line` or `# line`, or adds it at the end.
///
/// ```
/// use piimg_plugin_sdk::text;
///
/// assert_eq!(text::uncommented("# en_GB.UTF-8 UTF-8\n", "en_GB.UTF-8 UTF-8").as_deref(), Some("en_GB.UTF-8 UTF-8\n"));
/// ```
#[must_use]
pub fn uncommented(text: &str, line: &str) -> Option<String> {
    if text.lines().any(|it| it == line) {
        return None;
    }
    let is_it = |it: &str| it.strip_prefix('#').is_some_and(|rest| rest.trim() == line);
    match text.lines().position(is_it) {
        Some(at) => Some(joined(text.lines().enumerate().map(|(n, it)| if n == at { line } else { it }))),
        None => with_line(text, line),
    }
}

/// Gives an option its only value in a file of lines `key=value` (or with another separator, such as a space). The line
/// takes the place of the first one with that key, else of one that is commented out (`#key=…`), else it is the last.
///
/// ```
/// use piimg_plugin_sdk::text;
///
/// assert_eq!(text::with_option("#Port=22\n", "Port", '=', "2222").as_deref(), Some("Port=2222\n"));
/// ```
#[must_use]
pub fn with_option(text: &str, key: &str, separator: char, value: &str) -> Option<String> {
    let has_key = |line: &str| {
        line.strip_prefix(key).is_some_and(|rest| {
            rest.trim_start_matches([' ', '\t']).starts_with(separator) || rest.starts_with(separator)
        })
    };
    let active = |line: &str| has_key(line.trim_start());
    let new = format!("{key}{separator}{value}");
    let place = text
        .lines()
        .position(active)
        .or_else(|| text.lines().position(|line| line.strip_prefix('#').is_some_and(has_key)));
    let Some(place) = place else {
        return with_line(text, &new);
    };
    let lines = text.lines().enumerate();
    let kept = lines.filter(|(at, line)| *at == place || !active(line));
    let changed = joined(kept.map(|(at, line)| if at == place { new.as_str() } else { line }));
    (changed != text).then_some(changed)
}

/// Returns whether a text can be a part of any file's name and of any line: letters, digits, `_` and `-`.
pub(crate) fn is_plain_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|it| it.is_ascii_alphanumeric() || it == '_' || it == '-')
}

fn joined<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_replaced_wherever_it_is() {
        assert_eq!(replaced("a b a", "a", "c").as_deref(), Some("c b c"));
        assert_eq!(replaced("a b a", "x", "c"), None);
        assert_eq!(replaced("a b a", "", "c"), None);
        assert_eq!(replaced("a", "a", "a"), None);
    }

    #[test]
    fn a_line_is_added_once() {
        assert_eq!(with_line("", "i2c-dev").as_deref(), Some("i2c-dev\n"));
        assert_eq!(with_line("loop", "i2c-dev").as_deref(), Some("loop\ni2c-dev\n"));
        assert_eq!(with_line("i2c-dev\nloop\n", "i2c-dev"), None);
        assert_eq!(with_line("i2c-dev-x\n", "i2c-dev").as_deref(), Some("i2c-dev-x\ni2c-dev\n"));
    }

    #[test]
    fn a_comment_becomes_a_line() {
        let text = "# en_GB ISO-8859-1\n# en_GB.UTF-8 UTF-8\n";
        assert_eq!(uncommented(text, "en_GB.UTF-8 UTF-8").as_deref(), Some("# en_GB ISO-8859-1\nen_GB.UTF-8 UTF-8\n"));
        assert_eq!(uncommented("#x\nx\n", "x"), None);
        assert_eq!(uncommented("# a\n", "x").as_deref(), Some("# a\nx\n"));
    }

    #[test]
    fn an_option_has_one_value() {
        for (text, separator, expected) in [
            ("", '=', Some("key=new\n")),
            ("a=1\nkey=old\nb=2\nkey=older\n", '=', Some("a=1\nkey=new\nb=2\n")),
            ("#key=old\nb=2\n", '=', Some("key=new\nb=2\n")),
            // A comment before the line that counts is left alone.
            ("#key=default\nkey=old\n", '=', Some("#key=default\nkey=new\n")),
            ("key = old\n", '=', Some("key=new\n")),
            ("# key is a word of prose\n", ' ', Some("# key is a word of prose\nkey new\n")),
            ("key old\n", ' ', Some("key new\n")),
            ("keys=1\n", '=', Some("keys=1\nkey=new\n")),
            ("key=new\n", '=', None),
        ] {
            assert_eq!(with_option(text, "key", separator, "new").as_deref(), expected, "{text:?}");
        }
    }
}
