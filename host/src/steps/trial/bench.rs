//! Answers host functions in a trial: files are real, everything else is what the test says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

use super::base;
use super::checkout::commit_of;
use super::scenario::{Scenario, StubCommand};
use crate::download::Url;
use crate::error::{Context as _, Result};
use crate::git::{ObjectId, Snapshot};
use crate::image::temporary_place;
use crate::plugin::workbench::{
    CallError, Command, ErrorCode, Fetched, InstalledPackage, Outcome, PackageRequest, Sink, Stdin, Workbench,
};
use crate::report::{Effect, Who};
use crate::rootfs::changes::Change;
use crate::rootfs::files::{ImagePath, Rootfs, Touched};
use crate::secret::Authorization;
use crate::steps::change_review::Parts;
use crate::steps::served::{Served, unpacked};
use crate::ui::printable;

/// A workbench of stubs over a copy of a tree.
pub(super) struct TrialBench<'a> {
    served: Served,
    copy: &'a Path,
    scenario: &'a Scenario,
    parts: TrialParts,
    /// Places of the stubs that were run.
    used: BTreeSet<usize>,
    /// Mistakes of the test: what it must say and does not, each with what to do.
    pub(super) problems: Vec<String>,
    /// Each command that was run.
    pub(super) commands: Vec<Command>,
    /// Each wish about packages.
    pub(super) requests: Vec<PackageRequest>,
}

/// Tells who had a part in which path of the copy.
#[derive(Debug, Default)]
pub(super) struct TrialParts(BTreeMap<PathBuf, Vec<Rc<Who>>>);

impl TrialParts {
    fn add(&mut self, copy: &Path, who: Who, touched: &[Touched]) {
        let who = Rc::new(who);
        for Touched { path, tree } in touched {
            let inside = PathBuf::from(path.as_str().trim_start_matches('/'));
            if *tree {
                self.add_below(copy, &inside, &who);
            }
            self.add_one(inside, &who);
        }
    }

    fn add_one(&mut self, inside: PathBuf, who: &Rc<Who>) {
        let known = self.0.entry(inside).or_default();
        if !known.contains(who) {
            known.push(Rc::clone(who));
        }
    }

    fn add_below(&mut self, copy: &Path, inside: &Path, who: &Rc<Who>) {
        // What is gone by now, or is no directory, has nothing below it. A link may lead out of the copy.
        if !fs::symlink_metadata(copy.join(inside)).is_ok_and(|metadata| metadata.is_dir()) {
            return;
        }
        let Ok(entries) = fs::read_dir(copy.join(inside)) else { return };
        for entry in entries.flatten() {
            let below = inside.join(entry.file_name());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.add_below(copy, &below, who);
            }
            self.add_one(below, who);
        }
    }
}

impl Parts for TrialParts {
    fn who(&self, path: &Path) -> &[Rc<Who>] {
        path.ancestors().find_map(|path| self.0.get(path)).map_or(&[], Vec::as_slice)
    }

    fn who_itself(&self, path: &Path) -> &[Rc<Who>] {
        self.0.get(path).map_or(&[], Vec::as_slice)
    }
}

impl<'a> TrialBench<'a> {
    pub(super) fn new(rootfs: Rootfs, copy: &'a Path, scenario: &'a Scenario) -> Self {
        Self {
            served: Served::new(rootfs),
            copy,
            scenario,
            parts: TrialParts::default(),
            used: BTreeSet::new(),
            problems: Vec::new(),
            commands: Vec::new(),
            requests: Vec::new(),
        }
    }

    pub(super) fn parts(&self) -> &TrialParts {
        &self.parts
    }

    /// Returns the changes with those who made them.
    pub(super) fn effects(&self, changes: &[Change]) -> Vec<Effect> {
        let by = |change: &Change| self.parts.who(&change.place).iter().map(|who| Who::clone(who)).collect();
        changes.iter().map(|change| Effect { change: change.clone(), by: by(change) }).collect()
    }

    /// Returns stubs that must have been run, and were not.
    pub(super) fn uncalled(&self) -> impl Iterator<Item = &StubCommand> {
        let stubs = self.scenario.commands.iter().enumerate();
        stubs.filter(|(at, stub)| !stub.optional && !self.used.contains(at)).map(|(_, stub)| stub)
    }

    /// Fails a call for want of something that the test must say.
    fn unprepared<T>(&mut self, code: ErrorCode, problem: String) -> Result<T> {
        self.problems.push(problem.clone());
        Err(CallError::new(code, problem).into())
    }

    fn available(&mut self, spec: &str) -> Result<Option<InstalledPackage>> {
        let (name, wanted) = spec.split_once('=').map_or((spec, None), |(name, version)| (name, Some(version)));
        match self.scenario.packages.get(name) {
            Some(version) if wanted.is_none_or(|wanted| wanted == version) => Ok(Some(InstalledPackage {
                name: name.to_owned(),
                version: version.clone(),
                architecture: self.scenario.image.architecture.clone(),
            })),
            Some(version) => self.unprepared(
                ErrorCode::NotFound,
                format!("the plugin installs `{}`, and the trial has {version} of it", printable(spec)),
            ),
            None => self.unprepared(
                ErrorCode::NotFound,
                format!(
                    "the plugin installs the package `{name}`, and the trial has none: in a test add \
                     .package(\"{name}\", \"1.0\"), by hand --package {name}=1.0",
                    name = printable(name)
                ),
            ),
        }
    }
}

