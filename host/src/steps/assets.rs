//! Opens the files that the user gives to plugins. A file in a directory is an asset called `NAME/PATH`.

use std::collections::BTreeMap;
use std::fs::{self, File};

use crate::error::{Context, Failure, Result};
use crate::recipe::host::HostPath;
use crate::ui::{Printable as _, printable};

/// Most files, each of which is open during the build. Whoever has more can hand over an archive.
const MOST: usize = 500;

/// Opens the files of all assets, by name.
///
/// # Errors
/// [`Failure::usage`] that names the asset, if one is neither a file nor a directory of files, or there are too many.
pub fn open(assets: &BTreeMap<String, HostPath>) -> Result<BTreeMap<String, File>> {
    let mut files = BTreeMap::new();
    for (name, path) in assets {
        open_one(name, path, &mut files).with_context(|| {
            Failure::usage(format!("cannot open the asset `{}`, `{}`", printable(name), path.shown().printable()))
        })?;
    }
    Ok(files)
}

fn open_one(name: &str, path: &HostPath, files: &mut BTreeMap<String, File>) -> Result<()> {
    // Checked before opening: opening a pipe would wait for a writer.
    let metadata = fs::metadata(path.path())?;
    if metadata.is_file() {
        anyhow::ensure!(files.len() < MOST, "there are more than {MOST} files; an archive of them is one");
        files.insert(name.to_owned(), path.open()?);
        return Ok(());
    }
    anyhow::ensure!(metadata.is_dir(), "it is neither a file nor a directory");
    let mut entries: Vec<_> = fs::read_dir(path.path())?.collect::<std::io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let inside = entry.file_name().into_string().ok().filter(|inside| !inside.contains(char::is_control));
        let shown = || format!("`{}`", printable(&path.shown().join(entry.file_name()).to_string_lossy()));
        let inside = inside.with_context(|| format!("the name of {} is no text", shown()))?;
        // `.git` may hold the token with which the repository was cloned.
        anyhow::ensure!(!(path.is_recipes() && inside.eq_ignore_ascii_case(".git")), "{} is git's own", shown());
        // A link may form a loop, or lead to a file that nobody meant to hand over.
        anyhow::ensure!(!entry.file_type()?.is_symlink(), "{} is a symbolic link", shown());
        open_one(&format!("{name}/{inside}"), &path.below(&inside), files).with_context(shown)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_directory_is_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let site = dir.path().join("site");
        fs::create_dir_all(site.join("css/deep")).unwrap();
        fs::create_dir(site.join("empty")).unwrap();
        for file in ["index.html", "css/a.css", "css/deep/.hidden"] {
            fs::write(site.join(file), "x").unwrap();
        }
        let assets = |path: &Path| BTreeMap::from([("site".to_owned(), HostPath::named(path))]);
        let names = |path: &Path| open(&assets(path)).unwrap().into_keys().collect::<Vec<_>>();
        assert_eq!(names(&site), ["site/css/a.css", "site/css/deep/.hidden", "site/index.html"]);
        assert_eq!(names(&site.join("index.html")), ["site"]);

        let refused = |path: &Path| format!("{:#}", open(&assets(path)).unwrap_err());
        std::os::unix::fs::symlink("..", site.join("css/up")).unwrap();
        assert!(refused(&site).ends_with("css/up` is a symbolic link"), "{}", refused(&site));
        fs::remove_file(site.join("css/up")).unwrap();
        fs::write(site.join("a\nb"), "").unwrap();
        assert!(refused(&site).ends_with("a\\u{a}b` is no text"), "{}", refused(&site));
        assert!(refused(Path::new("/dev/null")).ends_with("it is neither a file nor a directory"));
        assert!(refused(&site.join("none")).contains("cannot open the asset `site`, `"));
        fs::remove_file(site.join("a\nb")).unwrap();
        for number in 0..MOST {
            fs::write(site.join(number.to_string()), "").unwrap();
        }
        assert!(refused(&site).ends_with("there are more than 500 files; an archive of them is one"));
    }
}
