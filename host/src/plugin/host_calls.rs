//! Implements the host functions, one file per interface of the contract. Each asks the gate first; only what it allows
//! reaches the build. Every value is untrusted and checked here, whatever the guest's side checked before.

mod assets;
mod blobs;
mod boot_config;
mod context;
mod fixed_paths;
mod fs;
mod fs_text;
mod git;
mod log;
mod net;
mod packages;
mod process;
mod secret;
mod services;
mod time_budget;
mod unpack;
mod users;
mod wishes;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::audit_log::{self, Asked, CallLine, FileChange, Line, Transcript};
use super::capability::{Need, Reach};
use super::functions::Time;
use super::grant::GrantSet;
use super::protocol::{Call, ImageInfo, Level, Reply};
use super::run::Run;
use super::workbench::{CallError, ErrorCode, PackageRequest, Workbench};
use crate::rootfs::files::{ImagePath, Rootfs};
use crate::secret::Secret;
use blobs::{Blob, Blobs};
use time_budget::Spent;

/// Result of a host function.
type Answer<T> = Result<T, CallError>;

/// Calls of one run; a plugin that needs more is asking in a circle.
const MAX_CALLS: u64 = 1_000_000;
/// Different needs that are remembered by name.
const MAX_USES: usize = 10_000;

/// Receives lines for the user: plugin, level, text. Lines are printable and of limited length.
pub type LogSink<'a> = dyn FnMut(&str, Level, &str) + 'a;

/// Number of uses of a capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uses {
    pub allowed: u64,
    pub denied: u64,
}

/// Events of a run, kept for the report and for the message of a failure.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) calls: u64,
    spent: Spent,
    pub(super) first_call: Option<Instant>,
    /// Uses by capability.
    pub(super) uses: BTreeMap<String, Uses>,
    /// Settings that it made for the whole image.
    pub(super) settings: BTreeMap<String, String>,
    /// Message and place of the last panic.
    pub(super) panic: Option<(String, String)>,
    /// Scope that would have allowed the last refused call.
    pub(super) refusal: Option<(String, String)>,
    /// It, or a command of its, was told the image's time.
    pub(super) read_clock: bool,
    /// Package request that must be fulfilled in a layer below before the plugin can go on.
    pub(super) asks: Option<PackageRequest>,
}

/// The host's side of one `execute()`.
pub struct Session<'a> {
    pub(super) id: &'a str,
    /// Digest of the component.
    pub(super) digest: &'a str,
    pub(super) grants: &'a GrantSet,
    pub(super) image: &'a ImageInfo,
    pub(super) params: &'a BTreeMap<String, String>,
    pub(super) assets: &'a BTreeMap<String, File>,
    pub(super) secrets: &'a BTreeMap<&'a str, &'a Secret>,
    pub(super) bench: &'a mut dyn Workbench,
    pub(super) sink: &'a mut LogSink<'a>,
    pub(super) logged: log::Budget,
    pub(super) blobs: Blobs,
    pub(super) record: Record,
    pub(super) transcript: Option<&'a mut Transcript>,
    /// Authorizations that the current call asked for.
    pub(super) asked: Vec<Asked>,
    pub(super) files: Vec<FileChange>,
    /// Reason why a group of files is incomplete: the run ends, and its layer is dropped.
    pub(super) half_done: Option<String>,
}

impl fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).field("record", &self.record).finish_non_exhaustive()
    }
}

impl<'a> Session<'a> {
    pub fn new(
        run: &'a Run<'_>,
        bench: &'a mut dyn Workbench,
        sink: &'a mut LogSink<'a>,
        transcript: Option<&'a mut Transcript>,
    ) -> Self {
        Self {
            id: &run.plugin.conf.id,
            digest: &run.plugin.digest,
            grants: run.grants,
            image: &run.image,
            params: &run.params,
            assets: &run.assets,
            secrets: &run.secrets,
            bench,
            sink,
            logged: Default::default(),
            blobs: Default::default(),
            record: Record::default(),
            transcript,
            asked: Vec::new(),
            files: Vec::new(),
            half_done: None,
        }
    }

    /// Does one call, and logs it.
    pub fn serve(&mut self, call: Call) -> Reply {
        let start = Instant::now();
        self.record.first_call.get_or_insert(start);
        self.record.calls += 1;
        if self.record.calls > MAX_CALLS {
            return Reply::Stop(format!("made more than {MAX_CALLS} calls"));
        }
        if let Some(limit) = self.record.spent.exceeded() {
            return Reply::Stop(format!("kept the build busy for longer than {}", crate::ui::seconds(limit)));
        }
        let is_own = call.function().time == Time::Own;
        let reply = self.answer(call, start);
        self.record.spent.add(start.elapsed(), is_own);
        reply
    }

