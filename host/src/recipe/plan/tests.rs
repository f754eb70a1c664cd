use super::*;
use crate::error::{Kind, report};
use crate::recipe::conf::{ImageParams, Repository};
use crate::recipe::host::{RecipeDirectory, Wish, admit};
use crate::recipe::trust::Trust;

fn plugin(id: &str, image: ImageParams) -> PluginSource {
    let conf = PluginConf { id: id.into(), image, ..PluginConf::default() };
    PluginSource { path: format!("{id}.wasm").into(), digest: "sha256:00".into(), conf }
}

fn environment() -> Environment {
    Environment { default_store: "/store".into(), current_directory: "/here".into(), epoch: Some(7) }
}

/// As if somebody had agreed to all that the recipe names.
fn admitted(file: &RecipeFile, flags: &Overrides) -> Admitted {
    let agreed = |wishes: Vec<Wish>| wishes.iter().fold(Trust::default(), Trust::and);
    admit(file, flags, &Trust::default())
        .unwrap_or_else(|wishes| admit(file, flags, &agreed(wishes)).expect("all of it was agreed to"))
}

fn make(file: &RecipeFile, flags: &Overrides, plugins: &[PluginSource]) -> Result<Plan> {
    plan(file, admitted(file, flags), flags, plugins, &Releases::builtin().unwrap(), &environment())
}

fn refusal(file: &RecipeFile, flags: &Overrides, plugins: &[PluginSource]) -> String {
    let report = report(&make(file, flags, plugins).unwrap_err());
    assert_eq!(report.kind, Kind::Usage);
    report.messages[0].clone()
}

#[test]
fn defaults_make_an_image() {
    let plan = make(&RecipeFile::default(), &Overrides::default(), &[]).unwrap();
    assert_eq!((plan.release.name.as_str(), plan.architecture.as_str()), ("trixie", "arm64"));
    assert_eq!(
        (plan.hostname.as_deref().unwrap(), plan.flavour.as_str(), plan.extra_space_mb),
        ("raspberrypi", "custom", 500)
    );
    assert_eq!((plan.store, plan.imagedir), (HostPath::named("/store"), HostPath::named("/here")));
    assert!(plan.user.unwrap().expire_password, "a well-known password must be changed");
}

#[test]
fn each_of_the_seven_parameters_comes_from_the_plugin() {
    let image = ImageParams {
        hostname: Some("robot".into()),
        rootfs_extra_space_mb: Some(42),
        rootfs: Some("/plugin/rootfs".into()),
        flavour: Some("bread".into()),
        release: Some("bookworm".into()),
        imagedir: Some("/plugin/images".into()),
        apt_get_packages: vec!["htop".into()],
    };
    let flags = Overrides { allow_plugin_paths: true, ..Overrides::default() };
    let plan = make(&RecipeFile::default(), &flags, &[plugin("a/b", image)]).unwrap();
    assert_eq!((plan.hostname.as_deref().unwrap(), plan.extra_space_mb, plan.flavour.as_str()), ("robot", 42, "bread"));
    assert_eq!(plan.release.name, "bookworm");
    assert_eq!((plan.store, plan.imagedir), (HostPath::named("/plugin/rootfs"), HostPath::named("/plugin/images")));
    assert_eq!(plan.plugins[0].packages, ["htop"]);
}

#[test]
fn flags_win_over_the_file_and_the_file_over_plugins() {
    let plugins = [plugin("a/b", ImageParams { hostname: Some("three".into()), ..ImageParams::default() })];
    let mut file = RecipeFile { hostname: Some("two".into()), ..RecipeFile::default() };
    let mut flags = Overrides { hostname: Some("one".into()), ..Overrides::default() };
    assert_eq!(make(&file, &flags, &plugins).unwrap().hostname.as_deref(), Some("one"));
    flags.hostname = None;
    assert_eq!(make(&file, &flags, &plugins).unwrap().hostname.as_deref(), Some("two"));
    file.hostname = None;
    assert_eq!(make(&file, &flags, &plugins).unwrap().hostname.as_deref(), Some("three"));
}

