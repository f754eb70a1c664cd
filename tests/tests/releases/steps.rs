//! What a change costs, and that it comes to the same: each of these builds begins where the one before left its store.

use std::path::Path;
use std::process::Command;

use super::archive::{Archives, EPOCH, STORE};

/// What is made of an image here: all that packages and plugins can change is in it.
pub(crate) const OUTPUT: [&str; 2] = ["--output", "tar"];

/// The whole line of a step that had nothing to do.
pub(crate) fn unchanged(step: &str) -> String {
    format!("{step}: unchanged, from the store")
}

#[track_caller]
pub(crate) fn contains(said: &str, expected: &[String]) {
    for line in expected {
        assert!(said.contains(line), "{line:?} is missing:\n{said}");
    }
}

pub(crate) fn bootstrap(archives: &Archives) -> String {
    unchanged(&format!("Bootstrap {} ({})", archives.release().name, archives.architecture()))
}

pub(crate) fn content(file: &Path) -> Vec<u8> {
    std::fs::read(file).unwrap()
}

/// The arguments of a build with the plugin, which is told these values.
pub(crate) fn with_plugin<'a>(common: &[&'a str], plugin: &'a str, values: &'a [String]) -> Vec<&'a str> {
    let values = values.iter().flat_map(|value| ["--param", value.as_str()]);
    common.iter().copied().chain(OUTPUT).chain(["--plugin", plugin]).chain(values).collect()
}

pub(crate) fn param(name: &str, value: &str) -> String {
    format!("test/poisons:{name}={value}")
}

/// A plugin that is changed, a package more, another time, a package that is asked for at run time: each is done on what is
/// there, and gives what a build in an empty store gives, byte for byte.
#[track_caller]
pub(crate) fn come_to_the_same(archives: &Archives, common: &[&str]) {
    let plugin = piimg_tests::guest("poisons");
    let plugin = plugin.to_str().unwrap();
    let arguments = |values: &[String], more: &[&str]| -> Vec<String> {
        let all = with_plugin(common, plugin, values);
        all.into_iter().chain(["--grant-requested"]).chain(more.iter().copied()).map(str::to_owned).collect()
    };
    let build = |store: &str, epoch: u64, values: &[String], more: &[&str]| {
        let arguments = arguments(values, more);
        archives.build_in(store, epoch, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let recipes = unchanged("Install robot-tool, robot-service");
    let (_, said) = build(STORE, EPOCH, &[param("script", "true")], &[]);
    contains(&said, &[bootstrap(archives), recipes.clone()]);

    let changed = [param("script", "true # changed")];
    let (_, said) = build(STORE, EPOCH, &changed, &[]);
    contains(&said, &[bootstrap(archives), recipes.clone(), unchanged("Install to build with: bc")]);
    assert!(!said.contains("Fetch to build with"), "{said}");

    let more = ["--package", "extra"];
    let (_, said) = build(STORE, EPOCH, &changed, &more);
    contains(&said, &[bootstrap(archives), "Install robot-tool, robot-service, extra: ".into()]);

    let later = EPOCH + 86_400;
    let (_, said) = build(STORE, later, &changed, &more);
    // Its command is told the time, so that the plugin itself runs again.
    let again = ["Install robot-tool, robot-service, extra", "Install to build with: bc"].map(unchanged);
    contains(&said, &[&[bootstrap(archives)][..], &again].concat());

    let asks = [changed.as_slice(), &[param("install", "tree")]].concat();
    let (result, said) = build(STORE, later, &asks, &more);
    contains(&said, &[bootstrap(archives), "starts again: Install tree".into(), "new: tree".into()]);

    let kept = content(&result);
    std::fs::remove_file(&result).unwrap();
    let (fresh, said) = build("empty-store", later, &asks, &more);
    assert!(!said.contains(&bootstrap(archives)), "{said}");
    assert_eq!(fresh, result);
    assert!(content(&fresh) == kept, "a build in an empty store gives another archive");
}

/// Grants the plugin all that it asks for, in the lock of the builds.
#[track_caller]
pub(crate) fn grant(archives: &Archives, plugin: &str) {
    let mut command = Command::new(piimg_tests::piimg());
    let granted = command.current_dir(archives.path("")).args(["grant", plugin, "--yes"]).output().unwrap();
    piimg_tests::expect_success(&granted);
}

/// A lock that gets another package makes no layer anew that has nothing to do with it, and names what plugins are built
/// with too.
#[track_caller]
pub(crate) fn with_a_lock(archives: &Archives, common: &[&str]) {
    let build = |arguments: &[&str]| {
        let (result, said) = archives.build_in(STORE, EPOCH, &[common, &OUTPUT, arguments].concat());
        contains(&said, &[bootstrap(archives)]);
        (content(&result), said)
    };
    build(&["--locked", "--offline"]);
    build(&["--update-lock", "--package", "extra"]);
    let (_, said) = build(&["--locked", "--offline", "--package", "extra"]);
    contains(&said, &[unchanged("Install robot-tool, robot-service, extra")]);

    let plugin = piimg_tests::guest("poisons");
    let plugin = plugin.to_str().unwrap();
    grant(archives, plugin);
    let (first, said) = build(&["--update-lock", "--plugin", plugin]);
    contains(&said, &["Fetch to build with: bc: 2 packages".into()]);
    let early = said.find("Fetch to build with").unwrap() < said.find("Run the plugin").unwrap();
    assert!(early, "what it is built with is fetched before anything runs:\n{said}");
    let lock = std::fs::read_to_string(archives.path("piimg.lock")).unwrap();
    let tools = lock.split_once("[build-packages]\n").expect("the lock has what the plugin is built with").1;
    for name in ["\"bc:arm64\" = { version = \"1.0\"", "\"bc-data:all\" = { version = \"1:2.0\""] {
        assert!(tools.contains(name), "{name} is missing from:\n{tools}");
    }
    assert!(!tools.contains("libc6"), "what the image has is there already:\n{tools}");
    let (again, _) = build(&["--locked", "--offline", "--plugin", plugin]);
    assert!(first == again, "the lock made another archive");

    // Another version than the archive has.
    let other = lock.replace("\"bc:arm64\" = { version = \"1.0\"", "\"bc:arm64\" = { version = \"0.9\"");
    std::fs::write(archives.path("piimg.lock"), &other).unwrap();
    let said = archives.fails(&[common, &OUTPUT, &["--locked", "--offline", "--plugin", plugin]].concat());
    contains(&said, &["bc:arm64 is 1.0, locked is 0.9".into()]);
    // One that is not locked.
    std::fs::write(archives.path("piimg.lock"), lock.split("\n[build-packages]").next().unwrap()).unwrap();
    let said = archives.fails(&[common, &OUTPUT, &["--locked", "--offline", "--plugin", plugin]].concat());
    contains(&said, &["bc is not in the lock (a plugin is built with it)".into()]);
}
