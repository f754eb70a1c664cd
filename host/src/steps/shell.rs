//! Lets a person into the image that is being built: on a layer that is dropped, unless the person wants the image with it.

mod draft;

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::rand::GetRandomFlags;
use serde::{Deserialize, Serialize};

pub use draft::{DraftEntry, Made};

use super::layer::{LayerDraft, mount, unmount};
use super::{Build, Layer, Layers};
use crate::error::{Context as _, Failure, Result};
use crate::rootfs::changes::{Change, ChangeKind, changes};
use crate::rootfs::layers::Mounted;
use crate::rootfs::times::Wrong;
use crate::sandbox::command::BoxCommand;
use crate::sandbox::{process, terminal};
use crate::store::key;
use crate::ui::{count, printable};

/// Started if nobody names a command.
const USUAL: [&str; 2] = ["/bin/bash", "-l"];

/// Time after which a forgotten shell ends.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Said before the shell is: what is printed first tells the outer process that it begins.
const GREETING: &str =
    "This is the image, without a network. What you change in it is listed at the end; `exit` leaves it.\r\n";

/// Title of the layer of a shell.
const TITLE: &str = "What was changed in a shell";

/// Most bytes of a draft's entries: a plugin that has them is longer.
pub const LONGEST_DRAFT: u64 = 256 << 20;

/// When the shell is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// In place of the image, above all layers.
    AtTheEnd,
    /// Above all layers, and then the image is made with what was changed.
    BeforeTheImage,
    /// After the failure of a plugin, with what it had made.
    OnFailure,
}

/// Request for a shell.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShellJob {
    pub when: When,
    /// Program and arguments; empty for a shell.
    pub command: Vec<String>,
    /// Descriptor of the terminal that becomes the command's.
    pub terminal: i32,
    /// Descriptor of the socket for the word that the command has ended.
    pub asks: i32,
    /// Descriptor of the file for a draft's entries, if there is to be one.
    pub draft: Option<i32>,
    /// Kind of the user's terminal, as `TERM` names it.
    pub kind: String,
}

/// A shell that may be started once.
#[derive(Debug)]
pub(super) struct Shell {
    pub(super) when: When,
    command: Vec<String>,
    terminal: File,
    asks: UnixStream,
    draft: Option<File>,
    kind: String,
}