#[test]
fn everything_wrong_is_said_at_once() {
    let image = ImageParams {
        hostname: Some("a/b".into()),
        release: Some("potato".into()),
        rootfs_extra_space_mb: Some(u32::MAX),
        imagedir: Some("/somewhere".into()),
        rootfs: Some("../x".into()),
        apt_get_packages: vec!["Bad;".into()],
        ..ImageParams::default()
    };
    let message = refusal(&RecipeFile::default(), &Overrides::default(), &[plugin("a/b", image)]);
    for expected in [
        "6 things are wrong",
        "no release `potato` (from `a/b`); piimg knows: bookworm, focal, jammy, noble, raspios-bookworm, raspios-trixie, trixie",
        "the hostname `a/b` (from `a/b`)",
        "at most 1048576 MiB",
        "wants to use the host directory `/somewhere` as imagedir: agree with --imagedir '/somewhere'",
        "wants `../x` as rootfs: it must be an absolute path",
        "a package that cannot exist: `Bad;`",
    ] {
        assert!(message.contains(expected), "{expected:?} is missing from:\n{message}");
    }
}

#[test]
fn plugins_that_disagree_are_both_named_unless_the_user_decides() {
    let named = |id: &str, hostname: &str| {
        plugin(id, ImageParams { hostname: Some(hostname.into()), ..ImageParams::default() })
    };
    let plugins = [named("a/a", "x"), named("b/b", "y")];
    let message = refusal(&RecipeFile::default(), &Overrides::default(), &plugins);
    assert_eq!(message, "`a/a` wants the hostname `x`, `b/b` wants `y`: choose one with --hostname");
    let flags = Overrides { hostname: Some("z".into()), ..Overrides::default() };
    assert_eq!(make(&RecipeFile::default(), &flags, &plugins).unwrap().hostname.as_deref(), Some("z"));
}

#[test]
fn plugins_are_ordered_and_cycles_named() {
    let mut first = plugin("a/a", ImageParams::default());
    let mut second = plugin("b/b", ImageParams::default());
    first.conf.after = vec!["b/b".into(), "not/there".into()];
    let plan = make(&RecipeFile::default(), &Overrides::default(), &[first.clone(), second.clone()]).unwrap();
    assert_eq!(plan.plugins.iter().map(|plugin| plugin.id.as_str()).collect::<Vec<_>>(), ["b/b", "a/a"]);
    second.conf.after = vec!["a/a".into()];
    let message = refusal(&RecipeFile::default(), &Overrides::default(), &[first.clone(), second.clone()]);
    assert_eq!(message, "`a/a` and `b/b` each want to run after another of them");
    second.conf.after.clear();
    second.conf.conflicts = vec!["a/a".into()];
    let message = refusal(&RecipeFile::default(), &Overrides::default(), &[first, second]);
    assert_eq!(message, "`b/b` cannot be in one image with `a/a`");
}

#[test]
fn a_pi_5_is_not_promised_by_debians_kernel() {
    let file = RecipeFile { models: vec!["pi5".into()], ..RecipeFile::default() };
    let message = refusal(&file, &Overrides::default(), &[]);
    assert_eq!(
        message,
        "Debian 13 does not boot on `pi5`; it boots on: pi3, pi3+, pi3a+, cm3, cm3+, zero2w, pi4, pi400, cm4"
    );
}

#[test]
fn a_password_of_the_users_own_is_not_expired() {
    let mut file = RecipeFile::default();
    file.user.name = Some("ann".into());
    file.user.password = Some("secret".into());
    let user = make(&file, &Overrides::default(), &[]).unwrap().user.unwrap();
    assert!(!user.expire_password && user.password_hash.starts_with("$6$"), "{user:?}");
}

