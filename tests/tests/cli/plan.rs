//! `piimg plan`: the recipe, the seven parameters, the environment.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;

use super::*;

#[test]
fn one_plugin_cannot_take_part_twice() {
    let scratch = with_guests(&["minimal"]);
    let stderr = fails(&scratch, USAGE, &["plan", "--plugin", "minimal.wasm", "--plugin", "./minimal.wasm"]);
    assert_eq!(stderr, "error: the plugin `piimg/minimal` is there twice\n");
}

#[test]
fn mistakes_in_the_recipe_are_named_with_their_line() {
    let scratch = Scratch::new();
    for (text, place, what) in [
        (
            "release = \"trixie\"\nhostnam = \"x\"\n",
            "line 2, column 1",
            "    2 | hostnam = \"x\"\n      | ^^^^^^^\n    unknown field `hostnam`, expected one of `include`, ",
        ),
        ("[user]\nnam = \"x\"\n", "line 2, column 1", "unknown field `nam`, expected one of `name`, "),
        ("release = \n", "line 1, column 11", "string values must be quoted"),
        ("\n\nrootfs-extra-space-mb = -1\n", "line 3, column 25", "invalid value: integer `-1`, expected u32\n"),
        ("hostname = \"a\"\nhostname = \"b\"\n", "line 2, column 1", "duplicate key"),
        ("source-date-epoch = \"now\"\n", "line 1, column 21", "invalid type: string \"now\", expected u64\n"),
    ] {
        scratch.write("piimg.toml", text);
        let stderr = fails(&scratch, USAGE, &["plan"]);
        let start = format!("error: cannot use `piimg.toml`\n  caused by: TOML parse error at {place}\n");
        assert!(stderr.starts_with(&start), "{text}: {stderr}");
        contains(&stderr, &[what]);
    }
}

#[test]
fn everything_wrong_with_a_recipe_is_said_at_once() {
    let scratch = Scratch::new();
    scratch.write("piimg.toml", "hostname = \"a b\"\nrelease = \"potato\"\nrootfs-extra-space-mb = 2000000\n");
    assert_eq!(
        fails(&scratch, USAGE, &["plan"]),
        "\
error: 3 things are wrong with this build:
  - there is no release `potato` (from the recipe); piimg knows: bookworm, focal, jammy, noble, raspios-bookworm, raspios-trixie, trixie
  - the hostname `a b` (from the recipe) may hold only ASCII letters, digits and `-` (RFC 1123)
  - rootfs-extra-space-mb `2000000` must be at most 1048576 MiB (1 TiB)
"
    );
    let stderr =
        fails(&scratch, USAGE, &["plan", "--flavour", "../x", "--mirror", "ftp://h/", "--param", "x", "--asset", "y"]);
    contains(
        &stderr,
        &[
            "error: 7 things are wrong with this build:\n",
            "  - the flavour `../x` (from the command line) must be 1 to 64 ASCII letters",
            "  - the mirror `ftp://h/` must be a http or https URL without spaces\n",
            "  - --param `x` must be ID:NAME=VALUE\n",
            "  - --asset `y` must be NAME=PATH\n",
        ],
    );
}

#[test]
fn a_plan_does_not_tell_the_hash_of_a_password() {
    let scratch = Scratch::new();
    for user in ["password = \"hunter22\"", "password-hash = \"$6$salt$hash\"", ""] {
        scratch.write("piimg.toml", format!("[user]\nname = \"ann\"\n{user}\n"));
        let text = fine(&scratch, &["plan", "--json"]);
        let plan: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(plan["plan"]["user"]["password_hash"], "set", "{user}");
        assert!(!text.contains("$6$") && !text.contains("hunter22"), "{text}");
    }
}

#[test]
fn a_compression_that_is_none_is_refused() {
    let scratch = Scratch::new();
    let format = "must be `none`, `zstd`, `zstd:LEVEL`, `xz` or `xz:LEVEL`";
    for (how, rule) in [
        ("bzip2", format),
        ("", format),
        ("zstd:99", "must have a level from 1 to 19"),
        ("xz:ultra", "must have a level from 0 to 9"),
    ] {
        let expected = format!("error: the compression `{how}` {rule}\n");
        assert_eq!(fails(&scratch, USAGE, &["plan", &format!("--compress={how}")]), expected);
        scratch.write("piimg.toml", format!("compress = {how:?}\n"));
        assert_eq!(fails(&scratch, USAGE, &["plan"]), expected);
        scratch.write("piimg.toml", "");
    }
}

