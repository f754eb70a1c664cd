//! Pages of `docs/` that are made from other files, so that what they say is what is there.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::{customizations, reference};

/// A page that is made.
struct Page {
    path: &'static str,
    /// Directory that it is made from.
    from: &'static str,
    make: fn(&Path) -> Result<String>,
}

const PAGES: [Page; 2] = [
    Page { path: "docs/host-functions.md", from: "wit", make: reference::page },
    Page { path: "docs/customizations.md", from: "tests/guests/customizations/src", make: customizations::page },
];

/// Writes all of them.
pub(crate) fn write() -> Result<()> {
    PAGES.iter().try_for_each(|page| {
        std::fs::write(page.path, (page.make)(Path::new(page.from))?)
            .with_context(|| format!("cannot write {}", page.path))
    })
}

/// Fails if one is not what [`write`] would make in the repository at `top`.
pub(crate) fn check(top: &Path) -> Result<()> {
    for Page { path, from, make } in &PAGES {
        let present = std::fs::read_to_string(top.join(path)).with_context(|| format!("cannot read {path}"))?;
        if present != make(&top.join(from))? {
            bail!("{path} is stale: run `cargo xtask docs`");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_is_fresh() {
        check(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()).unwrap();
    }
}
