//! Makes the tools layer: native programs that stand in for the image's own during a build.
//!
//! It lies below every layer of the image while commands run, so that its files can be reached under whatever root
//! a command has, and is left out when the image is assembled:
//!
//! ```text
//! /.piimg/qemu             qemu-user for the image's architecture
//! /.piimg/tools/…          a native bootstrap of the image's own suite
//! /.piimg/native/usr/bin/… links to those of its programs that may be taken
//! /.piimg/scripts/usr/bin/perl/usr/sbin/… links to interpreters, by the script that one may run
//! /.piimg/ld.so            their loader
//! /usr/lib/x86_64-linux-gnu → /.piimg/tools/…: where loader, perl and the C library look for their own
//! ```

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::archives::Archives;
use crate::emulation::{self, host_architecture};
use crate::error::{Context, Failure, Result};
use crate::rootfs::bootstrap::{self, Bootstrap, Extent, Fetched, Installation};
use crate::rootfs::layers::Mounted;
use crate::rootfs::packages::{self, Apt, Archive};
use crate::rootfs::{policy, sources};
use crate::store::{Stage, Store, key, remove_tree};
use crate::ui::{Printable as _, Step};

const LIST: &str = include_str!("../../../files/emulation/native.toml");

/// Directory in the tools layer for everything of the build.
pub(super) const PRIVATE: &str = ".piimg";

/// apt-get of the tools, which must be told the image's architecture.
pub(super) const APT: &str = "/.piimg/tools/usr/bin/apt-get";

/// The loader that native programs name, and what they name instead in the tools layer: the image has no
/// `/lib64`, and a path that no package ever touches cannot be lost on the way.
const LOADER: &[u8] = b"/lib64/ld-linux-x86-64.so.2\0";
const PRIVATE_LOADER: &[u8] = b"/.piimg/ld.so";

/// An ELF file names its loader near its beginning.
const HEADER: usize = 4096;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(rename = "package")]
    packages: Vec<NativePackage>,
}

/// A package whose programs may be taken.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct NativePackage {
    name: String,
    /// Reason why the output does not depend on the machine; for readers of the file.
    reason: String,
    /// Programs whose output does.
    #[serde(default)]
    except: Vec<String>,
    /// The programs that are taken; all, if there are none.
    #[serde(default)]
    only: Vec<String>,
    /// The package that has the programs, if it is not this one.
    programs_of: Option<String>,
    /// Whether only piimg calls the programs, by their path here.
    #[serde(default)]
    direct: bool,
    /// Scripts that an interpreter may run; empty for all.
    #[serde(default)]
    scripts: Vec<String>,
}

impl NativePackage {
    fn takes(&self, program: &str) -> bool {
        let named = |names: &[String]| names.iter().any(|name| name == program);
        !named(&self.except) && (self.only.is_empty() || named(&self.only))
    }

    /// Places of a program's links, relative to what is private to the build.
    fn links(&self, program: &Path) -> Vec<PathBuf> {
        if self.direct {
            return Vec::new();
        }
        if self.scripts.is_empty() {
            return vec![Path::new("native").join(program)];
        }
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let place = |script: &String| {
            let script = script.replace("{program}", &name).replacen("-m ", "-m/", 1);
            Path::new("scripts").join(program).join(script.trim_start_matches('/'))
        };
        self.scripts.iter().map(place).collect()
    }
}

fn list() -> Result<List> {
    toml::from_str(LIST).context(Failure::bug("cannot use `files/emulation/native.toml`"))
}

/// Returns the multiarch name of the host's libraries, if this host can bring native tools.
pub(super) fn multiarch() -> Option<&'static str> {
    (host_architecture() == "amd64").then_some("x86_64-linux-gnu")
}

/// Requirements for a tools layer.
pub(super) struct Request<'a> {
    pub(super) archives: Archives<'a>,
    /// The image's architecture.
    pub(super) architecture: &'a str,
}

/// Finds or makes the tools layer and returns its tree.
///
/// # Errors
/// If the native bootstrap fails.
pub(super) fn ensure(store: &Store, request: &Request<'_>, step: &Step) -> Result<PathBuf> {
    let list = list()?;
    let qemu = emulation::emulator_path(request.architecture)?;
    let own = request.archives.release.own_repository(host_architecture())?;
    let key = key_of(request)?;
    let _lock = store.lock(&key)?;
    let layer = store.layer(&key);
    let is_there = store.has_layer(&key, &mut |damage| step.warn(damage))?;
    if is_there {
        // These programs run in place of the image's own, and their output goes into layers.
        store.check_layers(&[&key])?;
    } else {
        if request.archives.fetching.offline {
            return Err(Failure::build("the build is offline, and the store has no native tools for it").into());
        }
        step.note("preparing native tools");
        let stage = store.stage()?;
        let tree = stage.path().join("fs");
        make(&stage, store, request, &list, step)?;
        fs::copy(&qemu, tree.join(PRIVATE).join("qemu")).context("cannot copy the emulator")?;
        let what = format!("Native tools of {} for {}", own.suites[0], request.architecture);
        stage.commit_layer(&key, &what)?;
    }
    Ok(layer.join("fs"))
}

