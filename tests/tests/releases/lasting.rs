//! What holds when time goes by: a lock while the archive moves on, and a store that has an end.

use std::sync::atomic::{AtomicBool, Ordering};

use piimg_tests::repository::Package;

use super::archive::{Archives, EPOCH, STORE};
use super::steps::{OUTPUT, bootstrap, contains, content, grant, param, unchanged, with_plugin};

/// A lock holds when the archive has other packages: base, recipe's, a third party's, and what a plugin is built with.
#[track_caller]
pub(crate) fn when_the_archive_moves_on(archives: &mut Archives, common: &[&str]) {
    let plugin = piimg_tests::guest("poisons");
    let all = [common, &OUTPUT, &["--plugin", plugin.to_str().unwrap()]].concat();
    let build = |archives: &Archives, arguments: &[&str]| {
        let (result, said) = archives.build_in(STORE, EPOCH, &[&all, arguments].concat());
        (content(&result), said)
    };
    grant(archives, plugin.to_str().unwrap());
    let (locked, _) = build(archives, &["--update-lock"]);
    let new = |name: &str, architecture: &str| {
        Package::new(name, "10:2.0", architecture).file(&format!("/usr/share/new-{name}"), "2.0\n")
    };
    let moved = [("sudo", "arm64"), ("robot-tool", "arm64"), ("ros-humble-ros-base", "all"), ("bc", "arm64")];
    archives.move_on(&moved.map(|(name, architecture)| new(name, architecture)));
    // Somebody takes what there is today, and the store has that last.
    let (fresh, said) = build(archives, &["--refresh"]);
    assert!(fresh != locked && !said.contains(&bootstrap(archives)), "{said}");
    for how in [&["--locked"][..], &["--locked", "--offline"]] {
        let (again, said) = build(archives, how);
        contains(&said, &[bootstrap(archives), unchanged("Install robot-tool, robot-service")]);
        assert!(again == locked, "the lock made another archive:\n{said}");
    }
    // Nobody needs the layers to have the packages.
    std::fs::remove_dir_all(archives.path("store/data/layers")).unwrap();
    let (_, said) = build(archives, &["--locked"]);
    assert!(!said.contains(&bootstrap(archives)), "{said}");
    let (fresh, _) = build(archives, &[]);
    assert!(fresh != locked);
    // One that is nowhere any more is named, and nothing installed.
    let lock = std::fs::read_to_string(archives.path("piimg.lock")).unwrap();
    let line = lock.lines().find(|line| line.starts_with("\"robot-tool:arm64\"")).unwrap();
    let digest = line.split("sha256:").nth(1).unwrap().split('"').next().unwrap();
    std::fs::remove_file(archives.path("store/data/archives").join(digest)).unwrap();
    std::fs::remove_dir_all(archives.path("store/data/layers")).unwrap();
    let said = archives.fails(&[&all[..], &["--locked"]].concat());
    contains(&said, &["1 package differs from the lock file:\n  - robot-tool:arm64 is 10:2.0, locked is 1.0".into()]);
    assert!(!said.contains("cannot install") && !said.contains("Install "), "{said}");
}

/// What no build needs goes, while builds run; what is damaged is named.
#[track_caller]
pub(crate) fn with_a_store_that_ends(archives: &Archives, common: &[&str]) {
    let plugin = piimg_tests::guest("poisons");
    let build = |script: &str| {
        let values = [param("script", script)];
        let all = with_plugin(common, plugin.to_str().unwrap(), &values);
        archives.build_in(STORE, EPOCH, &[&all[..], &["--grant-requested"]].concat()).0
    };
    build("true # before");
    let (code, list) = archives.cache(&["list"]);
    assert_eq!(code, Some(0), "{list}");
    let release = &archives.release().name;
    let place = archives.path("piimg.toml").canonicalize().unwrap();
    let names = [
        format!("Bootstrap {release} ({})", archives.architecture()),
        "Run the plugin test/poisons".to_owned(),
        format!("for {} (custom, {release} {})", place.display(), archives.architecture()),
    ];
    contains(&list, &names);

    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let gc = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let (code, said) = archives.cache(&["gc", "--store-limit", "0"]);
                assert_eq!(code, Some(0), "{said}");
            }
        });
        let builds = ["true # one", "true # other"].map(|script| scope.spawn(move || build(script)));
        let ends = builds.map(std::thread::ScopedJoinHandle::join);
        is_over.store(true, Ordering::Relaxed);
        ends.into_iter().for_each(|end| drop(end.unwrap()));
        gc.join().unwrap();
    });
    let (code, said) = archives.cache(&["verify"]);
    assert!(code == Some(0) && said.contains(" things compared, 0 damaged\n"), "{said}");
    let (_, said) = archives.cache(&["gc", "--store-limit", "0"]);
    contains(&said, &["is what the last builds stand on".into()]);
    // That is enough for the same build.
    let (_, said) = archives.build_in(STORE, EPOCH, &with_plugin(common, plugin.to_str().unwrap(), &[]));
    contains(&said, &[bootstrap(archives)]);

    let directory = archives.path("store/data/archives");
    let names = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let package = names.into_iter().find(|name| name.len() == 64).expect("the packages of the last build are there");
    let mut damaged = std::fs::read(directory.join(&package)).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    std::fs::write(directory.join(&package), damaged).unwrap();
    for (arguments, expected, code) in [
        (&["verify"][..], "still there: `piimg cache verify --remove`\n", 1),
        (&["verify", "--remove"], "; removed\n", 0),
        (&["verify"], " things compared, 0 damaged\n", 0),
    ] {
        let (found, said) = archives.cache(arguments);
        assert!(found == Some(code) && said.contains(expected), "{said}");
    }
    assert!(!directory.join(&package).exists());
}