#[test]
fn a_base_keeps_its_users_unless_the_recipe_names_one() {
    let directory = RecipeDirectory::open(Path::new("/usr")).unwrap();
    let mut file = RecipeFile { base: Some("old.img".into()), directory, ..RecipeFile::default() };
    let flags = Overrides { base: Some("new.img".into()), ..Overrides::default() };
    let plan = make(&file, &flags, &[]).unwrap();
    assert_eq!((plan.base, plan.user, plan.hostname), (Some(HostPath::named("new.img")), None, None));
    file.user.authorized_keys = vec!["ssh-ed25519 AAAA ann".into()];
    let plan = make(&file, &Overrides::default(), &[]).unwrap();
    assert_eq!(plan.base.unwrap().shown(), Path::new("/usr/old.img"));
    assert_eq!(plan.user.unwrap().name, "ubuntu");
}

#[test]
fn a_plugin_for_another_architecture_or_release_is_refused() {
    let mut other = plugin("a/b", ImageParams::default());
    other.conf.releases = vec!["bookworm".into()];
    other.conf.architectures = vec!["armhf".into()];
    let message = refusal(&RecipeFile::default(), &Overrides::default(), &[other]);
    for expected in
        ["`a/b` is not made for `trixie`, but for: bookworm", "`a/b` is not made for `arm64`, but for: armhf"]
    {
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn plugins_that_want_different_directories_are_both_named() {
    let wants =
        |id: &str, path: &str| plugin(id, ImageParams { imagedir: Some(path.into()), ..ImageParams::default() });
    let plugins = [wants("a/a", "/x"), wants("b/b", "/y")];
    let mut flags = Overrides { allow_plugin_paths: true, ..Overrides::default() };
    let message = refusal(&RecipeFile::default(), &flags, &plugins);
    assert_eq!(message, "`a/a` wants the imagedir `/x`, `b/b` wants `/y`: choose one with --imagedir");
    flags.imagedir = Some("/z".into());
    assert_eq!(make(&RecipeFile::default(), &flags, &plugins).unwrap().imagedir, HostPath::named("/z"));
}

#[test]
fn the_environments_time_wins_over_the_recipes() {
    let file = RecipeFile { source_date_epoch: Some(3), ..RecipeFile::default() };
    assert_eq!(make(&file, &Overrides::default(), &[]).unwrap().epoch, Some(7));
    let environment = Environment { epoch: None, ..environment() };
    let made =
        plan(&file, Admitted::default(), &Overrides::default(), &[], &Releases::builtin().unwrap(), &environment)
            .unwrap();
    assert_eq!(made.epoch, Some(3));
}

#[test]
fn groups_are_added_to_the_releases_own() {
    let mut file = RecipeFile::default();
    file.user.groups = vec!["sudo".into(), "gpio".into()];
    let user = make(&file, &Overrides::default(), &[]).unwrap().user.unwrap();
    assert_eq!(user.groups.iter().filter(|group| *group == "sudo").count(), 1);
    assert_eq!(user.groups.last().map(String::as_str), Some("gpio"));
    file.user.groups = vec!["a b".into()];
    assert!(refusal(&file, &Overrides::default(), &[]).contains("the group `a b`"));
}

#[test]
fn the_store_is_in_the_cache_of_whoever_builds() {
    for (root, xdg, home, expected) in [
        (true, Some("/x"), Some("/root"), Some("/var/cache/piimg")),
        (false, Some("/x"), Some("/home/ann"), Some("/x/piimg")),
        (false, Some("relative"), Some("/home/ann"), Some("/home/ann/.cache/piimg")),
        (false, Some(""), Some(""), None),
        (false, None, None, None),
    ] {
        let store = default_store(root, xdg.map(Path::new), home.map(Path::new));
        assert_eq!(store.as_deref(), expected.map(Path::new), "{root} {xdg:?} {home:?}");
    }
}

#[test]
fn outputs_are_chosen_by_name() {
    let outputs = |flags: &[&str], file: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let file = RecipeFile { output: owned(file), ..RecipeFile::default() };
        make(&file, &Overrides { outputs: owned(flags), ..Overrides::default() }, &[])
    };
    let kinds = |flags: &[&str], file: &[&str]| outputs(flags, file).unwrap().outputs.into_iter().collect::<Vec<_>>();
    assert_eq!(kinds(&[], &[]), [OutputKind::Image]);
    assert_eq!(kinds(&[], &["tar", "tar"]), [OutputKind::Tar]);
    assert_eq!(kinds(&["partitions", "image"], &["tar"]), [OutputKind::Image, OutputKind::Partitions]);
    let message = report(&outputs(&["iso"], &[]).unwrap_err()).messages[0].clone();
    assert_eq!(message, "the output `iso` must be one of image, tar, partitions, directory");
}

#[test]
fn a_repository_is_used_only_if_somebody_asks() {
    let mut flags = Overrides { release: Some("noble".into()), ..Overrides::default() };
    let used = |flags: &Overrides| {
        let plan = make(&RecipeFile::default(), flags, &[]).unwrap();
        let names: Vec<String> = plan.release.repositories_for("arm64").map(|found| found.name.clone()).collect();
        (names.join(" "), plan.release.packages.contains(&"ros-jazzy-ros-base".to_owned()))
    };
    assert_eq!(used(&flags), ("ubuntu".to_owned(), false));
    flags.repositories = vec!["ros".into()];
    assert_eq!(used(&flags), ("ubuntu ros".to_owned(), true));
    flags.repositories = vec!["rso".into()];
    let message = refusal(&RecipeFile::default(), &flags, &[]);
    assert_eq!(message, "Ubuntu 24.04 has no repository `rso`; it has: ubuntu, ubuntu-amd64, ros");
    flags.repositories = vec!["ubuntu-amd64".into()];
    let message = refusal(&RecipeFile::default(), &flags, &[]);
    assert_eq!(message, "the repository `ubuntu-amd64` of Ubuntu 24.04 has nothing for arm64");
}

#[test]
fn a_repository_of_the_recipes_own_is_one_more_of_the_release() {
    let own = |name: &str, keyring: &str| {
        let text = format!(
            "[[repository]]\nname = '{name}'\nurl = 'http://h/x'\nsuite = 's'\ncomponents = ['main']\nkeyring = '{keyring}'\n"
        );
        let file: RecipeFile = toml::from_str(&text).unwrap();
        RecipeFile {
            release: Some("jammy".into()),
            directory: RecipeDirectory::open(Path::new("/usr")).unwrap(),
            ..file
        }
    };
    let file = own("robots", &format!("r.asc#{}", "a".repeat(40)));
    let mut flags = Overrides { mirrors: vec!["robots=http://near/x".into()], ..Overrides::default() };
    let made = make(&file, &flags, &[]).unwrap();
    let names: Vec<&str> = made.release.repositories_for("arm64").map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["ubuntu", "robots"], "the release's own stays the first");
    assert_eq!(made.mirrors["robots"], "http://near/x");
    let ring = &made.keyrings["robots"];
    assert_eq!((ring.path.shown(), &ring.fingerprints), (Path::new("/usr/r.asc"), &vec!["A".repeat(40)]));
    assert_eq!(made.release.keyrings["robots"].image, "/etc/apt/keyrings/robots.gpg");
    flags.keyrings = vec!["robots=k.gpg".into()];
    assert_eq!(make(&file, &flags, &[]).unwrap().keyrings["robots"].path, HostPath::named("k.gpg"));
    // One that is not used is there all the same.
    let message = refusal(&own("ros", "r.asc"), &Overrides::default(), &[]);
    let expected = "there is a repository or a key ring `ros` already: give the recipe's repository another name";
    assert_eq!(message, expected);
    let message = refusal(&own("robots", ""), &Overrides::default(), &[]);
    assert!(message.starts_with("the repository `robots`: its keyring `` must be the file with the keys"), "{message}");
}

