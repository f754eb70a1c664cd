//! A package of an archive that a plugin brings: a flat one, for those of the recipe (`tests/releases/`) are not.

use piimg_tests::repository::{Key, Package, Repository, Server, Suite, bring};

use super::*;

#[test]
fn a_package_of_a_plugins_own_archive_is_in_the_image_and_in_the_lock() {
    let (dir, key) = (tempfile::tempdir().unwrap(), Key::new());
    let tool = Package::new("robot-tool", "1.0", "arm64").file("/usr/share/robot-tool/version", "1.0\n");
    let mut repository = Repository::new();
    repository.publish(&Suite::new("./", &["arm64"]).component("flat", vec![tool]), Some(&key));
    let server = Server::new(repository.path());
    bring(dir.path(), &format!("robots {} ./", server.url()), &[key.fingerprint()], &key.armored_ring());
    let piimg = |arguments: &[&str]| {
        let mut command = Command::new(piimg());
        command.current_dir(dir.path()).env("SOURCE_DATE_EPOCH", "1750000000").args(arguments).output().unwrap()
    };
    let store = system_store();
    let build = |arguments: &[&str]| {
        let common = ["build", "--release", "bookworm", "--plugin", "archives.wasm", "--imagedir", "images", "--store"];
        built(dir.path(), &piimg(&[&common[..], &[store.to_str().unwrap()], arguments].concat()))
    };
    let output = piimg(&["grant", "archives.wasm", "--yes"]);
    piimg_tests::expect_success(&output);

    let (first, root, said) = build(&["--update-lock"]);
    assert!(said.contains("there: true"), "{said}");
    let read = |path: &str| root.read_text(path).unwrap().unwrap_or_else(|| panic!("the image has no {path}"));
    assert_eq!(read("/usr/share/robot-tool/version"), "1.0\n");
    let sources = read("/etc/apt/sources.list.d/robots.sources");
    assert!(sources.contains(&server.url()) && sources.contains("Suites: ./\n"), "{sources}");
    let lock = std::fs::read_to_string(dir.path().join("piimg.lock")).unwrap();
    assert!(lock.contains("\"robot-tool:arm64\" = { version = \"1.0\""), "{lock}");

    // What is locked is found in the store, nobody asks the archive again.
    let image = std::fs::read(&first).unwrap();
    std::fs::remove_file(first).unwrap();
    let asked = server.asked().len();
    let (again, _, said) = build(&["--locked", "--offline"]);
    assert!(std::fs::read(again).unwrap() == image, "the lock made another image:\n{said}");
    assert_eq!(server.asked().len(), asked);
}
