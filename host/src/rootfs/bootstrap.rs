//! Makes the first rootfs, in two halves that share nothing but files.
//!
//! [`fetch`] has the network, and runs programs of the host alone: mmdebstrap lays what apt reads into an empty tree, apt
//! fetches the lists of the archives, compares them with their signatures and says what is to be installed. The lists then
//! leave the tree.
//!
//! [`install`] has packages, each of which is what a signed list says, and runs their programs and scripts: each in a box
//! without network that sees the tree and the packages, and nothing else of the build or of the host. No program outside
//! of a box reads the tree from then on.

mod arriving;
mod install;
mod refusal;

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::channel;

pub use install::{Installation, install};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use refusal::{Refusal, better, explain, is_only_a_warning};
pub(super) use refusal::{not_in_the_store, refusal_in};

use super::packages::{Origins, Resolved};
use super::sources::Sources;
use crate::error::{Context, Result, with_cause};
use crate::recipe::fetching::Fetching;
use crate::sandbox::ending::{self, Bounds};
use crate::sandbox::tool::{self, Tool};
use crate::sandbox::watched;
use crate::ui::{Printable as _, Step};

/// Part of a release that a bootstrap takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// A system with apt, and the packages that are named.
    System,
    /// The lists of the archives alone.
    Lists,
}

/// Request for a bootstrap's downloads.
#[derive(Debug)]
pub struct Bootstrap<'a> {
    pub extent: Extent,
    /// Name of the release in the archive.
    pub suite: &'a str,
    /// The tree's own, and further ones whose packages it may have.
    pub architectures: &'a [String],
    pub components: &'a [String],
    pub packages: &'a [String],
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
}

/// Directories for the downloads of [`fetch`].
#[derive(Clone, Copy, Debug)]
pub struct Fetched<'a> {
    /// The new directory of the lists.
    pub lists: &'a Path,
    /// The file that says where they are from.
    pub origins: &'a Path,
}

/// Lines of mmdebstrap's output an error quotes.
const QUOTED_LINES: usize = 25;

/// Directory of apt's lists in a tree.
const LISTS: &str = "var/lib/apt/lists";

/// Files that mmdebstrap copies from the host. No program of the image may see them.
const OF_THE_HOST: [&str; 2] = ["etc/resolv.conf", "etc/hostname"];

/// Arguments of mmdebstrap.
fn arguments(bootstrap: &Bootstrap<'_>, target: &Path) -> Vec<String> {
    let mut arguments: Vec<String> = [
        // Inside a user namespace this mode makes no other one. Unlike `root`, it does not call mknod. See
        // <https://manpages.debian.org/stable/mmdebstrap/mmdebstrap.1.en.html>.
        "--mode=unshare",
        // This variant installs only the packages that are named, and none is named: no program of the tree runs.
        "--variant=custom",
        "--format=directory",
        // The target holds the files written in advance; the package lists serve the later layers. It looks for qemu
        // outside of the target, which is not needed to fetch.
        "--skip=check/empty,check/qemu,cleanup/apt/lists",
        "--aptopt=Acquire::Languages \"none\"",
        "--aptopt=APT::Install-Recommends \"false\"",
    ]
    .map(str::to_owned)
    .to_vec();
    let options = bootstrap.fetching.apt_options();
    arguments.extend(options.iter().map(|(name, value)| format!("--aptopt={name} \"{value}\"")));
    arguments
        .extend(bootstrap.preferences.map(|file| format!("--aptopt=Dir::Etc::Preferences \"{}\"", file.printable())));
    if bootstrap.are_old {
        arguments.push("--aptopt=Acquire::Check-Valid-Until \"false\"".into());
    }
    if bootstrap.fetching.offline {
        arguments.push("--skip=update".into());
    }
    arguments.push(format!("--architectures={}", bootstrap.architectures.join(",")));
    arguments.push(format!("--components={}", bootstrap.components.join(",")));
    arguments.extend(bootstrap.sources.options());
    // After the hooks that write the sources.
    arguments.push(format!("--setup-hook={FETCH}"));
    arguments.push(bootstrap.suite.to_owned());
    arguments.push(target.to_string_lossy().into_owned());
    arguments.extend(bootstrap.sources.arguments());
    arguments
}

