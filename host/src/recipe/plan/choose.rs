//! Values that the user and several plugins may each name: the user's word counts, and plugins must agree.

use std::path::Path;

use super::{Findings, PluginSource};
use crate::recipe::conf::PluginConf;
use crate::recipe::host::HostPath;
use crate::recipe::overrides::Overrides;
use crate::ui::{printable, shell_quoted};

/// One value with where it came from.
pub(super) struct Sourced<T> {
    pub(super) value: T,
    pub(super) source: String,
}

pub(super) fn checked(
    findings: &mut Findings,
    what: &str,
    sourced: Sourced<String>,
    rule: fn(&str) -> Result<(), String>,
) -> String {
    if let Err(broken) = rule(&sourced.value) {
        findings.add(format!("{what} `{}` (from {}) {broken}", printable(&sourced.value), sourced.source));
    }
    sourced.value
}

/// Chooses a value: the flag's, else the file's, else the plugins', which must agree.
pub(super) fn choose<T: Clone + PartialEq + std::fmt::Display>(
    findings: &mut Findings,
    what: &str,
    flag: Option<&T>,
    file: Option<&T>,
    plugins: &[PluginSource],
    of: impl Fn(&PluginConf) -> Option<&T>,
) -> Option<Sourced<T>> {
    if let Some(value) = flag {
        return Some(Sourced { value: value.clone(), source: "the command line".into() });
    }
    if let Some(value) = file {
        return Some(Sourced { value: value.clone(), source: "the recipe".into() });
    }
    let mut chosen: Option<Sourced<T>> = None;
    for plugin in plugins {
        let Some(value) = of(&plugin.conf) else { continue };
        let source = format!("`{}`", printable(&plugin.conf.id));
        match &chosen {
            Some(first) if first.value != *value => {
                let (a, b) = (printable(&first.value.to_string()), printable(&value.to_string()));
                findings.add(format!(
                    "{} wants the {what} `{a}`, {source} wants `{b}`: choose one with --{what}",
                    first.source
                ));
            }
            Some(_) => {}
            None => chosen = Some(Sourced { value: value.clone(), source }),
        }
    }
    chosen
}

/// Returns a host directory: the user's word, or a plugin's wish if the user consented.
pub(super) fn directory(
    findings: &mut Findings,
    parameter: &str,
    flag: &str,
    chosen: Option<HostPath>,
    flags: &Overrides,
    plugins: &[PluginSource],
    of: impl Fn(&PluginConf) -> Option<&String>,
) -> Option<HostPath> {
    let mut wished: Option<(&String, String)> = None;
    for plugin in plugins {
        let Some(path) = of(&plugin.conf) else { continue };
        let (id, shown, quoted) = (printable(&plugin.conf.id), printable(path), shell_quoted(path));
        if !path.starts_with('/') || path.contains('\0') || path.split('/').any(|part| part == "..") {
            findings.add(format!("`{id}` wants `{shown}` as {parameter}: it must be an absolute path without `..`"));
        } else if chosen.is_none() && !flags.allow_plugin_paths {
            findings.add(format!(
                "`{id}` wants to use the host directory `{shown}` as {parameter}: agree with {flag} {quoted} (or --allow-plugin-paths), or choose another with {flag}"
            ));
        } else if let Some((first, of)) = &wished {
            if chosen.is_none() && Path::new(first) != Path::new(path) {
                let first = printable(first);
                findings.add(format!(
                    "`{of}` wants the {parameter} `{first}`, `{id}` wants `{shown}`: choose one with {flag}"
                ));
            }
        } else {
            wished = Some((path, id));
        }
    }
    chosen.or(wished.map(|(path, _)| HostPath::named(path)))
}
