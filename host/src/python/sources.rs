//! The Python files of a plugin: the script, its neighbours and the SDK's package.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use include_dir::{Dir, include_dir};
use sha2::{Digest as _, Sha256};

use crate::error::{Context as _, Failure, Result};
use crate::host_files::Directory;
use crate::ui::Printable as _;

/// The package `piimg`, so that an installed program needs no checkout.
static SDK: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../plugin-sdk/python/src/piimg");

/// Bytes of all files together, and how many there may be.
const MAX_BYTES: u64 = 16 << 20;
const MAX_FILES: usize = 1000;
/// Names of modules that the component has already.
const TAKEN: [&str; 6] =
    ["piimg", super::ENTRY, "wit_world", "componentize_py_types", "componentize_py_runtime", "poll_loop"];

/// All that becomes part of the component, beside Python itself.
#[derive(Debug)]
pub(super) struct Sources {
    name: String,
    shown: String,
    /// By path below the script's directory; those of the SDK are below `piimg`.
    texts: BTreeMap<String, String>,
}

impl Sources {
    /// Reads a script, the modules beside it and the packages in directories beside it; tests are left out.
    ///
    /// # Errors
    /// [`Failure::usage`] for what cannot be read or has a name that no module can have.
    pub(super) fn read(script: &Path) -> Result<Self> {
        let shown = script.printable();
        let named = |why: &str| Failure::usage(format!("`{shown}` cannot become a plugin: {why}"));
        let name = script.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        if script.extension().is_none_or(|extension| extension != "py") || !is_module(&name) {
            return Err(named("its name must be letters, digits and `_`, and end with `.py`").into());
        }
        if TAKEN.contains(&name.as_str()) {
            return Err(named("a module of the component has that name").hint("call it customize_NAME.py").into());
        }
        let mut texts = BTreeMap::new();
        let mut left = MAX_BYTES;
        let text = read(script, &mut left)?;
        let above = script.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        collect(above, "", &mut texts, &mut left)?;
        texts.insert(format!("{name}.py"), text);
        texts.extend(sdk());
        Ok(Self { name, shown, texts })
    }

    /// Returns the module of the script.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the path of the script, for messages.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Returns all files with their paths.
    pub(super) const fn texts(&self) -> &BTreeMap<String, String> {
        &self.texts
    }

    /// Returns a digest of all files.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for part in self.texts.iter().flat_map(|(path, text)| [path, text]) {
            digest.update(u64::try_from(part.len()).unwrap_or_default().to_le_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    /// Returns the module that `componentize-py` begins with. Random numbers follow from the sources.
    pub(super) fn entry(&self) -> String {
        let text = serde_json::Value::from(self.texts[&format!("{}.py", self.name)].as_str());
        let (name, seed) = (&self.name, hex::encode(self.digest()));
        format!(
            "import json\nfrom piimg import _component\n\nSOURCE = json.loads({})\n\
             Customization = _component.customization(\"{name}\", SOURCE, \"{seed}\")\n",
            serde_json::Value::from(text.to_string())
        )
    }

    /// Writes all of them into a directory.
    pub(super) fn write_to(&self, directory: &Directory) -> Result<()> {
        for (path, text) in &self.texts {
            put(directory, path, text).with_context(|| format!("cannot write `{path}`"))?;
        }
        Ok(())
    }
}

fn put(directory: &Directory, path: &str, text: &str) -> std::io::Result<()> {
    match path.split_once('/') {
        Some((first, rest)) => put(&directory.subdirectory(first, 0o700)?, rest, text),
        None => directory.replace(path, text.as_bytes(), 0o600),
    }
}

fn sdk() -> impl Iterator<Item = (String, String)> {
    let python = SDK.files().filter(|file| file.path().extension().is_some_and(|extension| extension == "py"));
    python.map(|file| {
        let text = file.contents_utf8().expect("the SDK's files are text");
        (format!("piimg/{}", file.path().to_str().expect("its names are plain")), text.to_owned())
    })
}

/// Returns whether that can be the name of a module.
fn is_module(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

fn read(path: &Path, left: &mut u64) -> Result<String> {
    let failed = || Failure::usage(format!("cannot read `{}`", path.printable()));
    let length = fs::metadata(path).with_context(failed)?.len();
    *left = left.checked_sub(length).with_context(|| {
        failed()
            .hint(format!("a plugin may have {} of Python files; keep others elsewhere", crate::ui::bytes(MAX_BYTES)))
    })?;
    fs::read_to_string(path).with_context(failed)
}

/// Collects the modules of a directory and the packages below it.
fn collect(directory: &Path, prefix: &str, texts: &mut BTreeMap<String, String>, left: &mut u64) -> Result<()> {
    let failed = || Failure::usage(format!("cannot read `{}`", directory.printable()));
    for entry in fs::read_dir(directory).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if let Some(module) = name.strip_suffix(".py") {
            let is_test = module.starts_with("test_") || module == "conftest" || module == "setup";
            if is_test || !is_module(module) || (prefix.is_empty() && TAKEN.contains(&module)) || !path.is_file() {
                continue;
            }
            texts.insert(format!("{prefix}{name}"), read(&path, left)?);
        } else if is_module(name) && !TAKEN.contains(&name) && name != "tests" && path.join("__init__.py").is_file() {
            // A link to a directory above would never end.
            if !path.is_symlink() {
                collect(&path, &format!("{prefix}{name}/"), texts, left)?;
            }
        }
        if texts.len() > MAX_FILES {
            let hint = "put the script into a directory of its own";
            return Err(Failure::usage(format!("there are more than {MAX_FILES} Python files beside the script"))
                .hint(hint)
                .into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::report;

    #[test]
    fn neighbours_come_along_and_tests_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x = 1\n").unwrap();
        };
        for name in
            ["customize_a.py", "helper.py", "pack/__init__.py", "pack/b.py", "test_a.py", "conftest.py", "no-name.py"]
        {
            put(name);
        }
        for name in ["tests/__init__.py", "data/c.py", "piimg/__init__.py", ".venv/__init__.py", "notes.txt"] {
            put(name);
        }
        std::os::unix::fs::symlink(".", dir.path().join("pack/loop")).unwrap();
        let sources = Sources::read(&dir.path().join("customize_a.py")).unwrap();
        let own: Vec<&str> =
            sources.texts().keys().map(String::as_str).filter(|path| !path.starts_with("piimg/")).collect();
        assert_eq!(own, ["customize_a.py", "helper.py", "pack/__init__.py", "pack/b.py"]);
        assert_ne!(sources.texts()["piimg/__init__.py"], "x = 1\n");
        // Where the script is makes no difference.
        let other = tempfile::tempdir().unwrap();
        for path in own {
            let to = other.path().join(path);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(dir.path().join(path), to).unwrap();
        }
        assert_eq!(Sources::read(&other.path().join("customize_a.py")).unwrap().digest(), sources.digest());
    }

    #[test]
    fn what_can_be_no_module_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (name, why) in [
            ("customize.txt", "its name must be letters, digits and `_`, and end with `.py`"),
            ("my-robot.py", "its name must be letters, digits and `_`, and end with `.py`"),
            ("piimg.py", "a module of the component has that name"),
            ("missing.py", "cannot read `"),
        ] {
            let report = report(&Sources::read(&dir.path().join(name)).unwrap_err());
            assert!(report.messages[0].contains(why), "{name}: {report:?}");
        }
    }
}
