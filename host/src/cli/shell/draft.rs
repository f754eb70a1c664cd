//! Writes a draft of a plugin: a crate that makes the changes again, with just the capabilities for them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use crate::cli::plugin::new::{self, FILES};
use crate::error::Result;
use crate::steps::shell::{DraftEntry, Made};
use crate::ui::printable;

/// Longest text that stands in the source itself.
const INLINE: usize = 400;

/// Makes the crate in the directory `target`, which must be free.
///
/// # Errors
/// Those of [`new::check`], and if the crate cannot be written.
pub(super) fn write(target: &Path, sdk: Option<&str>, release: &str, entries: &[DraftEntry]) -> Result<()> {
    let mut draft = Draft::default();
    entries.iter().for_each(|entry| draft.add(entry));
    let words = vec![
        ("{{release}}", release.to_owned()),
        ("{{capabilities}}", lines(&draft.capabilities, 12)),
        ("{{calls}}", lines(&draft.calls, 8)),
        ("{{before}}", lines(&draft.before(), 4)),
        ("{{after}}", lines(&draft.after, 4)),
    ];
    new::make_draft(target, sdk, words, &draft.files)
}

fn lines(all: &[String], indent: usize) -> String {
    all.iter().map(|line| format!("{}{line}", " ".repeat(indent))).collect::<Vec<_>>().join("\n")
}

/// The lines of a crate.
#[derive(Default)]
struct Draft {
    capabilities: Vec<String>,
    calls: Vec<String>,
    /// What the image of the test has before.
    there: Vec<String>,
    accounts: BTreeSet<(String, String)>,
    after: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
}

impl Draft {
    fn add(&mut self, entry: &DraftEntry) {
        let DraftEntry { path, made, mode, user, group } = entry;
        let reason = match made {
            Made::Removed | Made::TreeRemoved => "was removed",
            Made::Attributes => "got another mode or owner",
            Made::Nothing(why) => {
                self.calls.push(format!("// `{}` was changed, and nothing is done here: {why}.", printable(path)));
                return;
            }
            _ => "was made",
        };
        let tree = if *made == Made::TreeRemoved { "/**" } else { "" };
        self.capabilities.push(format!(".capability({:?}, {reason:?})", format!("fs:write:{path}{tree}")));
        if (user, group) != (&"root".to_owned(), &"root".to_owned()) && !user.is_empty() {
            self.accounts.insert((user.clone(), group.clone()));
        }
        let owner = match user.as_str() {
            "root" if group == "root" => String::new(),
            _ => format!(".owner({user:?}, {group:?})"),
        };
        let made_with = |usual: u32| {
            let mode = if *mode == usual { String::new() } else { format!(".mode({mode:#o})") };
            format!("{mode}{owner}.apply()?;")
        };
        match made {
            Made::Removed => {
                self.there.push(format!(".file({path:?}, \"\")"));
                self.calls.push(format!("fs::remove({path:?})?;"));
                self.after.push(format!("assert!(!ran.exists({path:?}));"));
            }
            Made::TreeRemoved => {
                self.there.push(format!(".dir({path:?})"));
                self.calls.push(format!("fs::remove_all({path:?})?;"));
                self.after.push(format!("assert!(!ran.exists({path:?}));"));
            }
            Made::Directory => {
                self.parent(path);
                self.calls.push(format!("fs::create_dir_all({path:?}){}", made_with(0o755)));
                self.after.push(format!("assert!(ran.exists({path:?}));"));
            }
            Made::File(content) => {
                self.parent(path);
                let content = self.content(path, content);
                self.calls.push(format!("fs::write({path:?}, {content}){}", made_with(0o644)));
                self.after.push(format!("assert!(ran.exists({path:?}));"));
            }
            Made::Link { target, replaces } => {
                if *replaces {
                    self.there.push(format!(".file({path:?}, \"\")"));
                    self.calls.push(format!("fs::remove({path:?})?;"));
                } else {
                    self.parent(path);
                }
                self.calls.push(format!("fs::symlink({path:?}, {target:?})?;"));
                self.after.push(format!("assert_eq!(ran.entry({path:?}).kind, \"link\");"));
            }
            Made::Attributes => {
                self.there.push(format!(".file({path:?}, \"\")"));
                self.calls.push(format!("fs::set_attrs({path:?}, {mode:#o}, {user:?}, {group:?})?;"));
                self.after.push(format!("assert_eq!(ran.entry({path:?}).mode, {mode:#o});"));
            }
            Made::Nothing(_) => {}
        }
    }

    /// Puts the directory of a path into the image of the test.
    fn parent(&mut self, path: &str) {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let line = format!(".dir({parent:?})");
        let is_made = self.calls.iter().any(|call| call.starts_with(&format!("fs::create_dir_all({parent:?})")));
        if !parent.is_empty() && !is_made && !self.there.contains(&line) {
            self.there.push(line);
        }
    }

    /// Returns the expression for what is in a file.
    fn content(&mut self, path: &str, content: &[u8]) -> String {
        let is_plain = |text: &&str| text.len() <= INLINE && !text.contains(|c: char| c.is_control() && c != '\n');
        if let Some(text) = std::str::from_utf8(content).ok().filter(is_plain) {
            return format!("{text:?}");
        }
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
        let name: String = path.rsplit('/').next().unwrap_or_default().chars().map(plain).collect();
        let name = format!("{}-{name}", self.files.len() + 1);
        self.files.push((name.clone(), content.to_vec()));
        format!("include_bytes!(\"../{FILES}/{name}\").as_slice()")
    }

    /// Returns the lines that make the image of the test.
    fn before(&self) -> Vec<String> {
        let mut all = Vec::new();
        if !self.accounts.is_empty() {
            let (mut passwd, mut group) = ("root:x:0:0::/root:/bin/sh\n".to_owned(), "root:x:0:\n".to_owned());
            for (number, (user, of)) in self.accounts.iter().enumerate() {
                let id = 1000 + number;
                writeln!(passwd, "{user}:x:{id}:{id}::/:/bin/sh").expect("a string takes all");
                writeln!(group, "{of}:x:{id}:").expect("a string takes all");
            }
            all.push(format!("let trial = trial.file(\"/etc/passwd\", {passwd:?}).file(\"/etc/group\", {group:?});"));
        }
        all.extend(self.there.iter().map(|line| format!("let trial = trial{line};")));
        all
    }
}