impl Shell {
    /// Takes the descriptor of a request.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn of_job(job: &ShellJob) -> Result<Self> {
        let terminal = File::from(process::adopt_fd(job.terminal)?);
        let asks = UnixStream::from(process::adopt_fd(job.asks)?);
        let draft = job.draft.map(process::adopt_fd).transpose()?.map(File::from);
        Ok(Self { when: job.when, command: job.command.clone(), terminal, asks, draft, kind: job.kind.clone() })
    }

    /// Starts the shell in the tree that is mounted at `root`, and waits for its end.
    fn enter(&self, root: &Path, greeting: &str) -> Result<()> {
        let usual = || USUAL.map(str::to_owned).to_vec();
        let argv = if self.command.is_empty() { usual() } else { self.command.clone() };
        let mut command = BoxCommand::new(root, argv.clone());
        command.timeout = LONGEST;
        command.env.push(("TERM".into(), self.kind.clone()));
        // What is typed is nothing that the person changes.
        command.env.push(("HISTFILE".into(), String::new()));
        std::io::Write::write_all(&mut &self.terminal, greeting.as_bytes()).context("cannot use the terminal")?;
        let ended = command.run_on(&self.terminal);
        terminal::left(&self.asks);
        let ended = ended?;
        let shown = printable(&argv.join(" "));
        if let Some(limit) = ended.exceeded {
            return Err(Failure::build(format!("`{shown}` in the image {limit}")).into());
        }
        // A shell ends with the status of its last command, which says nothing of it.
        if ended.status != 0 && !self.command.is_empty() {
            return Err(Failure::build(format!("`{shown}` in the image ended with status {}", ended.status)).into());
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct Inputs<'a> {
    step: &'static str,
    below: &'a str,
    /// No other shell makes the same.
    chance: [u8; 16],
}

/// Starts the shell above all layers, and lists what was changed. Returns the layer of it, if the image is to be made with it
/// and anything was changed.
///
/// # Errors
/// If the command fails that was named, or the box cannot be made.
pub(super) fn at_the_end(build: &Build<'_>, layers: &Layers, shell: &Shell) -> Result<Option<Layer>> {
    let step = build.ui.step("Prepare the shell");
    let mut chance = [0; 16];
    rustix::rand::getrandom(&mut chance, GetRandomFlags::empty()).context("cannot get random bytes")?;
    let key = key(&Inputs { step: "a shell", below: layers.top(), chance });
    let lock = build.store.lock(&key)?;
    let mut lowers = build.below(&step)?;
    lowers.extend(build.trees(&layers.stack));
    let draft = LayerDraft::begin(build, &lock)?.mount(&lowers)?;
    step.done();
    let ended = shell.enter(draft.root(), GREETING);
    let draft = draft.unmount()?;
    let found = tell(build, &lowers, &draft.tree(), shell.draft.as_ref())?;
    ended?;
    if shell.when != When::BeforeTheImage || found.is_empty() {
        return Ok(None);
    }
    let step = build.ui.step("Keep what was changed");
    let number = found.len();
    let (made, changed): (Vec<Change>, Vec<Change>) =
        found.into_iter().partition(|change| change.kind == ChangeKind::Added);
    let paths = |changes: Vec<Change>| changes.into_iter().map(|change| change.path).collect();
    let layer = Layer { key, made: paths(made), changed: paths(changed), by_hand: true, ..Layer::default() };
    draft.commit(build, &layer, (Wrong::Later, layers.epoch), TITLE)?;
    step.done_with(&count(number, "path"));
    Ok(Some(layer))
}

/// Starts the shell where a plugin failed, if one is wanted there, above what the plugin had made in `upper`.
pub(super) fn on_failure(build: &Build<'_>, lowers: &[PathBuf], upper: &Path, id: &str, error: &anyhow::Error) {
    let Some(shell) = build.shell.as_ref().filter(|shell| shell.when == When::OnFailure) else { return };
    let cause = format!("{error:#}").lines().map(printable).collect::<Vec<_>>().join("\r\n");
    let greeting = format!(
        "The plugin {} failed: {cause}\r\nThis is the image as it left it, without a network. `exit` ends the build; nothing of \
         this is kept.\r\n",
        printable(id)
    );
    let looked = || -> Result<()> {
        let stage = build.store.stage()?;
        let mounted = mount(&stage, &[lowers, &[upper.to_owned()]].concat())?;
        build.ui.aside(|| shell.enter(mounted.path(), &greeting))?;
        unmount(&stage, mounted)
    };
    if let Err(error) = looked() {
        build.ui.warn(&format!("cannot open a shell there: {error:#}"));
    }
}

/// Lists what a layer changed, and describes it for a draft.
fn tell(build: &Build<'_>, lowers: &[PathBuf], upper: &Path, draft: Option<&File>) -> Result<Vec<Change>> {
    let before = Mounted::read_only(lowers)?;
    let after = Mounted::read_only(&[lowers, &[upper.to_owned()]].concat())?;
    let found = changes(upper, before.path(), after.path())?;
    if let Some(mut file) = draft {
        let entries =
            postcard::to_allocvec(&draft::gather(&found, after.path())?).context("cannot describe a draft")?;
        std::io::Write::write_all(&mut file, &entries).context("cannot hand on a draft")?;
    }
    if found.is_empty() {
        build.ui.info("nothing was changed");
    }
    found.iter().for_each(|change| build.ui.data(&line(change)));
    Ok(found)
}

/// Returns a change as a line.
fn line(change: &Change) -> String {
    let end = if change.directory { "/" } else { "" };
    format!("{}{end}  {}", change.path, change.kind)
}
