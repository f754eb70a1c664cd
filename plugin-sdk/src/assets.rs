//! Files that the person who builds the image hands to the plugin.

use crate::__private::bindings::piimg::plugin::assets as raw;
use crate::{Blob, Error};

/// Names of the files handed over that the plugin may open. Those of a directory are called `NAME/PATH`.
#[must_use]
pub fn names() -> Vec<String> {
    raw::names()
}

/// Opens one, to read from it or to [`crate::fs::install`] it. Needs `asset:<name>`, of a file in a directory that of the
/// directory.
///
/// # Errors
/// [`crate::ErrorCode::Denied`] without the capability, [`crate::ErrorCode::NotFound`] if the user gave no such file.
pub fn open(name: &str) -> Result<Blob, Error> {
    Ok(Blob(raw::open(name)?))
}

/// Installs every asset whose name begins with `prefix` into a directory, which must exist, under the rest of its name;
/// returns the paths.
///
/// `install_all("site/", "/srv/www")` copies the directory that the user handed over as `site`, and what is below it.
/// That needs `asset:site` and `fs:write:/srv/www/**`. Assets of one directory each can be chosen by a part of their
/// names: `site-` needs `asset:site-*` and `fs:write:/srv/www/*`.
///
/// # Errors
/// As [`open`] and [`crate::fs::install`].
pub fn install_all(prefix: &str, directory: &str) -> Result<Vec<String>, Error> {
    let files = places(&names(), prefix, directory);
    for (name, path) in &files {
        if let Some((parent, _)) = path.rsplit_once('/').filter(|(parent, _)| parent.len() > directory.len()) {
            crate::fs::create_dir_all(parent).apply()?;
        }
        crate::fs::install(&open(name)?, path).apply()?;
    }
    Ok(files.into_iter().map(|(_, path)| path).collect())
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