/// Returns the key of the tools layer.
///
/// # Errors
/// If the emulator cannot be read.
pub(super) fn key_of(request: &Request<'_>) -> Result<String> {
    let qemu = emulation::emulator_path(request.architecture)?;
    let emulator = fs::metadata(&qemu).context("cannot read the emulator")?.len();
    let own = request.archives.release.own_repository(host_architecture())?;
    let mirror = request.archives.mirrors.get(&own.name);
    Ok(key(&("tools, installed in a box", own, mirror, request.architecture, &list()?, emulator)))
}

fn make(stage: &Stage, store: &Store, request: &Request<'_>, list: &List, step: &Step) -> Result<()> {
    let failed = "cannot make the tools layer";
    let tree = &stage.path().join("fs");
    let tools = tree.join(PRIVATE).join("tools");
    fs::create_dir_all(&tools).context(failed)?;
    let names: Vec<String> = list.packages.iter().map(|package| package.name.clone()).collect();
    install(stage, &tools, store, request, &names, step)?;
    let multiarch = multiarch().context(Failure::bug("native tools on a host that has none"))?;
    let inside = format!("/{PRIVATE}/tools/usr/lib/{multiarch}");
    fs::create_dir_all(tree.join("usr/lib")).context(failed)?;
    symlink(&inside, tree.join("usr/lib").join(multiarch)).context(failed)?;
    symlink(format!("{inside}/ld-linux-x86-64.so.2"), tree.join(PRIVATE).join("ld.so")).context(failed)?;
    for kind in ["native", "scripts"] {
        // An image is not merged before its essential packages are configured (bookworm), but has the same programs.
        for directory in ["bin", "sbin", "lib"] {
            let links = tree.join(PRIVATE).join(kind);
            fs::create_dir_all(&links)
                .and_then(|()| symlink(Path::new("usr").join(directory), links.join(directory)))
                .context(failed)?;
        }
    }
    for package in &list.packages {
        for program in programs(&tools, package)? {
            take(tree, &program, package, request.architecture)?;
        }
    }
    Ok(())
}

/// Bootstraps the tools into the empty directory `tools`: an ordinary system, its packages in boxes like those of an image.
fn install(
    stage: &Stage,
    tools: &Path,
    store: &Store,
    request: &Request<'_>,
    packages: &[String],
    step: &Step,
) -> Result<()> {
    let (archives, architecture) = (request.archives, host_architecture());
    let own = archives.release.own_repository(architecture)?;
    let used = archives.of_tools(architecture)?;
    let bootstrap = Bootstrap {
        extent: Extent::System,
        suite: &own.suites[0],
        architectures: &[architecture.to_owned()],
        components: &own.components,
        packages,
        sources: &used,
        are_old: archives.are_old,
        fetching: archives.fetching,
        // The lists of the tools are not kept.
        lists: None,
        preferences: None,
        merge_usr: archives.release.merge_usr,
    };
    // On the file system of the package cache; removed at the end.
    let beside = stage.path().join("tools");
    let [lists, origins, kept, index, empty, work] =
        ["lists", "origins.json", "sources", "index", "empty", "work"].map(|name| beside.join(name));
    for directory in [&empty, &work] {
        fs::create_dir_all(directory).context("cannot make the tools layer")?;
    }
    let fetched = Fetched { lists: &lists, origins: &origins };
    let resolved = bootstrap::fetch(&bootstrap, tools, fetched, step)?;
    sources::keep(tools, &kept)?;
    let mut environment = archives.release.environment.clone();
    // The tools have no kernel that would need an initramfs.
    environment.insert("INITRD".into(), "No".into());
    let apt =
        Apt { native: APT, architecture: architecture.to_owned(), preferences: None, sources: Some(kept), environment };
    let epoch = packages::archive_date(&lists)?;
    let (cache, fetching) = (store.archives(), archives.fetching.clone());
    let archive = Archive { lists, origins, index, cache, apt, fetching, epoch };
    {
        let mounted = Mounted::new(&[policy::layer()?, empty], tools, &work)?;
        let installation = Installation {
            suite: &own.suites[0],
            root: mounted.path(),
            archive: &archive,
            resolved: &resolved,
            packages,
            scratch: &beside,
        };
        bootstrap::install(&installation, step)?;
    }
    remove_tree(&beside)
}

