//! The first rootfs: mmdebstrap installs a release's packages into an empty directory.
//!
//! The packages are trusted by the archive's signature; their maintainer scripts run in mmdebstrap's chroot inside
//! the build's private namespace, with apt outside of it as always in mmdebstrap.

mod refusal;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
pub(super) use refusal::not_in_the_store;
use refusal::{better, explain, is_only_a_warning};

use super::sources::Sources;
use crate::error::{Context, Failure, Result};
use crate::recipe::fetching::Fetching;
use crate::sandbox::tool::{self, Tool};
use crate::ui::Step;

/// How much of a release a bootstrap takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// A system with apt, and the packages that are named.
    System,
    /// The lists of the archives alone.
    Lists,
}

/// What to bootstrap.
#[derive(Debug)]
pub struct Bootstrap<'a> {
    pub extent: Extent,
    /// Name of the release in the archive.
    pub suite: &'a str,
    /// The tree's own, and further ones whose packages it may have.
    pub architectures: &'a [String],
    pub components: &'a [String],
    pub packages: &'a [String],
    /// What will be installed on top later: it is fetched with the rest, so that a wrong name is known before anything is
    /// installed.
    pub later: &'a [String],
    /// Archives to use.
    pub sources: &'a Sources,
    /// They are old states, which may have expired.
    pub are_old: bool,
    pub fetching: &'a Fetching,
    /// apt's lists of an earlier bootstrap, which stand for those of the archive if it must not be asked.
    pub lists: Option<&'a Path>,
    /// apt's preferences for the bootstrap.
    pub preferences: Option<&'a Path>,
    /// Whether `/bin`, `/sbin` and `/lib` must be made links into `/usr` in advance.
    pub merge_usr: bool,
    /// What maintainer scripts are told.
    pub environment: &'a BTreeMap<String, String>,
    /// Times in files follow this, where a tool asks for it. Seconds since 1970.
    pub epoch: Option<u64>,
    /// Programs of the architecture do not run by themselves; piimg has seen to that.
    pub emulated: bool,
    /// Whether the hooks of a new kernel make no initramfs: it would be made again for each package that belongs into
    /// it. Then it must be made afterwards.
    pub without_initramfs: bool,
}

/// Lines of mmdebstrap's output an error quotes.
const QUOTED_LINES: usize = 25;

