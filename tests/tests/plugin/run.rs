//! What a plugin does and how it may end.

use super::*;

#[test]
fn the_minimal_plugin_writes_its_note_and_runs_its_command() {
    let plugin = look("minimal").unwrap();
    let functions: Vec<String> = plugin
        .imports
        .iter()
        .filter(|import| import.name.starts_with("piimg:"))
        .map(|import| format!("{} {}", import.name, import.functions.join(" ")))
        .collect();
    // What it does not call is not there: it can neither read files nor install packages by itself. Helpers look parameters up.
    assert_eq!(
        functions,
        [
            "piimg:plugin/log write panicked",
            "piimg:plugin/context image param",
            "piimg:plugin/fs write",
            "piimg:plugin/process run"
        ]
    );
    assert_eq!(plugin.conf.image.hostname.as_deref(), Some("piimg-minimal"));
    let scopes: Vec<&str> = plugin.requests.iter().map(|request| request.scope.as_str()).collect();
    assert_eq!(scopes, ["pkg:install:htop", "fs:write:/etc/piimg-minimal", "exec:htop --version"]);

    let ran = run("minimal", &all(), Limits::EXECUTE);
    let report = ran.result.as_ref().unwrap();
    assert_eq!(ran.read("etc/piimg-minimal").unwrap().lines().next(), Some("HOSTNAME=box"));
    assert_eq!((ran.commands[0].program.as_str(), ran.commands[0].args.join(" ")), ("htop", "--version".to_owned()));
    assert_eq!(ran.log, ["piimg/minimal: box is ready with htop 3.2.2"]);
    let used: Vec<&str> = report.uses.keys().map(String::as_str).collect();
    assert_eq!(used, ["exec:htop --version", "fs:write:/etc/piimg-minimal"]);
    let again = run("minimal", &all(), Limits::EXECUTE);
    assert_eq!(again.result.unwrap().fuel, report.fuel, "a run is deterministic to the instruction");
}

#[test]
fn kept_code_is_used_and_damaged_code_replaced() {
    let place = tempfile::tempdir().unwrap();
    let home = Home::at(place.path());
    let directory = home.compiled();
    // A file that is written anew is another one.
    let file = || {
        let mut entries = std::fs::read_dir(&directory).unwrap().map(Result::unwrap);
        let entry = entries.next().unwrap();
        assert!(entries.next().is_none(), "there is one plugin");
        (entry.path(), entry.metadata().unwrap().ino())
    };
    let cached = || {
        let plugin = inspect(&engine(), &guest("panics"), CodeCache::open(&home).as_ref()).unwrap();
        keep_code(&home, [&plugin].into_iter()).unwrap();
        plugin
    };
    cached();
    let kept = file();
    let plugin = cached();
    assert_eq!(file(), kept, "it was compiled again");
    let ran = run_plugin(image(), &plugin, &all(), &[], Limits::EXECUTE);
    let message = &ran.failure(Kind::Plugin).messages[0];
    assert!(message.contains("panics/src/lib.rs:14:9)"), "{message}");

    let mut code = std::fs::read(&kept.0).unwrap();
    let middle = code.len() / 2;
    code[middle] ^= 1;
    std::fs::write(&kept.0, code).unwrap();
    let plugin = cached();
    assert_ne!(file(), kept, "damaged code was used");
    run_plugin(image(), &plugin, &all(), &[], Limits::EXECUTE).failure(Kind::Plugin);
}

#[test]
fn a_plugin_makes_as_many_calls_as_it_was_told() {
    let plugin = look("busy").unwrap();
    for (kind, use_of) in
        [("log", None), ("param", None), ("stat", Some("fs:read:/opt/busy")), ("write", Some("fs:write:/opt/busy"))]
    {
        let calls = |count: &str| {
            let params = [("kind", kind), ("count", count), ("bytes", "10")];
            let ran = run_plugin(image(), &plugin, &all(), &params, Limits::EXECUTE);
            let report = ran.result.as_ref().unwrap();
            let uses = report.uses.iter().map(|(scope, uses)| (scope.clone(), uses.allowed)).collect::<Vec<_>>();
            assert!(report.first_call.is_some());
            (report.calls, uses, ran.read("opt/busy").unwrap_or_default())
        };
        let (none, some) = (calls("0"), calls("70"));
        assert_eq!(some.0 - none.0, 70, "{kind}");
        assert_eq!(some.1, use_of.map(|scope| (scope.to_owned(), 70)).into_iter().collect::<Vec<_>>());
        assert_eq!(some.2, if kind == "write" { "xxxxxxxxxx" } else { "" });
    }
}

