//! Files that the person who builds the image hands to the plugin.

use crate::__private::bindings::piimg::plugin::assets as raw;
use crate::{Blob, Error};

/// Names of the files handed over that the plugin may open.
#[must_use]
pub fn names() -> Vec<String> {
    raw::names()
}

/// Opens one, to read from it or to [`crate::fs::install`] it. Needs `asset:<name>`.
///
/// # Errors
/// [`crate::ErrorCode::Denied`] without the capability, [`crate::ErrorCode::NotFound`] if the user gave no such file.
pub fn open(name: &str) -> Result<Blob, Error> {
    Ok(Blob(raw::open(name)?))
}

/// Installs every asset whose name begins with `prefix` into a directory, which must exist, under the rest of its name;
/// returns the paths. Needs `asset:<prefix>*` and `fs:write:<directory>/*`.
///
/// # Errors
/// As [`open`] and [`crate::fs::install`].
pub fn install_all(prefix: &str, directory: &str) -> Result<Vec<String>, Error> {
    let files = places(&names(), prefix, directory);
    for (name, path) in &files {
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
        assert_eq!(places(&names, "", "/srv/www").len(), 3);
    }
}
