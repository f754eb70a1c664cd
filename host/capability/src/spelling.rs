//! Finds the word that was meant by one that nobody knows; pure.

/// Least likeness, by Jaro and Winkler, of a word that may have been meant: below it, the guess is a riddle.
const LIKE: f64 = 0.8;

/// Returns the next step for a message of serde about an unknown field, or `None` for any other, and if no field is like
/// it. The message is the one list of the fields that would be right there: serde makes it from the types.
pub fn hint(message: &str) -> Option<String> {
    let (unknown, rest) = message.strip_prefix("unknown field `")?.split_once('`')?;
    // Words between backticks, and what is between them.
    let nearest = nearest(rest.split('`').skip(1).step_by(2), |_| unknown)?;
    Some(format!("did you mean `{nearest}`?"))
}

/// Returns the known word that is most like what was written in its place, or `None` if that is like none.
pub fn nearest<'known, 'written>(
    known: impl Iterator<Item = &'known str>,
    written: impl Fn(&str) -> &'written str,
) -> Option<&'known str> {
    let likeness = known.map(|known| (strsim::jaro_winkler(written(known), known), known));
    let (likeness, nearest) = likeness.max_by(|one, other| one.0.total_cmp(&other.0))?;
    (likeness >= LIKE).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_named_if_one_is_near() {
        let many = "expected one of `release`, `architecture`, `hostname`, `packages`, `remove-packages`";
        for (unknown, rest, expected) in [
            ("hostnam", many, Some("did you mean `hostname`?")),
            ("host-name", many, Some("did you mean `hostname`?")),
            ("package", many, Some("did you mean `packages`?")),
            ("relaese", many, Some("did you mean `release`?")),
            ("colour", many, None),
            ("nam", "expected `name` or `title`", Some("did you mean `name`?")),
            ("x", "there are no fields", None),
        ] {
            assert_eq!(hint(&format!("unknown field `{unknown}`, {rest}")).as_deref(), expected, "{unknown}");
        }
        assert_eq!(hint("invalid type: string \"name\", expected `u32`"), None);
    }
}
