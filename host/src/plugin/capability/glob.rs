//! Globs within one segment, and sequences of segments with a wildcard for any number of them.

use std::fmt;

/// A pattern within one segment, whose characters the kind of capability has checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextGlob(String);

impl TextGlob {
    pub(super) fn new(pattern: &str) -> Self {
        Self(pattern.to_owned())
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        matches(&self.0, text)
    }

    /// Whether everything that `other` matches is matched by this one; errs on the side of no.
    pub(super) fn includes(&self, other: &Self) -> bool {
        includes(&self.0, &other.0)
    }
}

impl fmt::Display for TextGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `text` matches `pattern`, whose only wildcard is `*`: any text, nothing included.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pattern.contains('*').then(|| parts.next_back().unwrap_or_default()) else {
        return rest.is_empty();
    };
    for part in parts {
        // The earliest place leaves the most for what follows.
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Whether the absolute `path` matches `pattern`, in which `*` stays within a segment and `**` is any number of them.
pub(crate) fn matches_path(pattern: &str, path: &str) -> bool {
    let segments = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
    matches_all(&segments(pattern), &segments(path), &|segment, item: &String| matches(segment, item))
}

/// Whether everything `inner` matches is matched by `outer`; errs on the side of no.
pub(super) fn includes(outer: &str, inner: &str) -> bool {
    outer == "*" || outer == inner || (!inner.contains('*') && matches(outer, inner))
}

/// Whether a pattern of segments, in which `**` stands for any number of them, matches a sequence.
pub(super) fn matches_all<T>(pattern: &[String], items: &[T], one: &impl Fn(&str, &T) -> bool) -> bool {
    // `reach[i]`: the pattern so far matches the first `i` items. Linear space, no backtracking.
    let mut reach = vec![false; items.len() + 1];
    reach[0] = true;
    for segment in pattern {
        if segment == "**" {
            let from = reach.iter().position(|&is| is).unwrap_or(reach.len());
            reach[from..].fill(true);
        } else {
            for i in (0..items.len()).rev() {
                reach[i + 1] = reach[i] && one(segment, &items[i]);
            }
            reach[0] = false;
        }
    }
    reach[items.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text_within_the_segment() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "a", true),
            ("*.conf", "x.conf", true),
            ("*.conf", ".conf", true),
            ("a*a", "a", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXcYb", false),
            ("lib*", "li", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_wildcards_take_no_long_time() {
        let pattern: Vec<String> = std::iter::repeat_n(["**", "a"], 500).flatten().map(str::to_owned).collect();
        let items = vec!["a"; 499];
        assert!(!matches_all(&pattern, &items, &|pattern, item| matches(pattern, item)));
    }
}