    fn answer(&mut self, call: Call, start: Instant) -> Reply {
        let logged = self.transcript.is_some().then(|| audit_log::call(&call, audit_log::VERSION));
        let about = call.about();
        self.bench.begin_call(self.record.calls, &call.named(&about));
        let mut reply = self.dispatch(call).unwrap_or_else(Reply::Failed);
        if !matches!(reply, Reply::Failed(_)) {
            self.record.settings.extend(about.setting);
        }
        if self.record.asks.is_some() {
            reply = Reply::Stop("asked for packages that are not there yet".into());
        }
        if let Some(cause) = self.half_done.take() {
            reply = Reply::Stop(format!("was stopped: {cause}"));
        }
        if let Err(error) = self.bench.end_call() {
            reply = Reply::Stop(format!("was stopped: {error:#}"));
        }
        let (asked, mut files) = (std::mem::take(&mut self.asked), std::mem::take(&mut self.files));
        let (Some(transcript), Some((call, args))) = (self.transcript.as_deref_mut(), logged) else { return reply };
        for file in &mut files {
            file.after = digest(self.bench.rootfs(), &file.path);
        }
        let line = CallLine {
            number: self.record.calls,
            plugin: self.id.to_owned(),
            call,
            args,
            asked,
            files,
            connections: self.bench.connections(),
            reply: audit_log::reply(&reply),
            microseconds: audit_log::microseconds(start.elapsed()),
        };
        match transcript.write(&Line::Call(Box::new(line))) {
            Ok(()) => reply,
            // A call that cannot be logged must not go on.
            Err(error) => Reply::Stop(format!("was stopped: {error:#}")),
        }
    }

    fn dispatch(&mut self, call: Call) -> Answer<Reply> {
        Ok(match call {
            Call::Log { level, message } => self.log(level, &message),
            Call::Printed { error, line } => self.printed(error, &line),
            Call::Panicked { message, location } => self.panicked(&message, &location),
            Call::Image => {
                self.record.read_clock = true;
                Reply::Image(self.image.clone())
            }
            Call::Param { name } => Reply::MaybeText(self.param(&name)),
            Call::Granted { scope } => Reply::Bool(self.granted(&scope)),
            Call::BlobSize { blob } => Reply::Count(self.blobs.get(blob)?.size()),
            Call::BlobDigest { blob } => Reply::Text(self.blobs.get(blob)?.digest()?),
            Call::BlobRead { blob, offset, length } => Reply::Bytes(self.blobs.get(blob)?.read(offset, length)?),
            Call::BlobDrop { blob } => {
                self.blobs.remove(blob);
                Reply::Done
            }
            Call::BlobFromBytes { data } => Reply::Blob(self.blobs.add_bytes(data)?),
            Call::AssetNames => Reply::Texts(self.asset_names()),
            Call::AssetOpen { name } => Reply::Blob(self.asset_open(&name)?),
            Call::Stat { path } => Reply::Metadata(self.stat(&path)?),
            Call::ReadText { path } => Reply::Text(self.read_text(&path)?),
            Call::Read { path } => Reply::Blob(self.read(&path)?),
            Call::ListDir { path } => Reply::Entries(self.list_dir(&path)?),
            Call::Write { path, data, attrs } => done(self.write(&path, &data, attrs.as_ref()))?,
            Call::Install { blob, dest, attrs } => done(self.install(blob, &dest, attrs.as_ref()))?,
            Call::Unpack { blob, dest, owner, strip } => {
                Reply::Count(self.unpack(blob, &dest, owner.as_ref(), strip)?)
            }
            Call::MakeDir { path, attrs, parents } => done(self.make_dir(&path, attrs.as_ref(), parents))?,
            Call::Symlink { path, target } => done(self.symlink(&path, &target))?,
            Call::Rename { source, dest } => done(self.rename(&source, &dest))?,
            Call::SetAttrs { path, attrs, recursive } => done(self.set_attrs(&path, &attrs, recursive))?,
            Call::SetOwner { path, owner, recursive } => done(self.set_owner(&path, &owner, recursive))?,
            Call::Remove { path, recursive } => done(self.remove(&path, recursive))?,
            Call::EnsureLine { path, line, place } => Reply::Bool(self.ensure_line(&path, &line, &place)?),
            Call::Replace { path, old, new } => Reply::Count(self.replace(&path, &old, &new)?),
            Call::Run { command, stdin } => Reply::Outcome(self.run(&command, stdin)?),
            Call::InstallPackages { specs, recommends } => Reply::Packages(self.install_packages(&specs, recommends)?),
            Call::RemovePackages { names, purge } => done(self.remove_packages(&names, purge))?,
            Call::PinPackages { pins } => done(self.pin_packages(&pins))?,
            Call::AnswerQuestions { answers } => done(self.answer_questions(&answers))?,
            Call::QueryPackage { name } => Reply::Package(self.query_package(&name)?),
            Call::ConfigValues { section, key } => Reply::Texts(self.config_values(section.as_deref(), &key)?),
            Call::ConfigSet { section, key, value } => done(self.config_set(section.as_deref(), &key, &value))?,
            Call::ConfigAdd { section, key, value } => {
                Reply::Bool(self.config_add(section.as_deref(), &key, &value)?)
            }
            Call::ConfigRemove { section, key, value } => {
                Reply::Count(self.config_remove(section.as_deref(), &key, value.as_deref())?)
            }
            Call::Parameters { name } => Reply::Texts(self.parameters(&name)?),
            Call::SetParameter { parameter } => done(self.set_parameter(&parameter))?,
            Call::AddParameter { parameter } => Reply::Bool(self.add_parameter(&parameter)?),
            Call::RemoveParameter { name } => Reply::Count(self.remove_parameter(&name)?),
            Call::InstallUnit { name, text } => done(self.install_unit(&name, &text))?,
            Call::DropIn { unit, name, text } => done(self.drop_in(&unit, &name, &text))?,
            Call::SetUnitState { unit, state } => Reply::Bool(self.set_unit_state(&unit, state)?),
            Call::EnsureUser { account } => Reply::Bool(self.ensure_user(&account)?),
            Call::EnsureGroup { name, gid, system } => Reply::Bool(self.ensure_group(&name, gid, system)?),
            Call::AuthorizeKeys { user, keys } => Reply::Count(self.authorize_keys(&user, &keys)?),
            Call::SetPasswordFrom { user, secret } => Reply::Bool(self.set_password_from(&user, &secret)?),
            Call::Fetch { url, digest } => Reply::Blob(self.fetch(&url, &digest)?),
            Call::FetchAuthorized { url, digest, secret, scheme } => {
                Reply::Blob(self.fetch_authorized(&url, &digest, &secret, scheme)?)
            }
            Call::Checkout { checkout } => Reply::Count(self.checkout(&checkout, None)?),
            Call::CheckoutAuthorized { checkout, user, secret } => {
                Reply::Count(self.checkout(&checkout, Some((&user, &secret)))?)
            }
        })
    }

