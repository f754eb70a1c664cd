//! What a running plugin works on: the layer being made, and the box. No package is installed here: what a plugin asks for
//! is below its layer already, or its run ends.

pub(super) mod input;

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::packages::Owner;
use super::{Build, Layers};
use crate::download::{self, Answer, Authorities, Limits, Url};
use crate::error::{Context, Result};
use crate::git::{self, GitError, ObjectId, Snapshot};
use crate::plugin::Capability;
use crate::plugin::grant::GrantSet;
use crate::plugin::workbench::{
    CAPTURE_LIMIT, CallError, Command, ConnectionNote, ErrorCode, Fetched, InstalledPackage, Outcome, PackageRequest,
    Sink, Stdin, Workbench,
};
use crate::recipe::limits::CommandLimits;
use crate::recipe::plan::PlannedPlugin;
use crate::report::Who;
use crate::rootfs::accounts::Accounts;
use crate::rootfs::files::Rootfs;
use crate::rootfs::packages::{self, Package};
use crate::rootfs::tracker::{LayerLimits, Tracker};
use crate::sandbox::command::{BoxCommand, BoxLimits, Exceeded, Identity, Stream};
use crate::sandbox::proxy::{Connection, Decision, Network};
use crate::secret::Authorization;
use crate::store::{Stage, Store};
use crate::ui::{Step, printable};

/// Longest time a command may take, unless the user says otherwise; compiling a large workspace stays below.
const TIME_LIMIT: Duration = Duration::from_secs(2 * 3600);

/// Lines of uncaptured output that an [`Outcome`] quotes.
const TAIL_LINES: usize = 20;

pub(super) struct Bench<'a> {
    root: &'a Path,
    stage: &'a Stage,
    store: &'a Store,
    rootfs: Rootfs,
    /// Those below the plugin's.
    layers: &'a Layers,
    authorities: &'a Authorities,
    step: &'a Step,
    /// Its place in the plan.
    index: usize,
    plugins: &'a [PlannedPlugin],
    tracker: Tracker<Who>,
    /// The call that is being served.
    call: (u64, String),
    /// Of each command.
    limits: BoxLimits,
    time: Duration,
    network: Option<Network>,
    connections: Arc<Mutex<Vec<Connection>>>,
}

impl<'a> Bench<'a> {
    /// For the plugin of that place in the plan, whose layer is mounted at `root`.
    pub(super) fn new(
        build: &'a Build<'_>,
        layers: &'a Layers,
        index: usize,
        root: &'a Path,
        stage: &'a Stage,
        step: &'a Step,
    ) -> Result<Self> {
        let (limits, time) = limits(build.plan.limits);
        let tracker = Tracker::new(&stage.path().join("fs"), LayerLimits { files: limits.files, bytes: limits.disk });
        Ok(Self {
            root,
            stage,
            store: &build.store,
            rootfs: Rootfs::open(root, layers.archive.epoch)?.remembering(),
            layers,
            authorities: &build.authorities,
            step,
            index,
            plugins: &build.plan.plugins,
            tracker,
            call: (0, String::new()),
            limits,
            time,
            network: None,
            connections: Arc::default(),
        })
    }

    fn plugin(&self) -> &str {
        &self.plugins[self.index].id
    }

    /// Lets commands reach the hosts that were granted whole, if there are any.
    pub(super) fn grant_network(&mut self, grants: &GrantSet) {
        if !grants.held().any(|(capability, _)| matches!(capability, Capability::Net(_))) {
            return;
        }
        let (grants, connections) = (grants.clone(), Arc::clone(&self.connections));
        let decide = move |host: &str, port| {
            if grants.reaches(host, port) { Decision::Allow } else { Decision::Refuse }
        };
        let record = move |connection: &Connection| {
            connections.lock().expect("nobody panics with it").push(connection.clone());
        };
        self.network = Some(Network::new(decide, record));
    }

    /// Who was at which path, up to now.
    ///
    /// # Errors
    /// If the layer cannot be read.
    pub(super) fn tracker(mut self) -> Result<Tracker<Who>> {
        self.tracker.settle(None)?;
        Ok(self.tracker)
    }

    /// Whether nobody else wants it otherwise.
    fn check(&self, request: &PackageRequest) -> Result<()> {
        let objection = self.layers.packages.objection(Owner::Plugin(self.index), request);
        let Some(objection) = objection else { return Ok(()) };
        Err(CallError::new(ErrorCode::Invalid, printable(&objection.told(self.plugins))).into())
    }

    fn identity(&self, user: Option<&str>) -> Result<(Identity, Option<String>)> {
        let Some(user) = user.filter(|user| *user != "root") else { return Ok((Identity::default(), None)) };
        let accounts = Accounts::read(&self.rootfs)?;
        let account = accounts
            .user(user)
            .ok_or_else(|| CallError::new(ErrorCode::NotFound, format!("the image has no user `{user}`")))?;
        Ok((Identity { uid: account.uid, gid: account.gid, groups: account.groups }, Some(account.home)))
    }
}

