//! Packages of Node.js that the release does not have, each by its address and digest. What the release has is a package of it:
//! `node-…`.

use std::borrow::Cow;

use crate::net::Download;
use crate::template::filled;
use crate::{Error, ErrorCode, Need, Needs, fs, net};

/// A package of Node.js as a file; see [`package`].
#[derive(Clone, Copy, Debug)]
pub struct Package<'a> {
    name: &'a str,
    url: &'a str,
    digest: &'a str,
}

/// Names a package, `name` or `@scope/name`, and the file that has it, with the file's digest, `sha256:` and 64 hexadecimal
/// digits. It is the `.tgz` that `npm pack` makes and that a registry offers:
/// <https://docs.npmjs.com/cli/v10/commands/npm-pack>.
///
/// ```
/// # use piimg_plugin_sdk::node::{self, Package};
/// const DIGEST: &str = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
/// const DRIVER: Package = node::package("driver", "https://example.org/driver-1.2.0.tgz", DIGEST);
/// ```
#[must_use]
pub const fn package<'a>(name: &'a str, url: &'a str, digest: &'a str) -> Package<'a> {
    Package { name, url, digest }
}

impl<'a> Package<'a> {
    const fn download(&self) -> Download<'a> {
        net::download(self.url, self.digest)
    }
}

/// Packages of Node.js in a directory of their own; see [`packages`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct Packages<'a> {
    directory: &'a str,
    packages: &'a [Package<'a>],
}

/// Describes these packages in `node_modules` of a directory, where a program of that directory finds them. Nothing else is
/// fetched, so all that they need must be among them. No script of theirs runs: what compiles something when it is installed
/// needs a [command](crate::process) of its own.
///
/// ```no_run
/// # use piimg_plugin_sdk::node::{self, Package, Packages};
/// const DIGEST: &str = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
/// const DRIVER: Package = node::package("driver", "https://example.org/driver-1.2.0.tgz", DIGEST);
/// const MODULES: Packages = node::packages("/opt/app", &[DRIVER]);
/// MODULES.apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn packages<'a>(directory: &'a str, packages: &'a [Package<'a>]) -> Packages<'a> {
    Packages { directory, packages }
}

impl Packages<'_> {
    /// Downloads and unpacks them.
    ///
    /// # Errors
    /// As [`net::fetch`] and [`fs::Unpack::apply`]; [`ErrorCode::Invalid`] for what is no name of a package.
    pub fn apply(&self) -> Result<(), Error> {
        let names = self.packages.iter().map(|it| check(filled(it.name)?)).collect::<Result<Vec<_>, _>>()?;
        let modules = filled(&self.modules())?.into_owned();
        for (package, name) in self.packages.iter().zip(&names) {
            let place = format!("{modules}/{name}");
            fs::create_dir_all(&place).apply()?;
            // All of a package's files are in one directory, whatever that is called.
            fs::unpack(&place).without_first(1).apply(&package.download().fetch()?)?;
        }
        Ok(())
    }

    fn modules(&self) -> String {
        format!("{}/node_modules", self.directory.trim_end_matches('/'))
    }
}

impl Needs for Packages<'_> {
    fn needs(&self) -> Vec<Need> {
        let modules = self.modules();
        let reason = format!("installs packages of Node.js in {modules}");
        let own = Need::capability(format!("fs:write:{modules}/**"), &reason);
        std::iter::once(own).chain(self.packages.iter().flat_map(|it| it.download().needs())).collect()
    }
}

/// Returns the name of a package, which becomes a path:
/// <https://docs.npmjs.com/cli/v10/configuring-npm/package-json#name>.
fn check(name: Cow<'_, str>) -> Result<String, Error> {
    let is_part = |part: &str| {
        let is_plain = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || "._~-".contains(it);
        !part.is_empty() && !part.starts_with(['.', '_']) && part.chars().all(is_plain)
    };
    let is_name = match name.strip_prefix('@').map(|scoped| scoped.split_once('/')) {
        Some(Some((scope, name))) => is_part(scope) && is_part(name),
        Some(None) => false,
        None => is_part(&name),
    };
    if is_name {
        return Ok(name.into_owned());
    }
    let name = name.escape_debug();
    Err(Error::new(
        ErrorCode::Invalid,
        format!("`{name}` is no name of a package, such as `driver` or `@robots/driver`"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_ask_for_their_directory_and_no_command() {
        let packages = [
            package("a", "https://example.org/a-1.0.0.tgz", "sha256:00"),
            package("@x/b", "https://h/x/b-2.0.0.tgz", "sha256:00"),
        ];
        let needs = super::packages("/opt/app/", &packages).needs();
        let scopes: Vec<String> = needs.iter().map(Need::scope).collect();
        let expected =
            ["fs:write:/opt/app/node_modules/**", "net:https://example.org/a-1.0.0.tgz", "net:https://h/x/b-2.0.0.tgz"];
        assert_eq!(scopes, expected);
    }

    #[test]
    fn a_name_stays_in_its_directory() {
        for (name, is) in [
            ("driver", true),
            ("@robots/driver", true),
            ("a.b_c~d-e", true),
            ("..", false),
            ("../x", false),
            ("@../x", false),
            ("@x/..", false),
            ("@x", false),
            ("@x/y/z", false),
            ("a/b", false),
            (".bin", false),
            ("", false),
            ("A", false),
        ] {
            assert_eq!(check(name.into()).is_ok(), is, "{name}");
        }
    }
}
