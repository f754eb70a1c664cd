//! config.txt as a document: sections and lines in their order. Pure; what is not changed stays byte for byte.
//!
//! A line holds under the filters that are open where it stands: `[pi4]` and its like replace each other, filters of
//! other kinds (`[HDMI:0]`, `[gpio4=1]`) come on top, `[all]` closes them all. A *section* here is the part under
//! exactly one filter, or under none. Files that are included are not followed: their lines are someone else's.

/// Where the boot partition is mounted, and its files are, in every supported release.
pub const DIRECTORY: &str = "/boot/firmware";

/// Longest line that the firmware reads; it ignores the rest.
const MAX_LINE: usize = 98;

/// Keys of which each line adds something, so that there is nothing to replace.
const REPEATED: [&str; 5] = ["dtoverlay", "dtparam", "device_tree_param", "gpio", "include"];

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigTxt {
    /// With their line ends.
    lines: Vec<String>,
}

/// The filters that are open somewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Filters {
    model: Option<String>,
    other: Vec<String>,
}

impl Filters {
    fn enter(&mut self, name: &str) {
        match name {
            "all" => *self = Self::default(),
            name if is_model(name) => self.model = Some(name.to_owned()),
            name => self.other.push(name.to_owned()),
        }
    }

    /// Whether this is the section `name`, of lines for every board if there is none.
    fn is(&self, name: Option<&str>) -> bool {
        match (name, &self.model, self.other.as_slice()) {
            (None, None, []) => true,
            (Some(name), Some(model), []) => name == model,
            (Some(name), None, [other]) => name == other,
            _ => false,
        }
    }
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
        let section = section.map(str::to_ascii_lowercase).filter(|name| name != "all");
        let named = |name: &str| {
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-+.:=".contains(c))
                && name != "none"
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

    /// The line for a value.
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

    /// Gives the key its only value: the last line with it is changed, others of the section go.
    ///
    /// # Errors
    /// For a value that is none, and a key of which every line counts.
    pub fn set(&mut self, place: &Place<'_>, value: &str) -> Result<(), String> {
        let line = place.line(value)?;
        if REPEATED.contains(&place.key) {
            return Err(format!("each line `{}` adds something: add and remove them one by one", place.key));
        }
        let mut found = self.find(place, None);
        let Some(last) = found.pop() else {
            self.append(place.section.as_deref(), &line);
            return Ok(());
        };
        let end = line_end(&self.lines[last]).to_owned();
        self.lines[last] = line + &end;
        self.delete(&found);
        Ok(())
    }

    /// Adds the line unless the section has it.
    ///
    /// # Errors
    /// For a value that is none.
    pub fn add(&mut self, place: &Place<'_>, value: &str) -> Result<bool, String> {
        let line = place.line(value)?;
        if !self.find(place, Some(value)).is_empty() {
            return Ok(false);
        }
        self.append(place.section.as_deref(), &line);
        Ok(true)
    }

    /// Removes the section's lines with the key, or only those with the value, and returns how many there were.
    pub fn remove(&mut self, place: &Place<'_>, value: Option<&str>) -> usize {
        let found = self.find(place, value);
        self.delete(&found);
        found.len()
    }

    /// Numbers of lines, from the first to the last.
    fn find(&self, place: &Place<'_>, value: Option<&str>) -> Vec<usize> {
        let mut filters = Filters::default();
        let mut found = Vec::new();
        for (at, line) in self.lines.iter().enumerate() {
            if let Some(name) = section(line) {
                filters.enter(&name);
            } else if filters.is(place.section.as_deref())
                && assignment(line).is_some_and(|(key, is)| {
                    key.eq_ignore_ascii_case(place.key) && value.is_none_or(|wanted| wanted == is)
                })
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

    /// Puts a line at the end of the last part that is the section; the end of the file stays outside any filter.
    fn append(&mut self, name: Option<&str>, line: &str) {
        let end = self.lines.first().map_or("\n", |first| if first.ends_with("\r\n") { "\r\n" } else { "\n" });
        let mut filters = Filters::default();
        // Behind the last line of the section that says something.
        let mut place = None;
        for (at, text) in self.lines.iter().enumerate() {
            let opens = section(text);
            if let Some(name) = &opens {
                filters.enter(name);
            }
            if filters.is(name) && (opens.is_some() || !text.trim().is_empty()) {
                place = Some(at + 1);
            }
        }
        if let Some(last) = self.lines.last_mut().filter(|last| !last.ends_with('\n')) {
            last.push_str(end);
        }
        let clear = filters == Filters::default();
        match (name, place) {
            // Lines for every board go last, so that no earlier one counts instead.
            (None, _) if clear => self.lines.push(format!("{line}{end}")),
            (None, _) => self.lines.extend([format!("[all]{end}"), format!("{line}{end}")]),
            (Some(_), Some(at)) => self.lines.insert(at, format!("{line}{end}")),
            (Some(name), None) => {
                if !clear {
                    self.lines.push(format!("[all]{end}"));
                }
                self.lines.extend([format!("[{name}]{end}"), format!("{line}{end}"), format!("[all]{end}")]);
            }
        }
    }
}

/// The name of the filter that a line opens.
fn section(line: &str) -> Option<String> {
    line.trim().strip_prefix('[')?.split_once(']').map(|(name, _)| name.trim().to_ascii_lowercase())
}

/// Key and value of a line.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    line.split_once('=').map(|(key, value)| (key.trim(), value.trim()))
}

fn line_end(line: &str) -> &str {
    &line[line.trim_end_matches(['\n', '\r']).len()..]
}

/// Whether a filter's name is that of a board.
fn is_model(name: &str) -> bool {
    name.strip_prefix("pi")
        .or_else(|| name.strip_prefix("cm"))
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
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
            ("[pi4]\n[HDMI:0]\nk=1\n", Some("pi4"), "[pi4]\nk=2\n[HDMI:0]\nk=1\n"),
            ("a=1\n", Some("pi4"), "a=1\n[pi4]\nk=2\n[all]\n"),
            ("[pi3]\na=1\n", Some("HDMI:0"), "[pi3]\na=1\n[all]\n[hdmi:0]\nk=2\n[all]\n"),
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
