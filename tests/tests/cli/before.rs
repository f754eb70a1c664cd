//! What is known before a build starts, and said at once: assets, room, places, bases.

use super::*;

#[test]
fn a_missing_asset_is_known_before_the_build() {
    let scratch = with_guests(&["carries"]);
    let carries = ["plan", "--plugin", "carries.wasm", "--grant-requested"];
    contains(&fails(&scratch, USAGE, &[&carries[..], &["--asset", "load=none.png"]].concat()), &["none.png"]);
    let stderr = fails(&Scratch::new(), USAGE, &["plan", "--asset", "a/b=x"]);
    assert_eq!(stderr, "error: the asset `a/b` must have a name without `/`\n");
}

#[test]
fn assets_are_compared_with_what_plugins_ask_for() {
    let scratch = with_guests(&["carries", "wants-asset"]);
    scratch.write("logo.png", "x");
    let needs = ["plan", "--plugin", "wants-asset.wasm", "--grant-requested"];
    assert_eq!(
        fails(&scratch, USAGE, &needs),
        "error: the plugin `test/wants-asset` needs the asset `logo`, and nobody gave it: --asset 'logo=PATH'  (it says: is shown)\n"
    );
    contains(
        &fine(&scratch, &[&needs[..], &["--asset", "logo=logo.png"]].concat()),
        &["asset       logo, from logo.png\n"],
    );
    let carries = ["plan", "--plugin", "carries.wasm"];
    // It can do without, as long as nobody gives it one that it may not take.
    let write = ["--grant", "fs:write:/opt/**"];
    fine(&scratch, &[&carries[..], &write].concat());
    let given = ["--asset", "load=logo.png", "--asset", "lod=logo.png"];
    assert_eq!(
        fails(&scratch, USAGE, &[&carries[..], &write, &given].concat()),
        "error: 2 things are wrong with this build:\n  - the asset `load` was given, and the plugin that could take it was not \
         granted it\n  - the asset `lod` was given, and no plugin asks for it\n"
    );
}

#[test]
fn findings_of_all_checks_are_one_error() {
    let scratch = with_guests(&["wants-asset"]);
    std::fs::remove_file(scratch.path("../bin/tar")).unwrap();
    let args =
        ["plan", "--plugin", "wants-asset.wasm", "--output", "tar", "--asset", "lod=none.png", "--base", "none.img"];
    let stderr = fails(&scratch, USAGE, &args);
    contains(
        &stderr,
        &[
            "error: 6 things are wrong with this build:\n  - cannot open the asset `lod`, `none.png`: No such file",
            "\n  - cannot build on `none.img`: No such file",
            "\n  - this machine lacks programs that the build needs: tar\n",
            "\n  - the plugin `test/wants-asset` needs capabilities that nobody granted:\n    asset:logo",
            "hint: install them: sudo apt-get install tar\n",
            "hint: to see, grant and keep it: piimg grant 'wants-asset.wasm'\n",
        ],
    );
}

