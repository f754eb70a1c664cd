//! Edits config.txt as a document: sections and lines in their order
//! (<https://www.raspberrypi.com/documentation/computers/config_txt.html>). Pure; what is not changed stays byte for
//! byte.
//!
//! A line holds under the filters that are open where it stands (`boot_config/filters.rs`), and the last line of a key that
//! holds counts. A *section* here is the part under exactly one filter, or under none. What is set goes behind every line
//! that a board of the section would read in its place, so the last one who sets something has it. Files that are included
//! are not followed: their lines are someone else's.

mod filters;

use filters::Filters;

/// Mount point of the boot partition, and directory of its files, in every supported release.
pub const DIRECTORY: &str = "/boot/firmware";

/// Longest line that the firmware reads; it ignores the rest.
const MAX_LINE: usize = 98;

/// Keys of which each line adds something, so that there is nothing to replace.
pub(crate) const REPEATED: [&str; 5] = ["dtoverlay", "dtparam", "device_tree_param", "gpio", "include"];

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigTxt {
    /// Lines with their line ends.
    lines: Vec<String>,
}

/// A name of a section and a key, checked: neither can open another section or add a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    section: Option<String>,
    key: &'a str,
}

impl<'a> Place<'a> {
    /// # Errors
    /// What is wrong with the section or the key.
    pub fn new(section: Option<&str>, key: &'a str) -> Result<Self, String> {
        let section = section.filter(|name| !name.eq_ignore_ascii_case("all")).map(str::to_owned);
        let named = |name: &str| {
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-+.:=".contains(c))
                && !name.eq_ignore_ascii_case("none")
        };
        if section.as_deref().is_some_and(|name| !named(name)) {
            return Err("a section's name has letters, digits and `_-+.:=`, such as `pi4`, and is not `none`".into());
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c);
        if key.is_empty() || !key.chars().all(plain) {
            return Err("a key of config.txt has lowercase letters, digits, `_` and `:`".into());
        }
        if key == "include" {
            return Err("`include` is not changed: the lines of another file would hold, whatever their keys".into());
        }
        Ok(Self { section, key })
    }

    /// Returns the line for a value.
    fn line(&self, value: &str) -> Result<String, String> {
        if value.contains(char::is_control) || value.trim() != value || !value.is_ascii() {
            return Err("a value of config.txt is ASCII text of one line, without space at its ends".into());
        }
        let line = format!("{}={value}", self.key);
        if line.len() > MAX_LINE {
            return Err(format!("the firmware reads at most {MAX_LINE} characters of a line"));
        }
        Ok(line)
    }
}

impl ConfigTxt {
    pub fn parse(text: &str) -> Self {
        Self { lines: text.split_inclusive('\n').map(str::to_owned).collect() }
    }

    pub fn print(&self) -> String {
        self.lines.concat()
    }

    /// Values of the key in the section, in their order.
    pub fn values(&self, place: &Place<'_>) -> Vec<String> {
        self.find(place, None).into_iter().filter_map(|at| Some(assignment(&self.lines[at])?.1.to_owned())).collect()
    }

    /// Sets the key's only value in the section: changes its last line and removes the others. If a board of the section
    /// would read a later line of another section instead, the line is put after that one.
    ///
    /// # Errors
    /// If the value is invalid, or every line with the key counts.
    pub fn set(&mut self, place: &Place<'_>, value: &str) -> Result<(), String> {
        let line = place.line(value)?;
        if REPEATED.contains(&place.key) {
            return Err(format!("each line `{}` adds something: add and remove them one by one", place.key));
        }
        let mut found = self.find(place, None);
        match found.pop() {
            Some(last) if self.overruling(place) <= last => {
                let end = line_end(&self.lines[last]).to_owned();
                self.lines[last] = line + &end;
                self.delete(&found);
            }
            last => {
                found.extend(last);
                self.delete(&found);
                self.append(place, &line);
            }
        }
        Ok(())
    }

    /// Adds the line unless the section has it, and it counts.
    ///
    /// # Errors
    /// If the value is invalid.
    pub fn add(&mut self, place: &Place<'_>, value: &str) -> Result<bool, String> {
        let line = place.line(value)?;
        let found = self.find(place, Some(value));
        match found.last() {
            Some(last) if self.overruling(place) <= *last => return Ok(false),
            Some(_) => self.delete(&found),
            None => {}
        }
        self.append(place, &line);
        Ok(true)
    }

