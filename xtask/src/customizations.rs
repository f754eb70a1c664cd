//! Makes `docs/customizations.md`, examples of plugins, from `tests/guests/customizations/src`, where they are compiled and run.
//!
//! A file is one plugin: the first line of its comment is the heading, the rest is the text, and what follows is the code.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// Beginning of the page.
const HEAD: &str = "\
# Customizations

What people most often change in an image of a Pi, each as a whole `src/lib.rs`. All of them are compiled and run by piimg's own
tests, with the capabilities that they ask for and no others. [The guide](../plugins/README.md) explains what is used here,
[the tutorial](tutorial.md) the way from an empty directory to an image.

To put several into one plugin, make modules of them and leave out their last lines:

```rust
impl Plugin for Robot {
    fn conf() -> PluginConf {
        PluginConf::new(\"example/robot\", \"0.1.0\", \"Robot\").including(Region::conf()).including(Wifi::conf())
    }

    fn execute() -> Result {
        Region::execute()?;
        Wifi::execute()
    }
}
```

Made from `tests/guests/customizations` by `cargo xtask docs`; do not edit.
";

/// Headings of the page, and the files below each.
const GROUPS: [(&str, &[&str]); 6] = [
    ("The machine and its users", &["region", "user", "password", "autologin", "kiosk", "message"]),
    ("Network", &["wifi", "address", "firewall"]),
    ("Packages", &["packages", "archive", "debconf"]),
    (
        "Programs and services",
        &[
            "program",
            "python_app",
            "wheels",
            "modules",
            "compile",
            "checkout",
            "timer",
            "cron",
            "first_boot",
            "session",
            "switched_off",
        ],
    ),
    ("Files", &["files", "unpack", "edit", "download", "journal", "zram"]),
    ("The board", &["buses", "kernel", "udev"]),
];

/// Makes the page of the plugins in `directory`.
pub(crate) fn page(directory: &Path) -> Result<String> {
    let failed = || format!("cannot list {}", directory.display());
    let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
    for entry in std::fs::read_dir(directory).with_context(failed)? {
        let name = entry.with_context(failed)?.file_name().to_string_lossy().into_owned();
        let name = name.strip_suffix(".rs").filter(|name| *name != "lib");
        if let Some(name) = name.filter(|name| !grouped.contains(name)) {
            bail!(
                "{}/{name}.rs is on no part of the page: add it to GROUPS of xtask/src/customizations.rs",
                directory.display()
            );
        }
    }
    let (mut contents, mut sections) = (String::new(), String::new());
    for (group, names) in GROUPS {
        write!(sections, "\n## {group}\n").expect("a string takes all");
        let mut titles = Vec::new();
        for name in names {
            let path = directory.join(name).with_extension("rs");
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let (title, section) = section(&text).with_context(|| format!("cannot read {}", path.display()))?;
            titles.push(format!("[{title}](#{})", anchor(title)));
            sections.push_str(&section);
        }
        writeln!(contents, "- **{group}:** {}", titles.join(" · ")).expect("a string takes all");
    }
    Ok(format!("{HEAD}\n{contents}{sections}"))
}

/// Makes the section of one plugin, and returns its title too.
fn section(text: &str) -> Result<(&str, String)> {
    let end = text.find("\n\n").context("there is no code behind its comment")?;
    let (comment, code) = text.split_at(end);
    let mut lines = comment.lines().map(|line| line.strip_prefix("//!").map(str::trim));
    let title = lines.next().flatten().context("it does not begin with `//!` and a title")?;
    let body = lines.map(|line| line.context("its comment has another line in it")).collect::<Result<Vec<_>>>()?;
    let plugin = code.split("impl Plugin for ").nth(1).and_then(|rest| rest.split(' ').next());
    let plugin = plugin.context("it is no plugin")?;
    let (body, code) = (body.join("\n"), code.trim());
    let export = format!("piimg_plugin_sdk::plugin!({plugin});");
    Ok((title, format!("\n### {title}\n\n{}\n\n```rust\n{code}\n\n{export}\n```\n", body.trim())))
}

/// Returns how a heading is linked to, by the rules of GitHub.
fn anchor(title: &str) -> String {
    let kept = title.to_lowercase();
    let kept = kept.chars().filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-'));
    kept.map(|it| if it == ' ' { '-' } else { it }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_becomes_a_section() {
        let text =
            "//! A note, and more\n//!\n//! It is short.\n\nuse x;\n\npub struct Note;\n\nimpl Plugin for Note {}\n";
        let (title, section) = section(text).unwrap();
        assert_eq!((title, anchor(title).as_str()), ("A note, and more", "a-note-and-more"));
        assert_eq!(
            section,
            "\n### A note, and more\n\nIt is short.\n\n```rust\nuse x;\n\npub struct Note;\n\nimpl Plugin for Note {}\n\n\
             piimg_plugin_sdk::plugin!(Note);\n```\n"
        );
        assert_eq!(super::section("//! X\n\nfn x() {}\n").unwrap_err().to_string(), "it is no plugin");
    }
}