/// Script that mmdebstrap runs at the end of its set-up; its head says what it does.
const FETCH: &str = include_str!("bootstrap/fetch.sh");

/// Returns the variables that [`FETCH`] reads.
fn variables(bootstrap: &Bootstrap<'_>, answers: &Path) -> [(&'static str, String); 5] {
    let system = format!("?and(?essential,?architecture({})) apt", bootstrap.architectures[0]);
    let is_system = bootstrap.extent == Extent::System;
    let pauses: Vec<String> = bootstrap.fetching.pauses().map(|pause| pause.as_secs().to_string()).collect();
    [
        ("PIIMG_SYSTEM", if is_system { system } else { String::new() }),
        ("PIIMG_PACKAGES", bootstrap.packages.join(" ")),
        ("PIIMG_PAUSES", pauses.join(" ")),
        ("PIIMG_OFFLINE", u8::from(bootstrap.fetching.offline).to_string()),
        ("PIIMG_ANSWERS", answers.to_string_lossy().into_owned()),
    ]
}

/// Prepares the tree `target`, in which no program has run yet, and fetches the lists of the archives into `fetched`.
/// Returns what is to be installed.
///
/// # Privileges
/// Uid 0 of the private namespace.
///
/// # Errors
/// [`Failure::host`] without mmdebstrap, [`Failure::build`] if it fails, with the end of its output.
pub fn fetch(bootstrap: &Bootstrap<'_>, target: &Path, fetched: Fetched<'_>, step: &Step) -> Result<Resolved> {
    fs::create_dir_all(target).context("cannot make the root file system")?;
    if bootstrap.merge_usr {
        merge_usr(target, &bootstrap.architectures[0]).context("cannot make the links of a merged `/usr`")?;
    }
    if let Some(lists) = bootstrap.lists {
        copy_lists(lists, &target.join(LISTS)).context("cannot use the package lists of the store")?;
    }
    let answers = tempfile::tempdir_in("/tmp").context("cannot make a directory")?;
    mmdebstrap(bootstrap, target, answers.path(), step)?;
    let failed = "cannot keep the package lists";
    // mmdebstrap leaves its own options behind as configuration; they were for the build only.
    for file in ["etc/apt/apt.conf.d/99mmdebstrap"].into_iter().chain(OF_THE_HOST) {
        fs::remove_file(target.join(file)).or_else(is_gone).with_context(|| format!("cannot remove `/{file}`"))?;
    }
    fs::rename(target.join(LISTS), fetched.lists).context(failed)?;
    // The directories themselves belong to the image.
    for directory in [LISTS, "var/cache/apt/archives"] {
        fs::create_dir_all(target.join(directory)).context(failed)?;
    }
    let read = |name: &str| match fs::read_to_string(answers.path().join(name)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        other => other.context("cannot read what apt said"),
    };
    Origins::parse(&read("targets")?).keep(fetched.origins)?;
    Resolved::parse(&read("system")?, &read("uris")?)
}