#[test]
fn a_plan_says_how_the_image_is_compressed() {
    let scratch = Scratch::new();
    let how = |args: &[&str]| json(&scratch, &[&["plan", "--json"], args].concat())["plan"]["compression"].clone();
    assert_eq!(how(&[]), Value::Null);
    assert_eq!(how(&["--compress", "zstd"]), "zstd:10");
    scratch.write("piimg.toml", "compress = \"xz:9\"\n");
    assert_eq!(how(&[]), "xz:9");
    contains(&fine(&scratch, &["plan"]), &["-custom-trixie-raspberry-pi.img.xz\n"]);
    assert_eq!(how(&["--compress", "none"]), Value::Null);
    contains(&fine(&scratch, &["plan", "--compress", "none"]), &["-custom-trixie-raspberry-pi.img\n"]);
}

#[test]
fn a_model_that_nobody_knows_is_told_from_one_that_does_not_boot() {
    let scratch = Scratch::new();
    scratch.write("piimg.toml", "models = [\"pi9\"]\n");
    let said = fails(&scratch, USAGE, &["plan"]);
    contains(&said, &["error: there is no model `pi9`; piimg knows: zerow, pi2, pi3, ", ", cm5, cm5lite\n"]);
}

#[test]
fn a_pi_5_is_refused_where_the_kernel_does_not_boot_it() {
    let scratch = Scratch::new();
    scratch.write("piimg.toml", "models = [\"pi4\", \"pi5\"]\n");
    for (release, title) in [("trixie", "Debian 13"), ("bookworm", "Debian 12")] {
        assert_eq!(
            fails(&scratch, USAGE, &["plan", "--release", release]),
            format!(
                "error: {title} does not boot on `pi5`; it boots on: pi3, pi3+, pi3a+, cm3, cm3+, zero2w, pi4, pi400, cm4\n"
            )
        );
    }
}

/// Of the package that signs Debian's archive, which every machine that builds has.
const DEBIANS_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The release key of bookworm, which is in it.
const BOOKWORMS_KEY: &str = "4D64FEC119C2029067D6E791F8D2585B8783D481";

#[test]
fn a_key_ring_with_other_keys_is_refused_unless_they_are_named() {
    let scratch = Scratch::new();
    let stderr = fails(&scratch, USAGE, &["plan", "--release=noble", &format!("--keyring=ubuntu={DEBIANS_KEYS}")]);
    contains(
        &stderr,
        &[
            "error: cannot use the key ring `ubuntu` of Ubuntu 24.04\n",
            "it must hold the key 790BC7277767219C42C86F933B4FE6ACC0B21F32 or F6ECB3762474EDA9D21B7022871920D1991BC93C; its keys are: ",
            BOOKWORMS_KEY,
            "hint: give the right file: --keyring ubuntu=FILE, or FILE#FINGERPRINT if another key is meant\n",
        ],
    );
    let named = format!("--keyring=ubuntu={DEBIANS_KEYS}#{BOOKWORMS_KEY}");
    let stdout = fine(&scratch, &["plan", "--release=noble", &named, "--mirror=http://near/ubuntu"]);
    contains(&stdout, &["Ubuntu 24.04 noble (arm64)", "pi5", "packages    ubuntu, from http://near/ubuntu\n"]);
}

#[test]
fn ros_needs_its_own_key() {
    let scratch = Scratch::new();
    let ubuntu = format!("--keyring=ubuntu={DEBIANS_KEYS}#{BOOKWORMS_KEY}");
    let ros = ["plan", "--release=focal", "--arch=armhf", &ubuntu, "--repository=ros"];
    let stderr = fails(&scratch, USAGE, &[&ros[..], &["--keyring=ros=gone.gpg"]].concat());
    contains(&stderr, &["error: cannot use the key ring `ros` of Ubuntu 20.04\n", "cannot read `gone.gpg`"]);
    let named = format!("--keyring=ros={DEBIANS_KEYS}#{BOOKWORMS_KEY}");
    let stdout = fine(&scratch, &[&ros[..], &[&named]].concat());
    contains(&stdout, &["Ubuntu 20.04 focal (armhf)", "ros, from http://packages.ros.org/ros/ubuntu\n", "pi2"]);
}

#[test]
fn a_foreign_architecture_is_refused() {
    let stderr = fails(&Scratch::new(), USAGE, &["plan", "--arch", "amd64"]);
    assert_eq!(stderr, "error: Debian 13 has no architecture `amd64` here; it has: arm64\n");
}