/// Paths of the package's executables, canonical and relative to the tools.
fn programs(tools: &Path, package: &NativePackage) -> Result<Vec<PathBuf>> {
    let files = files_of(tools, package.programs_of.as_ref().unwrap_or(&package.name))?;
    let mut programs: Vec<PathBuf> = files
        .lines()
        .filter(|line| is_program(line))
        .map(canonical)
        .filter(|path| path.file_name().is_some_and(|name| package.takes(&name.to_string_lossy())))
        .filter(|path| fs::symlink_metadata(tools.join(path)).is_ok_and(|metadata| metadata.is_file()))
        .collect();
    programs.sort();
    programs.dedup();
    Ok(programs)
}

/// Returns the files of the installed package `name`, in which `*` stands for any text: dpkg's own list of them.
fn files_of(tools: &Path, name: &str) -> Result<String> {
    let (start, end) = name.split_once('*').unwrap_or((name, ""));
    let wanted = |file: &str| {
        let package = file.strip_suffix(".list").map(|file| file.split(':').next().unwrap_or(file));
        package.is_some_and(|package| {
            if name.contains('*') { package.starts_with(start) && package.ends_with(end) } else { package == name }
        })
    };
    let mut lists = fs::read_dir(tools.join("var/lib/dpkg/info"))
        .context("cannot read the native tools' packages")?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|file| wanted(&file.to_string_lossy())));
    let list = lists.next().with_context(|| Failure::build(format!("the native tools lack the package `{name}`")))?;
    fs::read_to_string(&list).with_context(|| format!("cannot read `{}`", list.printable()))
}

fn is_program(path: &str) -> bool {
    let directories = ["/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/"];
    directories.iter().any(|directory| path.starts_with(directory))
        || path.starts_with("/usr/lib/systemd/systemd-")
        || path.starts_with("/lib/systemd/systemd-")
}

/// Returns the path in a merged `/usr`, relative.
fn canonical(path: &str) -> PathBuf {
    let path = path.trim_start_matches('/');
    if path.starts_with("usr/") { path.into() } else { Path::new("usr").join(path) }
}

/// Makes one program available: a link below `native/`, its loader replaced, dpkg's architecture too.
fn take(tree: &Path, program: &Path, package: &NativePackage, architecture: &str) -> Result<()> {
    let file = tree.join(PRIVATE).join("tools").join(program);
    let name = program.printable();
    let data = fs::read(&file).with_context(|| format!("cannot read the native `{name}`"))?;
    let Some(changed) = adapt(&data, package.name == "dpkg", architecture) else { return Ok(()) };
    if changed != data {
        // In place, so that hard links (bzip2 and bzcat) change together.
        fs::write(&file, changed).with_context(|| format!("cannot change the native `{name}`"))?;
    }
    let target = Path::new("/").join(PRIVATE).join("tools").join(program);
    for link in package.links(program) {
        let link = tree.join(PRIVATE).join(link);
        fs::create_dir_all(link.parent().expect("a program is in a directory"))
            .and_then(|()| symlink(&target, &link))
            .with_context(|| format!("cannot offer the native `{name}`"))?;
    }
    Ok(())
}

/// Returns the program as it runs from the tools layer; `None` for scripts and for what names another loader, which are
/// left to the emulator.
fn adapt(data: &[u8], dpkg: bool, architecture: &str) -> Option<Vec<u8>> {
    if !data.starts_with(b"\x7fELF") {
        return None;
    }
    let (header, rest) = data.split_at(data.len().min(HEADER));
    let adapted = header.windows(PRIVATE_LOADER.len()).any(|window| window == PRIVATE_LOADER);
    let header = if adapted { header.to_vec() } else { replace(header, LOADER, PRIVATE_LOADER)? };
    let data = [&header, rest].concat();
    if !dpkg {
        return Some(data);
    }
    // dpkg and its library know the architecture from one compiled-in string; programs without it do not ask.
    let own = [host_architecture().as_bytes(), b"\0"].concat();
    Some(replace(&data, &own, architecture.as_bytes()).unwrap_or(data))
}