/// A plugin that brings the repository `robots`, signed with one key.
fn brings(id: &str, change: &dyn Fn(&mut Repository)) -> PluginSource {
    let mut repository = Repository {
        name: "robots".into(),
        url: "https://h/x".into(),
        suite: "s".into(),
        components: vec!["main".into()],
        fingerprints: vec!["a".repeat(40)],
        key: b"key".to_vec(),
    };
    change(&mut repository);
    let mut source = plugin(id, ImageParams::default());
    source.conf.wishes.repositories.push(repository);
    source
}

#[test]
fn a_repository_of_a_plugin_is_one_more_of_the_release() {
    let (file, flags) = (RecipeFile { release: Some("jammy".into()), ..RecipeFile::default() }, Overrides::default());
    let same = |_: &mut Repository| {};
    let made = make(&file, &flags, &[brings("x/a", &same), brings("x/b", &same)]).unwrap();
    let names: Vec<&str> = made.release.repositories_for("arm64").map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["ubuntu", "robots"], "two plugins may bring the same one");
    assert_eq!((made.given_keys.len(), made.given_keys["robots"].plugin.as_str()), (1, "x/a"));
    assert_eq!(made.release.keyrings["robots"].fingerprints, ["A".repeat(40)]);
    let flags = Overrides {
        mirrors: vec!["robots=http://near/x".into()],
        keyrings: vec!["robots=k.gpg".into()],
        ..Overrides::default()
    };
    let made = make(&file, &flags, &[brings("x/a", &same)]).unwrap();
    assert_eq!(
        (made.mirrors["robots"].as_str(), made.keyrings["robots"].path.clone()),
        ("http://near/x", HostPath::named("k.gpg"))
    );
    let another = "the repository `robots` of `x/b` is another one than that of the same name which is there already";
    let other = |change: &dyn Fn(&mut Repository)| {
        refusal(&file, &Overrides::default(), &[brings("x/a", &same), brings("x/b", change)])
    };
    assert_eq!(other(&|it| it.url = "https://evil/x".into()), another);
    assert_eq!(other(&|it| it.suite = "t".into()), another);
    assert_eq!(other(&|it| it.key = b"other".to_vec()), another);
    assert_eq!(other(&|it| it.fingerprints = vec!["B".repeat(40)]), another);
    let taken = other(&|it| it.name = "ubuntu".into());
    assert!(taken.starts_with("the repository `ubuntu` of `x/b` is another one"), "{taken}");
}

