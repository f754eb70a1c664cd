//! Commands that attack the box they run in, each of them as root and as an ordinary user.
//!
//! The image is a directory that shows the host's own `/usr`; the attacks are in this program, which is shown to the box
//! as `/attack`. It starts itself as piimg does, so its `main` is its own. Needs user namespaces and nothing else. After
//! each attack the namespace of the build and the host must look as before.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]

#[path = "sandbox/around.rs"]
mod around;
#[path = "sandbox/attack.rs"]
mod attack;
#[path = "sandbox/calls.rs"]
mod calls;
#[path = "sandbox/host.rs"]
mod host;
#[path = "sandbox/image.rs"]
mod image;
#[path = "sandbox/limits.rs"]
mod limits;
#[path = "sandbox/network.rs"]
mod network;
#[path = "sandbox/packages.rs"]
mod packages;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use nix::mount::{MsFlags, mount, umount};
use piimg::sandbox::command::{Bind, BoxCommand, BoxOutput};
use piimg::sandbox::id_map::IdMap;
use piimg::sandbox::namespace::{self, Entry};
use piimg_tests::host::{Canary, Host};
use piimg_tests::ordinary::Ordinary;

/// The role in which this program runs the tests.
const ROLE: &str = "__sandbox-test";
const ATTACK: &str = "attack";

type Test = (&'static str, fn());

fn tests() -> Vec<Test> {
    [&around::TESTS[..], &calls::TESTS, &host::TESTS, &image::TESTS, &limits::TESTS, &network::TESTS, &packages::TESTS]
        .concat()
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some(ROLE) => run_test(&arguments[2..]),
        Some(ATTACK) => attack::main(&arguments[2..]),
        Some(role) if role.starts_with("__") => std::process::exit(piimg::cli::main()),
        _ => libtest_mimic::run(&Arguments::from_args(), trials()).exit(),
    }
}

/// Returns each test, as whoever runs it; for root, also as an ordinary user.
fn trials() -> Vec<Trial> {
    let is_root = nix::unistd::getuid().is_root();
    let both = tests().into_iter().flat_map(|(name, _)| {
        let again = is_root.then(|| Trial::test(format!("{name}::as_an_ordinary_user"), || as_an_ordinary_user(name)));
        [Trial::test(name, || in_a_namespace(name))].into_iter().chain(again)
    });
    both.collect()
}

/// Runs a test in a private namespace, as a build has one, after which the host must look as before.
fn in_a_namespace(name: &str) -> Result<(), Failed> {
    let before = Host::now();
    let store = tempfile::tempdir()?;
    let canary = Canary::new(store.path(), &["canary"]);
    fs::set_permissions(store.path(), fs::Permissions::from_mode(0o755))?;
    let entry = Entry { ids: IdMap::choose()?, role: ROLE, store: store.path(), hidden: Vec::new(), files: Vec::new() };
    let status = namespace::run(&entry, name.as_bytes())?;
    canary.assert_well();
    assert_eq!(Host::now(), before, "something is left on the host");
    if status == 0 { Ok(()) } else { Err(format!("it failed in its namespace, with status {status}").into()) }
}

/// Starts this program for one test as another user.
fn as_an_ordinary_user(name: &str) -> Result<(), Failed> {
    let before = Host::now();
    let user = Ordinary::new().expect("root can become one");
    let own = user.built(&std::env::current_exe()?);
    let output = user.command(&own, ["--exact", name]).output()?;
    assert_eq!(Host::now(), before, "something is left on the host");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    Ok(())
}

/// What the private namespace looks like: mounts, and processes but this one.
#[derive(Debug, PartialEq, Eq)]
struct Around {
    mounts: String,
    processes: Vec<u32>,
    files: Vec<PathBuf>,
}

impl Around {
    fn now() -> Self {
        let entries = |directory: &str| fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let number = |path: PathBuf| path.file_name()?.to_str()?.parse().ok();
        Self {
            mounts: fs::read_to_string("/proc/self/mountinfo").unwrap(),
            processes: entries("/proc").filter_map(number).filter(|id| *id != std::process::id()).collect(),
            files: ["/build", "/store", "/tmp", "/run"].into_iter().flat_map(entries).collect(),
        }
    }
}

/// Runs one test, whose panic ends this process.
fn run_test(arguments: &[String]) {
    let job = namespace::enter(arguments).unwrap();
    let name = String::from_utf8(job).unwrap();
    fs::copy("/proc/self/exe", "/build/attack").unwrap();
    let canary = Canary::new(Path::new("/build"), &["canary"]);
    let before = Around::now();
    let (_, test) = tests().into_iter().find(|(own, _)| *own == name).expect("only tests of this program are started");
    test();
    assert_eq!(Around::now(), before, "something is left of {name}");
    canary.assert_well();
}

/// An image with the host's programs, on a disk of its own; gone when dropped.
struct Image {
    root: PathBuf,
    binds: Vec<Bind>,
}

impl Image {
    fn new(name: &str) -> Self {
        let root = Path::new("/build").join(name);
        fs::create_dir(&root).unwrap();
        mount(Some("tmpfs"), &root, Some("tmpfs"), MsFlags::empty(), Some("size=400m,nr_inodes=100k")).unwrap();
        for dir in ["dev", "proc", "run", "tmp", "sys", "etc", "root", "usr", "var/tmp"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        fs::write(root.join("attack"), "").unwrap();
        let mut binds = vec![bind("/build/attack", "/attack"), bind("/usr", "/usr")];
        for dir in ["bin", "sbin", "lib", "lib32", "lib64"] {
            let host = Path::new("/").join(dir);
            match fs::read_link(&host) {
                Ok(target) => symlink(target, root.join(dir)).unwrap(),
                Err(_) if host.exists() => {
                    fs::create_dir(root.join(dir)).unwrap();
                    binds.push(bind(host.to_str().unwrap(), host.to_str().unwrap()));
                }
                Err(_) => {}
            }
        }
        Self { root, binds }
    }

    fn command(&self, argv: &[&str]) -> BoxCommand {
        let mut command = BoxCommand::new(&self.root, argv.iter().copied());
        command.binds = self.binds.clone();
        command
    }

    fn run(&self, argv: &[&str]) -> (BoxOutput, String) {
        run(&self.command(argv))
    }

    /// Runs a script, which must succeed, and returns what it says.
    fn script(&self, text: &str) -> String {
        let (output, said) = self.run(&["sh", "-c", text]);
        assert_eq!(output.status, 0, "{text}: {said}");
        said
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        umount(&self.root).unwrap();
        fs::remove_dir(&self.root).unwrap();
    }
}

fn bind(source: &str, target: &str) -> Bind {
    Bind { source: source.into(), target: target.into(), writable: false }
}

/// Runs it; output of both streams, in one text.
fn run(command: &BoxCommand) -> (BoxOutput, String) {
    let mut lines = Vec::new();
    let output = command.run(None, &mut |_, line| lines.push(line.to_owned())).unwrap();
    (output, lines.join("\n"))
}
