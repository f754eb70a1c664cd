//! `piimg plugin new`.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use include_dir::{Dir, include_dir};

use super::build::TARGET;
use crate::error::{Context as _, Failure, Result};
use crate::host_files::{Directory, Links, for_user};
use crate::ui::{Printable as _, Ui, printable};

static TEMPLATES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../files/templates");

/// What a file of a template ends in: without it, cargo and git would take templates for the real thing.
const MARK: &str = ".in";
/// Of the SDK too: they are released together.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Longest name of a plugin.
const LONGEST: usize = 40;
/// Names that a crate of one's own cannot have, for others have them.
const TAKEN: [&str; 8] = ["test", "core", "std", "alloc", "proc-macro", "build", "deps", "examples"];
/// Words of the language; see <https://doc.rust-lang.org/reference/keywords.html>.
const KEYWORDS: &str = "as async await break const continue crate dyn else enum extern false fn for gen if impl in let \
    loop match mod move mut pub ref return self static struct super trait true try type unsafe use where while abstract \
    become box do final macro override priv typeof unsized virtual yield";

/// Make a repository for a new plugin, which builds, tests and lints at once.
#[derive(Debug, Args)]
#[command(after_help = "Example: piimg plugin new hello && cd hello && piimg plugin test")]
pub(super) struct Arguments {
    /// Directory to make; its last part becomes the plugin's name.
    name: PathBuf,
    /// Write it in Python.
    #[arg(long)]
    python: bool,
    /// Where the SDK comes from: a checkout of piimg, or the address of its git repository. Without it, the published crate.
    #[arg(long, value_name = "PATH|GIT")]
    sdk: Option<String>,
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<i32> {
    let language = if arguments.python { "python" } else { "rust" };
    let template = TEMPLATES.get_dir(language).with_context(|| {
        Failure::usage("this piimg has no template for plugins in Python").hint("leave out --python for one in Rust")
    })?;
    let target = &arguments.name;
    let words = Words::new(check(target)?, arguments.sdk.as_deref())?;
    write(&[template], target, &words, &[])?;
    ui.path(target);
    let next = if arguments.python {
        words.fill("piimg plugin build customize_{{module}}.py")
    } else {
        "piimg plugin test".into()
    };
    ui.info(&format!("next: cd {} && {next}", crate::ui::shell_quoted(&target.printable())));
    Ok(0)
}

/// Checks that a plugin can be made in the directory `target`, and returns its name.
///
/// # Errors
/// [`Failure::usage`] if a plugin cannot have that name, or the directory is not free.
pub(in crate::cli) fn check(target: &Path) -> Result<&str> {
    let name = target.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    check_name(name)
        .map_err(|rule| Failure::usage(format!("`{}` is no name for a plugin: {rule}", printable(name))))?;
    check_free(target)?;
    Ok(name)
}

/// Directory of a draft with what is in files.
pub(in crate::cli) const FILES: &str = "files";

/// Makes the repository of a draft: as one for a new plugin, with these words and files in place of the example.
///
/// # Errors
/// Those of [`check`], and if it cannot be written.
pub(in crate::cli) fn make_draft(
    target: &Path,
    sdk: Option<&str>,
    more: Vec<(&'static str, String)>,
    files: &[(String, Vec<u8>)],
) -> Result<()> {
    let mut words = Words::new(check(target)?, sdk)?;
    words.0.extend(more);
    let template = |name| TEMPLATES.get_dir(name).context(Failure::bug("a template is missing"));
    write(&[template("rust")?, template("draft")?], target, &words, files)
}

fn check_name(name: &str) -> Result<(), String> {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.is_empty() || name.len() > LONGEST {
        return Err(format!("it must have 1 to {LONGEST} letters"));
    }
    if !name.starts_with(|c: char| c.is_ascii_lowercase())
        || !name.split('-').all(|part| !part.is_empty() && part.chars().all(is_word))
    {
        return Err("it must be lowercase letters, digits and single `-` between them, and begin with a letter".into());
    }
    if TAKEN.contains(&name) || KEYWORDS.split_whitespace().any(|word| word == name) {
        return Err("Rust has another use for that word".into());
    }
    Ok(())
}

fn check_free(target: &Path) -> Result<()> {
    let refused = || Failure::usage(format!("cannot make the plugin `{}`", target.printable()));
    match fs::symlink_metadata(target) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(refused),
        Ok(metadata) if !metadata.is_dir() => Err(refused().hint("something that is no directory is there").into()),
        Ok(_) => {
            let mut entries = fs::read_dir(target).with_context(refused)?;
            if entries.next().is_some() {
                return Err(refused()
                    .hint("the directory has files in it: choose another name, or remove them")
                    .into());
            }
            Ok(())
        }
    }
}

/// What stands for the words in double braces.
struct Words(Vec<(&'static str, String)>);

impl Words {
    fn new(name: &str, sdk: Option<&str>) -> Result<Self> {
        let published = format!("--version {VERSION} piimg");
        let (sdk, kit, install) = match sdk {
            None => (format!("\"{VERSION}\""), format!("\"{VERSION}\""), published),
            Some(address) if ["https://", "ssh://", "git@", "file://"].iter().any(|it| address.starts_with(it)) => {
                let git = format!("{{ git = {} }}", toml::Value::from(address));
                (git.clone(), git, format!("--git {} piimg", crate::ui::shell_quoted(address)))
            }
            Some(path) => {
                let place = checkout(Path::new(path))?;
                let of = |below: &str| -> Result<String> {
                    let path = place.join(below);
                    let text = path.to_str().context(Failure::usage("the path of the SDK is no text"))?;
                    Ok(format!("{{ path = {} }}", toml::Value::from(text)))
                };
                (of("")?, of("test-kit")?, published)
            }
        };
        let capitalised = |part: &str| part[..1].to_uppercase() + &part[1..];
        let parts: Vec<String> = name.split('-').map(capitalised).collect();
        Ok(Self(vec![
            ("{{name}}", name.to_owned()),
            ("{{module}}", name.replace('-', "_")),
            ("{{Type}}", parts.concat()),
            ("{{Title}}", parts.join(" ")),
            ("{{sdk}}", sdk),
            ("{{kit}}", kit),
            ("{{target}}", TARGET.to_owned()),
            ("{{install}}", install),
            ("{{version}}", VERSION.to_owned()),
        ]))
    }

    fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (word, value)| text.replace(word, value))
    }

    /// Fills a file of a template.
    fn fill_file(&self, template: &str) -> Result<String> {
        // `${{ … }}` is the language of CI files.
        let plain = template.replace("${{", "");
        let unknown = plain.split("{{").skip(1).find(|rest| !self.knows(rest));
        if let Some(word) = unknown {
            let word = word.split("}}").next().unwrap_or(word);
            return Err(Failure::bug(format!("a template has the word `{word}`, which has no meaning")).into());
        }
        Ok(self.fill(template))
    }

    /// Returns whether a text begins with a word, without its opening braces.
    fn knows(&self, text: &str) -> bool {
        self.0.iter().any(|(word, _)| text.starts_with(&word[2..]))
    }
}

/// Returns the directory of the SDK in a checkout of piimg, or of the SDK itself.
fn checkout(path: &Path) -> Result<PathBuf> {
    let is_sdk = |dir: &Path| {
        fs::read_to_string(dir.join("Cargo.toml")).is_ok_and(|text| text.contains("name = \"piimg-plugin-sdk\""))
    };
    let found = [path.to_owned(), path.join("plugin-sdk")].into_iter().find(|dir| is_sdk(dir));
    let found = found.and_then(|dir| dir.canonicalize().ok());
    found.with_context(|| {
        Failure::usage(format!("there is no SDK in `{}`", path.printable()))
            .hint("--sdk takes a checkout of piimg, its `plugin-sdk`, or an https:// address of its git repository")
    })
}

/// Writes the repository beside its place, and moves it there when it is whole. A later template lies over an earlier one, whose
/// assets are not its own.
fn write(templates: &[&Dir<'_>], target: &Path, words: &Words, files: &[(String, Vec<u8>)]) -> Result<()> {
    let failed = || Failure::host(format!("cannot make the plugin `{}`", target.printable()));
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Whatever goes wrong, it is removed.
    let place = tempfile::Builder::new().prefix(".piimg-new-").tempdir_in(parent).with_context(failed)?;
    let directory = Directory::open(place.path(), Links::Followed).with_context(failed)?;
    for template in templates {
        fill(template, &directory, words).with_context(failed)?;
    }
    if templates.len() > 1 {
        fs::remove_dir_all(place.path().join("assets")).with_context(failed)?;
    }
    if !files.is_empty() {
        let below = directory.subdirectory(FILES, 0o777).with_context(failed)?;
        files.iter().try_for_each(|(name, content)| below.replace(name, content, 0o666)).with_context(failed)?;
    }
    let mode = for_user(0o777);
    directory.set_mode(mode.bits()).with_context(failed)?;
    // An empty directory makes way, one with files does not.
    fs::rename(place.path(), target).with_context(failed)?;
    // There is nothing left to remove.
    drop(place.keep());
    Ok(())
}

fn fill(template: &Dir<'_>, directory: &Directory, words: &Words) -> Result<()> {
    for file in template.files() {
        let name = file.path().file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = real_name(name.strip_suffix(MARK).unwrap_or(name), words);
        let text = file.contents_utf8().context(Failure::bug("a template is no text"))?;
        let failed = || format!("cannot write `{}`", printable(&name));
        directory.replace(&name, words.fill_file(text).with_context(failed)?.as_bytes(), 0o666).with_context(failed)?;
    }
    for dir in template.dirs() {
        let name = dir.path().file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = real_name(name, words);
        let below = directory.subdirectory(&name, 0o777).with_context(|| format!("cannot make `{name}`"))?;
        fill(dir, &below, words)?;
    }
    Ok(())
}

/// Returns the name that a file of a template gets: `dot-` begins hidden ones.
fn real_name(name: &str, words: &Words) -> String {
    let name = name.strip_prefix("dot-").map_or_else(|| name.to_owned(), |rest| format!(".{rest}"));
    name.replace("NAME", &words.0[1].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_crate_or_no_plugin_are_refused() {
        for (name, rule) in [
            ("hello", None),
            ("a", None),
            ("my-plugin-2", None),
            ("", Some("1 to 40")),
            (&"x".repeat(41), Some("1 to 40")),
            ("2fast", Some("begin with a letter")),
            ("Hello", Some("lowercase")),
            ("my_plugin", Some("lowercase")),
            ("-x", Some("lowercase")),
            ("x-", Some("lowercase")),
            ("a--b", Some("lowercase")),
            ("a b", Some("lowercase")),
            ("äh", Some("lowercase")),
            ("..", Some("lowercase")),
            ("test", Some("another use")),
            ("match", Some("another use")),
        ] {
            let found = check_name(name).err();
            match rule {
                None => assert_eq!(found, None, "{name}"),
                Some(rule) => assert!(found.as_ref().is_some_and(|found| found.contains(rule)), "{name}: {found:?}"),
            }
        }
    }

    #[test]
    fn every_word_of_the_templates_has_a_meaning() {
        let place = tempfile::tempdir().unwrap();
        let words = Words::new("hello", None).unwrap();
        for language in ["rust", "python"] {
            write(&[TEMPLATES.get_dir(language).unwrap()], &place.path().join(language), &words, &[]).unwrap();
        }
        // Those of a draft are the draft's own.
        let error = make_draft(&place.path().join("hello"), None, Vec::new(), &[]).unwrap_err();
        assert!(format!("{error:#}").contains("which has no meaning"), "{error:#}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2, "nothing half written is left");
    }

    #[test]
    fn a_directory_with_files_is_left_alone_and_an_empty_one_is_filled() {
        let place = tempfile::tempdir().unwrap();
        let (words, template) = (Words::new("hello", None).unwrap(), TEMPLATES.get_dir("rust").unwrap());
        let target = place.path().join("hello");
        fs::create_dir(&target).unwrap();
        check_free(&target).unwrap();
        write(&[template], &target, &words, &[]).unwrap();
        let manifest = fs::read_to_string(target.join("Cargo.toml")).unwrap();
        assert!(manifest.contains("name = \"hello\""), "{manifest}");
        assert!(target.join(".gitignore").exists() && target.join(".github/workflows").is_dir());
        let error = format!("{:#}", check_free(&target).unwrap_err());
        assert!(error.contains("cannot make the plugin `"), "{error}");
        write(&[template], &target, &words, &[]).unwrap_err();
        let names: Vec<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["hello"], "nothing half written is left");
    }
}