/// Arguments of mmdebstrap.
fn arguments(bootstrap: &Bootstrap<'_>, target: &Path) -> Vec<String> {
    let mut arguments: Vec<String> = [
        // Inside a user namespace this mode makes no other one; it differs from `root` in not calling mknod.
        "--mode=unshare",
        match bootstrap.extent {
            Extent::System => "--variant=apt",
            // Of this one nothing but what is named is installed.
            Extent::Lists => "--variant=custom",
        },
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
    if bootstrap.are_old {
        arguments.push("--aptopt=Acquire::Check-Valid-Until \"false\"".into());
    }
    if bootstrap.fetching.offline {
        arguments.push("--skip=update".into());
    }
    if bootstrap.emulated {
        // It looks for qemu outside of the target, where piimg's registration has no effect.
        arguments.push("--skip=check/qemu".into());
    }
    arguments.push(format!("--architectures={}", bootstrap.architectures.join(",")));
    arguments.push(format!("--components={}", bootstrap.components.join(",")));
    if !bootstrap.packages.is_empty() {
        arguments.push(format!("--include={}", bootstrap.packages.join(",")));
    }
    arguments.extend(bootstrap.sources.options());
    // Behind the hooks that lay the sources.
    arguments.push(format!("--setup-hook={FETCH}"));
    arguments.push(bootstrap.suite.to_owned());
    arguments.push(target.display().to_string());
    arguments.extend(bootstrap.sources.arguments());
    arguments
}

/// What mmdebstrap runs at the end of its set-up; its head says what it does.
const FETCH: &str = include_str!("bootstrap/fetch.sh");

/// What [`FETCH`] looks at.
fn variables(bootstrap: &Bootstrap<'_>) -> [(&'static str, String); 3] {
    let system = [format!("?and(?essential,?architecture({}))", bootstrap.architectures[0]), "apt".to_owned()];
    let base: &[String] = if bootstrap.extent == Extent::System { &system } else { &[] };
    let packages: Vec<&str> =
        base.iter().chain(bootstrap.packages).chain(bootstrap.later).map(String::as_str).collect();
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
    if bootstrap.merge_usr {
        merge_usr(target, &bootstrap.architectures[0]).context("cannot make the links of a merged `/usr`")?;
    }
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

/// Makes `/bin`, `/sbin` and `/lib` links into `/usr`, as Ubuntu's and Debian's installers have done since 2019.
fn merge_usr(target: &Path, architecture: &str) -> std::io::Result<()> {
    // The loader's directories, by the ABI: other architectures of piimg have theirs in `/lib`.
    let loaders: &[&str] = if architecture == "amd64" { &["lib32", "lib64", "libx32"] } else { &[] };
    for name in ["bin", "sbin", "lib"].iter().chain(loaders) {
        let inside = Path::new("usr").join(name);
        fs::create_dir_all(target.join(&inside))?;
        symlink(inside, target.join(name))?;
    }
    Ok(())
}

fn mmdebstrap(bootstrap: &Bootstrap<'_>, target: &Path, step: &Step) -> Result<()> {
    let mut tool = Tool::new("mmdebstrap").args(arguments(bootstrap, target));
    for (name, value) in bootstrap.environment {
        tool = tool.env(name, value);
    }
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
        if FETCH.lines().any(|own| own == line) {
            // mmdebstrap repeats a hook that failed, which says nothing of why.
            continue;
        }
        if last.len() == QUOTED_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    let status = tool::exit_status(child.wait().context("cannot wait for mmdebstrap")?);
    if status == 0 {
        return Ok(());
    }
    let failed = format!("cannot bootstrap `{}` for {}", bootstrap.suite, bootstrap.architectures[0]);
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
    use super::super::sources::DefaultSource;
    use super::*;

    #[test]
    fn usr_is_merged_for_the_architecture() {
        for (architecture, expected) in [("arm64", false), ("amd64", true)] {
            let dir = tempfile::tempdir().unwrap();
            merge_usr(dir.path(), architecture).unwrap();
            assert_eq!(fs::read_link(dir.path().join("sbin")).unwrap(), Path::new("usr/sbin"));
            assert!(dir.path().join("lib").is_dir());
            assert_eq!(dir.path().join("lib64").exists(), expected, "{architecture}");
        }
    }

    #[test]
    fn sources_come_last_and_only_if_given() {
        let components = ["main".to_owned(), "non-free-firmware".to_owned()];
        let packages = ["ssh".to_owned(), "sudo".to_owned()];
        let mut sources = Sources { default: DefaultSource::Used, files: Vec::new(), keyring: Some("/k.gpg".into()) };
        let architectures = ["armhf".to_owned(), "arm64".to_owned()];
        let mut bootstrap = Bootstrap {
            extent: Extent::System,
            suite: "trixie",
            architectures: &architectures,
            components: &components,
            packages: &packages,
            later: &[],
            sources: &sources.clone(),
            are_old: false,
            fetching: &Fetching::default(),
            lists: None,
            preferences: None,
            merge_usr: false,
            environment: &BTreeMap::new(),
            epoch: None,
            emulated: true,
            without_initramfs: true,
        };
        let plain = arguments(&bootstrap, Path::new("/t"));
        assert_eq!(plain[plain.len() - 2..], ["trixie", "/t"]);
        assert!(plain.contains(&"--include=ssh,sudo".to_owned()), "{plain:?}");
        assert!(plain.contains(&"--components=main,non-free-firmware".to_owned()), "{plain:?}");
        assert!(plain.contains(&"--architectures=armhf,arm64".to_owned()), "{plain:?}");
        assert!(plain.contains(&"--keyring=/k.gpg".to_owned()), "{plain:?}");
        let hooks: Vec<&String> = plain.iter().filter(|argument| argument.contains("-hook=")).collect();
        assert_eq!(hooks, [&format!("--setup-hook={FETCH}")]);
        sources = Sources { default: DefaultSource::None, files: vec!["/s/ubuntu.sources".into()], keyring: None };
        bootstrap.sources = &sources;
        let given = arguments(&bootstrap, Path::new("/t"));
        assert_eq!(given[given.len() - 3..], ["trixie", "/t", "/s/ubuntu.sources"]);
        let kept = Sources { default: DefaultSource::Kept, ..sources.clone() };
        bootstrap.sources = &kept;
        let mut hooks = arguments(&bootstrap, Path::new("/t")).into_iter().filter(|it| it.contains("-hook="));
        assert_eq!(hooks.next_back().unwrap(), format!("--setup-hook={FETCH}"), "the sources are there by then");
    }

    #[test]
    fn all_packages_are_fetched_first() {
        let (components, packages) = (["main".to_owned()], ["ssh".to_owned(), "sudo=1.9".to_owned()]);
        let fetching = Fetching { retries: 3, offline: true, ..Fetching::default() };
        let bootstrap = Bootstrap {
            extent: Extent::System,
            suite: "trixie",
            architectures: &["arm64".to_owned()],
            components: &components,
            packages: &packages,
            later: &["tree".to_owned()],
            sources: &Sources { default: DefaultSource::Used, files: Vec::new(), keyring: None },
            are_old: true,
            fetching: &fetching,
            lists: None,
            preferences: Some(Path::new("/run/preferences")),
            merge_usr: false,
            environment: &BTreeMap::new(),
            epoch: None,
            emulated: true,
            without_initramfs: true,
        };
        let values = variables(&bootstrap).map(|(_, value)| value);
        assert_eq!(values, ["?and(?essential,?architecture(arm64)) apt ssh sudo=1.9 tree", "1 2 4", "1"]);
        let arguments = arguments(&bootstrap, Path::new("/t"));
        assert!(arguments.contains(&"--include=ssh,sudo=1.9".to_owned()), "what comes later is only fetched");
        for expected in [
            "--skip=update",
            "--aptopt=Acquire::Retries \"3\"",
            "--aptopt=Acquire::Check-Valid-Until \"false\"",
            "--aptopt=Dir::Etc::Preferences \"/run/preferences\"",
        ] {
            assert!(arguments.iter().any(|argument| argument == expected), "{expected} is missing from {arguments:?}");
        }
    }
}
