//! The first rootfs: mmdebstrap installs a release's packages into an empty directory.
//!
//! The packages are trusted by the archive's signature; their maintainer scripts run in mmdebstrap's chroot inside
//! the build's private namespace, with apt outside of it as always in mmdebstrap.

mod refusal;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
pub(super) use refusal::not_in_the_store;
use refusal::{better, explain, is_only_a_warning};
use serde::Serialize;

use crate::error::{Context, Failure, Result};
use crate::recipe::fetching::Fetching;
use crate::sandbox::tool::{self, Tool};
use crate::ui::Step;

/// What to bootstrap.
#[derive(Debug)]
pub struct Bootstrap<'a> {
    /// Name of the release in the archive.
    pub suite: &'a str,
    pub architecture: &'a str,
    pub components: &'a [String],
    pub packages: &'a [String],
    pub source: Source<'a>,
    pub fetching: &'a Fetching,
    /// apt's lists of an earlier bootstrap, which stand for those of the archive if it must not be asked.
    pub lists: Option<&'a Path>,
    /// apt's preferences for the bootstrap.
    pub preferences: Option<&'a Path>,
    /// Key ring the release's archive is signed with, where mmdebstrap's own choice does not do.
    pub keyring: Option<&'a Path>,
    /// Times in files follow this, where a tool asks for it. Seconds since 1970.
    pub epoch: Option<u64>,
    /// Programs of the architecture do not run by themselves; piimg has seen to that.
    pub emulated: bool,
    /// Whether the hooks of a new kernel make no initramfs: it would be made again for each package that belongs into
    /// it. Then it must be made afterwards.
    pub without_initramfs: bool,
}

/// What packages are taken from.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Source<'a> {
    /// Archive to use; none lets mmdebstrap choose, with updates and security.
    pub mirror: Option<&'a str>,
    /// Key ring of the mirror, where that is not signed as the release is. Its name follows from its content.
    pub keyring: Option<&'a Path>,
    /// It is an old state, which may have expired.
    pub is_old: bool,
}

/// Lines of mmdebstrap's output an error quotes.
const QUOTED_LINES: usize = 25;

/// Arguments of mmdebstrap.
fn arguments(bootstrap: &Bootstrap<'_>, target: &Path) -> Vec<String> {
    let mut arguments: Vec<String> = [
        // Inside a user namespace this mode makes no other one; it differs from `root` in not calling mknod.
        "--mode=unshare",
        "--variant=apt",
        "--format=directory",
        // The target holds the files written in advance, and the shared package cache is mounted into it: apt must
        // find packages there, and keep them; the package lists serve the later layers.
        "--skip=check/empty,download/empty,essential/unlink,cleanup/apt/lists,cleanup/apt/cache",
        "--aptopt=Acquire::Languages \"none\"",
        "--aptopt=APT::Install-Recommends \"false\"",
        // A file written in advance wins over the one in the package.
        "--dpkgopt=force-confold",
    ]
    .map(str::to_owned)
    .to_vec();
    let options = bootstrap.fetching.apt_options();
    arguments.extend(options.iter().map(|(name, value)| format!("--aptopt={name} \"{value}\"")));
    arguments
        .extend(bootstrap.preferences.map(|file| format!("--aptopt=Dir::Etc::Preferences \"{}\"", file.display())));
    if bootstrap.source.is_old {
        arguments.push("--aptopt=Acquire::Check-Valid-Until \"false\"".into());
    }
    if bootstrap.fetching.offline {
        arguments.push("--skip=update".into());
    }
    if bootstrap.emulated {
        // It looks for qemu outside of the target, where piimg's registration has no effect.
        arguments.push("--skip=check/qemu".into());
    }
    arguments.push(format!("--architectures={}", bootstrap.architecture));
    arguments.push(format!("--components={}", bootstrap.components.join(",")));
    if !bootstrap.packages.is_empty() {
        arguments.push(format!("--include={}", bootstrap.packages.join(",")));
    }
    if let Some(keyring) = bootstrap.keyring {
        arguments.push(format!("--keyring={}", keyring.display()));
    }
    arguments.push(format!("--setup-hook={FETCH}"));
    arguments.push(bootstrap.suite.to_owned());
    arguments.push(target.display().to_string());
    arguments.extend(bootstrap.source.mirror.map(|mirror| match bootstrap.source.keyring {
        // As a line of its own: mmdebstrap would add the key ring that it knows for the suite.
        Some(keyring) => format!(
            "deb [signed-by=\"{}\"] {mirror} {} {}",
            keyring.display(),
            bootstrap.suite,
            bootstrap.components.join(" ")
        ),
        None => mirror.to_owned(),
    }));
    arguments
}

/// What mmdebstrap runs at the end of its set-up; its head says what it does.
const FETCH: &str = include_str!("bootstrap/fetch.sh");

/// What [`FETCH`] looks at.
fn variables(bootstrap: &Bootstrap<'_>) -> [(&'static str, String); 3] {
    let base = [format!("?and(?essential,?architecture({}))", bootstrap.architecture), "apt".to_owned()];
    let packages: Vec<&str> = base.iter().chain(bootstrap.packages).map(String::as_str).collect();
    let pauses: Vec<String> = bootstrap.fetching.pauses().map(|pause| pause.as_secs().to_string()).collect();
    [
        ("PIIMG_PACKAGES", packages.join(" ")),
        ("PIIMG_PAUSES", pauses.join(" ")),
        ("PIIMG_OFFLINE", u8::from(bootstrap.fetching.offline).to_string()),
    ]
}