    /// Removes the section's lines with the key, or only those with the value, and returns how many there were.
    pub fn remove(&mut self, place: &Place<'_>, value: Option<&str>) -> usize {
        let found = self.find(place, value);
        self.delete(&found);
        found.len()
    }

    /// Numbers of the section's lines with the key, from the first to the last.
    fn find(&self, place: &Place<'_>, value: Option<&str>) -> Vec<usize> {
        let name = place.section.as_deref();
        let of_section = |filters: &Filters, is: &str| filters.is(name) && value.is_none_or(|wanted| wanted == is);
        self.lines_of(place.key, &of_section)
    }

    /// Returns the number of the line behind the last one that a board of the section may read in place of the
    /// section's own.
    fn overruling(&self, place: &Place<'_>) -> usize {
        if REPEATED.contains(&place.key) {
            return 0;
        }
        let name = place.section.as_deref();
        let others = self.lines_of(place.key, &|filters, _| !filters.is(name) && filters.may_hold_with(name));
        others.last().map_or(0, |last| last + 1)
    }

    /// Numbers of the lines with the key of which `wanted` says so, told the open filters and the value.
    fn lines_of(&self, key: &str, wanted: &dyn Fn(&Filters, &str) -> bool) -> Vec<usize> {
        let mut filters = Filters::default();
        let mut found = Vec::new();
        for (at, line) in self.lines.iter().enumerate() {
            if let Some(name) = section(line) {
                filters.enter(name);
            } else if let Some((is, value)) = assignment(line)
                && is.eq_ignore_ascii_case(key)
                && wanted(&filters, value)
            {
                found.push(at);
            }
        }
        found
    }

    fn delete(&mut self, found: &[usize]) {
        for at in found.iter().rev() {
            self.lines.remove(*at);
        }
    }

    /// Puts a line at the end of the last part that is the section, if nothing overrules it there, else in a new one; the end
    /// of the file stays outside any filter.
    fn append(&mut self, place: &Place<'_>, line: &str) {
        let name = place.section.as_deref();
        let end = self.lines.first().map_or("\n", |first| if first.ends_with("\r\n") { "\r\n" } else { "\n" });
        let (last, filters) = self.end_of(name);
        if let Some(last) = self.lines.last_mut().filter(|last| !last.ends_with('\n')) {
            last.push_str(end);
        }
        match (name, last.filter(|last| *last >= self.overruling(place))) {
            // Lines for every board come last, so that no earlier line wins.
            (None, _) if filters.is_clear() => self.lines.push(format!("{line}{end}")),
            (None, _) => self.lines.extend([format!("[all]{end}"), format!("{line}{end}")]),
            (Some(_), Some(at)) => self.lines.insert(at, format!("{line}{end}")),
            (Some(name), None) => {
                if !filters.is_clear() {
                    self.lines.push(format!("[all]{end}"));
                }
                self.lines.extend([format!("[{name}]{end}"), format!("{line}{end}"), format!("[all]{end}")]);
            }
        }
    }

    /// Returns the number of the line behind the last one of the section that says something, and the filters that are
    /// open at the end of the file.
    fn end_of(&self, name: Option<&str>) -> (Option<usize>, Filters) {
        let mut filters = Filters::default();
        let mut place = None;
        for (at, text) in self.lines.iter().enumerate() {
            let opens = section(text);
            if let Some(name) = opens {
                filters.enter(name);
            }
            if filters.is(name) && (opens.is_some() || !text.trim().is_empty()) {
                place = Some(at + 1);
            }
        }
        (place, filters)
    }
}

/// Returns the name of the filter that a line opens.
fn section(line: &str) -> Option<&str> {
    line.trim().strip_prefix('[')?.split_once(']').map(|(name, _)| name.trim())
}

/// Splits a line into key and value, as far as the firmware reads it
/// (<https://www.raspberrypi.com/documentation/computers/config_txt.html>).
fn assignment(line: &str) -> Option<(&str, &str)> {
    let read = line.char_indices().nth(MAX_LINE).map_or(line, |(end, _)| &line[..end]);
    let line = read.trim();
    if line.starts_with('#') {
        return None;
    }
    line.split_once('=').map(|(key, value)| (key.trim(), value.trim()))
}