#[test]
fn a_plugin_carries_as_much_as_it_was_told() {
    let plugin = look("carries").unwrap();
    let ran = run_plugin(image(), &plugin, &all(), &[("mib", "5")], Limits::EXECUTE);
    ran.result.as_ref().unwrap();
    let length = |name: &str| std::fs::metadata(ran.root.path().join("opt/carries").join(name)).map(|file| file.len());
    assert_eq!((length("0").unwrap(), length("1").unwrap()), (4 << 20, 1 << 20));
    assert!(length("2").is_err() && length("load").is_err());
}

#[test]
fn a_directory_of_assets_is_one_asset() {
    let plugin = look("carries").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = |text: &str| {
        let path = directory.path().join(text.replace('/', "-"));
        std::fs::write(&path, text).unwrap();
        std::fs::File::open(&path).unwrap()
    };
    let names = ["load/c", "load/a/b", "loaded/d", "other/load"];
    let assets = || names.map(|name| (name.to_owned(), file(name))).into();
    let ran = run_with_assets(&engine(), image(), &plugin, &all(), (&[("mib", "0")], assets()), Limits::EXECUTE);
    let report = ran.result.as_ref().unwrap();
    assert_eq!(report.uses["asset:load"].allowed, 2, "{:?}", report.uses);
    assert_eq!(
        (ran.read("opt/carries/a/b"), ran.read("opt/carries/c")),
        (Some("load/a/b".into()), Some("load/c".into()))
    );
    assert_eq!(std::fs::read_dir(ran.root.path().join("opt/carries")).unwrap().count(), 2);

    let only = Granted { scopes: scopes_of("--grant", &["fs:write:/opt/**"]).unwrap(), ..Granted::default() };
    let ran = run_with_assets(&engine(), image(), &plugin, &only, (&[("mib", "0")], assets()), Limits::EXECUTE);
    ran.result.as_ref().unwrap();
    assert_eq!(std::fs::read_dir(ran.root.path().join("opt/carries")).unwrap().count(), 0);
}

#[test]
fn a_panic_names_the_plugin_the_message_and_the_line() {
    let ran = run("panics", &all(), Limits::EXECUTE);
    let message = &ran.failure(Kind::Plugin).messages[0];
    assert!(
        message.starts_with("the plugin `test/panics` panicked in execute(): the shelf has 0 books ("),
        "{message}"
    );
    assert!(message.contains("panics/src/lib.rs:14:9)"), "{message}");
}

#[test]
fn a_loop_is_stopped_by_time_and_by_fuel() {
    let time = Limits { time: Duration::from_millis(300), ..Limits::EXECUTE };
    let ran = run("loops", &all(), time);
    let message = &ran.failure(Kind::Plugin).messages[0];
    assert!(
        message.starts_with("the plugin `test/loops` was stopped in execute(): it ran for longer than 0.3 s in `"),
        "{message}"
    );
    assert!(message.contains("loops/src/lib.rs:"), "{message}");

    let fuel = Limits { fuel: 10_000_000, ..Limits::EXECUTE };
    let ran = run("loops", &all(), fuel);
    let message = &ran.failure(Kind::Plugin).messages[0];
    assert!(message.contains("it used more than 10000000 instructions in `"), "{message}");
    assert!(message.contains("loops/src/lib.rs:"), "{message}");
}

#[test]
fn memory_without_end_is_stopped_where_it_was_asked_for() {
    let ran = run("allocates", &all(), Limits { memory: 32 << 20, ..Limits::EXECUTE });
    let message = &ran.failure(Kind::Plugin).messages[0];
    assert!(
        message.contains("`test/allocates` was stopped in execute(): it used more than 32 MiB of memory in `"),
        "{message}"
    );
    assert!(message.contains("allocates/src/lib.rs:"), "{message}");
}

#[test]
fn an_error_is_told_with_its_causes() {
    let ran = run("fails", &all(), Limits::EXECUTE);
    assert_eq!(
        ran.failure(Kind::Plugin).messages,
        ["the plugin `test/fails` failed", "cannot count the books", "invalid digit found in string"]
    );
}

#[test]
fn conf_cannot_call_the_host() {
    let report = look("conf-imports").unwrap_err();
    assert_eq!(report.kind, Kind::Plugin);
    assert!(report.messages[0].contains("failed: it called `piimg:plugin/context@0.1.0#image`"), "{report:?}");
    assert!(report.messages[0].contains("conf-imports/src/lib.rs:9)"), "{report:?}");
    assert!(report.hints[0].contains("move the call to execute()"), "{report:?}");
}

#[test]
fn a_plugin_with_sockets_is_refused_before_it_runs() {
    let report = look("sockets").unwrap_err();
    assert_eq!(report.kind, Kind::Usage);
    assert!(report.messages[0].contains("imports `wasi:sockets/"), "{report:?}");
    assert!(report.messages[0].ends_with("but a plugin has no network"), "{report:?}");
}