#[test]
fn parameters_without_a_plugin_are_refused() {
    let scratch = with_guests(&["minimal"]);
    let stderr = fails(&scratch, USAGE, &["plan", "--param", "a/b:c=1"]);
    assert_eq!(stderr, "error: there is no plugin `a/b` to give `c` to\n");
    let stderr = fails(&scratch, USAGE, &["plan", "--plugin", "minimal.wasm", "--param", "piimg/minimal:c=1"]);
    assert_eq!(stderr, "error: the plugin `piimg/minimal` has no parameter `c`\n");
}

/// The image directory of `wishes`, which a shell would not take as one word.
const IMAGES: &str = "/wished/images; id";

/// What the plan says of the seven parameters.
fn seven(document: &Value) -> Vec<String> {
    let plan = &document["plan"];
    let packages: Vec<&str> = plan["packages"]
        .as_array()
        .unwrap()
        .iter()
        .chain(plan["plugins"].as_array().unwrap().iter().flat_map(|plugin| plugin["packages"].as_array().unwrap()))
        .map(|name| name.as_str().unwrap())
        .collect();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut values: Vec<String> = ["hostname", "extra_space_mb", "store", "flavour"].map(|key| text(&plan[key])).into();
    values.extend([text(&plan["release"]["name"]), text(&plan["imagedir"]), packages.join(" ")]);
    values
}

/// Root's store is the system's.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

const WISHES: [&str; 5] = ["plan", "--json", "--grant-requested", "--param", "test/wishes:colour=red"];

#[test]
fn without_a_word_the_seven_parameters_have_defaults() {
    let scratch = Scratch::new();
    let store = if is_root() { "/var/cache/piimg" } else { "$DIR/cache/piimg" };
    assert_eq!(seven(&json(&scratch, &["plan", "--json"])), ["raspberrypi", "500", store, "custom", "trixie", ".", ""]);
    let text = fine(&scratch, &["plan"]);
    contains(&text, &["release     Debian 13 trixie (arm64), ", "hostname    raspberrypi\n", "free space  500 MiB"]);
    assert_eq!(text, fine(&scratch, &["-q", "plan"]), "a plan is data");
}

#[test]
fn the_seven_parameters_come_from_flag_then_file_then_plugin() {
    let scratch = with_guests(&["wishes"]);
    let mut args = WISHES.to_vec();
    args.extend(["--plugin", "wishes.wasm", "--allow-plugin-paths"]);
    let by_plugin = ["wished", "42", "/wished/rootfs", "bread", "bookworm", IMAGES, "htop"];
    assert_eq!(seven(&json(&scratch, &args)), by_plugin);

    scratch.write(
        "piimg.toml",
        "hostname = \"file\"\nrootfs-extra-space-mb = 1\nrootfs = \"file/rootfs\"\nflavour = \"paper\"\n\
         release = \"trixie\"\nimagedir = \"file/images\"\npackages = [\"nano\"]\n",
    );
    let by_file = ["file", "1", "file/rootfs", "paper", "trixie", "file/images", "nano htop"];
    assert_eq!(seven(&json(&scratch, &args)), by_file);
    // A directory that the user chose needs no consent.
    args.pop();
    assert_eq!(seven(&json(&scratch, &args)), by_file);

    args.extend(["--hostname", "flag", "--rootfs-extra-space-mb", "2", "--store", "/flag/rootfs"]);
    args.extend(["--flavour", "wave", "--release", "bookworm", "--imagedir", "/flag/images", "--package", "vim"]);
    let by_flag = ["flag", "2", "/flag/rootfs", "wave", "bookworm", "/flag/images", "nano vim htop"];
    assert_eq!(seven(&json(&scratch, &args)), by_flag);
}

#[test]
fn a_plan_as_json_says_who_gets_what() {
    let scratch = with_guests(&["wishes"]);
    let mut args = WISHES.to_vec();
    args.extend(["--plugin", "wishes.wasm", "--allow-plugin-paths"]);
    let document = json(&scratch, &args);
    let plugin = &document["plan"]["plugins"][0];
    assert_eq!(plugin["id"], "test/wishes");
    assert_eq!(plugin["params"], serde_json::json!({ "colour": "red", "count": "3" }));
    assert_eq!(document["plugins"][0]["granted"], serde_json::json!(["fs:write:/etc/wish", "pkg:install:htop"]));
}

