//! An ordinary user, for tests that root runs: everything that is attacked as root is attacked as that user too.
//!
//! The user exists in a mount namespace of the test alone: no file of the host is touched.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Number of the user.
pub const UID: u32 = 54321;

/// Makes the user with subordinate ids, shows it the built programs, and becomes it. `$1` is the directory, `$2` the target
/// directory, which may lie where the user must not look. What root put into the home becomes the user's; what belongs to the
/// subordinate ids, as in a store, stays theirs.
const BECOME: &str = "set -e; cd \"$1\"
for file in passwd group subuid subgid; do
    cp /etc/$file $file 2>/dev/null || : > $file
done
echo 'piimgtest:x:54321:54321::/:/bin/sh' >> passwd
echo 'piimgtest:x:54321:' >> group
echo 'piimgtest:300000:65536' | tee -a subuid >> subgid
for file in passwd group subuid subgid; do mount --bind $file /etc/$file; done
mount --bind \"$2\" target
chown -R --from=0:0 54321:54321 home
cd home
dir=$1
shift 2
exec setpriv --reuid 54321 --regid 54321 --clear-groups env -i PATH=\"$PATH\" HOME=\"$dir/home\" TMPDIR=\"$dir/home/tmp\" \"$@\"";

/// A place for what the user does; gone when dropped.
#[derive(Debug)]
pub struct Ordinary {
    dir: tempfile::TempDir,
}

impl Ordinary {
    /// Returns `None` if the tests are run by an ordinary user: then there is nothing to be done again.
    ///
    /// # Panics
    /// If the directories cannot be made.
    pub fn new() -> Option<Self> {
        // The test's own directory belongs to whoever runs it.
        let dir = tempfile::tempdir().expect("a directory can be made");
        if std::os::unix::fs::MetadataExt::uid(&fs::metadata(dir.path()).expect("it is there")) != 0 {
            return None;
        }
        let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        for name in ["home/tmp", "target"] {
            fs::create_dir_all(dir.path().join(name)).expect("a directory can be made");
        }
        open(dir.path(), 0o755).expect("a mode can be set");
        // Nobody else may look into it, the subordinate ids included.
        open(&dir.path().join("home"), 0o700).expect("a mode can be set");
        Some(Self { dir })
    }

    /// Returns the user's home, where its programs run.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// Returns where the user finds a file of the target directory.
    ///
    /// # Panics
    /// If it is in none.
    pub fn built(&self, file: &Path) -> PathBuf {
        let inside = file.strip_prefix(crate::target()).expect("it is in the target directory");
        self.dir.path().join("target").join(inside)
    }

    /// Prepares a program that the user runs.
    #[expect(clippy::disallowed_methods, reason = "the tests run what the user runs")]
    pub fn command<A: AsRef<OsStr>>(&self, program: &Path, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", BECOME, "sh"]).arg(self.dir.path()).arg(crate::target());
        command.arg(program).args(arguments).stdin(std::process::Stdio::null());
        command
    }
}

/// Runs the tests of this program once more as an ordinary user: those whose names hold one of `looking` as what the user
/// is, as when somebody looks at a plugin; all others but those of `left_out`, of which one calls, as root of the user's own
/// namespace, as in a build.
///
/// # Panics
/// If one of them fails.
pub fn again_as_an_ordinary_user(left_out: &[&str], looking: &[&str]) {
    let Some(user) = Ordinary::new() else { return };
    let own = user.built(&std::env::current_exe().expect("a test has a path"));
    run(&mut user.command(&own, looking));
    let namespace = ["--user", "--map-root-user", "--map-auto"].map(OsStr::new);
    let rest = left_out.iter().chain(looking).flat_map(|name| [OsStr::new("--skip"), OsStr::new(name)]);
    let arguments = namespace.into_iter().chain([own.as_os_str()]).chain(rest);
    run(&mut user.command(Path::new("unshare"), arguments));
}

fn run(command: &mut Command) {
    let output = command.output().expect("util-linux is there");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("test result: ok. ") && !said.contains("ok. 0 passed"), "nothing was run: {said}");
}
