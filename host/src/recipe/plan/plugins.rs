//! Plans the plugins of a build: their order, their compatibility, and their part of the plan.

use super::{Findings, PlannedPlugin, PluginSource, params, wishes};
use crate::recipe::check;
use crate::recipe::conf::PluginConf;
use crate::recipe::file::RecipeFile;
use crate::recipe::overrides::Overrides;
use crate::ui::printable;

/// Plugins in their given order, except that each comes behind those it names in `after`.
pub(super) fn order<'a>(plugins: &'a [PluginSource], findings: &mut Findings) -> Vec<&'a PluginSource> {
    for (index, plugin) in plugins.iter().enumerate() {
        let id = &plugin.conf.id;
        findings.check("the plugin id", id, check::plugin_id(id));
        if plugins[..index].iter().any(|other| other.conf.id == *id) {
            findings.add(format!("the plugin `{}` is there twice", printable(id)));
        }
        for other in plugins.iter().filter(|other| plugin.conf.conflicts.contains(&other.conf.id)) {
            findings.add(format!("`{}` cannot be in one image with `{}`", printable(id), printable(&other.conf.id)));
        }
    }
    let mut rest: Vec<&PluginSource> = plugins.iter().collect();
    let mut ordered = Vec::new();
    while !rest.is_empty() {
        let ready =
            |plugin: &PluginSource| !plugin.conf.after.iter().any(|id| rest.iter().any(|other| other.conf.id == *id));
        let Some(index) = rest.iter().position(|plugin| ready(plugin)) else {
            let ids: Vec<String> = rest.iter().map(|plugin| format!("`{}`", printable(&plugin.conf.id))).collect();
            findings.add(format!("{} each want to run after another of them", ids.join(" and ")));
            break;
        };
        ordered.push(rest.remove(index));
    }
    ordered
}

/// Returns whether a plugin's author meant it for this image.
pub(super) fn check_made_for(conf: &PluginConf, release: &str, architecture: &str, findings: &mut Findings) {
    for (made_for, actual) in [(&conf.releases, release), (&conf.architectures, architecture)] {
        if !made_for.is_empty() && !made_for.iter().any(|name| name == actual) {
            let id = printable(&conf.id);
            findings.add(format!(
                "`{id}` is not made for `{}`, but for: {}",
                printable(actual),
                printable(&made_for.join(", "))
            ));
        }
    }
}

pub(super) fn plan_plugin(
    plugin: &PluginSource,
    file: &RecipeFile,
    flags: &Overrides,
    findings: &mut Findings,
) -> PlannedPlugin {
    let conf = &plugin.conf;
    let id = printable(&conf.id);
    for package in &conf.image.apt_get_packages {
        findings.check(&format!("`{id}` asks for a package that cannot exist:"), package, check::package(package));
    }
    PlannedPlugin {
        id: conf.id.clone(),
        path: plugin.path.clone(),
        digest: plugin.digest.clone(),
        packages: conf.image.apt_get_packages.clone(),
        build_packages: Vec::new(),
        pins: wishes::pins(conf, findings),
        answers: wishes::answers(conf, findings),
        removals: conf.wishes.removals.clone(),
        params: params::values(plugin, file, flags, findings),
    }
}
