//! Wishes for package runs: what debconf is told before a package is configured, and packages that are to go.

use super::*;

/// For the guest `prepares`.
fn wish(name: &str, value: &str) -> [String; 2] {
    ["--param".to_owned(), format!("test/prepares:{name}={value}")]
}

fn wishing(dir: &Path, arguments: &[String]) -> Output {
    build_with("prepares", dir, 1_750_000_000, &strings(arguments))
}

fn blame(dir: &Path, image: &Path, path: &str) -> String {
    let output = Command::new(piimg()).current_dir(dir).arg("blame").arg(image).arg(path).output().unwrap();
    piimg_tests::expect_success(&output);
    text(&output.stdout)
}

fn read(root: &Ext4Reader, path: &str) -> String {
    root.read_text(path).unwrap().unwrap_or_else(|| panic!("the image has no {path}"))
}

#[test]
fn a_package_is_configured_by_the_answers_of_conf_and_another_one_goes() {
    let dir = tempfile::tempdir().unwrap();
    let (image, root, said) = built(dir.path(), &wishing(dir.path(), &[]));
    assert!(read(&root, "/etc/popularity-contest.conf").contains("PARTICIPATE=\"yes\""), "{said}");
    let database = read(&root, "/var/cache/debconf/config.dat");
    let answered = database.split("\n\n").find(|stanza| stanza.starts_with("Name: popularity-contest/participate\n"));
    assert!(answered.is_some_and(|it| it.contains("\nValue: true\n") && it.contains("seen")), "{answered:?}");
    assert!(!read(&root, "/var/lib/dpkg/status").contains("Package: vim-tiny\n"));
    assert!(said.contains("there: false"), "{said}");
    let info: serde_json::Value = serde_json::from_str(&read(&root, "/usr/share/piimg/build.json")).unwrap();
    let answer = "Answer popularity-contest/participate with boolean \"true\"";
    let pin = "Pin popularity-contest to release n=bookworm at 600";
    assert_eq!(info["plugins"][0]["wishes"], serde_json::json!([pin, answer, "Remove vim-tiny"]));
    let preferences = "/etc/apt/preferences.d/piimg-test_-prepares.pref";
    let expected = "Package: popularity-contest\nPin: release n=bookworm\nPin-Priority: 600\n";
    assert_eq!(read(&root, preferences), expected);
    let blamed = blame(dir.path(), &image, preferences);
    assert!(blamed.contains("by the wish `Pin popularity-contest to release"), "{blamed}");
    let blamed = blame(dir.path(), &image, "/var/cache/debconf/config.dat");
    assert!(blamed.starts_with("plugin test/prepares 1.0.0") && blamed.contains("the wish `Answer"), "{blamed}");

    // All of it is a layer of packages that the next build finds.
    std::fs::remove_file(&image).unwrap();
    let (_, _, said) = built(dir.path(), &wishing(dir.path(), &wish("value", "other")));
    for expected in [format!("{answer}: unchanged"), "Remove vim-tiny: unchanged".to_owned()] {
        assert!(said.contains(&expected), "{expected:?} is missing:\n{said}");
    }
}

#[test]
fn an_answer_of_a_running_plugin_comes_before_its_package() {
    let dir = tempfile::tempdir().unwrap();
    let asks = |value: &str| {
        let question = wish("question", "man-db/auto-update");
        [question, wish("value", value), wish("install", "man-db")].concat()
    };
    for (value, is_there) in [("false", false), ("true", true)] {
        let (_, root, said) = built(dir.path(), &wishing(dir.path(), &asks(value)));
        assert_eq!(root.read_text("/var/lib/man-db/auto-update").unwrap().is_some(), is_there, "{value}: {said}");
    }
    // One that has asked is not told any more.
    let late = [&["--package".to_owned(), "man-db".to_owned()], &asks("false")[..]].concat();
    let output = wishing(dir.path(), &late);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("cannot answer `man-db/auto-update`: its package is installed already, and asks no more"));
    // Nor is what the plugin itself said in conf() said otherwise.
    let other = [wish("question", "popularity-contest/participate"), wish("value", "false")].concat();
    let said = text(&wishing(dir.path(), &other).stderr);
    let expected = "cannot answer `popularity-contest/participate`: the plugin `test/prepares` answers otherwise";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn a_pin_counts_for_what_is_installed_above_it() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = [wish("pin", "man-db"), wish("install", "man-db")].concat();
    let output = wishing(dir.path(), &arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("starts again: Pin man-db to version * at -1"), "{said}");
    assert!(said.contains("'man-db' has no installation candidate"), "{said}");
}

fn recipe(dir: &Path, text: &str) -> (Option<i32>, String) {
    std::fs::write(dir.join("piimg.toml"), text).unwrap();
    let mut command = Command::new(piimg());
    command.current_dir(dir).env("SOURCE_DATE_EPOCH", "1750000000");
    let output = command.args(["build", "--release", "bookworm", "--imagedir", "images", "--store"]);
    let output = output.arg(system_store()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_must_stay_is_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    for (removed, listed, said) in [
        ("dpkg", "", "cannot remove `dpkg`: it is essential, no system works without it"),
        // Everything depends on it.
        ("libc6", "", "cannot remove libc6: apt refuses"),
        ("less", "less", "the package `less` is listed by the recipe and removed by the recipe"),
        // What somebody wants needs it.
        ("libnl-3-200", "iw", "iw (missing)"),
        ("nonesuch", "", "the archive has no package `nonesuch`"),
        ("-y", "", "must be a package name"),
    ] {
        let listed = if listed.is_empty() { String::new() } else { format!("{listed:?}") };
        let (code, found) = recipe(dir.path(), &format!("packages = [{listed}]\nremove-packages = [{removed:?}]\n"));
        assert!(code != Some(0) && found.contains(said), "{removed}: {found}");
    }
}

#[test]
fn what_the_recipe_removes_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (code, said) = recipe(dir.path(), "remove-packages = [\"vim-common\"]\n");
    assert_eq!(code, Some(0), "{said}");
    let poisons = ["--param".to_owned(), "test/poisons:install=vim-tiny".to_owned()];
    let said = text(&build(dir.path(), 1_750_000_000, &strings(&poisons)).stderr);
    assert!(
        said.contains("`vim-common` would be there again, which the recipe removes: something depends on it"),
        "{said}"
    );
}
