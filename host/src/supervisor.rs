//! Runs the user's side of a build: creates output files, waits, and names the files.
//!
//! The files get their names when all of them are complete and the image is verified.

pub mod disk_space;
pub mod output;
pub mod previous_output;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Seek as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk_space::Need;
use output::Output;

use crate::download::Authorities;
use crate::emulation;
use crate::error::{Context, Failure, Kind, Result};
use crate::home::Home;
use crate::image::name::file_name;
use crate::keyring::Rings;
use crate::plugin::InspectedPlugin;
use crate::plugin::grant::GrantSet;
use crate::plugin::inspect::keep_code;
use crate::plugin::lock;
use crate::recipe::host::HostPath;
use crate::recipe::locked::Locked;
use crate::recipe::plan::Plan;
use crate::recipe::store_limit::Limit;
use crate::sandbox::ending::{self, Bounds};
use crate::sandbox::namespace::{self, Entry};
use crate::sandbox::shell;
use crate::sandbox::terminal::Terminal;
use crate::sealed;
use crate::secret::source::Source;
use crate::secret::{Secret, Secrets};
use crate::steps::output_job::Taken;
use crate::steps::shell::{ShellJob, When};
use crate::steps::{AGAIN, Job, PluginJob, assets};
use crate::store;
use crate::ui::{Printable as _, Ui, printable};

/// A plan and what is not data of it.
#[derive(Debug)]
pub struct Order {
    pub plan: Plan,
    /// The plugins with their rights, in the order of the plan.
    pub plugins: Vec<(InspectedPlugin, GrantSet)>,
    /// Sources of the secrets that plugins may use.
    pub secrets: BTreeMap<String, Source>,
    /// The user's own directories, if there are any.
    pub home: Option<Home>,
    /// Key rings that verify package signatures.
    pub rings: Rings,
    pub emulation: emulation::Mode,
    pub refresh: bool,
    /// Name of the recipe, for people.
    pub name: String,
    /// Size limit of the store.
    pub limit: Limit,
    /// Disk space that the build needs.
    pub needs: Vec<Need>,
    /// `piimg.lock`.
    pub lock: PathBuf,
    /// Files of packages that the recipe brings, by digest.
    pub local_packages: BTreeMap<String, HostPath>,
    /// A shell that somebody wants in the image; where it takes the place of the image, there are no results.
    pub shell: Option<ShellRequest>,
    /// Whether the packages of the image are written to it.
    pub updates_lock: bool,
}

/// A shell in the image.
#[derive(Clone, Debug)]
pub struct ShellRequest {
    pub when: When,
    /// Program and arguments; empty for a shell.
    pub command: Vec<String>,
    /// An empty file that takes what was changed, for a draft of a plugin.
    pub draft: Option<Arc<File>>,
}

impl ShellRequest {
    /// Makes a file for [`ShellRequest::draft`].
    ///
    /// # Errors
    /// [`Failure::host`] if there is no memory for it.
    pub fn draft_file() -> Result<Arc<File>> {
        sealed::empty_file("draft").map(Arc::new)
    }
}

/// Outcome of a build that did not fail in this process.
#[derive(Debug)]
pub enum Outcome {
    /// The requested files, the image first.
    Built(Vec<PathBuf>),
    /// The inner process failed and said why; its exit code.
    Failed(i32),
}

/// Most restarts of a build after damage in the store. With more damage, the disk is broken.
const MOST_REPAIRS: usize = 3;

/// Builds what the order asks for.
///
/// # Errors
/// What goes wrong outside the private namespace.
pub fn build(order: &Order, now: u64, ui: &Ui) -> Result<Outcome> {
    let plan = &order.plan;
    shell::check(plan.assets.len() + order.plugins.len() + order.local_packages.len())?;
    // Read first, so that a missing secret is known before anything is written.
    let secrets = read_secrets(&order.secrets)?;
    let name = file_name(plan.epoch.unwrap_or(now), &plan.flavour, &plan.release.name);
    let ids = store::prepare(&plan.store, order.home.as_ref())?;
    let output = Output::create(plan, &name)?;
    if !order.plugins.is_empty() {
        let plugins = order.plugins.iter().map(|(info, _)| info);
        let kept = order.home.as_ref().map(|home| keep_code(home, plugins));
        kept.unwrap_or(Ok(())).unwrap_or_else(|error| ui.warn(&format!("{error:#}")));
    }
    let mut handed = Handed::open(order, &secrets)?;
    let mut job = handed.job(order, &output, ui)?;
    let mut files = handed.descriptors(order);
    files.extend(output.files());
    files.extend(ui.events().map(|events| events.as_fd()));
    let hidden = order.secrets.values().filter_map(Source::variable).collect();
    let entry = Entry { ids, role: "__build", store: plan.store.path(), files, hidden };
    let told = |job: &Job| serde_json::to_vec(job).context("cannot describe the job");
    let run = || run_inside(&entry, &told(&job)?, &output, &handed.answers());
    let mut status = handed.terminal.as_ref().map_or_else(run, |terminal| terminal.join(run)?)?;
    if status == 0 && order.shell.as_ref().is_some_and(|shell| shell.when == When::AtTheEnd) {
        return Ok(Outcome::Built(Vec::new()));
    }
    if status == 0 && output.has_lost_an_earlier_one(ui)? {
        // After a mismatch, no earlier result is used.
        job.output.earlier.clear();
        output.empty(&handed.answers())?;
        status = run_inside(&entry, &told(&job)?, &output, &handed.answers())?;
    }
    if status != 0 {
        return Ok(Outcome::Failed(failed(order, status, output, ui)));
    }
    let results = output.publish(ui)?;
    // The result is complete; at worst the next plan knows less.
    remember_taken(order, &mut handed.taken).unwrap_or_else(|error| ui.warn(&format!("{error:#}")));
    if let Some(file) = &mut handed.packages {
        update_lock(&order.lock, file)?;
    }
    Ok(Outcome::Built(results))
}

