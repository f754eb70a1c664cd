use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::recipe::file::RecipeFile;
use crate::recipe::host::{Admitted, HostPath};
use crate::recipe::overrides::Overrides;
use crate::recipe::plan::{Environment, plan};
use crate::recipe::release::Releases;

/// Directories of the results and of the store.
struct Place {
    images: tempfile::TempDir,
    store: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { images: tempfile::tempdir().unwrap(), store: tempfile::tempdir().unwrap() }
    }

    fn plan(&self, outputs: &[&str], compress: &str) -> Plan {
        let flags = Overrides {
            outputs: outputs.iter().map(|output| (*output).to_owned()).collect(),
            compress: Some(compress.to_owned()),
            imagedir: Some(self.images.path().to_owned()),
            ..Overrides::default()
        };
        let environment = Environment {
            default_store: self.store.path().to_owned(),
            current_directory: "/nowhere".into(),
            epoch: None,
        };
        plan(&RecipeFile::default(), Admitted::default(), &flags, &[], &Releases::builtin().unwrap(), &environment)
            .unwrap()
    }

    fn create(&self, name: &str, outputs: &[&str], compress: &str) -> Output {
        Output::create(&self.plan(outputs, compress), name).unwrap()
    }

    fn list(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.images.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.images.path().join(name)).unwrap()
    }
}

/// As the build inside leaves them; nothing was called.
fn built(output: &Output, content: &str) {
    let write = |file: &File| fs::write(crate::image::descriptor_path(file), content).unwrap();
    output.files.iter().filter(|(part, _)| **part != Part::AuditLog).for_each(|(_, unnamed)| write(&unnamed.file));
    write(&output.identity);
}

fn ui() -> Ui {
    Ui::new(crate::ui::Verbosity::Quiet)
}

fn paths(place: &Place, names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(|name| place.images.path().join(name)).collect()
}

#[test]
fn files_appear_whole_and_together_or_not_at_all() {
    for (outputs, compress, results, others) in [
        (&["image"][..], "none", &["a.img"][..], &["a.img.bmap", "a.img.sha256", "latest_image"][..]),
        (&["image"], "zstd", &["a.img.zst"], &["a.img.bmap", "a.img.zst.sha256", "latest_image"]),
        (&["image"], "xz", &["a.img.xz"], &["a.img.bmap", "a.img.xz.sha256", "latest_image"]),
        (&["tar"], "xz", &["a.tar.xz"], &["a.tar.xz.sha256"]),
        (
            &["partitions", "image"],
            "none",
            &["a.img", "a.root.img", "a.boot.img"],
            &["a.img.bmap", "a.img.sha256", "a.root.img.sha256", "a.boot.img.sha256", "latest_image"],
        ),
    ] {
        let place = Place::new();
        let dropped = place.create("a.img", outputs, compress);
        assert!(place.list().is_empty());
        drop(dropped);
        assert!(place.list().is_empty());
        for content in ["first", "second"] {
            let output = place.create("a.img", outputs, compress);
            let named: BTreeSet<String> = output.job().names.into_values().collect();
            assert!(results.iter().all(|name| named.contains(*name)), "{named:?}");
            built(&output, content);
            assert_eq!(output.publish(&ui()).unwrap(), paths(&place, results));
            let expected: BTreeSet<String> = results.iter().chain(others).map(|name| (*name).to_owned()).collect();
            assert_eq!(place.list(), expected);
            assert_eq!(place.text(results[0]), content);
            if outputs.contains(&"image") {
                assert_eq!(place.text("latest_image"), format!("{}\n", results[0]));
            }
        }
    }
}

