//! A component's answer to `conf()`: the host makes a plan of it whose every value keeps the rules, or a refusal that
//! can be shown.

use piimg::error::{Kind, report};
use piimg::plugin::info::PluginInfo;
use piimg::recipe::conf::PluginConf;
use piimg::recipe::file::RecipeFile;
use piimg::recipe::host::{Admitted, HostPath};
use piimg::recipe::overrides::Overrides;
use piimg::recipe::plan::{Environment, Plan, PluginSource, plan};
use piimg::recipe::release::Releases;

use super::naive::assert_printable;

/// Reads the answer as JSON, which is also how it is passed on to the build.
pub(super) fn check(data: &[u8]) -> bool {
    let Ok(conf) = serde_json::from_slice::<PluginConf>(data) else { return false };
    let passed = serde_json::to_vec(&conf).expect("it is plain data");
    assert_eq!(serde_json::from_slice::<PluginConf>(&passed).expect("it was just written"), conf);
    check_answer(&conf);
    true
}

pub(super) fn check_answer(conf: &PluginConf) {
    let digest = format!("sha256:{}", "a".repeat(64));
    let source = PluginSource { path: "a.wasm".into(), digest, conf: conf.clone() };
    let environment =
        Environment { default_store: "/var/cache/piimg".into(), current_directory: "/here".into(), epoch: None };
    let releases = Releases::builtin().expect("they are part of the program");
    match plan(&RecipeFile::default(), Admitted::default(), &Overrides::default(), &[source], &releases, &environment) {
        Ok(plan) => check_plan(conf, &plan),
        Err(error) => {
            let report = report(&error);
            assert_eq!(report.kind, Kind::Usage, "{report:?}");
            // Findings are lines; each of them can be shown.
            report.messages.iter().chain(&report.hints).flat_map(|text| text.lines()).for_each(|line| {
                assert_printable(&line.chars().take(10_000).collect::<String>());
            });
        }
    }
    check_grants(conf);
}

/// Checks what was accepted: it becomes part of names, files and commands.
fn check_plan(conf: &PluginConf, plan: &Plan) {
    let plain = |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
    let hostname = plan.hostname.as_deref().expect("nothing is built on");
    assert!(plain(hostname, "-.") && !hostname.starts_with('-'), "{hostname:?}");
    assert!(plain(&plan.flavour, "._+-") && !plan.flavour.starts_with(['.', '-']), "{:?}", plan.flavour);
    assert_eq!(plan.store, HostPath::named("/var/cache/piimg"), "a plugin does not choose a directory of the host");
    assert_eq!(plan.imagedir, HostPath::named("/here"), "a plugin does not choose a directory of the host");
    assert!(plan.extra_space_mb <= 1 << 20, "{}", plan.extra_space_mb);
    let [plugin] = plan.plugins.as_slice() else { panic!("one plugin was planned, not {}", plan.plugins.len()) };
    assert_eq!(plugin.packages, conf.image.apt_get_packages);
    for package in &plugin.packages {
        assert!(plain(package, "+-.:=~") && package.starts_with(|c: char| c.is_ascii_alphanumeric()), "{package:?}");
    }
    for (name, value) in &plugin.params {
        assert!(conf.params.iter().any(|param| param.name == *name), "{name:?} is no parameter of the plugin");
        assert!(!value.contains(['\n', '\r', '\0']), "{value:?}");
    }
    assert!(plain(&plugin.id, "._-/") && !plugin.id.contains(".."), "{:?}", plugin.id);
}

fn check_grants(conf: &PluginConf) {
    let mut info = PluginInfo::default();
    info.conf = conf.clone();
    info.requests = piimg::plugin::info::requests(conf);
    match piimg::plugin::grant::requested(&info) {
        Ok(requested) => assert_eq!(requested.len(), info.requests.len()),
        Err(error) => report(&error).messages.iter().for_each(|message| {
            assert_printable(&message.chars().take(10_000).collect::<String>());
        }),
    }
}
