//! The surroundings that a test gives to a plugin.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::component::{of_directory, piimg};
use crate::ran::{Failed, Outcome, Ran};

/// Directory in which `piimg plugin check` looks for what tests used, below the one that cargo builds in.
const RECORDS: &str = "piimg-plugin-test";

/// Describes one run of a plugin.
#[derive(Debug)]
pub struct Trial {
    component: PathBuf,
    /// Files of the test's own, for assets and downloads; later the copy.
    place: TempDir,
    scenario: Scenario,
    image: BTreeMap<&'static str, Value>,
    /// Instead of the installed piimg.
    program: Option<PathBuf>,
}

/// The form in which piimg reads it; `host/src/steps/trial/scenario.rs` has its other side.
#[derive(Debug, Serialize)]
struct Scenario {
    version: u32,
    base: Option<PathBuf>,
    files: Vec<Value>,
    grants: Option<Vec<String>>,
    params: BTreeMap<String, String>,
    assets: BTreeMap<String, PathBuf>,
    secrets: BTreeMap<String, String>,
    packages: BTreeMap<String, String>,
    downloads: BTreeMap<String, PathBuf>,
    checkouts: BTreeMap<String, PathBuf>,
    commands: Vec<Stub>,
}

/// Says what a command does.
#[derive(Clone, Debug, Serialize)]
pub struct Stub {
    program: String,
    args: Vec<String>,
    status: i32,
    stdout: String,
    stderr: String,
    files: Vec<Value>,
    optional: bool,
}

impl Stub {
    /// Makes one that succeeds and says nothing. `*` among the arguments is any one argument, `**` at the end any number of
    /// them.
    pub fn new<'a>(program: &str, args: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            program: program.to_owned(),
            args: args.into_iter().map(str::to_owned).collect(),
            status: 0,
            stdout: String::new(),
            stderr: String::new(),
            files: Vec::new(),
            optional: false,
        }
    }

    /// Makes it end with that status.
    #[must_use]
    pub fn status(self, status: i32) -> Self {
        Self { status, ..self }
    }

    /// Makes it write to standard output.
    #[must_use]
    pub fn stdout(self, text: &str) -> Self {
        Self { stdout: text.to_owned(), ..self }
    }

    /// Makes it write to standard error.
    #[must_use]
    pub fn stderr(self, text: &str) -> Self {
        Self { stderr: text.to_owned(), ..self }
    }

    /// Makes it write a file of the image, which is judged as what any command does.
    #[must_use]
    pub fn writes(mut self, path: &str, text: &str) -> Self {
        self.files.push(json!({ "path": path, "place": { "text": text } }));
        self
    }

    /// Makes it remove what is at a path of the image.
    #[must_use]
    pub fn removes(mut self, path: &str) -> Self {
        self.files.push(json!({ "path": path, "place": "removed" }));
        self
    }

    /// Lets the test succeed if the command is never run.
    #[must_use]
    pub fn optional(self) -> Self {
        Self { optional: true, ..self }
    }
}

impl Trial {
    /// Prepares a run of the plugin in `dir`, most often `env!("CARGO_MANIFEST_DIR")`, on a small image: the first files of a
    /// Debian. Everything that the plugin requests is granted.
    ///
    /// # Panics
    /// If the plugin does not compile.
    #[track_caller]
    pub fn new(dir: impl AsRef<Path>) -> Self {
        Self::of(of_directory(dir.as_ref()))
    }

    /// Prepares a run of a component that is there already.
    ///
    /// # Panics
    /// If there is no room for a temporary directory.
    pub fn of(component: impl Into<PathBuf>) -> Self {
        Self {
            component: component.into(),
            place: tempfile::tempdir().expect("there is room for a temporary directory"),
            scenario: Scenario {
                version: 1,
                base: None,
                files: Vec::new(),
                grants: None,
                params: BTreeMap::new(),
                assets: BTreeMap::new(),
                secrets: BTreeMap::new(),
                packages: BTreeMap::new(),
                downloads: BTreeMap::new(),
                checkouts: BTreeMap::new(),
                commands: Vec::new(),
            },
            image: BTreeMap::new(),
            program: None,
        }
    }

    /// Runs it with this program in place of the installed `piimg`.
    #[must_use]
    pub fn with_program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// Takes a directory or a tar archive as the image, of which a copy is made.
    #[must_use]
    pub fn on(mut self, base: impl Into<PathBuf>) -> Self {
        self.scenario.base = Some(base.into());
        self
    }

