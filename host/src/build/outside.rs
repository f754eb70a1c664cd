//! The user's side of a build: the output file, the wait, the rename.
//!
//! The image grows in a file without a name, so that a build that is killed leaves nothing behind; the name is given
//! when the image is complete and verified.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use super::{Job, PluginJob};
use crate::emulation;
use crate::error::{Context, Failure, Kind, Result};
use crate::image::name::file_name;
use crate::plugin::inspect::{PluginInfo, keep_code};
use crate::recipe::plan::Plan;
use crate::sandbox::private::{self, Entry};
use crate::store;
use crate::ui::Ui;

/// A plan and what is not data of it.
#[derive(Debug)]
pub struct Order {
    pub plan: Plan,
    /// In the order of the plan: what is known of each plugin, and what it was granted.
    pub plugins: Vec<(PluginInfo, Vec<String>)>,
    pub emulation: emulation::Mode,
    pub refresh: bool,
}

/// How a build went that did not fail in this process.
#[derive(Debug)]
pub enum Outcome {
    /// The finished image.
    Image(PathBuf),
    /// The inner process failed and said why; its exit code.
    Failed(i32),
}

/// Builds the image.
///
/// # Errors
/// What goes wrong outside the private namespace.
pub fn build(order: &Order, now: u64, ui: &Ui) -> Result<Outcome> {
    let plan = &order.plan;
    let output = Output::create(&plan.imagedir)?;
    let ids = store::prepare(&plan.store)?;
    if !order.plugins.is_empty() {
        let plugins = order.plugins.iter().map(|(info, _)| info);
        keep_code(&store::compiled(&plan.store), plugins).unwrap_or_else(|error| ui.warn(&format!("{error:#}")));
    }
    let codes: Vec<&File> = order.plugins.iter().map(|(info, _)| info.code_file()).collect::<Result<_>>()?;
    let assets: BTreeMap<&str, File> =
        plan.assets.iter().map(|(name, path)| Ok((name.as_str(), open_asset(path)?))).collect::<Result<_>>()?;
    let job = Job {
        plan: plan.clone(),
        plugins: order
            .plugins
            .iter()
            .zip(&codes)
            .map(|((info, granted), file)| PluginJob {
                info: info.clone(),
                code: file.as_raw_fd(),
                granted: granted.clone(),
            })
            .collect(),
        assets: assets.iter().map(|(name, file)| ((*name).to_owned(), file.as_raw_fd())).collect(),
        output: output.file.as_raw_fd(),
        emulation: order.emulation,
        registered_on_host: emulation::is_registered_on_host(&plan.architecture),
        refresh: order.refresh,
        verbosity: ui.verbosity(),
        timings: ui.timings().map(|timings| (timings.as_fd().as_raw_fd(), timings.base())),
    };
    let mut files: Vec<BorrowedFd<'_>> =
        codes.iter().copied().chain(assets.values()).chain([&output.file]).map(|file| file.as_fd()).collect();
    files.extend(ui.timings().map(|timings| timings.as_fd()));
    let job = serde_json::to_vec(&job).context("cannot describe the job")?;
    let status = private::run(&Entry { ids, role: "__build", store: &plan.store, files }, &job)?;
    if status != 0 {
        return Ok(Outcome::Failed(explain(status, ui)));
    }
    let name = file_name(plan.epoch.unwrap_or(now), &plan.flavour, &plan.release.name);
    output.publish(&name)?;
    Ok(Outcome::Image(plan.imagedir.join(name)))
}

/// An exit code of the inner process that piimg itself would not choose means that it was killed.
fn explain(status: i32, ui: &Ui) -> i32 {
    if (1..=5).contains(&status) || status == Kind::Bug as i32 {
        return status;
    }
    ui.error(
        &Failure::build(format!("the build ended with status {status} before it could say why"))
            .hint("was it killed, for lack of memory perhaps? see `dmesg`")
            .into(),
    )
}

fn open_asset(path: &Path) -> Result<File> {
    File::open(path).with_context(|| Failure::usage(format!("cannot open the asset `{}`", path.display())))
}

/// The image-to-be: a file in the directory of images that has no name yet.
#[derive(Debug)]
struct Output {
    directory: PathBuf,
    file: File,
    /// Where the file system has no unnamed files.
    named: Option<PathBuf>,
}

impl Output {
    fn create(directory: &Path) -> Result<Self> {
        let failed = || {
            Failure::host(format!("cannot create an image in `{}`", directory.display()))
                .hint("choose another directory with --imagedir")
        };
        fs::create_dir_all(directory).with_context(failed)?;
        // Readable by all while it has no name: the checkers in the private namespace open it anew, and nobody else can.
        let mode = Mode::from_raw_mode(0o644);
        match rustix::fs::open(directory, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode) {
            Ok(file) => Ok(Self { directory: directory.to_owned(), file: file.into(), named: None }),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {
                let path = directory.join(format!("{}.img.partial", std::process::id()));
                let file = File::options().read(true).write(true).create_new(true).open(&path).with_context(failed)?;
                Ok(Self { directory: directory.to_owned(), file, named: Some(path) })
            }
            Err(error) => Err(error).with_context(failed),
        }
    }

    /// Syncs the image and gives it `name`, replacing an image of that name whole; `latest_image` then names it.
    fn publish(mut self, name: &str) -> Result<()> {
        let target = self.directory.join(name);
        let failed = || Failure::build(format!("cannot name the image `{}`", target.display()));
        self.file.sync_all().with_context(failed)?;
        let partial = self.directory.join(format!("{name}.partial"));
        match self.named.take() {
            Some(path) => fs::rename(path, &partial).with_context(failed)?,
            None => {
                // A partial of that name was left by a build that was killed within these lines.
                fs::remove_file(&partial).ok();
                let source = CString::new(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
                    .expect("a number has no null byte");
                rustix::fs::linkat(CWD, source.as_c_str(), CWD, &partial, AtFlags::SYMLINK_FOLLOW)
                    .with_context(failed)?;
            }
        }
        fs::rename(&partial, &target).with_context(failed)?;
        let latest = self.directory.join("latest_image");
        let fresh = self.directory.join("latest_image.partial");
        fs::write(&fresh, format!("{name}\n")).and_then(|()| fs::rename(&fresh, &latest)).with_context(failed)?;
        File::open(&self.directory).and_then(|directory| directory.sync_all()).with_context(failed)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(path) = &self.named {
            // The error that brought us here is the one to report.
            fs::remove_file(path).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let list = || {
            fs::read_dir(dir.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect::<std::collections::BTreeSet<_>>()
        };
        let dropped = Output::create(dir.path()).unwrap();
        assert!(list().is_empty());
        drop(dropped);
        assert!(list().is_empty());
        Output::create(dir.path()).unwrap().publish("a.img").unwrap();
        assert_eq!(list(), ["a.img".to_owned(), "latest_image".to_owned()].into());
        assert_eq!(fs::read_to_string(dir.path().join("latest_image")).unwrap(), "a.img\n");
        Output::create(dir.path()).unwrap().publish("a.img").unwrap();
    }
}