#[test]
fn a_plugins_directories_need_consent() {
    let scratch = with_guests(&["wishes"]);
    let mut args = WISHES.to_vec();
    args.extend(["--plugin", "wishes.wasm"]);
    let stderr = fails(&scratch, USAGE, &args);
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{stderr}");
    assert_eq!(lines[0], "error: 2 things are wrong with this build:");
    for (line, parameter, flag, path) in
        [(lines[1], "rootfs", "--store", "/wished/rootfs"), (lines[2], "imagedir", "--imagedir", IMAGES)]
    {
        contains(
            line,
            &[
                &format!(
                    "  - `test/wishes` wants to use the host directory `{path}` as {parameter}: agree with {flag} "
                ),
                "--allow-plugin-paths",
            ],
        );
    }
    // Agreeing to one of them leaves the other.
    args.extend(["--store", "/wished/rootfs"]);
    let stderr = fails(&scratch, USAGE, &args);
    contains(&stderr, &[&format!("error: `test/wishes` wants to use the host directory `{IMAGES}` as imagedir: ")]);
    args.extend(["--imagedir", "here"]);
    assert_eq!(json(&scratch, &args)["plan"]["imagedir"], "here");
}

#[test]
fn a_plugins_own_parameters_are_checked() {
    let scratch = with_guests(&["wishes"]);
    let plan = ["plan", "--plugin", "wishes.wasm", "--allow-plugin-paths", "--grant-requested"];
    let stderr = fails(&scratch, USAGE, &plan);
    assert_eq!(stderr, "error: `test/wishes` needs a value for `colour`: --param 'test/wishes:colour=…'\n");
    scratch.write("piimg.toml", "[params.\"test/wishes\"]\ncolour = \"blue\"\ncount = 10\nsize = 1\n");
    assert_eq!(
        fails(&scratch, USAGE, &plan),
        "\
error: 3 things are wrong with this build:
  - the parameter `colour` of `test/wishes` must be one of red, green, not `blue`
  - the parameter `count` of `test/wishes` must be a whole number from 1 to 9, not `10`
  - the plugin `test/wishes` has no parameter `size`
"
    );
    scratch.write("piimg.toml", "[params.\"test/wishes\"]\ncolour = \"green\"\ncount = 9\n");
    fine(&scratch, &plan);
}

#[test]
fn a_date_that_is_none_is_refused() {
    let mut scratch = Scratch::new();
    for text in ["tomorrow", "-1", "1.5", " 1", "99999999999999999999999"] {
        scratch.set("SOURCE_DATE_EPOCH", text);
        let expected = format!("error: SOURCE_DATE_EPOCH is `{text}`, which is no number of seconds\n");
        assert_eq!(fails(&scratch, USAGE, &["plan"]), expected);
        assert_eq!(fails(&scratch, USAGE, &["build"]), expected);
    }
    scratch.set("SOURCE_DATE_EPOCH", "1700000000");
    assert_eq!(json(&scratch, &["plan", "--json"])["plan"]["epoch"], 1_700_000_000);
}

#[test]
fn a_missing_program_is_named_with_its_package() {
    let mut scratch = Scratch::new();
    scratch.set("PATH", "/nowhere");
    let stderr = fails(&scratch, HOST, &["plan"]);
    let (first, hint) = stderr.split_once('\n').unwrap();
    assert!(first.starts_with("error: this machine lacks programs that the build needs: mmdebstrap"), "{stderr}");
    assert!(hint.starts_with("  hint: install them: sudo apt-get install "), "{stderr}");
    contains(hint, &["mmdebstrap"]);
}

#[test]
fn without_a_home_the_store_must_be_named() {
    let mut scratch = Scratch::new();
    scratch.unset("HOME");
    scratch.unset("XDG_CACHE_HOME");
    if is_root() {
        contains(&fine(&scratch, &["plan"]), &["store       /var/cache/piimg\n"]);
    } else {
        assert_eq!(
            fails(&scratch, USAGE, &["plan"]),
            "error: there is no HOME to keep the store in\n  hint: choose a directory with --store\n"
        );
    }
}

#[test]
fn a_plan_leaves_no_trace() {
    // `Scratch::run` compares for every run; this one has all inputs there are.
    let scratch = with_guests(&["minimal"]);
    scratch.write("piimg.toml", "plugins = [\"minimal.wasm\"]\nimagedir = \"images\"\nstore = \"store\"\n");
    let before = scratch.listing();
    fine(&scratch, &["plan", "--grant-requested"]);
    fine(&scratch, &["plan", "--grant-requested", "--refresh", "--json"]);
    assert_eq!(scratch.listing(), before);
    assert!(!scratch.path("images").exists() && !scratch.path("store").exists());
}

