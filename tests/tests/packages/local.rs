//! Packages that the recipe brings as files.

use piimg_tests::repository::Package;

use super::*;

/// A recipe that installs `robot-app`, which needs a library of a directory of packages, and a package of the archive.
const RECIPE: &str = "release = \"bookworm\"\nimagedir = \"images\"\npackages = [\"./robot-app.deb\"]\n\
                      [[repository]]\npath = \"debs\"\n";

fn app(text: &str) -> Package {
    Package::new("robot-app", "1.0", "arm64").depends("robot-lib (>= 2), bc").file("/usr/share/robot/app", text)
}

fn library(version: &str) -> Package {
    Package::new("robot-lib", version, "all").file("/usr/share/robot/lib", format!("{version}\n"))
}

/// Replaces the file of a package.
fn put(package: &Package, target: &Path) {
    std::fs::remove_file(target).or_else(|error| if target.exists() { Err(error) } else { Ok(()) }).unwrap();
    let fresh = tempfile::tempdir().unwrap();
    package.build(&fresh.path().join("a.deb"));
    std::fs::copy(fresh.path().join("a.deb"), target).unwrap();
}

#[test]
fn a_package_of_a_file_is_installed_with_what_it_needs_and_locked() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("piimg.toml"), RECIPE).unwrap();
    std::fs::create_dir(dir.path().join("debs")).unwrap();
    // Another content in each run: nothing of it is in the store.
    let own = format!("{}\n", std::process::id());
    put(&app(&own), &dir.path().join("robot-app.deb"));
    for version in ["1.0", "2.0"] {
        put(&library(version), &dir.path().join(format!("debs/lib-{version}.deb")));
    }
    put(&Package::new("robot-extra", "1.0", "arm64"), &dir.path().join("debs/extra.deb"));
    let build = |arguments: &[&str]| {
        let mut command = Command::new(piimg());
        command.current_dir(dir.path()).env("SOURCE_DATE_EPOCH", "1750000000").arg("build").args(arguments);
        command.arg("--store").arg(system_store()).output().unwrap()
    };

    let (first, root, said) = built(dir.path(), &build(&["--update-lock"]));
    assert!(said.contains("Add the recipe's own packages to the lists"), "{said}");
    assert_eq!(root.read_text("/usr/share/robot/app").unwrap().as_deref(), Some(own.as_str()));
    assert_eq!(root.read_text("/usr/share/robot/lib").unwrap().as_deref(), Some("2.0\n"));
    assert!(root.read("/usr/bin/bc").unwrap().is_some(), "what the archive has is installed too");
    let status = root.read_text("/var/lib/dpkg/status").unwrap().unwrap();
    assert!(!status.contains("Package: robot-extra\n"), "nobody wanted it");
    let (who, _) = blame(&first, "/usr/share/robot/app");
    assert!(who.contains("robot-app"), "{who}");
    let lock = std::fs::read_to_string(dir.path().join("piimg.lock")).unwrap();
    assert!(lock.contains("\"robot-app:arm64\" = { version = \"1.0\""), "{lock}");
    assert!(lock.contains("\"robot-lib:all\" = { version = \"2.0\""), "{lock}");

    // The next builds make nothing anew, with a lock or without, and without the network.
    let image = std::fs::read(&first).unwrap();
    for arguments in [&[][..], &["--locked"], &["--locked", "--offline"], &["--offline"]] {
        let (again, _, said) = built(dir.path(), &build(arguments));
        assert!(std::fs::read(again).unwrap() == image, "{arguments:?} made another image:\n{said}");
        assert!(said.contains("Bootstrap bookworm (arm64): unchanged"), "{arguments:?}:\n{said}");
    }

    // The same version with other content is another package: a lock refuses it, and without one it is the one that is meant.
    put(&app("changed\n"), &dir.path().join("robot-app.deb"));
    let output = build(&["--locked"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("robot-app:arm64 1.0 is another file: sha256:"), "{}", text(&output.stderr));
    let (_, root, _) = built(dir.path(), &build(&["--offline"]));
    assert_eq!(root.read_text("/usr/share/robot/app").unwrap().as_deref(), Some("changed\n"));

    // Images of other recipes have nothing of it.
    std::fs::write(dir.path().join("piimg.toml"), "release = \"bookworm\"\npackages = [\"robot-app\"]\n").unwrap();
    let output = build(&["--offline"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("the archive has no package `robot-app`"), "{}", text(&output.stderr));
}
