//! Packages of Python that the release does not have, each by its address and digest. What the release has is a package of it:
//! `python3-…`.

use std::borrow::Cow;

use crate::net::Download;
use crate::process::Command;
use crate::template::filled;
use crate::{Error, ErrorCode, Need, Needs, fs, net};

/// A wheel: a package of Python as a file; see [`wheel`].
#[derive(Clone, Copy, Debug)]
pub struct Wheel<'a> {
    url: &'a str,
    digest: &'a str,
}

/// Names a wheel of this digest, `sha256:` and 64 hexadecimal digits. The last part of the address is its file name:
/// <https://packaging.python.org/en/latest/specifications/binary-distribution-format/>.
///
/// ```
/// # use piimg_plugin_sdk::python::{self, Wheel};
/// const DIGEST: &str = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
/// const DRIVER: Wheel = python::wheel("https://example.org/driver-1.2-py3-none-any.whl", DIGEST);
/// ```
#[must_use]
pub const fn wheel<'a>(url: &'a str, digest: &'a str) -> Wheel<'a> {
    Wheel { url, digest }
}

impl<'a> Wheel<'a> {
    const fn download(&self) -> Download<'a> {
        net::download(self.url, self.digest)
    }

    /// Returns its file's name in a directory, without a look at parameters.
    fn path(&self, directory: &str) -> String {
        let name = self.url.rsplit('/').next().unwrap_or(self.url);
        format!("{}/{name}", directory.trim_end_matches('/'))
    }
}

/// Packages of Python in a directory of their own; see [`packages`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct Packages<'a> {
    directory: &'a str,
    wheels: &'a [Wheel<'a>],
}

/// Describes these wheels in a directory that programs find by `PYTHONPATH`. Nothing else is fetched, so all that they need must
/// be among them or in the image. `pip` installs them and is in no image itself.
///
/// ```no_run
/// # use piimg_plugin_sdk::python::{self, Packages, Wheel};
/// const DIGEST: &str = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
/// const DRIVER: Wheel = python::wheel("https://example.org/driver-1.2-py3-none-any.whl", DIGEST);
/// const LIBRARIES: Packages = python::packages("/opt/app/lib", &[DRIVER]);
/// LIBRARIES.apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn packages<'a>(directory: &'a str, wheels: &'a [Wheel<'a>]) -> Packages<'a> {
    Packages { directory, wheels }
}

impl Packages<'_> {
    /// Downloads and installs them.
    ///
    /// # Errors
    /// As [`net::fetch`] and [`Command::apply`]; [`ErrorCode::Invalid`] for an address whose end is no name of a wheel.
    pub fn apply(&self) -> Result<(), Error> {
        let paths = self.paths().iter().map(|path| check(filled(path)?)).collect::<Result<Vec<_>, _>>()?;
        fs::create_dir_all(&filled(self.directory)?).apply()?;
        for (wheel, path) in self.wheels.iter().zip(&paths) {
            fs::install(&wheel.download().fetch()?, path).apply()?;
        }
        self.command().apply()?;
        paths.iter().try_for_each(|path| fs::remove(path))
    }

    fn paths(&self) -> Vec<String> {
        self.wheels.iter().map(|wheel| wheel.path(self.directory)).collect()
    }

    /// Installs files alone, and compiles nothing: what Python compiles has the time in it.
    fn command(&self) -> Command {
        let options =
            ["install", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--target", self.directory];
        Command::new("pip3").args(options).args(self.paths())
    }
}

impl Needs for Packages<'_> {
    fn needs(&self) -> Vec<Need> {
        let directory = self.directory.trim_end_matches('/');
        let reason = format!("installs packages of Python in {directory}");
        let own = [
            Need::capability("pkg:build:python3-pip", &reason),
            Need::capability(format!("fs:write:{directory}/**"), &reason),
        ];
        let downloads = self.wheels.iter().flat_map(|wheel| wheel.download().needs());
        own.into_iter().chain(downloads).chain(self.command().needs()).collect()
    }
}

/// Returns the path of a wheel, which becomes a word of a command.
fn check(path: Cow<'_, str>) -> Result<String, Error> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "._-+".contains(it);
    if name.ends_with(".whl") && !name.starts_with(['-', '.']) && name.chars().all(is_plain) {
        return Ok(path.into_owned());
    }
    let name = name.escape_debug();
    Err(Error::new(
        ErrorCode::Invalid,
        format!("`{name}` is no file name of a wheel, such as `driver-1.2-py3-none-any.whl`"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_ask_for_their_files_and_one_command() {
        let digest = "sha256:00";
        let wheels = [
            wheel("https://example.org/a-1-py3-none-any.whl", digest),
            wheel("https://h/x/b-2-py3-none-any.whl", digest),
        ];
        let scopes: Vec<String> = packages("/opt/lib/", &wheels).needs().iter().map(Need::scope).collect();
        let expected = [
            "pkg:build:python3-pip",
            "fs:write:/opt/lib/**",
            "net:https://example.org/a-1-py3-none-any.whl",
            "net:https://h/x/b-2-py3-none-any.whl",
            "exec:pip3 install --no-index --no-deps --no-compile --no-cache-dir --target /opt/lib/ \
             /opt/lib/a-1-py3-none-any.whl /opt/lib/b-2-py3-none-any.whl",
        ];
        assert_eq!(scopes, expected);
    }

    #[test]
    fn a_file_is_a_wheel_by_its_name() {
        for (path, is) in [
            ("/opt/a-1.whl", true),
            ("/opt/a-1+local-py3-none-any.whl", true),
            ("/opt/a-1.tar.gz", false),
            ("/opt/", false),
            ("/opt/.whl", false),
            ("/opt/-x.whl", false),
            ("/opt/a b.whl", false),
            ("/opt/a.whl#sha256=0", false),
        ] {
            assert_eq!(check(path.into()).is_ok(), is, "{path}");
        }
    }
}
