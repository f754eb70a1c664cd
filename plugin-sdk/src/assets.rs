//! Files that the person who builds the image hands to the plugin.

use crate::__private::bindings::piimg::plugin::assets as raw;
use crate::template::filled;
use crate::{Blob, Error, ErrorCode, Need, Needs};

/// Names of the files handed over that the plugin may open. Those of a directory are called `NAME/PATH`.
///
/// ```no_run
/// # use piimg_plugin_sdk::assets;
/// if assets::names().iter().any(|name| name == "logo.png") {
///     assets::open("logo.png")?;
/// }
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
#[must_use]
pub fn names() -> Vec<String> {
    raw::names()
}

/// Opens one, to read from it or to [`crate::fs::install`] it. Needs `asset:<name>`, of a file in a directory that of the
/// directory.
///
/// ```no_run
/// # use piimg_plugin_sdk::{assets, fs};
/// fs::install(&assets::open("logo.png")?, "/usr/share/app/logo.png").apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`crate::ErrorCode::Denied`] without the capability, [`crate::ErrorCode::NotFound`] if the user gave no such file.
pub fn open(name: &str) -> Result<Blob, Error> {
    Ok(Blob(raw::open(name)?))
}

/// A file that the user hands over; see [`asset`].
#[must_use = "nothing happens before `open`"]
#[derive(Clone, Copy, Debug)]
pub struct Asset<'a>(&'a str);

/// Names a file that the user hands over, as `NAME` or, in a directory, `NAME/PATH`.
///
/// ```no_run
/// # use piimg_plugin_sdk::assets::{self, Asset};
/// # use piimg_plugin_sdk::fs;
/// const LOGO: Asset = assets::asset("logo.png");
/// fs::install(&LOGO.open()?, "/usr/share/app/logo.png").apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn asset(name: &str) -> Asset<'_> {
    Asset(name)
}

impl Asset<'_> {
    /// Opens it.
    ///
    /// # Errors
    /// As [`open`].
    pub fn open(&self) -> Result<Blob, Error> {
        open(&filled(self.0)?)
    }
}

impl Needs for Asset<'_> {
    fn needs(&self) -> Vec<Need> {
        let name = self.0.split('/').next().unwrap_or(self.0);
        vec![Need::capability(format!("asset:{name}"), format!("reads the asset {}", self.0))]
    }
}

/// Assets that are to be copied into a directory; see [`tree`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct Tree<'a> {
    prefix: &'a str,
    directory: &'a str,
    owner: Option<(&'a str, &'a str)>,
    mode: u32,
    programs: u32,
}

/// Describes every asset whose name begins with `prefix`, in a directory, which must exist, under the rest of its name.
///
/// `tree("site/", "/srv/www")` copies the directory that the user handed over as `site`, and what is below it. Assets of one
/// directory each can be chosen by a part of their names: `tree("site-", "/srv/www")`.
///
/// Files are 0o644, and those that begin as a program does (`#!`, or as ELF has it) 0o755: what the host's file system says
/// of them does not come along.
///
/// ```no_run
/// # use piimg_plugin_sdk::assets;
/// let paths = assets::tree("app/", "/opt/app").owner("ann", "ann").apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn tree<'a>(prefix: &'a str, directory: &'a str) -> Tree<'a> {
    Tree { prefix, directory, owner: None, mode: 0o644, programs: 0o755 }
}

impl<'a> Tree<'a> {
    /// Sets whose the files are, and the directories that are made for them; root's by default.
    pub const fn owner(self, user: &'a str, group: &'a str) -> Self {
        Self { owner: Some((user, group)), ..self }
    }

    /// Sets the mode of files that are no programs.
    pub const fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    /// Sets the mode of programs.
    pub const fn programs(self, mode: u32) -> Self {
        Self { programs: mode, ..self }
    }

    /// Copies them, and returns the paths.
    ///
    /// # Errors
    /// As [`open`] and [`crate::fs::install`]; [`ErrorCode::NotFound`] if there is no such asset.
    pub fn apply(&self) -> Result<Vec<String>, Error> {
        let (prefix, directory) = (filled(self.prefix)?, filled(self.directory)?);
        let (user, group) = self.owner.unwrap_or(("root", "root"));
        let files = places(&names(), &prefix, &directory);
        if files.is_empty() {
            // Says whether the grant is missing or the file.
            open(prefix.split('/').next().unwrap_or_default())?;
            return Err(Error::new(ErrorCode::NotFound, format!("no asset has a name that begins with `{prefix}`")));
        }
        for (name, path) in &files {
            if let Some((parent, _)) = path.rsplit_once('/').filter(|(parent, _)| parent.len() > directory.len()) {
                crate::fs::create_dir_all(parent).owner(user, group).apply()?;
            }
            let content = open(name)?;
            let mode = if is_program(&content.read(0, 4)?) { self.programs } else { self.mode };
            crate::fs::install(&content, path).mode(mode).owner(user, group).apply()?;
        }
        Ok(files.into_iter().map(|(_, path)| path).collect())
    }
}

impl Needs for Tree<'_> {
    fn needs(&self) -> Vec<Need> {
        let Self { prefix, directory, .. } = self;
        let directory = directory.trim_end_matches('/');
        let asset = prefix.split_once('/').map_or_else(|| format!("{prefix}*"), |(name, _)| name.to_owned());
        let reason = format!("copies {prefix}… to {directory}");
        vec![
            Need::capability(format!("asset:{asset}"), &reason),
            Need::capability(format!("fs:write:{directory}/**"), &reason),
        ]
    }
}

/// Returns whether a file begins as programs do: with the name of what runs it, or as elf(5) has it.
fn is_program(beginning: &[u8]) -> bool {
    beginning.starts_with(b"#!") || beginning.starts_with(b"\x7fELF")
}

/// Names of assets and the paths where they go.
fn places(names: &[String], prefix: &str, directory: &str) -> Vec<(String, String)> {
    let rest = |name: &String| {
        let rest = name.strip_prefix(prefix).filter(|rest| !rest.is_empty())?;
        Some((name.clone(), format!("{}/{rest}", directory.trim_end_matches('/'))))
    };
    names.iter().filter_map(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_by_their_beginning() {
        for (beginning, is) in [(&b"#!/b"[..], true), (b"\x7fELF", true), (b"<htm", false), (b"#", false), (b"", false)]
        {
            assert_eq!(is_program(beginning), is, "{beginning:?}");
        }
    }

    #[test]
    fn assets_of_a_prefix_get_the_rest_of_their_names() {
        let names = ["site-index.html", "site-", "logo.png"].map(str::to_owned);
        let expected = |path: &str| vec![("site-index.html".to_owned(), path.to_owned())];
        assert_eq!(places(&names, "site-", "/srv/www"), expected("/srv/www/index.html"));
        assert_eq!(places(&names, "site-", "/"), expected("/index.html"));
        let tree = ["site/css/a.css".to_owned()];
        assert_eq!(places(&tree, "site/", "/srv/www/")[0].1, "/srv/www/css/a.css");
        assert_eq!(places(&names, "", "/srv/www").len(), 3);
    }
}