/// Says why the inner process failed, and what is left of it. Returns the exit code.
fn failed(order: &Order, status: i32, output: Output, ui: &Ui) -> i32 {
    let code = explain(status, ui);
    hints(order, &output).iter().for_each(|hint| ui.hint(hint));
    // The inner process has reported its error; a failure here must not hide it.
    match output.publish_failed() {
        Ok(Some(path)) => ui.hint(&format!("what the plugins called before is in `{}`", path.printable())),
        Ok(None) => {}
        Err(error) => ui.warn(&format!("{error:#}")),
    }
    code
}

/// Open files that the inner process gets, and those that it answers in.
struct Handed<'a> {
    /// Compiled plugins, in the order of the plan.
    codes: Vec<&'a File>,
    base: Option<File>,
    /// Assets by name.
    assets: BTreeMap<String, File>,
    /// Files of packages by digest.
    local_packages: BTreeMap<String, File>,
    /// Secrets by name, each in a file in memory.
    secrets: BTreeMap<&'a str, File>,
    terminal: Option<Terminal>,
    /// Takes what the build took of the disk.
    taken: File,
    /// Takes what goes into `piimg.lock`, if that is to be written.
    packages: Option<File>,
}

impl<'a> Handed<'a> {
    fn open(order: &'a Order, secrets: &'a Secrets) -> Result<Self> {
        let plan = &order.plan;
        let open = |path: &HostPath, what: &str| {
            let failed = || Failure::usage(format!("cannot open the {what} `{}`", path.shown().printable()));
            path.open().with_context(failed)
        };
        let open_package = |(digest, path): (&String, &HostPath)| Ok((digest.clone(), open(path, "package")?));
        let to_file = |(name, secret): (&'a String, &Secret)| Ok((name.as_str(), secret.to_file()?));
        Ok(Self {
            codes: order.plugins.iter().map(|(info, _)| info.code_file()).collect::<Result<_>>()?,
            base: plan.base.as_ref().map(|path| open(path, "base")).transpose()?,
            assets: assets::open(&plan.assets)?,
            local_packages: order.local_packages.iter().map(open_package).collect::<Result<_>>()?,
            secrets: secrets.iter().map(to_file).collect::<Result<_>>()?,
            terminal: order.shell.as_ref().map(|_| Terminal::open()).transpose()?,
            taken: sealed::empty_file("taken")?,
            packages: order.updates_lock.then(|| sealed::empty_file("packages")).transpose()?,
        })
    }

    /// Returns the files that are empty before each run.
    fn answers(&self) -> Vec<&File> {
        self.packages.iter().chain([&self.taken]).collect()
    }

    /// Returns all descriptors that the inner process inherits.
    fn descriptors<'b>(&'b self, order: &'b Order) -> Vec<BorrowedFd<'b>> {
        let shared = self.assets.values().chain(self.secrets.values()).chain(self.local_packages.values());
        let files = self.codes.iter().copied().chain(shared).chain(&self.base).chain(self.answers());
        let drafts = order.shell.iter().filter_map(|shell| shell.draft.as_deref());
        let terminal = self.terminal.iter().flat_map(|terminal| [terminal.far(), terminal.asks()]);
        files.chain(drafts).map(|file| file.as_fd()).chain(terminal).collect()
    }

    /// Describes the build for the inner process.
    fn job(&self, order: &Order, output: &Output, ui: &Ui) -> Result<Job> {
        let plan = &order.plan;
        let plugin = |((info, grants), file): (&(InspectedPlugin, GrantSet), &&File)| PluginJob {
            info: info.clone(),
            code: file.as_raw_fd(),
            grants: grants.clone(),
        };
        Ok(Job {
            plan: plan.clone(),
            plugins: order.plugins.iter().zip(&self.codes).map(plugin).collect(),
            rings: order.rings.clone(),
            authorities: authorities(order)?,
            name: order.name.clone(),
            limit: disk_space::limit_of(&plan.store, order.limit)?,
            store_needs: disk_space::told(&order.needs, plan.store.shown()),
            taken: self.taken.as_raw_fd(),
            base: self.base.as_ref().map(|file| file.as_raw_fd()),
            assets: numbers(&self.assets),
            local_packages: numbers(&self.local_packages),
            secrets: numbers(&self.secrets),
            packages: self.packages.as_ref().map(|file| file.as_raw_fd()),
            output: output.job(),
            emulation: order.emulation,
            registered_on_host: emulation::is_registered_on_host(&plan.architecture),
            refresh: order.refresh,
            shell: order.shell.as_ref().zip(self.terminal.as_ref()).map(|(shell, terminal)| ShellJob {
                when: shell.when,
                command: shell.command.clone(),
                terminal: terminal.far().as_raw_fd(),
                asks: terminal.asks().as_raw_fd(),
                draft: shell.draft.as_ref().map(|file| file.as_raw_fd()),
                kind: std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned()),
            }),
            verbosity: ui.verbosity(),
            events: ui.events().map(|events| (events.as_fd().as_raw_fd(), events.base())),
        })
    }
}

