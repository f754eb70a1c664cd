//! Writes apt's sources in a tree: those of a build, which may name a mirror, and those of the image, which its release
//! defines.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Context, Result};
use crate::rootfs::files::{Attrs, ImagePath, Rootfs};
use crate::ui::Printable as _;

/// The one file, and the directory of others, that apt reads.
const LIST: &str = "etc/apt/sources.list";
const PARTS: &str = "etc/apt/sources.list.d";

/// File to which [`DefaultSource::Kept`] moves mmdebstrap's own source; apt does not read it.
const KEPT: &str = "etc/apt/sources.list.image";

const PLAIN: Attrs = Attrs { mode: 0o644, uid: 0, gid: 0 };

/// Sources of a bootstrap's packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// Treatment of the source that mmdebstrap chooses for the suite.
    pub default: DefaultSource,
    /// Files as apt reads them, each named `NAME.sources`.
    pub files: Vec<PathBuf>,
    /// Key ring for what mmdebstrap chooses.
    pub keyring: Option<PathBuf>,
}

/// Treatment of the source that mmdebstrap chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultSource {
    /// It is used, and stays in the image.
    Used,
    /// It is for the image only; the files stand in for it during the build.
    Kept,
    /// There is no such source: the files are complete.
    None,
}

impl Sources {
    /// Arguments of mmdebstrap that come before the suite.
    pub(super) fn options(&self) -> Vec<String> {
        let mut options: Vec<String> =
            self.keyring.iter().map(|keyring| format!("--keyring={}", keyring.printable())).collect();
        if self.default == DefaultSource::Kept {
            options.push(format!("--setup-hook=mv \"$1/{LIST}\" \"$1/{KEPT}\""));
        }
        if self.default != DefaultSource::None {
            // Sources that are given as arguments would take the place of mmdebstrap's own.
            options
                .extend(self.files.iter().map(|file| format!("--setup-hook=cp {} \"$1/{PARTS}/\"", file.printable())));
        }
        options
    }

    /// Arguments of mmdebstrap that come after the target.
    pub(super) fn arguments(&self) -> Vec<String> {
        let files = self.files.iter().filter(|_| self.default == DefaultSource::None);
        files.map(|file| file.to_string_lossy().into_owned()).collect()
    }

    /// Returns whether a bootstrap leaves the image's own sources behind, so that nothing is to be replaced.
    pub fn are_the_images(&self) -> bool {
        self.default == DefaultSource::Used && self.files.is_empty()
    }
}

/// Copies what apt reads of the tree at `root` to the new directory `kept`, for later runs of apt in layers above.
///
/// # Errors
/// If a file cannot be read or written.
pub fn keep(root: &Path, kept: &Path) -> Result<()> {
    let failed = "cannot keep apt's sources";
    fs::create_dir(kept).context(failed)?;
    let list = root.join(LIST);
    if list.exists() {
        fs::copy(list, kept.join("0000main.list")).context(failed)?;
    }
    for entry in fs::read_dir(root.join(PARTS)).context(failed)? {
        let entry = entry.context(failed)?;
        fs::copy(entry.path(), kept.join(entry.file_name())).context(failed)?;
    }
    Ok(())
}

/// Takes the sources of a bootstrap out of the tree at `root`, in which no program has run yet: what mmdebstrap chose for the
/// image stays, unless the image is `without_default`.
///
/// # Errors
/// If a file cannot be removed.
pub fn withdraw(root: &Path, sources: &Sources, without_default: bool) -> Result<()> {
    let failed = "cannot write apt's sources";
    let parts = root.join(PARTS);
    for entry in fs::read_dir(&parts).context(failed)? {
        let name = entry.context(failed)?.file_name().to_string_lossy().into_owned();
        if sources.files.iter().any(|file| is_of(&name, file)) {
            fs::remove_file(parts.join(&name)).context(failed)?;
        }
    }
    if sources.default == DefaultSource::Kept {
        let kept = root.join(KEPT);
        if without_default { fs::remove_file(kept) } else { fs::rename(kept, root.join(LIST)) }.context(failed)?;
    }
    Ok(())
}

/// Writes sources, `files` by name, beside those that are there.
///
/// # Errors
/// If a file cannot be written.
pub fn add(rootfs: &Rootfs, files: &[(String, String)]) -> Result<()> {
    for (name, text) in files {
        let path = ImagePath::parse(&format!("/{PARTS}/{name}"))?;
        rootfs.write(&path, text.as_bytes(), PLAIN).context("cannot write apt's sources")?;
    }
    Ok(())
}

/// Returns whether `name` is what mmdebstrap calls the source `file`, which it may have numbered.
fn is_of(name: &str, file: &Path) -> bool {
    let Some(file) = file.file_name().map(|file| file.to_string_lossy()) else { return false };
    let number = |digits: &str| digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
    name == file || name.strip_suffix(&*file).is_some_and(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(default: DefaultSource, files: &[&str]) -> Sources {
        Sources { default, files: files.iter().map(PathBuf::from).collect(), keyring: Some("/k.gpg".into()) }
    }

    #[test]
    fn mmdebstraps_choice_stays_beside_what_is_added() {
        let own = sources(DefaultSource::Used, &["/t/more.sources"]);
        assert_eq!(
            own.options(),
            ["--keyring=/k.gpg", "--setup-hook=cp /t/more.sources \"$1/etc/apt/sources.list.d/\""]
        );
        assert!(own.arguments().is_empty() && !own.are_the_images());
        assert!(sources(DefaultSource::Used, &[]).are_the_images());
        let none = sources(DefaultSource::None, &["/t/a.sources", "/t/b.sources"]);
        assert_eq!(none.options(), ["--keyring=/k.gpg"]);
        assert_eq!(none.arguments(), ["/t/a.sources", "/t/b.sources"]);
    }

    #[test]
    fn the_image_gets_its_own_sources_and_the_build_keeps_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (root, kept) = (dir.path().join("root"), dir.path().join("kept"));
        let parts = root.join(PARTS);
        fs::create_dir_all(&parts).unwrap();
        for (name, text) in [(LIST, "mirrored"), (KEPT, "own")] {
            fs::write(root.join(name), text).unwrap();
        }
        for (name, text) in [("0001ros.sources", "mirror"), ("ros.sources", "mirror"), ("other.sources", "package's")] {
            fs::write(parts.join(name), text).unwrap();
        }
        keep(&root, &kept).unwrap();
        let mirrored = sources(DefaultSource::Kept, &["/t/ros.sources"]);
        withdraw(&root, &mirrored, false).unwrap();
        add(&Rootfs::open(&root, 0).unwrap(), &[("ros.sources".into(), "own".into())]).unwrap();
        let names = |directory: &Path| {
            let mut names: Vec<_> = fs::read_dir(directory)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(&parts), ["other.sources", "ros.sources"]);
        assert_eq!(fs::read_to_string(parts.join("ros.sources")).unwrap(), "own");
        assert_eq!(fs::read_to_string(root.join(LIST)).unwrap(), "own");
        assert!(!root.join(KEPT).exists());
        assert_eq!(names(&kept), ["0000main.list", "0001ros.sources", "other.sources", "ros.sources"]);
    }

    #[test]
    fn only_mmdebstraps_numbers_are_overlooked() {
        for (name, expected) in
            [("a.sources", true), ("0000a.sources", true), ("x0000a.sources", false), ("my-a.sources", false)]
        {
            assert_eq!(is_of(name, Path::new("/t/a.sources")), expected, "{name}");
        }
    }
}