    /// Lays a file into the image before the plugin runs: mode 0644, owner root.
    #[must_use]
    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.scenario.files.push(json!({ "path": path, "place": { "text": text } }));
        self
    }

    /// Lays a file with another mode and owner.
    #[must_use]
    pub fn file_with(mut self, path: &str, text: &str, mode: u32, (user, group): (&str, &str)) -> Self {
        let file = json!({ "path": path, "place": { "text": text }, "mode": mode, "owner": [user, group] });
        self.scenario.files.push(file);
        self
    }

    /// Lays a copy of a file of this machine: mode 0644, owner root.
    #[must_use]
    pub fn file_from(mut self, path: &str, from: impl AsRef<Path>) -> Self {
        self.scenario.files.push(json!({ "path": path, "place": { "from": from.as_ref() } }));
        self
    }

    /// Lays a directory.
    #[must_use]
    pub fn dir(mut self, path: &str) -> Self {
        self.scenario.files.push(json!({ "path": path, "place": "directory" }));
        self
    }

    /// Lays a symbolic link.
    #[must_use]
    pub fn link(mut self, path: &str, target: &str) -> Self {
        self.scenario.files.push(json!({ "path": path, "place": { "link": target } }));
        self
    }

    /// Tells the plugin another release, such as `trixie`.
    #[must_use]
    pub fn release(self, release: &str) -> Self {
        self.told("release", release)
    }

    /// Tells the plugin another host name.
    #[must_use]
    pub fn hostname(self, name: &str) -> Self {
        self.told("hostname", name)
    }

    /// Tells the plugin another architecture, as Debian calls it.
    #[must_use]
    pub fn architecture(self, architecture: &str) -> Self {
        self.told("architecture", architecture)
    }

    fn told(mut self, what: &'static str, value: &str) -> Self {
        self.image.insert(what, value.into());
        self
    }

    /// Grants this scope, and no other but those of further calls. Without it, all requests are granted.
    #[must_use]
    pub fn grant(mut self, scope: &str) -> Self {
        self.scenario.grants.get_or_insert_default().push(scope.to_owned());
        self
    }

    /// Grants nothing.
    #[must_use]
    pub fn grant_nothing(mut self) -> Self {
        self.scenario.grants.get_or_insert_default();
        self
    }

    /// Sets a parameter.
    #[expect(clippy::needless_pass_by_value, reason = "a number reads better than a borrow of one")]
    #[must_use]
    pub fn param(mut self, name: &str, value: impl ToString) -> Self {
        self.scenario.params.insert(name.to_owned(), value.to_string());
        self
    }

    /// Hands over an asset with that content.
    ///
    /// # Panics
    /// If it cannot be kept.
    #[must_use]
    pub fn asset(mut self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.kept(content.as_ref());
        self.scenario.assets.insert(name.to_owned(), path);
        self
    }

    /// Hands over a file or a directory as an asset.
    #[must_use]
    pub fn asset_from(mut self, name: &str, path: impl Into<PathBuf>) -> Self {
        self.scenario.assets.insert(name.to_owned(), path.into());
        self
    }

    /// Gives a secret.
    #[must_use]
    pub fn secret(mut self, name: &str, value: &str) -> Self {
        self.scenario.secrets.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Offers a package: the plugin may install it, and it counts as installed where the plugin asks.
    #[must_use]
    pub fn package(mut self, name: &str, version: &str) -> Self {
        self.scenario.packages.insert(name.to_owned(), version.to_owned());
        self
    }

    /// Offers what is at an address.
    ///
    /// # Panics
    /// If it cannot be kept.
    #[must_use]
    pub fn download(mut self, url: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.kept(content.as_ref());
        self.scenario.downloads.insert(url.to_owned(), path);
        self
    }

    /// Offers the files of any commit of the repository at an address, by their paths in it.
    ///
    /// # Panics
    /// If they cannot be kept.
    #[must_use]
    pub fn checkout<'a>(mut self, url: &str, files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let directory = self.place.path().join(format!("commit-{}", self.scenario.checkouts.len()));
        for (path, text) in files {
            let path = directory.join(path);
            let parent = path.parent().expect("it is in the directory");
            fs::create_dir_all(parent).expect("a temporary directory can be made");
            fs::write(&path, text).expect("a temporary file can be written");
        }
        self.scenario.checkouts.insert(url.to_owned(), directory);
        self
    }

    /// Offers the files of a directory as those of any commit of the repository at an address: a clone, for instance.
    #[must_use]
    pub fn checkout_from(mut self, url: &str, directory: impl Into<PathBuf>) -> Self {
        self.scenario.checkouts.insert(url.to_owned(), directory.into());
        self
    }

    /// Expects a command, which succeeds and says nothing; see [`Stub::new`]. The test fails if it is never run.
    #[must_use]
    pub fn command<'a>(self, program: &str, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.stub(Stub::new(program, args))
    }

    /// Expects a command that does more.
    #[must_use]
    pub fn stub(mut self, stub: Stub) -> Self {
        self.scenario.commands.push(stub);
        self
    }

    fn kept(&self, content: &[u8]) -> PathBuf {
        let number = self.scenario.assets.len() + self.scenario.downloads.len();
        let path = self.place.path().join(format!("given-{number}"));
        fs::write(&path, content).expect("a temporary file can be written");
        path
    }

    /// Runs the plugin, which must come to its end.
    ///
    /// # Panics
    /// If it fails, or the test says too much or too little; with its log.
    #[track_caller]
    pub fn run(self) -> Ran {
        let ran = self.perform();
        if let Some(text) = ran.fault() {
            panic!("{text}");
        }
        ran
    }

    /// Runs the plugin, which must fail for a reason of its own: look at [`Failed::message`].
    ///
    /// # Panics
    /// If it comes to its end, or fails because the test says too little.
    #[track_caller]
    pub fn fail(self) -> Failed {
        self.perform().into_failed()
    }

    /// Runs the plugin against the answers in an audit log, of a build or of [`Ran::save_log`]: it must make the same calls.
    ///
    /// # Panics
    /// If it does not; with the first difference.
    #[track_caller]
    pub fn replay(&self, log: impl AsRef<Path>) {
        let log = log.as_ref().as_os_str();
        let output = piimg(
            self.program.as_deref(),
            &["audit".as_ref(), self.component.as_os_str(), "--replay".as_ref(), log],
            "",
        );
        let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "the replay is not the same: {said}{error}");
    }

    #[track_caller]
    fn perform(self) -> Ran {
        let mut scenario = serde_json::to_value(&self.scenario).expect("a scenario is JSON");
        if !self.image.is_empty() {
            scenario["image"] = json!(self.image);
        }
        let (image, log) = (self.place.path().join("image"), self.place.path().join("audit.jsonl"));
        let arguments: [&OsStr; 10] = [
            "plugin".as_ref(),
            "run".as_ref(),
            self.component.as_os_str(),
            "--scenario".as_ref(),
            "-".as_ref(),
            "--json".as_ref(),
            "--keep".as_ref(),
            image.as_os_str(),
            "--log".as_ref(),
            log.as_os_str(),
        ];
        let output = piimg(self.program.as_deref(), &arguments, &scenario.to_string());
        let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let outcome: Outcome = match serde_json::from_str(&said) {
            Ok(outcome) => outcome,
            // What is wrong with the test or the component, piimg says best.
            Err(_) if !error.is_empty() => panic!("the plugin could not be tried: {}", error.trim_end()),
            Err(cause) => panic!("piimg said what this version of piimg-plugin-test does not understand: {cause}"),
        };
        note(&self.component, &outcome);
        Ran::new(outcome, self.place)
    }
}

/// Notes what was used, for `piimg plugin check`. A component that cargo did not make is nobody's to check.
fn note(component: &Path, outcome: &Outcome) {
    let is_of_cargo = component.ancestors().nth(2).is_some_and(|target| target.ends_with("wasm32-wasip2"));
    let Some(target) = component.ancestors().nth(3).filter(|_| is_of_cargo) else { return };
    let records = target.join(RECORDS);
    let name = format!("{}.jsonl", outcome.digest.trim_start_matches("sha256:"));
    let line = format!("{}\n", json!({ "scopes": outcome.used() }));
    let noted = fs::create_dir_all(&records)
        .and_then(|()| OpenOptions::new().create(true).append(true).open(records.join(name)))
        // One call: tests run at the same time.
        .and_then(|mut file| file.write_all(line.as_bytes()));
    noted.unwrap_or_else(|error| panic!("cannot note in `{}` what was used: {error}", records.to_string_lossy()));
}
