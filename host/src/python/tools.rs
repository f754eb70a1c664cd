//! `componentize-py`, in a virtual environment of piimg's own.

use std::path::{Path, PathBuf};

use crate::error::{Context as _, Failure, Result, with_cause};
use crate::home::Home;
use crate::host_files::Directory;
use crate::sandbox::tool::{Output, Tool};
use crate::ui::{Printable as _, Ui, printable};

/// The version, and the digests of its wheels: whichever index or mirror has them, they are these.
pub(super) const REQUIREMENTS: &str = include_str!("requirements.txt");

/// Starts `componentize-py` without the script that pip makes, which has the path of its interpreter in it.
const START: &str = "import componentize_py; componentize_py.script()";

/// Places of Python that come before `PATH`: shims, as pyenv has them, start programs of their own.
const USUAL: [&str; 2] = ["/usr/bin/python3", "/usr/local/bin/python3"];

/// Returns the host's Python.
pub(super) fn host_python() -> &'static str {
    USUAL.into_iter().find(|path| Path::new(path).exists()).unwrap_or("python3")
}

/// The installed program.
#[derive(Debug)]
pub(super) struct Componentizer {
    python: PathBuf,
}

impl Componentizer {
    /// Returns the one in the user's cache; installs it if there is none, after saying so.
    ///
    /// # Errors
    /// [`Failure::host`] naming what is missing: Python, its modules `venv` and `pip`, or the network.
    pub(super) fn find_or_install(home: &Home, cache: &Directory, ui: &Ui) -> Result<Self> {
        let name = name();
        let python = home.python().join(&name).join("bin/python");
        if cache.find(&name).context("cannot look for componentize-py")?.is_some() {
            return Ok(Self { python });
        }
        let version = version();
        ui.say(&format!("installing {version} into `{}`, once (25 MB)", home.python().join(&name).printable()));
        // It gets its name when it is whole.
        let place =
            tempfile::Builder::new().prefix("new-").tempdir_in(cache.path()).context("cannot make a directory")?;
        let environment = place.path().join("environment");
        let made = Tool::new(host_python()).args(["-I", "-m", "venv"]).arg(&environment).output()?;
        check(&made, "python3 -m venv", "install it: sudo apt-get install python3-venv")?;
        let list = place.path().join("requirements.txt");
        let directory = Directory::open(place.path(), crate::host_files::Links::Followed)?;
        directory
            .replace("requirements.txt", REQUIREMENTS.as_bytes(), 0o600)
            .context("cannot write the requirements")?;
        // Its settings are the user's: which index or mirror, which proxy. What comes is compared with the digests.
        let pip = Tool::new(environment.join("bin/python").to_str().context("the cache's path is no text")?);
        let pip = pip.with_environment_of_user().args(["-I", "-m", "pip", "install", "--quiet", "--no-input"]);
        let pip =
            pip.args(["--disable-pip-version-check", "--require-hashes", "--only-binary=:all:", "--no-deps", "-r"]);
        let hint = "pip needs the Python package index or a mirror of it (PIP_INDEX_URL), for x86_64 or aarch64, with Python 3.9 or later";
        check(&pip.arg(&list).output()?, &format!("pip install {version}"), hint)?;
        let from = Directory::open(place.path(), crate::host_files::Links::Followed)?;
        cache.rename_from(&from, "environment", &name).or_else(|error| {
            // Another piimg was faster.
            if cache.find(&name)?.is_some() { Ok(()) } else { Err(error) }
        })?;
        Ok(Self { python })
    }

    /// Makes the component of `app` and `wit` in a directory, and returns it.
    ///
    /// # Errors
    /// [`Failure::usage`] with what Python says, if the script cannot be imported.
    pub(super) fn run(&self, stage: &Path, entry: &str) -> Result<Vec<u8>> {
        let (app, wit, output) = (stage.join("app"), stage.join("wit"), stage.join("component.wasm"));
        let python = self.python.to_str().context("the cache's path is no text")?;
        let tool = Tool::new(python)
            .args(["-I", "-B", "-c", START, "--quiet", "--wit-path"])
            .arg(&wit)
            .args(["--world", "plugin", "componentize", entry, "--stub-wasi", "--python-path"])
            .arg(&app)
            .arg("--output")
            .arg(&output)
            // Else it looks for packages of the machine's own Python.
            .env("VIRTUAL_ENV", stage)
            .env("TMPDIR", stage);
        let done = tool.output()?;
        if done.status != 0 {
            let text = String::from_utf8_lossy(&done.stderr).into_owned();
            let cause = anyhow::anyhow!("{}", printable(&said(&text)));
            let failure = Failure::usage("the script cannot be frozen into a component")
                .hint("what is at the top of it runs without an image, on Python's own standard library alone");
            return Err(with_cause(cause, failure));
        }
        std::fs::read(&output).context("componentize-py made no component")
    }
}

/// Returns the part of a message that is Python's: the rest is a trace of the program itself.
fn said(text: &str) -> String {
    let own: Vec<&str> = text.lines().take_while(|line| !line.starts_with("Stack backtrace")).collect();
    let start = own.iter().rposition(|line| line.starts_with("Traceback")).unwrap_or_default();
    own[start..].join("\n").trim().replace("\"/0/", "\"")
}

fn check(output: &Output, what: &str, hint: &str) -> Result<()> {
    if output.status == 0 {
        return Ok(());
    }
    let cause = anyhow::anyhow!("{}", printable(&output.tail()));
    Err(with_cause(cause, Failure::host(format!("`{what}` failed with status {}", output.status)).hint(hint)))
}

/// Returns `componentize-py==VERSION`.
fn version() -> &'static str {
    let line = REQUIREMENTS.lines().find(|line| !line.starts_with('#')).unwrap_or_default();
    line.trim_end_matches(['\\', ' '])
}

/// Returns the name of the environment: another list of requirements is another one.
fn name() -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(REQUIREMENTS);
    format!("{}-{}", version().replace("==", "-"), hex::encode(&digest[..4]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requirement_is_one_version_with_digests() {
        assert!(version().starts_with("componentize-py==") && !version().contains(' '), "{}", version());
        assert_eq!(REQUIREMENTS.matches("--hash=sha256:").count(), 2);
        assert!(name().starts_with("componentize-py-0."), "{}", name());
    }

    #[test]
    fn only_what_python_says_is_told() {
        let text = "AssertionError: x\n\nCaused by:\n Traceback (most recent call last):\nTraceback (most recent call last):\n  \
                    File \"/0/customize_x.py\", line 1\nNameError: y\n\nStack backtrace:\n  0: main\n";
        assert_eq!(said(text), "Traceback (most recent call last):\n  File \"customize_x.py\", line 1\nNameError: y");
    }
}
