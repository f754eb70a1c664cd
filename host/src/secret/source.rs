//! Reads the value of a secret from its source: `file:PATH`, `env:VARIABLE` or `cmd:COMMAND`.

use std::fmt;
use std::os::unix::ffi::OsStringExt as _;
use std::process::Stdio;

use zeroize::Zeroizing;

use super::{MAX_SIZE, Secret, read};
use crate::error::{Context as _, Failure, Result, with_cause};
use crate::host_files::{HostPath, umask};
use crate::sandbox::ending::{Bounds, describe};
use crate::sandbox::tool::{Tool, exit_status};
use crate::ui::{Printable as _, printable};

/// A source, not yet read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    File(HostPath),
    /// A variable of the environment.
    Env(String),
    /// Output of a shell command.
    Command(String),
}

/// Forms of a source, for the error about another text. The text is not quoted: somebody may have written the value
/// itself.
pub const FORMS: &str = "`file:PATH`, `env:VARIABLE` or `cmd:COMMAND`";

/// A source as it is written: not one that may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form<'a> {
    File(&'a str),
    Env(&'a str),
    Command(&'a str),
}

impl<'a> Form<'a> {
    /// Parses the source of a secret; `None` if the text has none of the [`FORMS`].
    pub fn parse(text: &'a str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        if rest.is_empty() || rest.contains('\0') {
            return None;
        }
        match kind {
            "file" => Some(Self::File(rest)),
            "env" if !rest.contains('=') => Some(Self::Env(rest)),
            "cmd" => Some(Self::Command(rest)),
            _ => None,
        }
    }
}

impl Source {
    /// Parses what the user wrote on the command line; `None` if it has none of the [`FORMS`].
    pub fn named(text: &str) -> Option<Self> {
        Some(match Form::parse(text)? {
            Form::File(path) => Self::File(HostPath::named(path)),
            Form::Env(variable) => Self::Env(variable.to_owned()),
            Form::Command(command) => Self::Command(command.to_owned()),
        })
    }

    /// Returns the variable that the value is in.
    pub fn variable(&self) -> Option<&str> {
        match self {
            Self::Env(variable) => Some(variable),
            _ => None,
        }
    }

    /// Reads the secret called `name`.
    ///
    /// # Errors
    /// [`Failure::usage`] naming secret and source: there is nothing, the command fails, or it is empty or too long.
    pub fn read(&self, name: &str) -> Result<Secret> {
        let failed = || Failure::usage(format!("cannot read the secret `{name}` from {self}"));
        let value = match self {
            Self::File(path) => read(path.open().with_context(failed)?).with_context(failed)?,
            Self::Env(variable) => {
                let value = std::env::var_os(variable).context("it is not set").with_context(failed)?;
                Zeroizing::new(value.into_vec())
            }
            Self::Command(command) => output(command).with_context(failed)?,
        };
        Secret::new(name, value).map_err(|cause| with_cause(anyhow::anyhow!(cause), failed()))
    }
}

/// Describes the source in errors. A command is not quoted: it may hold a secret of its own.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file `{}`", path.shown().printable()),
            Self::Env(variable) => write!(f, "the variable `{}`", printable(variable)),
            Self::Command(_) => f.write_str("its command"),
        }
    }
}

/// Returns the standard output of a command. Its standard error is the terminal, where it may also ask.
fn output(command: &str) -> Result<Zeroizing<Vec<u8>>> {
    let mut child = Tool::new("/bin/sh")
        .args(["-c", &format!("umask {:o}\n{command}", umask())])
        .with_environment_of_user()
        .command()?
        .stdout(Stdio::piped())
        .spawn()
        .context(Failure::host("cannot start `/bin/sh`"))?;
    let value = read(child.stdout.take().expect("standard output is piped"));
    let too_long = value.as_ref().is_ok_and(|value| value.len() > MAX_SIZE + 1);
    if value.is_err() || too_long {
        // It has ended if this fails.
        child.kill().ok();
    }
    let status = child.wait().context("cannot wait for `/bin/sh`")?;
    let value = value.context("cannot read what it writes")?;
    anyhow::ensure!(status.success() || too_long, "it {}", describe(exit_status(status), Bounds::default()));
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Kind, report};

    #[test]
    fn a_source_has_one_of_three_forms() {
        for (text, expected) in [
            ("file:/run/token", Some(Source::File(HostPath::named("/run/token")))),
            ("file:a:b", Some(Source::File(HostPath::named("a:b")))),
            ("env:TOKEN", Some(Source::Env("TOKEN".into()))),
            ("cmd:pass show ann", Some(Source::Command("pass show ann".into()))),
            ("", None),
            ("hunter2", None),
            ("file:", None),
            ("env:A=B", None),
            ("File:/x", None),
            ("https://example.org", None),
            ("cmd:a\0b", None),
        ] {
            assert_eq!(Source::named(text), expected, "{text}");
        }
    }

    #[test]
    fn each_source_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "from a file\n").unwrap();
        assert_eq!(Source::File(HostPath::named(path)).read("a").unwrap().expose(), b"from a file");
        assert_eq!(Source::Command("printf 'a\\n\\n'; true".into()).read("a").unwrap().expose(), b"a\n");
        let path = std::env::var("PATH").unwrap();
        assert_eq!(Source::Env("PATH".into()).read("a").unwrap().expose(), path.as_bytes());
    }

    #[test]
    fn a_source_that_gives_nothing_is_named() {
        for (source, said, cause) in [
            ("file:/none", "from the file `/none`", "No such file"),
            ("file:/", "from the file `/`", "Is a directory"),
            ("file:/dev/null", "from the file `/dev/null`", "it is empty"),
            ("file:/dev/zero", "from the file `/dev/zero`", "it has more than 65536 bytes"),
            ("env:PIIMG_NOT_SET", "from the variable `PIIMG_NOT_SET`", "it is not set"),
            ("cmd:echo hunter2; exit 3", "from its command", "it failed with status 3"),
            ("cmd:true", "from its command", "it is empty"),
            ("cmd:yes hunter2", "from its command", "it has more than 65536 bytes"),
        ] {
            let report = report(&Source::named(source).unwrap().read("ann").unwrap_err());
            assert_eq!(report.kind, Kind::Usage, "{source}");
            assert_eq!(report.messages[0], format!("cannot read the secret `ann` {said}"));
            assert!(report.messages[1].contains(cause), "{source}: {report:?}");
            assert!(!format!("{report:?}").contains("hunter2"), "{report:?}");
        }
    }
}