/// Replaces the one occurrence of `old` by `new`, padded with null bytes to the same length.
///
/// Returns `None` if it does not occur, or occurs more than once and is ambiguous.
fn replace(data: &[u8], old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    let mut positions =
        data.windows(old.len()).enumerate().filter(|(_, window)| *window == old).map(|(position, _)| position);
    let position = positions.next()?;
    if positions.next().is_some() || new.len() > old.len() {
        return None;
    }
    let mut changed = data.to_vec();
    changed[position..position + old.len()].fill(0);
    changed[position..position + new.len()].copy_from_slice(new);
    Some(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_of_the_list_has_a_reason() {
        let list = list().unwrap();
        assert!(list.packages.iter().all(|package| package.reason.len() > 5));
        let excluded: Vec<&str> =
            list.packages.iter().flat_map(|package| package.except.iter().map(String::as_str)).collect();
        for machine in ["uname", "arch", "ischroot", "systemd-detect-virt", "lscpu", "su"] {
            assert!(excluded.contains(&machine), "{machine} inspects the machine or asks PAM");
        }
        for interpreter in ["perl-base", "python3-minimal"] {
            let package = list.packages.iter().find(|package| package.name == interpreter).unwrap();
            assert!(!package.scripts.is_empty(), "{interpreter} runs what needs modules of the image's architecture");
        }
    }

    fn package(text: &str) -> NativePackage {
        toml::from_str(&format!("name = \"p\"\nreason = \"a reason\"\n{text}")).unwrap()
    }

    #[test]
    fn programs_are_taken_as_the_list_says() {
        for (text, taken) in [
            ("", [true, true]),
            ("except = [\"a\"]", [false, true]),
            ("only = [\"a\"]", [true, false]),
            ("only = [\"a\"]\nexcept = [\"a\"]", [false, false]),
        ] {
            let package = package(text);
            assert_eq!(["a", "b"].map(|program| package.takes(program)), taken, "{text}");
        }
    }

    #[test]
    fn an_interpreter_is_offered_for_its_scripts_alone() {
        let program = Path::new("usr/bin/python3.11");
        assert_eq!(package("").links(program), [Path::new("native/usr/bin/python3.11")]);
        assert!(package("direct = true").links(program).is_empty());
        let package = package("scripts = [\"/usr/lib/{program}/py_compile.py\", \"-m py_compile\"]");
        assert_eq!(
            package.links(program),
            [
                Path::new("scripts/usr/bin/python3.11/usr/lib/python3.11/py_compile.py"),
                Path::new("scripts/usr/bin/python3.11/-m/py_compile"),
            ]
        );
    }

    #[test]
    fn the_files_of_a_package_are_found_by_its_name_or_a_version_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let info = dir.path().join("var/lib/dpkg/info");
        fs::create_dir_all(&info).unwrap();
        for name in ["tar", "dpkg:amd64", "python3-minimal", "python3.11-minimal", "python3.11"] {
            fs::write(info.join(format!("{name}.list")), name).unwrap();
        }
        fs::write(info.join("tar.md5sums"), "").unwrap();
        for (name, found) in [("tar", "tar"), ("dpkg", "dpkg:amd64"), ("python3.*-minimal", "python3.11-minimal")] {
            assert_eq!(files_of(dir.path(), name).unwrap(), found);
        }
        let error = files_of(dir.path(), "perl").unwrap_err();
        assert_eq!(error.to_string(), "the native tools lack the package `perl`");
    }

    #[test]
    fn only_an_unmistakable_string_is_replaced() {
        assert_eq!(replace(b"xxamd64\0yy", b"amd64\0", b"arm64").unwrap(), b"xxarm64\0yy");
        assert_eq!(replace(b"/lib64/ld\0", b"/lib64/ld\0", b"/x").unwrap(), b"/x\0\0\0\0\0\0\0\0");
        assert_eq!(replace(b"amd64\0 amd64\0", b"amd64\0", b"arm64"), None);
        assert_eq!(replace(b"arm64\0", b"amd64\0", b"arm64"), None);
    }

    #[test]
    fn a_program_is_adapted_once_and_scripts_never() {
        let program = [b"\x7fELF....".as_slice(), LOADER, b"amd64\0"].concat();
        let adapted = adapt(&program, true, "arm64").unwrap();
        assert!(adapted.windows(6).any(|window| window == b"arm64\0"));
        assert!(adapted.windows(13).any(|window| window == PRIVATE_LOADER));
        assert_eq!(adapt(&adapted, true, "arm64").unwrap(), adapted, "a second hard link changes nothing");
        assert_eq!(adapt(b"#!/bin/sh\n", false, "arm64"), None);
        assert_eq!(adapt(b"\x7fELF static", false, "arm64"), None);
    }

    #[test]
    fn programs_are_named_by_their_path_in_a_merged_usr() {
        assert!(is_program("/bin/sed") && is_program("/usr/sbin/depmod") && !is_program("/usr/share/doc/sed"));
        assert_eq!(canonical("/bin/sed"), Path::new("usr/bin/sed"));
        assert_eq!(canonical("/usr/bin/sed"), Path::new("usr/bin/sed"));
    }
}