fn line_end(line: &str) -> &str {
    &line[line.trim_end_matches(['\n', '\r']).len()..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place<'a>(section: Option<&str>, key: &'a str) -> Place<'a> {
        Place::new(section, key).unwrap()
    }

    #[test]
    fn a_file_that_is_not_changed_stays_byte_for_byte() {
        let pieces = ["", "\n", "a=1", "#x", "[pi4]", "[all]\r\n", " dtparam = i2c ", "\t", "initramfs x\n", "]", "="];
        for a in pieces {
            for b in pieces {
                for c in pieces {
                    let text = format!("{a}{b}\n{c}");
                    let mut config = ConfigTxt::parse(&text);
                    assert_eq!(config.print(), text);
                    // What is added and removed again leaves at most a line end, and the empty section it made.
                    assert_eq!(config.remove(&place(None, "zz"), None), 0);
                    assert_eq!(config.print(), text);
                }
            }
        }
    }

    #[test]
    fn a_key_is_set_where_it_stands() {
        for (text, section, expected) in [
            ("", None, "k=2\n"),
            ("# c\nk=1\nx=1\n", None, "# c\nk=2\nx=1\n"),
            ("k=0\nx=1\nk=1\n", None, "x=1\nk=2\n"),
            ("#k=1\n", None, "#k=1\nk=2\n"),
            ("a=1", None, "a=1\nk=2\n"),
            ("a=1\r\nK = 1\r\n", None, "a=1\r\nk=2\r\n"),
            ("a=1\r\n", None, "a=1\r\nk=2\r\n"),
            ("[pi4]\nk=1\n", None, "[pi4]\nk=1\n[all]\nk=2\n"),
            ("[pi4]\nk=1\n[all]\n", None, "[pi4]\nk=1\n[all]\nk=2\n"),
            ("k=1\n[pi4]\nx=1\n\n[all]\n", Some("pi4"), "k=1\n[pi4]\nx=1\nk=2\n\n[all]\n"),
            ("[pi4]\nk=1\n[pi3]\nk=3\n", Some("pi4"), "[pi4]\nk=2\n[pi3]\nk=3\n"),
            ("[pi4]\n[HDMI:0]\nx=1\n", Some("pi4"), "[pi4]\nk=2\n[HDMI:0]\nx=1\n"),
            ("a=1\n", Some("pi4"), "a=1\n[pi4]\nk=2\n[all]\n"),
            ("[pi3]\na=1\n", Some("HDMI:0"), "[pi3]\na=1\n[all]\n[HDMI:0]\nk=2\n[all]\n"),
            ("k=1\n", Some("all"), "k=2\n"),
        ] {
            let mut config = ConfigTxt::parse(text);
            config.set(&place(section, "k"), "2").unwrap();
            assert_eq!(config.print(), expected, "{text:?} {section:?}");
            assert_eq!(config.values(&place(section, "k")), ["2"]);
            config.set(&place(section, "k"), "2").unwrap();
            assert_eq!(config.print(), expected, "the second time changes nothing");
        }
    }

    /// The value that a board reads under these filters, as the firmware does: the last line that holds counts.
    fn read(config: &ConfigTxt, holding: &[&str], key: &str) -> Option<String> {
        let open = |filters: &Filters| holding.iter().any(|name| filters.is(Some(name))) || filters.is_clear();
        let lines = config.lines_of(key, &|filters, _| open(filters));
        lines.last().and_then(|at| assignment(&config.lines[*at])).map(|(_, value)| value.to_owned())
    }

    #[test]
    fn what_is_set_is_what_a_board_reads() {
        for (text, section, expected) in [
            // A later line for every board.
            ("[pi4]\nk=1\n[all]\nk=0\n", Some("pi4"), "[pi4]\n[all]\nk=0\n[pi4]\nk=2\n[all]\n"),
            ("[pi4]\nx=1\n[all]\nk=0\n", Some("pi4"), "[pi4]\nx=1\n[all]\nk=0\n[pi4]\nk=2\n[all]\n"),
            ("k=0\n[pi4]\nk=1\n", Some("pi4"), "k=0\n[pi4]\nk=2\n"),
            // One for a board that reads both, and one for a board that does not.
            ("[pi400]\nk=1\n[pi4]\nk=0\n", Some("pi400"), "[pi400]\n[pi4]\nk=0\n[all]\n[pi400]\nk=2\n[all]\n"),
            ("[pi4]\nk=1\n[pi3]\nk=0\n", Some("pi4"), "[pi4]\nk=2\n[pi3]\nk=0\n"),
            // One under a filter of another kind, and one that nobody reads.
            ("[pi4]\nk=1\n[HDMI:0]\nk=0\n", Some("pi4"), "[pi4]\n[HDMI:0]\nk=0\n[all]\n[pi4]\nk=2\n[all]\n"),
            ("[pi4]\nk=1\n[none]\nk=0\n", Some("pi4"), "[pi4]\nk=2\n[none]\nk=0\n"),
            ("k=1\n[pi4]\nk=0\n", None, "[pi4]\nk=0\n[all]\nk=2\n"),
        ] {
            let mut config = ConfigTxt::parse(text);
            config.set(&place(section, "k"), "2").unwrap();
            assert_eq!(config.print(), expected, "{text:?} {section:?}");
            assert_eq!(read(&config, &[section.unwrap_or("pi4")], "k").as_deref(), Some("2"), "{expected:?}");
            config.set(&place(section, "k"), "2").unwrap();
            assert_eq!(config.print(), expected, "the second time changes nothing");
        }
    }

    #[test]
    fn a_line_counts_as_far_as_the_firmware_reads_it() {
        let config = ConfigTxt::parse(&format!("k={}\n", "x".repeat(200)));
        assert_eq!(config.values(&place(None, "k")), ["x".repeat(MAX_LINE - 2)]);
    }

    #[test]
    fn lines_that_may_repeat_are_added_once_and_removed() {
        let mut config = ConfigTxt::parse("dtparam=audio=on\n[pi4]\ndtoverlay=vc4\n");
        assert!(config.add(&place(None, "dtparam"), "i2c_arm=on").unwrap());
        assert!(!config.add(&place(None, "dtparam"), "i2c_arm=on").unwrap());
        assert!(config.add(&place(Some("pi4"), "dtoverlay"), "disable-bt").unwrap());
        let text = "dtparam=audio=on\n[pi4]\ndtoverlay=vc4\ndtoverlay=disable-bt\n[all]\ndtparam=i2c_arm=on\n";
        assert_eq!(config.print(), text);
        assert_eq!(config.values(&place(None, "dtparam")), ["audio=on", "i2c_arm=on"]);
        assert_eq!(config.remove(&place(None, "dtparam"), Some("audio=on")), 1);
        assert_eq!(config.remove(&place(Some("pi4"), "dtoverlay"), None), 2);
        assert_eq!(config.print(), "[pi4]\n[all]\ndtparam=i2c_arm=on\n");
    }

    #[test]
    fn nothing_else_can_be_smuggled_in() {
        for (section, key, cause) in [
            (None, "", "a key"),
            (None, "K", "a key"),
            (None, "a=b", "a key"),
            (None, "a\nb", "a key"),
            (None, "[all]", "a key"),
            (None, "include", "another file"),
            (Some("pi4]\nk=1"), "k", "a section's name"),
            (Some(""), "k", "a section's name"),
            (Some("none"), "k", "a section's name"),
        ] {
            let error = Place::new(section, key).unwrap_err();
            assert!(error.contains(cause), "{section:?} {key:?}: {error}");
        }
        let long = "x".repeat(97);
        for (key, value, cause) in [
            ("k", "1\nboot=x", "one line"),
            ("k", "1\r", "one line"),
            ("k", " 1", "at its ends"),
            ("k", "ä", "ASCII"),
            ("k", &long, "98 characters"),
            ("dtparam", "x", "adds something"),
        ] {
            let mut config = ConfigTxt::parse("");
            let error = config.set(&place(None, key), value).unwrap_err();
            assert!(error.contains(cause), "{value:?}: {error}");
            assert_eq!(config.print(), "");
        }
        ConfigTxt::parse("").set(&place(None, "k"), &long[1..]).unwrap();
    }
}
