//! Numbers and quoted output as the report shows them.

/// Formats three digits, with the unit in which they read best: `1.23 µs`, `45.6 ms`, `7.89 s`, `123 s`.
pub fn seconds(value: f64) -> String {
    let (scaled, unit) = match value {
        _ if value < 1e-6 => (value * 1e9, "ns"),
        _ if value < 1e-3 => (value * 1e6, "µs"),
        _ if value < 1.0 => (value * 1e3, "ms"),
        _ => (value, "s"),
    };
    format!("{} {unit}", number(scaled))
}

/// Formats three digits, more before the point if there are more.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        // As it will be rounded.
        size if size < 9.995 => 2,
        size if size < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

/// Formats a length in the unit in which people read it.
pub fn bytes(length: u64) -> String {
    piimg::ui::bytes(length)
}

/// Removes from a program's output what belongs to this machine or network: the directory `place` and names of hosts.
pub fn scrubbed(text: &str, place: &str) -> String {
    let text = text.replace(place, "WORK");
    let lines: Vec<String> = text.lines().map(|line| piimg::ui::printable(&without_hosts(line))).collect();
    lines.join("\n")
}

fn without_hosts(line: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let (mut out, mut rest) = (String::new(), line);
    while !rest.is_empty() {
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(length);
        out += if is_host(word) || (out.ends_with("://") && !word.is_empty()) { "…" } else { word };
        // What ended the word.
        let end = behind.chars().next().map_or(0, char::len_utf8);
        out += &behind[..end];
        rest = &behind[end..];
    }
    out
}

/// Returns whether it looks like the name of a host: of three or more parts, the last one in general use.
fn is_host(word: &str) -> bool {
    let parts: Vec<&str> = word.trim_end_matches('.').split('.').collect();
    parts.len() > 2 && matches!(parts.last(), Some(&("com" | "io" | "net" | "org")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_three_digits_and_its_unit() {
        for (value, expected) in [
            (0.0, "0.00 ns"),
            (1.234e-6, "1.23 µs"),
            (0.0456, "45.6 ms"),
            (0.9999, "1000 ms"),
            (1.0, "1.00 s"),
            (9.996, "10.0 s"),
            (99.96, "100 s"),
            (1566.4, "1566 s"),
        ] {
            assert_eq!(seconds(value), expected);
        }
    }

    #[test]
    fn what_belongs_to_this_machine_is_not_quoted() {
        for (text, expected) in [
            ("E: /srv/x/target: no\nwhy", "E: WORK/target: no\nwhy"),
            ("http://deb.example.org/debian bookworm", "http://…/debian bookworm"),
            ("see https://example.org", "see https://…"),
            ("file:///etc", "file:///etc"),
            ("could not connect to deb.example.org:80", "could not connect to …:80"),
            ("ldconfig 2.36.9 of libc6_2.36-9.deb", "ldconfig 2.36.9 of libc6_2.36-9.deb"),
            ("a \u{1b}[31mred", "a \\u{1b}[31mred"),
        ] {
            assert_eq!(scrubbed(text, "/srv/x"), expected);
        }
    }
}
