//! Parses the part of `config.txt` that names files, as one model reads it
//! (<https://www.raspberrypi.com/documentation/computers/config_txt.html>).

use std::collections::BTreeMap;
use std::fmt;

use super::BootFiles;

/// Included files may include others; a circle ends here.
const DEEPEST: usize = 4;
/// Files that are read, each as often as it is included: files that include each other often would never end.
const MOST_FILES: usize = 20;

/// The keys that apply to a model. The last line with a key counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Config {
    keys: BTreeMap<String, String>,
    initramfs: Vec<String>,
    /// Lines about the device tree, in order.
    pub(super) applied: Vec<Applied>,
    files: usize,
}

/// A line about the device tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// An overlay with its parameters; an empty one ends those of the overlay before.
    Overlay(String),
    Parameter(String),
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overlay(value) => write!(f, "dtoverlay={value}"),
            Self::Parameter(value) => write!(f, "dtparam={value}"),
        }
    }
}

impl Config {
    /// Reads `config.txt` and what it includes, as a board to which `sections` apply.
    pub(super) fn read(files: &BootFiles, sections: &[&str]) -> Self {
        let mut config = Self::default();
        config.add(files, "config.txt", sections, 0);
        config
    }

    fn add(&mut self, files: &BootFiles, name: &str, sections: &[&str], depth: usize) {
        let Some(text) = files.text(name).filter(|_| depth < DEEPEST && self.files < MOST_FILES) else {
            return;
        };
        self.files += 1;
        // A filter of the model and one of another kind (a screen, a pin, a serial number) must both apply.
        let (mut model, mut other) = (true, true);
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            if let Some(section) =
                line.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name.trim().to_lowercase())
            {
                match section.as_str() {
                    "all" => (model, other) = (true, true),
                    "none" => other = false,
                    name if is_model(name) => model = sections.contains(&name),
                    _ => other = false,
                }
            } else if model && other {
                self.line(files, line, sections, depth);
            }
        }
    }

    fn line(&mut self, files: &BootFiles, line: &str, sections: &[&str], depth: usize) {
        // These two have no `=`.
        let mut words = line.split_whitespace();
        match words.next().map(str::to_lowercase).as_deref() {
            Some("initramfs") => {
                let names = words.next().unwrap_or_default();
                self.initramfs = names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
            }
            Some("include") => {
                if let Some(name) = words.next() {
                    self.add(files, name, sections, depth + 1);
                }
            }
            _ => {
                if let Some((key, value)) = line.split_once('=') {
                    let value = value.trim().to_owned();
                    match key.trim().to_lowercase().as_str() {
                        "dtoverlay" | "device_tree_overlay" => self.applied.push(Applied::Overlay(value)),
                        "dtparam" | "device_tree_param" => self.applied.push(Applied::Parameter(value)),
                        key => drop(self.keys.insert(key.to_owned(), value)),
                    }
                }
            }
        }
    }

    /// Returns the value of `key`; an empty one counts as none.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.keys.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn initramfs(&self) -> &[String] {
        &self.initramfs
    }

    pub(super) fn upstream_kernel(&self) -> bool {
        self.flag("upstream_kernel")
    }

    /// Returns the prefix that the firmware puts before the names of the operating system's files.
    pub(super) fn os_prefix(&self) -> &str {
        self.get("os_prefix").unwrap_or_default()
    }

    /// Names of the firmware's two files; `four` for the boards with names of their own.
    pub(super) fn firmware(&self, four: bool) -> (String, String) {
        let variant = if self.flag("start_debug") {
            "db"
        } else if self.flag("start_x") {
            "x"
        } else if self.get("gpu_mem") == Some("16") {
            "cd"
        } else {
            ""
        };
        let family = match (four, variant) {
            (true, _) => "4",
            (false, "") => "",
            (false, _) => "_",
        };
        let named = |key: &str, name: String| self.get(key).map_or(name, str::to_owned);
        (
            named("start_file", format!("start{family}{variant}.elf")),
            named("fixup_file", format!("fixup{family}{variant}.dat")),
        )
    }

    fn flag(&self, key: &str) -> bool {
        self.get(key) == Some("1")
    }
}

/// Returns whether a section's name is that of a board.
fn is_model(name: &str) -> bool {
    name.strip_prefix("pi")
        .or_else(|| name.strip_prefix("cm"))
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}
