//! Commands that attack the box they run in, each of them as root and as an ordinary user.
//!
//! The image is a directory that shows the host's own `/usr`; the attacks are in this program, which is shown to the box
//! as `/attack`. It starts itself as piimg does, so its `main` is its own. Needs user namespaces and nothing else. After
//! each attack the namespace of the build, and at the end the host, must look as before.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]
#![expect(clippy::print_stdout, reason = "a test program reports by itself")]

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

use nix::mount::{MsFlags, mount, umount};
use piimg::sandbox::command::{Bind, BoxCommand, BoxOutput};
use piimg::sandbox::private::{self, Entry, IdMap};
use piimg_tests::host::{Canary, Host};
use piimg_tests::ordinary::Ordinary;

/// The role in which this program runs the tests.
const ROLE: &str = "__sandbox-test";
const ATTACK: &str = "attack";

/// Tells this program that it was started by itself, as an ordinary user.
const AGAIN: &str = "--again";

type Test = (&'static str, fn());

fn tests() -> Vec<Test> {
    [&around::TESTS[..], &calls::TESTS, &host::TESTS, &image::TESTS, &limits::TESTS, &network::TESTS, &packages::TESTS]
        .concat()
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some(ROLE) => std::process::exit(run_tests(&arguments[2..])),
        Some(ATTACK) => attack::main(&arguments[2..]),
        Some(role) if role.starts_with("__") => std::process::exit(piimg::cli::main()),
        _ => std::process::exit(enter(&arguments[1..])),
    }
}

/// Runs the tests in the private namespace, as root and as an ordinary user; arguments without `-` choose those whose
/// names hold one of them.
fn enter(arguments: &[String]) -> i32 {
    let chosen: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let names = tests().into_iter().map(|(name, _)| name);
    let names: Vec<&str> =
        names.filter(|name| chosen.is_empty() || chosen.iter().any(|part| name.contains(part.as_str()))).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        names.iter().for_each(|name| println!("{name}: test"));
        return 0;
    }
    let own = std::env::current_exe().unwrap();
    let before = Host::now(&own);
    let store = tempfile::tempdir().unwrap();
    let canary = Canary::new(store.path(), &["canary"]);
    fs::set_permissions(store.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let ids = IdMap::choose().unwrap();
    let job = serde_json::to_vec(&names).unwrap();
    println!("as user {}:", nix::unistd::getuid());
    let status =
        private::run(&Entry { ids, role: ROLE, store: store.path(), hidden: Vec::new(), files: Vec::new() }, &job)
            .unwrap();
    canary.assert_well();
    // One that was started by itself sees another user's processes and cannot tell what they run.
    let again = arguments.iter().any(|argument| argument == AGAIN);
    assert!(again || Host::now(&own) == before, "something is left on the host: {before:?} {:?}", Host::now(&own));
    match Ordinary::new() {
        Some(user) if status == 0 => {
            let arguments = [AGAIN.to_owned()].into_iter().chain(names.iter().map(|name| (*name).to_owned()));
            let status = user.command(&user.built(&own), arguments).status().unwrap();
            assert_eq!(Host::now(&own), before, "something is left on the host");
            status.code().unwrap_or(1)
        }
        _ => status,
    }
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

fn run_tests(arguments: &[String]) -> i32 {
    let job = private::enter(arguments).unwrap();
    let names: Vec<String> = serde_json::from_slice(&job).unwrap();
    fs::copy("/proc/self/exe", "/build/attack").unwrap();
    let mut failed = 0;
    let canary = Canary::new(Path::new("/build"), &["canary"]);
    let before = Around::now();
    for (name, test) in tests().into_iter().filter(|(name, _)| names.iter().any(|chosen| chosen == name)) {
        let run = || {
            test();
            assert_eq!(Around::now(), before, "something is left of {name}");
            canary.assert_well();
        };
        let passed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += i32::from(!passed);
    }
    println!("\n{} tests, {failed} failed", names.len());
    failed.min(1)
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
