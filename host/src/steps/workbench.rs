//! Gives a running plugin access to the new layer and the box. It installs no package: a requested package is in a
//! layer below already, or the run ends.

pub(super) mod input;

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::packages::Owner;
use super::served::{Served, shown, unpacked};
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
use crate::rootfs::accounts::User;
use crate::rootfs::change_tracker::{LayerLimits, Tracker};
use crate::rootfs::files::{ImagePath, Rootfs};
use crate::sandbox::command::{BoxCommand, BoxLimits, Credentials, Exceeded, Stream};
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
    served: Served,
    /// The layers below the plugin's.
    layers: &'a Layers,
    authorities: &'a Authorities,
    step: &'a Step,
    /// The plugin's position in the plan.
    index: usize,
    plugins: &'a [PlannedPlugin],
    tracker: Tracker<Who>,
    /// Limits of each command.
    limits: BoxLimits,
    time: Duration,
    network: Option<Network>,
    connections: Arc<Mutex<Vec<Connection>>>,
}

impl<'a> Bench<'a> {
    /// Makes the build's side for the plugin at that place in the plan, whose layer is mounted at `root`.
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
            served: Served::new(Rootfs::open(root, layers.archive.epoch)?.remembering()),
            layers,
            authorities: &build.authorities,
            step,
            index,
            plugins: &build.plan.plugins,
            tracker,
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

    /// Returns who changed which path so far.
    ///
    /// # Errors
    /// If the layer cannot be read.
    pub(super) fn tracker(mut self) -> Result<Tracker<Who>> {
        self.tracker.attribute_to(None)?;
        Ok(self.tracker)
    }

    /// Returns whether nobody else wants it otherwise.
    fn check(&self, request: &PackageRequest) -> Result<()> {
        let objection = self.layers.packages.objection(Owner::Plugin(self.index), request);
        let Some(objection) = objection else { return Ok(()) };
        Err(CallError::new(ErrorCode::Invalid, printable(&objection.told(self.plugins))).into())
    }
}

impl Workbench for Bench<'_> {
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
        let Some((who, touched)) = self.served.end_call() else { return Ok(()) };
        self.tracker.record_touched(who, &touched)
    }

    fn run(&mut self, command: &Command, stdin: Option<Stdin<'_>>) -> Result<Outcome> {
        let user = self.served.user(command)?;
        let mut boxed = BoxCommand::new(self.root, command.argv());
        boxed.network = self.network.clone();
        boxed.cwd = command.cwd.clone().unwrap_or_else(|| "/".into());
        boxed.timeout = command.timeout.unwrap_or(self.time).min(self.time);
        boxed.limits = self.limits;
        boxed.env.push(("SOURCE_DATE_EPOCH".into(), self.layers.epoch.to_string()));
        if let Some(User { uid, gid, groups, home, .. }) = user {
            boxed.identity = Credentials { uid, gid, groups };
            boxed.env.push(("HOME".into(), home));
        }
        boxed.env.extend(command.env.iter().cloned());
        self.step.note(&format!("{} {}", command.program, command.args.join(" ")));
        let mut tail = std::collections::VecDeque::new();
        let plugin = printable(self.plugin());
        self.tracker.checkpoint()?;
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
        self.tracker.attribute_to(Some(self.served.by_command(command)))?;
        let output = output?;
        if let Some(limit) = output.exceeded {
            let code = if matches!(limit, Exceeded::Time(_)) { ErrorCode::Timeout } else { ErrorCode::Limit };
            return Err(CallError::new(code, format!("`{}` {limit}", command.program)).into());
        }
        let too_long = |sink, data: &[u8]| sink == Sink::Capture && (data.len() > CAPTURE_LIMIT || output.dropped > 0);
        Ok(Outcome {
            status: output.status,
            truncated: too_long(command.stdout, &output.stdout) || too_long(command.stderr, &output.stderr),
            stdout: command.stdout.captured(output.stdout),
            stderr: command.stderr.captured(output.stderr),
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
            // An incomplete file is of no use to anybody.
            std::fs::remove_file(&path).context(failed)?;
        }
        match answer.map_err(|error| CallError::new(ErrorCode::Network, printable(&format!("{error:#}"))))? {
            Answer::Redirect(location) => Ok(Fetched::Redirect(location)),
            Answer::Content(found) => {
                if authorization.is_some() && found != digest {
                    // The server may have sent the secret back, and other builds read the store.
                    std::fs::remove_file(&path).context(failed)?;
                } else {
                    // Stored under its actual digest, so that the store stays true whatever was requested.
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

    fn unpacked(&mut self, file: &File) -> Result<File> {
        unpacked(file, self.stage.path())
    }

    fn query_package(&mut self, name: &str) -> Result<Option<InstalledPackage>> {
        self.served.package(name)
    }
}

/// Returns the commit as the store has it, or as it is fetched, and kept.
fn kept_or_fetched(
    store: &Store,
    scratch: &Path,
    commit: &ObjectId,
    fetch: impl FnOnce(&mut File) -> Result<Snapshot, GitError>,
) -> Result<Snapshot> {
    // A stored pack is checked too; if it is damaged, it is fetched again.
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

/// Converts the limits that the user gives to commands.
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