impl Workbench for Bench<'_> {
    fn rootfs(&self) -> &Rootfs {
        &self.rootfs
    }

    fn begin_call(&mut self, number: u64, name: &str) {
        self.call = (number, name.to_owned());
    }

    fn end_call(&mut self) -> Result<()> {
        let touched = self.rootfs.take_touched();
        if touched.is_empty() {
            return Ok(());
        }
        let (number, name) = std::mem::take(&mut self.call);
        self.tracker.touched(Who::Call(number, name), &touched)
    }

    fn run(&mut self, command: &Command, stdin: Option<Stdin<'_>>) -> Result<Outcome> {
        let (identity, home) = self.identity(command.user.as_deref())?;
        let argv = std::iter::once(&command.program).chain(&command.args).cloned();
        let mut boxed = BoxCommand::new(self.root, argv);
        boxed.identity = identity;
        boxed.network = self.network.clone();
        boxed.cwd = command.cwd.clone().unwrap_or_else(|| "/".into());
        boxed.timeout = command.timeout.unwrap_or(self.time).min(self.time);
        boxed.limits = self.limits;
        boxed.env.push(("SOURCE_DATE_EPOCH".into(), self.layers.epoch.to_string()));
        boxed.env.extend(home.map(|home| ("HOME".into(), home)));
        boxed.env.extend(command.env.iter().cloned());
        self.step.note(&format!("{} {}", command.program, command.args.join(" ")));
        let mut tail = std::collections::VecDeque::new();
        let plugin = printable(self.plugin());
        self.tracker.settle_before_others()?;
        let (input, _feeder) = stdin.map(input::feed).transpose()?.unzip();
        let output = boxed.run(input, &mut |stream, line| {
            let sink = if stream == Stream::Stdout { command.stdout } else { command.stderr };
            if sink == Sink::Log {
                self.step.detail(&format!("{plugin} | {line}"));
            }
            if sink != Sink::Capture {
                if tail.len() == TAIL_LINES {
                    tail.pop_front();
                }
                tail.push_back(line.to_owned());
            }
        });
        self.tracker.settle(Some(Who::command(self.call.0, &boxed.argv)))?;
        let output = output?;
        if let Some(limit) = output.exceeded {
            let code = if matches!(limit, Exceeded::Time(_)) { ErrorCode::Timeout } else { ErrorCode::Limit };
            return Err(CallError::new(code, format!("`{}` {limit}", command.program)).into());
        }
        let captured = |sink, mut data: Vec<u8>| {
            data.truncate(if sink == Sink::Capture { CAPTURE_LIMIT } else { 0 });
            data
        };
        let too_long = |sink, data: &[u8]| sink == Sink::Capture && (data.len() > CAPTURE_LIMIT || output.dropped > 0);
        Ok(Outcome {
            status: output.status,
            truncated: too_long(command.stdout, &output.stdout) || too_long(command.stderr, &output.stderr),
            stdout: captured(command.stdout, output.stdout),
            stderr: captured(command.stderr, output.stderr),
            tail: Vec::from(tail).join("\n"),
        })
    }

    fn connections(&mut self) -> Vec<ConnectionNote> {
        let ended = std::mem::take(&mut *self.connections.lock().expect("nobody panics with it"));
        let note = |connection: Connection| ConnectionNote {
            host: connection.host,
            port: connection.port,
            sent: connection.sent,
            received: connection.received,
            fate: connection.fate.to_string(),
        };
        let notes: Vec<ConnectionNote> = ended.into_iter().map(note).collect();
        for ConnectionNote { host, port, sent, received, fate } in &notes {
            self.step.detail(&printable(&format!(
                "{} | {host}:{port} {fate}, {sent} bytes sent, {received} received",
                self.plugin()
            )));
        }
        notes
    }

    fn install_packages(&mut self, specs: &[String], recommends: bool) -> Result<Option<Vec<InstalledPackage>>> {
        let request = PackageRequest::Install { specs: specs.to_owned(), recommends };
        let found = self.layers.packages.answer(Owner::Plugin(self.index), &request);
        if found.is_none() {
            self.check(&request)?;
        }
        Ok(found.map(|packages| packages.into_iter().map(shown).collect()))
    }

    fn has_settled(&mut self, request: &PackageRequest) -> Result<bool> {
        let owner = Owner::Plugin(self.index);
        if self.layers.packages.answer(owner, request).is_some() {
            return Ok(true);
        }
        self.check(request)?;
        Ok(false)
    }

    fn fetch(&mut self, url: &Url, digest: &str, authorization: Option<&Authorization>) -> Result<Fetched> {
        if let Some(file) = self.store.download(digest)? {
            return Ok(Fetched::Content { file, digest: digest.to_owned() });
        }
        if self.layers.archive.fetching.offline {
            let message = format!("cannot download `{url}`: the build is offline, and the store has no such content");
            return Err(CallError::new(ErrorCode::Network, message).into());
        }
        self.step.note(&format!("downloading {url}"));
        let path = self.stage.path().join("download");
        let failed = "cannot write to the store";
        let mut file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path).context(failed)?;
        let pauses = self.layers.archive.fetching.pauses();
        let mut pause = |wait: Duration| {
            self.step.note(&format!("waiting for {url}"));
            std::thread::sleep(wait);
        };
        let answer =
            download::get_patiently(url, authorization, &mut file, self.authorities, Limits::USUAL, pauses, &mut pause);
        if !matches!(answer, Ok(Answer::Content(_))) {
            // A part of a file is nobody's.
            std::fs::remove_file(&path).context(failed)?;
        }
        match answer.map_err(|error| CallError::new(ErrorCode::Network, printable(&format!("{error:#}"))))? {
            Answer::Redirect(location) => Ok(Fetched::Redirect(location)),
            Answer::Content(found) => {
                if authorization.is_some() && found != digest {
                    // The server may have sent the secret back, and the store is for everybody.
                    std::fs::remove_file(&path).context(failed)?;
                } else {
                    // Under the digest that it has, so that the store is true whatever was asked for.
                    self.store.keep_download(&path, &found)?;
                }
                Ok(Fetched::Content { file, digest: found })
            }
        }
    }

    fn fetch_commit(
        &mut self,
        url: &Url,
        commit: &ObjectId,
        authorization: Option<&Authorization>,
    ) -> Result<Snapshot> {
        kept_or_fetched(self.store, self.stage.path(), commit, |file| {
            self.step.note(&format!("fetching {commit} of {url}"));
            git::fetch(url, commit, authorization, file, self.authorities, git::LIMITS)
        })
    }

    fn query_package(&mut self, name: &str) -> Result<Option<InstalledPackage>> {
        let installed = packages::installed(&self.rootfs)?;
        Ok(installed.into_values().find(|package| package.name == name).map(shown))
    }
}

