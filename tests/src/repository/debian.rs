//! Packages of Debian, for made-up archives of which a tree is to work: they bring libc, dpkg, apt, a shell.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::{Package, command, run};

/// Has apt fetch what is named and all that it needs; mmdebstrap knows where. The suite alone: its pockets change from day
/// to day, and the packages of two architectures must be of one state.
const FETCH: &str = "set -ef
export APT_CONFIG=\"$MMDEBSTRAP_APT_CONFIG\"
sed -i \"/ $SUITE-/d\" \"$1/etc/apt/sources.list\"
apt-get update --error-on=any -qq
apt-get install -qq --yes --download-only $NAMES
set +f
cp \"$1\"/var/cache/apt/archives/*.deb \"$OUT\"/";

/// Fetches the essential packages of Debian's `suite`, apt, `names`, and all that they need. Kept in the target
/// directory.
///
/// # Panics
/// If they cannot be fetched.
pub fn packages(suite: &str, architecture: &str, names: &[&str]) -> Vec<Package> {
    let essential = format!("?and(?essential,?architecture({architecture}))");
    let names = [&[essential.as_str(), "apt"], names].concat().join(" ");
    let directory = place(suite, architecture, &names);
    // Tests are processes of their own, and several want the same packages.
    let lock = fs::File::create(directory.with_extension("lock")).expect("a lock can be made");
    lock.lock().expect("the packages can be waited for");
    if !directory.exists() {
        let fresh = tempfile::tempdir_in(directory.parent().expect("it is in a directory")).expect("it can be made");
        // An ordinary user's apt runs as a subordinate id.
        fs::set_permissions(fresh.path(), fs::Permissions::from_mode(0o777)).expect("a mode can be set");
        let mut mmdebstrap = command("mmdebstrap");
        mmdebstrap.args(["--variant=custom", "--format=null", "--skip=check/qemu,update", "--components=main"]);
        mmdebstrap.args(["--aptopt=APT::Install-Recommends \"false\"", &format!("--architectures={architecture}")]);
        mmdebstrap.args([&format!("--setup-hook={FETCH}"), suite, "/dev/null"]);
        run(mmdebstrap.env("NAMES", &names).env("SUITE", suite).env("OUT", fresh.path()));
        fs::rename(fresh.keep(), &directory).expect("they can be kept");
    }
    let mut files: Vec<PathBuf> = fs::read_dir(&directory)
        .expect("the packages are there")
        .map(|entry| entry.expect("a directory can be read").path())
        .collect();
    files.sort();
    files.iter().map(|file| Package::ready(file)).collect()
}

fn place(suite: &str, architecture: &str, names: &str) -> PathBuf {
    let all = crate::target().join("debian-packages");
    fs::create_dir_all(&all).expect("a directory can be made");
    let digest = Sha256::digest([FETCH, names].concat());
    all.join(format!("{suite}-{architecture}-{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3]))
}

/// Returns `packages`, and an empty one for each of `names` that is not among them.
pub fn with_empty<'a>(
    mut packages: Vec<Package>,
    names: impl IntoIterator<Item = &'a String>,
    architecture: &str,
) -> Vec<Package> {
    let mut there: BTreeSet<String> = packages.iter().map(|package| package.name.clone()).collect();
    for name in names {
        if there.insert(name.clone()) {
            // Newer than any that the real ones cannot be with.
            packages.push(Package::new(name, "9:1.0", architecture));
        }
    }
    packages
}