    /// Asks the gate, remembers the answer.
    fn gate(&mut self, need: &Need) -> Answer<()> {
        let answer = self.grants.allows(need);
        let key = need.to_string();
        if self.record.uses.len() < MAX_USES || self.record.uses.contains_key(&key) {
            let uses = self.record.uses.entry(key).or_default();
            *(if answer.is_ok() { &mut uses.allowed } else { &mut uses.denied }) += 1;
        }
        if self.transcript.is_some() {
            self.asked.push(Asked { scope: need.to_string(), allowed: answer.is_ok() });
            if let (Need::FsWrite(Reach::Path(path)), Ok(())) = (need, &answer) {
                let before = digest(self.bench.rootfs(), path);
                self.files.push(FileChange { path: path.clone(), before, after: None });
            }
        }
        answer.map_err(|refusal| {
            self.record.refusal = Some((refusal.needed.clone(), refusal.hint()));
            CallError { code: ErrorCode::Denied, message: refusal.to_string(), needed: Some(refusal.needed) }
        })
    }
}

/// Computes the digest of a file of the image, for the log; `None` if it does not exist.
fn digest(rootfs: &Rootfs, path: &str) -> Option<String> {
    let file = rootfs.open_file(&ImagePath::parse(path).ok()?).ok()?;
    Blob::file(file).ok()?.digest().ok()
}

fn done(answer: Answer<()>) -> Answer<Reply> {
    answer.map(|()| Reply::Done)
}

/// Returns a refusal of what makes no sense; the message may quote the plugin.
fn invalid(message: impl Into<String>) -> CallError {
    CallError::new(ErrorCode::Invalid, crate::ui::printable(&message.into()))
}

/// Returns an error of the build: with its code if it has one, and the whole chain in one line.
fn from_bench(error: &anyhow::Error) -> CallError {
    match error.downcast_ref::<CallError>() {
        Some(known) => known.clone(),
        None => CallError::new(ErrorCode::Io, crate::ui::printable(&format!("{error:#}"))),
    }
}