/// Installs the release into `target`, with the package cache `archives`.
///
/// # Privileges
/// Uid 0 of the private namespace.
///
/// # Errors
/// [`Failure::host`] without mmdebstrap, [`Failure::build`] if it fails, with the end of its output.
pub fn run(bootstrap: &Bootstrap<'_>, target: &Path, archives: &Path, step: &Step) -> Result<()> {
    let cache = target.join("var/cache/apt/archives");
    fs::create_dir_all(&cache).context("cannot prepare the package cache")?;
    if let Some(lists) = bootstrap.lists {
        copy_lists(lists, &target.join("var/lib/apt/lists")).context("cannot use the package lists of the store")?;
    }
    mount(Some(archives), &cache, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .context("cannot bind the package cache")?;
    let result = mmdebstrap(bootstrap, target, step);
    umount2(&cache, MntFlags::MNT_DETACH).context("cannot unbind the package cache")?;
    result?;
    // mmdebstrap's own options stay behind as configuration; these were for the build only.
    for file in ["etc/dpkg/dpkg.cfg.d/99mmdebstrap", "etc/apt/apt.conf.d/99mmdebstrap"] {
        fs::remove_file(target.join(file)).with_context(|| format!("cannot remove `/{file}`"))?;
    }
    Ok(())
}

/// Copies apt's lists, which are plain files.
fn copy_lists(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to.join("partial"))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn mmdebstrap(bootstrap: &Bootstrap<'_>, target: &Path, step: &Step) -> Result<()> {
    let mut tool = Tool::new("mmdebstrap").args(arguments(bootstrap, target));
    for (name, value) in variables(bootstrap) {
        tool = tool.env(name, value);
    }
    if let Some(epoch) = bootstrap.epoch {
        tool = tool.env("SOURCE_DATE_EPOCH", epoch.to_string());
    }
    if bootstrap.without_initramfs {
        // Debian's kernel hooks look at it: https://kernel-team.pages.debian.net/kernel-handbook/ch-update-hooks.html
        tool = tool.env("INITRD", "No");
    }
    // Writable by every uid inside: apt's download user needs it.
    let mut child = tool
        .env("TMPDIR", "/tmp")
        .command()?
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .context(Failure::host("cannot start `mmdebstrap`"))?;
    let mut last = std::collections::VecDeque::new();
    let mut refusal = None;
    for line in BufReader::new(child.stderr.take().expect("stderr is piped")).split(b'\n') {
        let line =
            crate::ui::printable(&String::from_utf8_lossy(&line.context("cannot read the output of mmdebstrap")?));
        match line.strip_prefix("I: ") {
            Some(note) => step.note(note.trim_end_matches("...")),
            None => step.detail(&format!("mmdebstrap | {line}")),
        }
        if refusal.is_none() && is_only_a_warning(&line) {
            // apt would go on without.
            killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL).context("cannot end mmdebstrap")?;
        }
        refusal = better(refusal, explain(&line));
        if last.len() == QUOTED_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    let status = tool::exit_status(child.wait().context("cannot wait for mmdebstrap")?);
    if status == 0 {
        return Ok(());
    }
    let failed = format!("cannot bootstrap `{}` for {}", bootstrap.suite, bootstrap.architecture);
    if let Some(refusal) = refusal {
        return Err(anyhow::Error::from(refusal.failure).context(failed));
    }
    let cause = anyhow::anyhow!("{}", last.make_contiguous().join("\n"));
    let failure = Failure::build(format!("{failed}: mmdebstrap failed with status {status}"))
        .hint("check the network, the mirror (--mirror) and the package names");
    Err(cause.context(failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_comes_last_and_only_if_given() {
        let components = ["main".to_owned(), "non-free-firmware".to_owned()];
        let packages = ["ssh".to_owned(), "sudo".to_owned()];
        let mut bootstrap = Bootstrap {
            suite: "trixie",
            architecture: "arm64",
            components: &components,
            packages: &packages,
            source: Source::default(),
            fetching: &Fetching::default(),
            lists: None,
            preferences: None,
            keyring: None,
            epoch: None,
            emulated: true,
            without_initramfs: true,
        };
        let plain = arguments(&bootstrap, Path::new("/t"));
        assert_eq!(plain[plain.len() - 2..], ["trixie", "/t"]);
        assert!(plain.contains(&"--include=ssh,sudo".to_owned()), "{plain:?}");
        assert!(plain.contains(&"--components=main,non-free-firmware".to_owned()), "{plain:?}");
        bootstrap.source.mirror = Some("file:///srv/repository");
        let given = arguments(&bootstrap, Path::new("/t"));
        assert_eq!(given.last().unwrap(), "file:///srv/repository");
        bootstrap.source.keyring = Some(Path::new("/run/ring.gpg"));
        let signed = arguments(&bootstrap, Path::new("/t"));
        let line = "deb [signed-by=\"/run/ring.gpg\"] file:///srv/repository trixie main non-free-firmware";
        assert_eq!(signed.last().unwrap(), line);
    }

    #[test]
    fn all_packages_are_fetched_first() {
        let (components, packages) = (["main".to_owned()], ["ssh".to_owned(), "sudo=1.9".to_owned()]);
        let fetching = Fetching { retries: 3, offline: true, ..Fetching::default() };
        let bootstrap = Bootstrap {
            suite: "trixie",
            architecture: "arm64",
            components: &components,
            packages: &packages,
            source: Source::default(),
            fetching: &fetching,
            lists: None,
            preferences: None,
            keyring: None,
            epoch: None,
            emulated: true,
            without_initramfs: true,
        };
        let values = variables(&bootstrap).map(|(_, value)| value);
        assert_eq!(values, ["?and(?essential,?architecture(arm64)) apt ssh sudo=1.9", "1 2 4", "1"]);
        assert!(arguments(&bootstrap, Path::new("/t")).contains(&"--skip=update".to_owned()));
    }
}