/// Returns the descriptors of files by name.
fn numbers(files: &BTreeMap<impl ToString, File>) -> BTreeMap<String, i32> {
    files.iter().map(|(name, file)| (name.to_string(), file.as_raw_fd())).collect()
}

fn remember_taken(order: &Order, file: &mut File) -> Result<()> {
    file.rewind().context("cannot read what the build took")?;
    let taken: Taken = serde_json::from_reader(file).context("cannot read what the build took")?;
    disk_space::remember(&order.plan, &order.name, taken)
}

/// Runs the job in the private namespace, once more after each damage of the store that it found and removed. Returns the
/// exit code of the inner process.
fn run_inside(entry: &Entry<'_>, job: &[u8], output: &Output, handed: &[&File]) -> Result<i32> {
    let mut status = namespace::run(entry, job)?;
    for _ in 0..MOST_REPAIRS {
        if status != AGAIN {
            break;
        }
        output.empty(handed)?;
        status = namespace::run(entry, job)?;
    }
    Ok(status)
}

/// Returns hints about the host's state during the build, which is the most frequent cause of a failure.
fn hints(order: &Order, output: &Output) -> Vec<String> {
    let plan = &order.plan;
    let mut hints = Vec::new();
    if !store::is_there(&plan.store) {
        let shown = printable(&plan.store.shown().to_string_lossy());
        hints.push(format!("the store `{shown}` was removed while the build ran: build again, it is made anew"));
    }
    if output.is_out_of_space() {
        let shown = printable(&plan.imagedir.shown().to_string_lossy());
        let needed = disk_space::told(&order.needs, plan.imagedir.shown());
        hints.push(format!(
            "there is no space left in `{shown}`{needed}: free some, or choose another place with --imagedir"
        ));
    }
    hints
}

/// Writes the packages that the build handed on to the lock file.
fn update_lock(lock: &Path, file: &mut File) -> Result<()> {
    file.rewind().context("cannot read the packages of the build")?;
    let packages: Locked = serde_json::from_reader(file).context("cannot read the packages of the build")?;
    lock::update(lock, |text| lock::set_packages(text, &packages).map(Some))
}

/// Reads the certificate authorities that vouch for servers, if a plugin may download anything.
fn authorities(order: &Order) -> Result<Authorities> {
    let mut held = order.plugins.iter().flat_map(|(_, grants)| grants.held());
    if held.any(|(capability, _)| capability.uses_https()) {
        Authorities::of_host()
    } else {
        Ok(Authorities::default())
    }
}

/// Returns an exit code of the inner process that piimg itself would not choose means that it was killed.
fn explain(status: i32, ui: &Ui) -> i32 {
    if (1..=5).contains(&status) || status == Kind::Bug as i32 {
        return status;
    }
    if status == AGAIN {
        let failure = Failure::build("the store was damaged again while it was made anew");
        return ui.error(&failure.hint("is its disk broken? choose another place with --store").into());
    }
    let failure = ending::failure("before it could say why, the build", status, Bounds::default());
    ui.error(&failure.into())
}

fn read_secrets(sources: &BTreeMap<String, Source>) -> Result<Secrets> {
    sources.iter().map(|(name, source)| Ok((name.clone(), source.read(name)?))).collect()
}