fn is_gone(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
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

fn mmdebstrap(bootstrap: &Bootstrap<'_>, target: &Path, answers: &Path, step: &Step) -> Result<()> {
    let mut tool = Tool::new("mmdebstrap").args(arguments(bootstrap, target));
    for (name, value) in variables(bootstrap, answers) {
        tool = tool.env(name, value);
    }
    // Writable by every uid inside: apt's download user needs it.
    let mut command = tool.env("TMPDIR", "/tmp").command()?;
    let mut child = watched::start(command.stdin(Stdio::null()).stdout(Stdio::null()), arriving::LONGEST)?;
    let (running, ended) = channel::<()>();
    // Offline, nothing arrives: the tree's content was checked when it arrived, and may have more in it since.
    let mut arriving = (!bootstrap.fetching.offline).then(|| arriving::look(&target.join(LISTS))).transpose()?;
    let mut look = move || arriving.as_mut().map_or(Ok(()), |look| look());
    let (said, looked) = std::thread::scope(|scope| {
        let leader = child.id();
        let watcher = scope.spawn(move || watched::watch(leader, &ended, &mut look));
        let said = listen(&mut child, step);
        drop(running);
        (said, watcher.join().expect("the watcher does not panic"))
    });
    let (refusal, mut last) = said?;
    let status = tool::exit_status(child.wait().context("cannot wait for mmdebstrap")?);
    looked?;
    if status == 0 {
        return Ok(());
    }
    let failed = format!("cannot bootstrap `{}` for {}", bootstrap.suite, bootstrap.architectures[0]);
    if let Some(refusal) = refusal {
        return Err(anyhow::Error::from(refusal.failure).context(failed));
    }
    let cause = anyhow::anyhow!("{}", last.make_contiguous().join("\n"));
    let failure = ending::failure(&format!("{failed}: mmdebstrap"), status, Bounds::default())
        .hint("check the network, the mirror (--mirror) and the package names");
    Err(with_cause(cause, failure))
}

/// Shows what mmdebstrap says until it ends. Returns what apt refused, and the last lines.
fn listen(child: &mut Child, step: &Step) -> Result<(Option<Refusal>, VecDeque<String>)> {
    let mut last = VecDeque::new();
    let mut refusal = None;
    for line in BufReader::new(child.stderr.take().expect("stderr is piped")).split(b'\n') {
        let line =
            crate::ui::printable(&String::from_utf8_lossy(&line.context("cannot read the output of mmdebstrap")?));
        match line.strip_prefix("I: ") {
            Some(note) => step.note(note.trim_end_matches("...")),
            None => step.detail(&format!("mmdebstrap | {line}")),
        }
        if refusal.is_none() && is_only_a_warning(&line) {
            // apt would continue.
            killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL).context("cannot end mmdebstrap")?;
        }
        refusal = better(refusal, explain(&line));
        if FETCH.lines().any(|own| own == line) {
            // mmdebstrap repeats the name of the failed hook, which does not tell the cause.
            continue;
        }
        if last.len() == QUOTED_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    Ok((refusal, last))
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
            sources: &sources.clone(),
            are_old: false,
            fetching: &Fetching::default(),
            lists: None,
            preferences: None,
            merge_usr: false,
        };
        let plain = arguments(&bootstrap, Path::new("/t"));
        assert_eq!(plain[plain.len() - 2..], ["trixie", "/t"]);
        assert!(plain.contains(&"--variant=custom".to_owned()), "{plain:?}");
        assert!(!plain.iter().any(|argument| argument.starts_with("--include")), "nothing is installed: {plain:?}");
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
    fn apt_is_told_what_it_is_asked_for() {
        let (components, packages) = (["main".to_owned()], ["ssh".to_owned(), "sudo=1.9".to_owned()]);
        let fetching = Fetching { retries: 3, offline: true, ..Fetching::default() };
        let bootstrap = Bootstrap {
            extent: Extent::System,
            suite: "trixie",
            architectures: &["arm64".to_owned()],
            components: &components,
            packages: &packages,
            sources: &Sources { default: DefaultSource::Used, files: Vec::new(), keyring: None },
            are_old: true,
            fetching: &fetching,
            lists: None,
            preferences: Some(Path::new("/run/preferences")),
            merge_usr: false,
        };
        let values = variables(&bootstrap, Path::new("/a")).map(|(_, value)| value);
        assert_eq!(values, ["?and(?essential,?architecture(arm64)) apt", "ssh sudo=1.9", "1 2 4", "1", "/a"]);
        let arguments = arguments(&bootstrap, Path::new("/t"));
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