impl Workbench for TrialBench<'_> {
    fn rootfs(&self) -> &Rootfs {
        self.served.rootfs()
    }

    fn command_lines(&self) -> Result<Vec<ImagePath>> {
        self.served.command_lines()
    }

    fn begin_call(&mut self, number: u64, name: &str) {
        self.served.begin_call(number, name);
    }

    fn end_call(&mut self) -> Result<()> {
        if let Some((who, touched)) = self.served.end_call() {
            self.parts.add(self.copy, who, &touched);
        }
        Ok(())
    }

    fn run(&mut self, command: &Command, _stdin: Option<Stdin<'_>>) -> Result<Outcome> {
        self.commands.push(command.clone());
        self.served.user(command)?;
        let scenario = self.scenario;
        let found = scenario.commands.iter().enumerate().find(|(_, stub)| stub.fits(&command.program, &command.args));
        let Some((at, stub)) = found else {
            let text = printable(&command.argv().join(" "));
            return self.unprepared(
                ErrorCode::NotFound,
                format!(
                    "the plugin runs `{text}`, and the trial does not say what that does: in a test add \
                     .command({:?}, {:?}), by hand --command {}",
                    command.program,
                    command.args,
                    crate::ui::shell_quoted(&text)
                ),
            );
        };
        self.used.insert(at);
        for file in &stub.files {
            base::lay(self.served.rootfs(), file)
                .with_context(|| format!("cannot lay what the stub of `{}` makes", printable(&stub.shown())))?;
        }
        let touched = self.served.rootfs().take_touched();
        self.parts.add(self.copy, self.served.by_command(command), &touched);
        let tail = |sink: Sink, text: &str| if sink == Sink::Capture { String::new() } else { text.to_owned() };
        Ok(Outcome {
            status: stub.status,
            stdout: command.stdout.captured(stub.stdout.clone().into_bytes()),
            stderr: command.stderr.captured(stub.stderr.clone().into_bytes()),
            truncated: false,
            tail: (tail(command.stdout, &stub.stdout) + &tail(command.stderr, &stub.stderr)).trim_end().to_owned(),
        })
    }

    fn install_packages(&mut self, specs: &[String], recommends: bool) -> Result<Option<Vec<InstalledPackage>>> {
        self.requests.push(PackageRequest::Install { specs: specs.to_vec(), recommends });
        let found: Vec<_> = specs.iter().map(|spec| self.available(spec)).collect::<Result<_>>()?;
        Ok(Some(found.into_iter().flatten().collect()))
    }

    fn has_settled(&mut self, request: &PackageRequest) -> Result<bool> {
        self.requests.push(request.clone());
        Ok(true)
    }

    fn fetch(&mut self, url: &Url, _digest: &str, _authorization: Option<&Authorization>) -> Result<Fetched> {
        let address = url.to_string();
        let Some(path) = self.scenario.downloads.get(&address) else {
            return self.unprepared(
                ErrorCode::Network,
                format!(
                    "the plugin downloads `{url}`, and the trial has no network: in a test add \
                     .download(\"{url}\", …), by hand --download {url}=FILE",
                    url = printable(&address)
                ),
            );
        };
        let bytes = fs::read(path).with_context(|| format!("cannot read the download of `{address}`"))?;
        let mut file = tempfile::tempfile().context("cannot keep a download")?;
        std::io::Write::write_all(&mut file, &bytes).context("cannot keep a download")?;
        Ok(Fetched::Content { file, digest: hex::encode(Sha256::digest(&bytes)) })
    }

    fn fetch_commit(
        &mut self,
        url: &Url,
        commit: &ObjectId,
        _authorization: Option<&Authorization>,
    ) -> Result<Snapshot> {
        let address = url.to_string();
        match self.scenario.checkouts.get(&address) {
            Some(directory) => commit_of(directory)
                .with_context(|| format!("cannot take the commit of `{address}` from its directory")),
            None => self.unprepared(
                ErrorCode::Network,
                format!(
                    "the plugin checks out {commit} of `{url}`, and the trial has no network: in a test add \
                     .checkout(\"{url}\", …), by hand --checkout {url}=DIRECTORY",
                    url = printable(&address)
                ),
            ),
        }
    }

    fn unpacked(&mut self, file: &fs::File) -> Result<fs::File> {
        unpacked(file, &temporary_place())
    }

    fn query_package(&mut self, name: &str) -> Result<Option<InstalledPackage>> {
        if let Some(version) = self.scenario.packages.get(name) {
            let architecture = self.scenario.image.architecture.clone();
            return Ok(Some(InstalledPackage { name: name.to_owned(), version: version.clone(), architecture }));
        }
        if self.rootfs().metadata(&ImagePath::parse("/var/lib/dpkg/status")?)?.is_none() {
            return Ok(None);
        }
        self.served.package(name)
    }
}

impl std::fmt::Debug for TrialBench<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrialBench").field("copy", &self.copy).field("served", &self.served).finish_non_exhaustive()
    }
}