/// In a mount namespace where the two places are small disks of their own.
#[test]
fn what_a_disk_lacks_is_known_before_the_build() {
    let scratch = Scratch::new();
    let run = |sizes: [&str; 2], args: &[&str]| {
        let mounts = ["store", "images"]
            .iter()
            .zip(sizes)
            .map(|(name, size)| format!("mkdir -p {name}; mount -t tmpfs -o size={size} small {name}; "));
        let script = format!("set -e; {}exec \"$@\"", mounts.collect::<String>());
        let mut command = scratch.command("/usr/bin/unshare");
        command
            .args(["--user", "--map-root-user", "--mount", "/bin/sh", "-c", &script, "sh"])
            .arg(piimg_tests::piimg());
        command.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", scratch.path("../bin").display()));
        let command = command.args(["plan", "--store", "store/below", "--imagedir", "images"]).args(args);
        scratch.taken(&command.output().unwrap())
    };
    let ran = run(["400m", "500m"], &[]);
    let said = |place: &str, need: &str, free: &str| {
        format!(
            "there is no room for this build in `{place}`: it needs {need} or more, and {free} are free, of which 256 MiB are \
             left to the rest of the machine"
        )
    };
    assert_eq!(ran.code, Some(HOST), "{ran:?}");
    contains(
        &ran.stderr,
        &[
            &said("store/below", "1.6 GiB", "400 MiB"),
            &said("images", "640 MiB", "500 MiB"),
            "hint: make room: `piimg cache gc`",
        ],
    );
    let ran = run(["4g", "4g"], &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    contains(&ran.stdout, &["disk        1.6 GiB or more in `store/below`\n"]);
    // A tar archive is not made in the store.
    let ran = run(["1500m", "1g"], &["--output", "tar"]);
    contains(&ran.stdout, &["disk        1 GiB or more in `store/below`\n"]);
}

#[test]
fn a_place_that_is_no_directory_is_known_before_the_build() {
    let scratch = Scratch::new();
    scratch.write("file", "x");
    for (args, named) in
        [(["--store", "file"], "file"), (["--store", "file/x"], "file/x"), (["--imagedir", "file"], "file")]
    {
        let stderr = fails(&scratch, HOST, &[&["plan"], &args[..]].concat());
        let said = format!("error: cannot use the directory `{named}`\n  caused by: ");
        assert!(stderr.starts_with(&said) && stderr.contains("ot a directory"), "{stderr}");
        contains(&stderr, &["hint: choose another place with --store or --imagedir\n"]);
    }
}

#[test]
fn a_base_that_is_none_is_known_before_the_build() {
    let scratch = Scratch::new();
    let image = |mark: &[u8]| [&[0; 510], mark, &[0; 512]].concat();
    scratch.write("text", "hello");
    scratch.write("zeros", image(&[0, 0]));
    scratch.write("zip", [b"PK\x03\x04".to_vec(), image(&[0, 0])].concat());
    scratch.write("cut.gz", [0x1f, 0x8b, 8, 0]);
    let neither = "it is neither an image with a partition table nor a tar archive\n  hint: piimg reads disks with a \
                   master boot record, a FAT partition to boot from and an ext4 partition for the rest";
    for (name, said) in [
        ("none", "No such file or directory (os error 2)".to_owned()),
        ("text", neither.to_owned()),
        ("zeros", neither.to_owned()),
        ("zip", "it is a ZIP archive\n  hint: unpack it, and give what was in it".to_owned()),
        ("cut.gz", "cannot unpack it: is it damaged?\n  caused by: unexpected end of file".to_owned()),
    ] {
        let stderr = fails(&scratch, USAGE, &["plan", "--base", name]);
        assert_eq!(stderr, format!("error: cannot build on `{name}`\n  caused by: {said}\n"));
    }
    let stderr = fails(&scratch, USAGE, &["plan", "--base", "."]);
    assert_eq!(stderr, "error: cannot build on `.`\n  hint: it must be a file: an image or a tar archive\n");

    let mut disk = image(&[0x55, 0xaa]);
    disk[446 + 4] = 0x0c;
    scratch.write("old.img", disk);
    scratch.write("piimg.toml", "base = \"old.img\"\npackages = [\"htop\"]\n");
    let said = scratch.run(["plan"]);
    contains(
        &said.stdout,
        &["\nbase        old.img\n", "arm64), 1 package named\n", "\nuser        as the base has them\n"],
    );
}

#[test]
fn what_is_no_package_for_the_image_is_known_before_the_build() {
    use piimg_tests::repository::Package;

    let scratch = Scratch::new();
    let put = |package: Package, name: &str| package.build(&scratch.path(name));
    std::fs::create_dir_all(scratch.path("debs/none")).unwrap();
    put(Package::new("app", "1.0", "arm64"), "app.deb");
    put(Package::new("app", "1.0", "arm64").file("/x", "y"), "debs/other.deb");
    put(Package::new("pc", "1.0", "amd64"), "pc.deb");
    scratch.write("page.deb", "<!doctype html>");
    scratch.write("key.asc", "x");
    let fine = fine(&scratch, &["plan", "--release", "bookworm", "--package", "./app.deb"]);
    contains(&fine, &["file        ./app.deb, the package app:arm64 1.0\n"]);
    for (recipe, expected) in [
        ("packages = [\"app.deb\"]", "the package `app.deb` must be written `./app.deb` if the file is meant"),
        ("packages = [\"./page.deb\"]", "cannot use the package `./page.deb`: it is no Debian package"),
        (
            "packages = [\"./pc.deb\"]",
            "cannot use the package `./pc.deb`: it is for amd64, and the image has packages for arm64",
        ),
        ("packages = [\"./gone.deb\"]", "cannot use the package `./gone.deb`: No such file"),
        ("packages = [\"./debs\"]", "cannot use the package `./debs`: it is no file"),
        (
            "packages = [\"./app.deb\"]\nremove-packages = [\"app\"]",
            "cannot use the package `./app.deb`: the recipe removes `app`",
        ),
        (
            "packages = [\"./app.deb\"]\n[[repository]]\npath = \"debs\"",
            "`./app.deb` is another file of app 1.0 for arm64",
        ),
        (
            "[[repository]]\npath = \"debs/none\"",
            "cannot use the packages in `debs/none`: there is no file `*.deb` in it",
        ),
        ("[[repository]]\npath = \"gone\"", "cannot use the packages in `gone`: No such file"),
        (
            "[[repository]]\npath = \"debs\"\nkeyring = \"key.asc\"",
            "cannot be one of files (`path`) and of an archive (`url`, `suite`, `keyring` …) at once",
        ),
    ] {
        scratch.write("piimg.toml", format!("release = \"bookworm\"\n{recipe}\n"));
        let said = fails(&scratch, USAGE, &["plan"]);
        assert!(said.replace("\n  caused by: ", ": ").contains(expected), "{recipe}:\n{said}");
    }
    scratch.write("piimg.toml", "release = \"bookworm\"\npackages = [\"../out.deb\"]\n");
    contains(&fails(&scratch, GRANT, &["plan"]), &["  reads `$DIR/out.deb`, as a package, by the name `../out.deb`\n"]);
}