#[test]
fn a_result_that_is_there_is_the_result_and_the_latest_image() {
    let place = Place::new();
    let create = |name: &str| place.create(name, &["image", "tar"], "none");
    for name in ["first.img", "second.img"] {
        let output = create(name);
        built(&output, name);
        output.publish(&ui()).unwrap();
    }
    let again = || {
        let output = create("third.img");
        fs::write(crate::image::descriptor_path(&output.identity), "first.img").unwrap();
        output
    };
    let output = again();
    assert!(output.job().earlier.contains(&"first.img".to_owned()));
    assert_eq!(output.publish(&ui()).unwrap(), paths(&place, &["first.img", "first.tar"]));
    assert_eq!(place.text("latest_image"), "first.img\n");
    assert!(!place.list().contains("third.img"));

    let output = again();
    fs::remove_file(place.images.path().join("first.tar")).unwrap();
    let report = crate::error::report(&output.publish(&ui()).unwrap_err());
    assert!(report.messages[0].contains("was changed meanwhile"), "{report:?}");
    assert_eq!(report.hints, ["build once more"]);
    assert_eq!(place.text("latest_image"), "first.img\n");
}

#[test]
fn the_audit_log_of_a_failed_build_is_kept_until_the_build_succeeds() {
    let place = Place::new();
    let create = || place.create("a.img", &[], "none");
    assert_eq!(create().publish_failed().unwrap(), None);
    assert!(place.list().is_empty());
    let output = create();
    fs::write(crate::image::descriptor_path(&output.files[&Part::AuditLog].file), "line\n").unwrap();
    let path = output.publish_failed().unwrap().unwrap();
    assert_eq!(path, place.images.path().join("a.img.failed.audit.jsonl"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&path).unwrap(), "line\n");
    assert_eq!(place.list().len(), 1);
    let output = create();
    built(&output, "image");
    output.publish(&ui()).unwrap();
    assert!(!path.exists());
}

#[test]
fn a_directory_that_cannot_be_written_to_is_named() {
    let place = Place::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    let plan = Plan { imagedir: HostPath::named(file.path().join("images")), ..place.plan(&[], "none") };
    let report = crate::error::report(&Output::create(&plan, "a.img").unwrap_err());
    assert_eq!(report.messages[0], format!("cannot create an image in `{}/images`", file.path().printable()));
    assert_eq!(report.hints, ["choose another directory with --imagedir"]);
}

#[test]
fn names_of_results_follow_the_outputs() {
    let place = Place::new();
    let names = |outputs: &[&str], compress: &str| {
        let plan = place.plan(outputs, compress);
        result_names(&plan.outputs, plan.compression, "a")
    };
    assert_eq!(names(&[], "zstd"), ["a.img.zst"]);
    assert_eq!(
        names(&["directory", "partitions", "tar", "image"], "none"),
        ["a.img", "a.tar", "a.root.img", "a.boot.img", "a.rootfs/rootfs"]
    );
}

#[test]
fn no_result_is_written_through_a_link() {
    use std::os::unix::fs::symlink;

    let place = Place::new();
    let canary = place.store.path().join("canary");
    let names = ["a.img", "a.img.bmap", "a.img.sha256", "latest_image"];
    fs::write(&canary, "sings").unwrap();
    for name in names {
        // As a clone may have them, in which somebody builds.
        symlink(&canary, place.images.path().join(name)).unwrap();
        symlink(&canary, place.images.path().join(format!("{name}.partial"))).unwrap();
    }
    let output = place.create("a.img", &["image"], "none");
    built(&output, "content");
    assert_eq!(output.publish(&ui()).unwrap(), paths(&place, &["a.img"]));
    for name in names {
        let path = place.images.path().join(name);
        assert!(!path.is_symlink() && path.is_file(), "{name}");
    }
    assert_eq!(place.text("a.img"), "content");
    assert_eq!(place.text("latest_image"), "a.img\n");
    assert_eq!(fs::read_to_string(&canary).unwrap(), "sings");
}

#[test]
fn results_stay_in_the_directory_that_was_opened() {
    let place = Place::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = place.store.path().join("moved");
    let output = place.create("a.img", &["image"], "none");
    built(&output, "content");
    fs::rename(place.images.path(), &moved).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), place.images.path()).unwrap();
    output.publish(&ui()).unwrap();
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    assert!(moved.join("a.img").exists() && moved.join("latest_image").exists());
    fs::remove_file(place.images.path()).unwrap();
    fs::rename(&moved, place.images.path()).unwrap();
}