/// The commit as the store has it, or as it is fetched, and kept.
fn kept_or_fetched(
    store: &Store,
    scratch: &Path,
    commit: &ObjectId,
    fetch: impl FnOnce(&mut File) -> Result<Snapshot, GitError>,
) -> Result<Snapshot> {
    // What is kept is not believed either: if it is damaged, it is fetched again.
    if let Some(Ok(kept)) = store.commit(commit)?.map(|pack| Snapshot::read(pack, commit)) {
        return Ok(kept);
    }
    let path = scratch.join("download");
    let failed = "cannot write to the store";
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&path).context(failed)?;
    match fetch(&mut file) {
        Ok(snapshot) => {
            store.keep_commit(&path, commit)?;
            Ok(snapshot)
        }
        Err(error) => {
            std::fs::remove_file(&path).context(failed)?;
            Err(error.into())
        }
    }
}

/// What the user lets a command use, and for how long.
fn limits(wanted: CommandLimits) -> (BoxLimits, Duration) {
    let usual = BoxLimits::default();
    let bytes = |mib: Option<u64>, usual| mib.map_or(usual, |mib| mib << 20);
    let limits = BoxLimits {
        memory: bytes(wanted.memory_mb, usual.memory),
        processes: wanted.processes.unwrap_or(usual.processes),
        disk: bytes(wanted.disk_mb, usual.disk),
        files: wanted.files.unwrap_or(usual.files),
    };
    (limits, wanted.minutes.map_or(TIME_LIMIT, |minutes| Duration::from_secs(60 * minutes)))
}

fn shown(package: Package) -> InstalledPackage {
    InstalledPackage { name: package.name, version: package.version, architecture: package.architecture }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::git::{EntryKind, Fault, sample};

    #[test]
    fn a_commit_is_fetched_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_at(dir.path()).unwrap();
        let stage = store.stage().unwrap();
        let (id, pack) = sample();
        let ask = |answer: Option<&[u8]>| {
            kept_or_fetched(&store, stage.path(), &id, |file| {
                file.write_all(answer.expect("nobody is asked")).unwrap();
                Snapshot::read(file.try_clone().unwrap(), &id)
            })
        };
        let error = ask(Some(&pack[..pack.len() / 2])).unwrap_err();
        assert_eq!(error.downcast_ref::<GitError>().unwrap().fault, Fault::Damaged, "{error}");
        assert!(store.commit(&id).unwrap().is_none(), "half of it is not kept");
        for answer in [Some(&*pack), None] {
            let mut snapshot = ask(answer).unwrap();
            let entry = snapshot.entries()[0].clone();
            assert_eq!((entry.path.as_str(), &entry.kind), ("greeting", &EntryKind::File { executable: false }));
            assert_eq!(snapshot.content(&entry).unwrap(), b"hello\n");
        }
        // What is damaged in the store is as if it were not there.
        std::fs::write(dir.path().join(format!("downloads/commit-{id}")), "PACK").unwrap();
        assert_eq!(ask(Some(&*pack)).unwrap().entries().len(), 1);
        assert!(ask(None).is_ok());
    }
}