#[test]
fn a_plugins_text_cannot_move_the_cursor() {
    let scratch = with_guests(&["wishes"]);
    let shown = "harmless\\u{d}\\u{1b}[1A\\u{202e}";
    let text = fine(&scratch, &["inspect", "wishes.wasm"]);
    contains(&text, &["test/wishes 1.0.0: Wishes\\u{1b}[2J\n", shown]);
    let plan = ["plan", "--plugin", "wishes.wasm", "--allow-plugin-paths", "--param", "test/wishes:colour=red"];
    contains(&fails(&scratch, GRANT, &plan), &[shown]);
    let mut granted = plan.to_vec();
    granted.push("--grant-requested");
    contains(&fine(&scratch, &granted), &[shown]);
    // In JSON the format's own escapes do it.
    granted.push("--json");
    let document = json(&scratch, &granted);
    assert_eq!(document["plugins"][0]["requests"][1]["reason"], "harmless\r\u{1b}[1A\u{202e}");
}

#[test]
fn a_users_own_text_is_shown_escaped() {
    let stderr = fails(&Scratch::new(), USAGE, &["plan", "--hostname", "\u{1b}[31mx"]);
    contains(&stderr, &["the hostname `\\u{1b}[31mx` (from the command line)"]);
}

#[test]
fn a_date_that_is_no_text_is_refused() {
    let mut scratch = Scratch::new();
    scratch.set("SOURCE_DATE_EPOCH", std::ffi::OsStr::from_bytes(b"\xff"));
    contains(&fails(&scratch, USAGE, &["plan"]), &["SOURCE_DATE_EPOCH"]);
}

#[test]
fn a_hinted_directory_is_quoted() {
    let scratch = with_guests(&["wishes"]);
    let mut args = WISHES.to_vec();
    args.extend(["--plugin", "wishes.wasm"]);
    contains(&fails(&scratch, USAGE, &args), &[&format!("--imagedir '{IMAGES}'")]);
}

#[test]
fn a_named_store_needs_no_home() {
    let mut scratch = Scratch::new();
    scratch.unset("HOME");
    scratch.unset("XDG_CACHE_HOME");
    contains(&fine(&scratch, &["plan", "--store", "/srv/store"]), &["store       /srv/store\n"]);
}

#[test]
fn rules_read_as_sentences() {
    let scratch = Scratch::new();
    scratch.write("piimg.toml", "packages = [\"A;\"]\n[user]\nname = \"root\"\n");
    let stderr = fails(&scratch, USAGE, &["plan"]);
    for glued in ["`A;` a package", "`root` root"] {
        assert!(!stderr.contains(glued), "{stderr}");
    }
}

#[test]
fn a_plan_keeps_no_compiled_code() {
    use std::os::unix::fs::PermissionsExt as _;

    let scratch = with_guests(&["minimal"]);
    let compiled = scratch.path("../cache/piimg/compiled");
    std::fs::create_dir_all(&compiled).unwrap();
    // `Scratch::run` sees to it that nothing is written, whether the directory can be used or not.
    for mode in [0o700, 0o777] {
        std::fs::set_permissions(&compiled, std::fs::Permissions::from_mode(mode)).unwrap();
        fine(&scratch, &["plan", "--plugin", "minimal.wasm", "--grant-requested", "--store", "store"]);
    }
}

#[test]
fn what_a_command_may_use_is_said_by_flag_and_recipe() {
    let scratch = Scratch::new();
    scratch.write("piimg.toml", "[limits]\nmemory-mb = 2048\nminutes = 30\n");
    let limits = |args: &[&str]| json(&scratch, &[&["plan", "--json"], args].concat())["plan"]["limits"].clone();
    assert_eq!(limits(&[])["memory-mb"], 2048);
    let both = limits(&["--limit", "memory-mb=512", "--limit", "processes=100"]);
    assert_eq!((&both["memory-mb"], &both["processes"], &both["minutes"]), (&512.into(), &100.into(), &30.into()));
    let rule = "must be NAME=NUMBER, with one of memory-mb, processes, disk-mb, files, minutes";
    assert_eq!(fails(&scratch, USAGE, &["plan", "--limit=cpu=1"]), format!("error: the limit `cpu=1` {rule}\n"));
    let expected = "error: the limit processes must be from 4 to 4194304\n";
    assert_eq!(fails(&scratch, USAGE, &["plan", "--limit=processes=0"]), expected);
}