#[test]
fn mirrors_and_key_rings_are_named_for_what_they_stand_in_for() {
    let directory = RecipeDirectory::open(Path::new("/usr")).unwrap();
    let mut file = RecipeFile { release: Some("jammy".into()), directory, ..RecipeFile::default() };
    file.mirror = Some("http://near/ports".into());
    file.mirrors.insert("ros".into(), "http://near/ros".into());
    file.keyrings.insert("ros".into(), "ros.gpg".into());
    let mut flags = Overrides { mirrors: vec!["http://flag/ports?a=b".into()], ..Overrides::default() };
    flags.keyrings = vec![format!("ubuntu=k.gpg#{}", "a".repeat(40))];
    let made = make(&file, &flags, &[]).unwrap();
    let mirrors = [("ros", "http://near/ros"), ("ubuntu", "http://flag/ports?a=b")];
    assert_eq!(made.mirrors, mirrors.map(|(name, url)| (name.to_owned(), url.to_owned())).into());
    assert_eq!(made.keyrings["ros"].path.shown(), Path::new("/usr/ros.gpg"));
    assert_eq!(made.keyrings["ubuntu"], Chosen { path: HostPath::named("k.gpg"), fingerprints: vec!["A".repeat(40)] });

    flags.mirrors = vec!["rso=http://x/".into(), "ftp://x/".into()];
    flags.keyrings = vec!["k.gpg".into(), "debian=k.gpg".into()];
    let message = refusal(&file, &flags, &[]);
    for expected in [
        "Ubuntu 22.04 has no repository `rso`; it has: ubuntu, ubuntu-amd64, ros",
        "the mirror `ftp://x/` must be a http or https URL",
        "--keyring `k.gpg` must be NAME=FILE or NAME=FILE#FINGERPRINT",
        "Ubuntu 22.04 has no key ring `debian`; it has: ros, ubuntu",
    ] {
        assert!(message.contains(expected), "{expected:?} is missing from:\n{message}");
    }
}
