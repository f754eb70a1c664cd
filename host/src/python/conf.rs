//! Evaluates `conf` of a script, before there is a component.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;

use super::kind_of;
use super::sources::Sources;
use super::tools::host_python;
use crate::error::{Context as _, Failure, Result};
use crate::sandbox::confined::{Confined, Limits};
use crate::ui::printable;

const READER: &str = include_str!("read_conf.py");
/// A script that only describes itself needs none of it.
const LIMITS: Limits =
    Limits { time: Some(Duration::from_secs(20)), memory: 512 << 20, output: 4 << 20, ..Limits::USUAL };

/// Answer of the reader.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Conf(Conf),
    /// It is no customization.
    Wrong(String),
    /// It raised an exception.
    Failed(String),
}

/// Requests that decide the world; all else is checked when the component is inspected.
#[derive(Debug, Deserialize)]
struct Conf {
    image: Image,
    capabilities: Vec<Capability>,
}

#[derive(Debug, Deserialize)]
struct Image {
    apt_get_packages: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Capability {
    scope: String,
}

/// Returns the kinds of what a script asks for.
///
/// # Errors
/// [`Failure::usage`] saying what is wrong with it, and [`Failure::host`] if there is no Python.
pub(super) fn read(sources: &Sources) -> Result<BTreeSet<&'static str>> {
    let given = serde_json::json!({ "sources": sources.texts(), "name": sources.name() });
    let reader = Confined::new(host_python(), &[])?;
    // Isolated: neither the user's packages nor variables, nor the working directory.
    let reader = reader.args(["-I", "-B", "-S", "-c", READER]).stdin(given.to_string()).within(LIMITS);
    let script = printable(sources.shown());
    let failed = || Failure::usage(format!("cannot read `conf` of `{script}`"));
    let output = reader.output().with_context(failed)?;
    if output.status != 0 {
        return Err(anyhow::anyhow!("{}", printable(&output.tail()))).with_context(failed);
    }
    let text = output.stdout_text();
    let answer = serde_json::from_str(&text).with_context(failed)?;
    let conf = match answer {
        Answer::Conf(conf) => conf,
        Answer::Wrong(what) => {
            return Err(Failure::usage(format!("`{script}` is no customization: {}", printable(&what))).into());
        }
        Answer::Failed(what) => {
            let hint =
                "what is at the top of a script runs before there is an image: move calls to execute_customizations()";
            return Err(Failure::usage(format!("`{script}` failed while `conf` was read: {}", printable(&what)))
                .hint(hint)
                .into());
        }
    };
    let mut kinds = BTreeSet::new();
    for capability in &conf.capabilities {
        let kind = kind_of(&capability.scope).with_context(|| {
            let scope = printable(&capability.scope);
            Failure::usage(format!("`{script}` asks for `{scope}`, which is of no kind that there is"))
                .hint("write it as in `fs:write:/etc/motd`; plugins/README.md lists the kinds")
        })?;
        kinds.insert(kind);
    }
    if !conf.image.apt_get_packages.is_empty() {
        kinds.extend(kind_of("pkg:install:x"));
    }
    Ok(kinds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Kind, report};

    fn read_text(text: &str) -> Result<BTreeSet<&'static str>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("customize_x.py");
        std::fs::write(&path, text).unwrap();
        read(&Sources::read(&path).unwrap())
    }

    #[test]
    fn what_is_no_customization_is_told_in_a_sentence() {
        let class = |conf: &str| format!("class C:\n conf = {conf}\n def execute_customizations(self): pass\n");
        for (text, message) in [
            (String::new(), "has no class with `execute_customizations`: write `class customizeImage:`"),
            ("class C: pass".to_owned(), "has no class with `execute_customizations`"),
            (class("{}") + &class("{}").replace('C', "D"), "has `C` and `D`: a plugin is one class"),
            (class("[]"), "`C.conf` is a list: it must be a dictionary"),
            (class("{'hostnam': 'x'}"), "has the key 'hostnam', which means nothing; known are hostname"),
            (
                class("{'rootfs_extra_space_mb': '5'}"),
                "`conf['rootfs_extra_space_mb']` is a text: it must be a whole number",
            ),
            (class("{'apt_get_packages': [1]}"), "`conf['apt_get_packages']` has a whole number in it"),
            (class("{'capabilities': {'fs:write:/x': ''}}"), "has 'fs:write:/x' without a reason"),
            (class("{'capabilities': {'fs:wirte:/x': 'y'}}"), "asks for `fs:wirte:/x`, which is of no kind"),
            ("def f(:".to_owned(), "failed while `conf` was read: SyntaxError: invalid syntax (customize_x.py:1)"),
            (
                "\nimport nothing_of_that_name".to_owned(),
                "ModuleNotFoundError: No module named 'nothing_of_that_name' (customize_x.py:2)",
            ),
            ("raise SystemExit(3)".to_owned(), "SystemExit: 3 (customize_x.py:1)"),
            ("from piimg import os\nos.listdir('/')".to_owned(), "`fs.list-dir` was called where there is no image"),
        ] {
            let report = report(&read_text(&text).expect_err(&text));
            assert_eq!(report.kind, Kind::Usage, "{report:?}");
            assert!(report.messages.iter().any(|line| line.contains(message)), "{text}: {report:?}");
        }
    }

    #[test]
    fn the_dictionary_of_the_original_is_taken_key_by_key() {
        let text = "import os, shutil\nclass customizeImage:\n def __init__(self, git_token):\n  self.conf = {'hostname': 'r', \
                    'rootfs_extra_space_mb': 2000, 'rootfs': '/srv/r', 'flavour': 'r', 'release': 'focal', 'imagedir': '/srv/i', \
                    'apt_get_packages': ['htop'], 'capabilities': {'fs:write:/etc/motd': 'greets'}}\n \
                    def execute_customizations(self): pass\n";
        assert_eq!(read_text(text).unwrap(), ["fs:write", "pkg:install"].into());
    }
}
