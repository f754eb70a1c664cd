//! Lets a person into the image that is being built: on a layer that nobody keeps.

mod draft;

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use draft::{DraftEntry, Made};

use super::layer::{mount, unmount};
use super::{Build, Layers};
use crate::error::{Context as _, Failure, Result};
use crate::rootfs::changes::{Change, changes};
use crate::rootfs::layers::Mounted;
use crate::sandbox::command::BoxCommand;
use crate::sandbox::{process, terminal};
use crate::ui::printable;

/// Started if nobody names a command.
const USUAL: [&str; 2] = ["/bin/bash", "-l"];

/// Time after which a forgotten shell ends.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Said before the shell is: what is printed first tells the outer process that it begins.
const GREETING: &str =
    "This is the image, without a network. What you change in it is listed at the end; `exit` leaves it.\r\n";

/// Most bytes of a draft's entries: a plugin that has them is longer.
pub const LONGEST_DRAFT: u64 = 256 << 20;

/// When the shell is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// In place of the image, above all layers.
    AtTheEnd,
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

/// Starts the shell above all layers, in place of making an image, and lists what was changed.
///
/// # Errors
/// If the command fails that was named, or the box cannot be made.
pub(super) fn at_the_end(build: &Build<'_>, layers: &Layers, shell: &Shell) -> Result<()> {
    let step = build.ui.step("Prepare the shell");
    let stage = build.store.stage()?;
    let mut lowers = build.below(&step)?;
    lowers.extend(build.trees(&layers.stack));
    let mounted = mount(&stage, &lowers)?;
    step.done();
    let ended = shell.enter(mounted.path(), GREETING);
    unmount(&stage, mounted)?;
    tell(build, &lowers, &stage.path().join("fs"), shell.draft.as_ref())?;
    ended
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
fn tell(build: &Build<'_>, lowers: &[PathBuf], upper: &Path, draft: Option<&File>) -> Result<()> {
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
    Ok(())
}

/// Returns a change as a line.
fn line(change: &Change) -> String {
    let end = if change.directory { "/" } else { "" };
    format!("{}{end}  {}", change.path, change.kind)
}
