//! Matches globs: `*` within one segment of a path or name, and `**` for any number of segments. Pure.

/// Returns whether `text` matches `pattern`, whose only wildcard is `*`: any text, nothing included.
pub fn matches(pattern: &str, text: &str) -> bool {
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

/// Returns whether the absolute `path` matches `pattern`, in which `*` stays within a segment and `**` is any number of
/// them.
pub fn matches_path(pattern: &str, path: &str) -> bool {
    let segments = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
    matches_all(&segments(pattern), &segments(path), &|segment, item: &String| matches(segment, item))
}

/// Returns whether some path matches both patterns; each is as in [`matches_path`].
pub fn meets_path(one: &str, other: &str) -> bool {
    let (one, other): (Vec<&str>, Vec<&str>) = (one.split('/').collect(), other.split('/').collect());
    meets_all(&one, &other, |segment| *segment == "**", |one, other| meets(one, other))
}

/// Returns whether some text matches both patterns.
fn meets(one: &str, other: &str) -> bool {
    if !one.contains('*') || !other.contains('*') {
        return matches(one, other) || matches(other, one);
    }
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    meets_all(&one, &other, |letter| *letter == '*', |one, other| one == other)
}

/// Returns whether some sequence matches both patterns: `is_any` tells the parts that stand for any number of items,
/// and `meet` whether one item can match both of two others.
fn meets_all<T>(one: &[T], other: &[T], is_any: impl Fn(&T) -> bool, meet: impl Fn(&T, &T) -> bool) -> bool {
    // `reach[j]`: what is left of `one` and `other[j..]` meet. From the ends, so that each pair is looked at once.
    let mut reach = vec![false; other.len() + 1];
    reach[other.len()] = true;
    for j in (0..other.len()).rev() {
        reach[j] = is_any(&other[j]) && reach[j + 1];
    }
    for item in one.iter().rev() {
        let mut next = vec![false; other.len() + 1];
        next[other.len()] = is_any(item) && reach[other.len()];
        for j in (0..other.len()).rev() {
            next[j] = if is_any(item) || is_any(&other[j]) {
                reach[j] || next[j + 1]
            } else {
                reach[j + 1] && meet(item, &other[j])
            };
        }
        reach = next;
    }
    reach[0]
}

/// Returns whether everything `inner` matches is matched by `outer`; errs on the side of no.
pub fn includes(outer: &str, inner: &str) -> bool {
    outer == "*" || outer == inner || (!inner.contains('*') && matches(outer, inner))
}

/// Returns whether a pattern of segments, in which `**` stands for any number of them, matches a sequence.
pub fn matches_all<T>(pattern: &[String], items: &[T], one: &impl Fn(&str, &T) -> bool) -> bool {
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
    fn patterns_meet_if_a_path_is_of_both() {
        for (one, other, expected) in [
            ("/etc/x", "/etc/x", true),
            ("/etc/x", "/etc/y", false),
            ("/etc/*", "/etc/x", true),
            ("/etc/a*", "/etc/*b", true),
            ("/etc/a*c", "/etc/ab*", true),
            ("/etc/a*", "/etc/b*", false),
            ("/etc/*a", "/etc/*b", false),
            ("/etc/*", "/etc/*/x", false),
            ("/etc/**", "/etc/*/x", true),
            ("/etc/**", "/etc", true),
            ("/**", "/etc/cron.d/**", true),
            ("/**/x", "/etc/**", true),
            ("/**/x", "/etc/y", false),
            ("/**/x", "/**/y", false),
            ("/**/x/**", "/**/y/**", true),
            ("/opt/app/**", "/etc/**", false),
            ("/opt/app/**", "/opt/*/x", true),
            ("/opt/app/**", "/opt/apps/x", false),
            ("/home/*/.ssh/**", "/home/ann/**", true),
            ("/", "/**", true),
            ("/", "/etc", false),
        ] {
            assert_eq!(meets_path(one, other), expected, "{one} {other}");
            assert_eq!(meets_path(other, one), expected, "{other} {one}");
        }
    }

    /// Found a second time: what matches both is tried letter by letter.
    #[test]
    fn patterns_meet_just_if_a_text_shows_it() {
        let letters = ["a", "b", "*"];
        let mut patterns = vec![String::new()];
        for _ in 0..4 {
            let longer = patterns.iter().flat_map(|start| letters.map(|letter| format!("{start}{letter}")));
            patterns = patterns.iter().cloned().chain(longer).collect();
            patterns.sort();
            patterns.dedup();
        }
        let mut texts = vec![String::new()];
        for _ in 0..7 {
            let longer = texts.iter().flat_map(|start| ["a", "b"].map(|letter| format!("{start}{letter}")));
            texts = texts.iter().cloned().chain(longer).collect();
            texts.sort();
            texts.dedup();
        }
        for one in patterns.iter().step_by(3) {
            for other in patterns.iter().step_by(2) {
                let expected = texts.iter().any(|text| matches(one, text) && matches(other, text));
                assert_eq!(meets(one, other), expected, "{one} {other}");
            }
        }
    }

    #[test]
    fn many_wildcards_take_no_long_time() {
        let pattern: Vec<String> = std::iter::repeat_n(["**", "a"], 500).flatten().map(str::to_owned).collect();
        let items = vec!["a"; 499];
        assert!(!matches_all(&pattern, &items, &|pattern, item| matches(pattern, item)));
        let path = format!("/{}", ["**", "*a*b*"].repeat(400).join("/"));
        assert!(!meets_path(&path, &format!("{path}/c")) && meets_path(&path, &path));
    }
}
