//! A lock and an archive that moves on: what is locked comes out of the store, and what cannot be had is known before
//! anything is installed. All packages of a base are fetched before the first is installed, where these builds end.

use piimg_tests::repository::{Key, Package, Repository, Server, Suite, bring};

use super::fetched::INSTALLS;
use super::plugins::PLUGIN;
use super::{Place, contains, packages, suite_with};

const LOCKED: [&str; 1] = ["--locked"];

fn package(name: &str, version: &str) -> Package {
    Package::new(name, version, "arm64")
}

/// The section of `piimg.lock` of that name.
fn section(name: &str, repository: &Repository, packages: &[Package]) -> String {
    let lines: Vec<String> = packages.iter().map(|package| repository.locked(package)).collect();
    format!("[{name}]\n{}", lines.concat())
}

fn lock(place: &Place, sections: &[String]) {
    std::fs::write(place.dir.path().join("piimg.lock"), format!("version = 1\n{}", sections.concat())).unwrap();
}

/// Puts other packages in the place of those that there are, which nobody can have any more.
fn move_on(place: &mut Place, old: &[Package], new: Vec<Package>) {
    place.repository.publish(&suite_with(new), Some(&place.key));
    old.iter().for_each(|package| place.repository.forget(package));
}

fn asked(server: &Server, part: &str) -> usize {
    server.asked().iter().filter(|path| path.contains(part)).count()
}

#[test]
fn a_base_that_is_locked_comes_out_of_the_store() {
    let (old, new) = (packages("1.0"), packages("2.0"));
    let mut place = Place::new(&suite_with(old.clone()));
    contains(&place.refused(&[]), &[INSTALLS]);
    lock(&place, &[section("packages", &place.repository, &old)]);
    move_on(&mut place, &old, new);
    // Without the lock the archive's own are taken, which shows that the next build could have them.
    contains(&place.refused(&[]), &[INSTALLS]);
    assert!(asked(&place.server, "_2.0_") > 0, "{:?}", place.server.asked());
    let before = asked(&place.server, ".deb");
    contains(&place.refused(&LOCKED), &[INSTALLS]);
    assert_eq!(asked(&place.server, ".deb"), before, "all of it is in the store: {:?}", place.server.asked());
}

#[test]
fn all_that_cannot_be_had_is_named_before_anything_is_installed() {
    let recipes = |version: &str| ["robot-tool", "robot-arm"].map(|name| package(name, version)).to_vec();
    let all = |version: &str| [packages(version), recipes(version)].concat();
    let (old, new) = (all("1.0"), all("2.0"));
    let mut place = Place::new(&suite_with(old.clone()));
    place.recipe("packages = [\"robot-tool\", \"robot-arm\"]\n");
    contains(&place.refused(&[]), &[INSTALLS]);
    lock(&place, &[section("packages", &place.repository, &old)]);
    move_on(&mut place, &old, new);
    // The base's are in the store; those of the recipe were never fetched.
    let said = place.refused(&LOCKED);
    let expected = "2 packages differ from the lock file:\n  - robot-arm:arm64 is 2.0, locked is 1.0\n  - robot-tool:arm64 is 2.0, \
                    locked is 1.0";
    contains(&said, &[expected, "--update-lock"]);
    assert!(!said.contains(INSTALLS), "{said}");
}

#[test]
fn what_is_listed_and_not_locked_is_named_before_anything_is_installed() {
    let all =
        [packages("1.0"), vec![package("robot-tool", "1.0"), package("virtual", "1.0").field("Provides", "robot")]];
    let place = Place::new(&suite_with(all.concat()));
    let locked = section("packages", &place.repository, &all[0]);
    lock(&place, &[locked]);
    place.recipe("packages = [\"robot-tool\"]\n");
    let said = place.refused(&LOCKED);
    contains(&said, &["1 package differs from the lock file:\n  - robot-tool is not in the lock\n"]);
    assert!(!said.contains(INSTALLS), "{said}");
    // What others provide has no entry of its own.
    place.recipe("packages = [\"robot\"]\n");
    contains(&place.refused(&LOCKED), &[INSTALLS]);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the tests run what the user runs")]
fn what_a_plugin_is_built_with_and_its_own_archive_are_looked_at_too() {
    let (old, new) = (package("robot-tool", "1.0"), package("robot-tool", "2.0"));
    let (base, tool) = (packages("1.0"), package("bc", "1.0"));
    let mut place = Place::new(&suite_with([base.clone(), vec![tool.clone()]].concat()));
    let (key, mut robots) = (Key::new(), Repository::new());
    let stable = |tool: &Package| Suite::new("stable", &["arm64"]).component("main", vec![tool.clone()]);
    robots.publish(&stable(&old), Some(&key));
    let server = Server::new(robots.path());
    bring(place.dir.path(), &format!("robots {} stable main", server.url()), &[key.fingerprint()], &key.armored_ring());
    let granted = std::process::Command::new(piimg_tests::piimg())
        .current_dir(place.dir.path())
        .args(["grant", "archives.wasm", "--yes"])
        .output()
        .unwrap();
    piimg_tests::expect_success(&granted);
    let grants = std::fs::read_to_string(place.dir.path().join("piimg.lock")).unwrap();
    let locked = |base: &[Package], own: &Package, tool: &[Package]| {
        let own = robots.locked(own);
        let image = section("packages", &place.repository, base) + &own;
        std::fs::write(
            place.dir.path().join("piimg.lock"),
            format!("{grants}\n{image}\n{}", section("build-packages", &place.repository, tool)),
        )
        .unwrap();
    };
    locked(&base, &old, std::slice::from_ref(&tool));
    let arguments = [&PLUGIN[..2], &LOCKED].concat();
    contains(&place.refused(&arguments), &[INSTALLS]);
    robots.publish(&stable(&new), Some(&key));
    move_on(&mut place, std::slice::from_ref(&tool), [base, vec![package("bc", "2.0")]].concat());
    let said = place.refused(&arguments);
    contains(
        &said,
        &[
            "2 packages differ from the lock file:",
            "bc:arm64 is 2.0, locked is 1.0",
            "robot-tool:arm64 is 2.0, locked is 1.0",
        ],
    );
    assert!(!said.contains(INSTALLS), "{said}");
}
