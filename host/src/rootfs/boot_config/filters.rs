//! Compares the filters of config.txt: which of them replace each other, and which may hold at the same time, by
//! <https://www.raspberrypi.com/documentation/computers/config_txt.html#conditional-filters>.

use std::collections::BTreeMap;

/// The filters of models, each with the boards that read the lines under it.
const MODELS: [(&str, &[&str]); 18] = [
    ("pi0", &["zero", "zerow", "zero2w"]),
    ("pi0w", &["zerow"]),
    ("pi02", &["zero2w"]),
    ("pi1", &["1", "cm1"]),
    ("cm1", &["cm1"]),
    ("pi2", &["2"]),
    ("pi3", &["3", "3+", "cm3", "cm3+"]),
    ("pi3+", &["3+"]),
    ("cm3", &["cm3", "cm3+"]),
    ("cm3+", &["cm3+"]),
    ("pi4", &["4", "400", "cm4", "cm4s"]),
    ("pi400", &["400"]),
    ("cm4", &["cm4"]),
    ("cm4s", &["cm4s"]),
    ("pi5", &["5", "500", "500+", "cm5"]),
    ("pi500", &["500", "500+"]),
    ("pi500+", &["500+"]),
    ("cm5", &["cm5"]),
];

/// Closes all filters.
const ALL: &str = "all";
/// No board reads what follows, until all filters are closed.
const NONE: &str = "none";
const MODEL: &str = "model";

/// The filters that are open somewhere, in lower case, by their kind: one replaces the other of its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filters(BTreeMap<String, String>);

impl Filters {
    /// Goes past the line `[name]`.
    pub(super) fn enter(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        if name == ALL {
            self.0.clear();
        } else {
            self.0.insert(kind(&name), name);
        }
    }

    /// Returns whether no filter is open.
    pub(super) fn is_clear(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether this is the part under exactly the filter `name`, or under none.
    pub(super) fn is(&self, name: Option<&str>) -> bool {
        match name {
            None => self.is_clear(),
            Some(name) => self.0.len() == 1 && self.0.values().any(|open| open.eq_ignore_ascii_case(name)),
        }
    }

    /// Returns whether some board reads a line of this part that also reads one under the filter `name`.
    pub(super) fn may_hold_with(&self, name: Option<&str>) -> bool {
        if self.0.contains_key(NONE) {
            return false;
        }
        let Some(name) = name.map(str::to_ascii_lowercase) else { return true };
        let kind = kind(&name);
        match self.0.get(&kind) {
            Some(open) if kind == MODEL => have_a_board_in_common(open, &name),
            Some(open) => *open == name,
            None => true,
        }
    }
}

/// Returns the kind of a filter.
fn kind(name: &str) -> String {
    if is_model(name) {
        return MODEL.to_owned();
    }
    if name.starts_with("0x") {
        return "serial".to_owned();
    }
    let question = name.split(['=', ':']).next().unwrap_or(name);
    question.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned()
}

/// Returns whether a filter's name is that of boards, known here or not.
fn is_model(name: &str) -> bool {
    let numbered = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    name.strip_prefix("pi").or_else(|| name.strip_prefix("cm")).is_some_and(numbered) || name.starts_with("board-type=")
}

/// Returns whether a board may match both filters. A filter that is not in [`MODELS`] may match any board.
fn have_a_board_in_common(one: &str, other: &str) -> bool {
    let boards = |name: &str| MODELS.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, boards)| boards);
    let (ones, others) = (boards(one), boards(other));
    one == other || ones.is_empty() || others.is_empty() || ones.iter().any(|board| others.contains(board))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(names: &[&str]) -> Filters {
        let mut filters = Filters::default();
        names.iter().for_each(|name| filters.enter(name));
        filters
    }

    #[test]
    fn filters_of_one_kind_replace_each_other() {
        for (names, expected) in [
            (&["pi3", "pi4"][..], Some("pi4")),
            (&["gpio4=1", "gpio2=0"], Some("gpio2=0")),
            (&["HDMI:0", "hdmi:1"], Some("HDMI:1")),
            (&["EDID=A-1", "EDID=B-2"], Some("edid=b-2")),
            (&["0x1234", "0xabcd"], Some("0xABCD")),
            (&["pi4", "board-type=0x14"], Some("board-type=0x14")),
            (&["pi4", "tryboot", "all"], None),
            (&["none", "all"], None),
        ] {
            assert!(filters(names).is(expected), "{names:?}");
        }
        assert!(!filters(&["pi4", "HDMI:0"]).is(Some("pi4")));
        assert!(!filters(&["none", "pi4"]).is(Some("pi4")));
    }

    #[test]
    fn a_board_may_read_the_lines_of_several_filters() {
        for (names, section, expected) in [
            (&[][..], Some("pi4"), true),
            (&["pi4"], None, true),
            (&["pi400"], Some("pi4"), true),
            (&["pi4"], Some("CM4S"), true),
            (&["pi3"], Some("pi4"), false),
            (&["pi400"], Some("cm4"), false),
            (&["pi0w"], Some("pi02"), false),
            (&["board-type=0x14"], Some("pi4"), true),
            (&["pi9"], Some("pi4"), true),
            (&["HDMI:0"], Some("pi4"), true),
            (&["HDMI:0"], Some("HDMI:1"), false),
            (&["pi3", "HDMI:0"], Some("pi4"), false),
            (&["none"], None, false),
            (&["none", "pi4"], Some("pi4"), false),
        ] {
            assert_eq!(filters(names).may_hold_with(section), expected, "{names:?} {section:?}");
        }
    }
}
