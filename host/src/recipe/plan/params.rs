//! Values of the plugins' own parameters.

use std::collections::BTreeMap;

use super::{Findings, PluginSource};
use crate::error::{Failure, Result};
use crate::recipe::conf::{Param, ParamKind, PluginConf};
use crate::recipe::file::RecipeFile;
use crate::recipe::overrides::Overrides;
use crate::ui::printable;

/// Values of `plugin`'s parameters as the user would write them: flag, then file, then the plugin's default. One that is
/// missing is a finding.
pub(super) fn values(
    plugin: &PluginSource,
    file: &RecipeFile,
    flags: &Overrides,
    findings: &mut Findings,
) -> BTreeMap<String, String> {
    let id = printable(&plugin.conf.id);
    for param in plugin.conf.params.iter().filter(|param| text(plugin, param, file, flags).is_none()) {
        let name = printable(&param.name);
        findings.add(format!("`{id}` needs a value for `{name}`: --param '{id}:{name}=…'"));
    }
    known(plugin, file, flags, findings)
}

/// Returns the values of a plugin's parameters where there is neither recipe nor flags: `given`, then its defaults.
///
/// # Errors
/// [`Failure::usage`] that names each parameter that is missing, wrong or none of the plugin's.
pub fn complete(conf: &PluginConf, given: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let mut values = BTreeMap::new();
    let mut problems = Vec::new();
    for param in &conf.params {
        let name = printable(&param.name);
        match given.get(&param.name).or(param.default.as_ref()) {
            None => problems.push(format!("it needs a value for `{name}`: --param '{name}=…'")),
            Some(text) => match value(param, text) {
                Ok(value) => {
                    values.insert(param.name.clone(), value);
                }
                Err(rule) => problems.push(format!("its parameter `{name}` {rule}, not `{}`", printable(text))),
            },
        }
    }
    let unknown = given.keys().filter(|name| conf.params.iter().all(|param| param.name != **name));
    problems.extend(unknown.map(|name| format!("it has no parameter `{}`", printable(name))));
    if problems.is_empty() {
        return Ok(values);
    }
    Err(Failure::usage(format!("the plugin `{}` cannot run: {}", printable(&conf.id), problems.join("; "))).into())
}

/// Returns the values as [`values`] does, without missing ones.
pub(super) fn known(
    plugin: &PluginSource,
    file: &RecipeFile,
    flags: &Overrides,
    findings: &mut Findings,
) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for param in &plugin.conf.params {
        let Some(text) = text(plugin, param, file, flags) else { continue };
        match value(param, &text) {
            Ok(value) => {
                values.insert(param.name.clone(), value);
            }
            Err(rule) => findings.add(format!(
                "the parameter `{}` of `{}` {rule}, not `{}`",
                printable(&param.name),
                printable(&plugin.conf.id),
                printable(&text)
            )),
        }
    }
    values
}

/// Returns the text given for a parameter, unchecked.
fn text(plugin: &PluginSource, param: &Param, file: &RecipeFile, flags: &Overrides) -> Option<String> {
    let id = &plugin.conf.id;
    let flag = flags
        .params
        .iter()
        .rev()
        .filter_map(|text| split(text))
        .find(|(of, name, _)| *of == id.as_str() && *name == param.name);
    let in_file = file.params.get(id).and_then(|values| values.get(&param.name)).map(text_of);
    flag.map(|(_, _, value)| value.to_owned()).or(in_file).or_else(|| param.default.clone())
}

/// Parameters that no plugin has, which are most often spelling mistakes.
pub(super) fn check_unknown(file: &RecipeFile, flags: &Overrides, plugins: &[PluginSource], findings: &mut Findings) {
    let mut check = |id: &str, name: &str| match plugins.iter().find(|plugin| plugin.conf.id == id) {
        None => findings.add(format!("there is no plugin `{}` to give `{}` to", printable(id), printable(name))),
        Some(plugin) if !plugin.conf.params.iter().any(|param| param.name == name) => {
            findings.add(format!("the plugin `{}` has no parameter `{}`", printable(id), printable(name)));
        }
        Some(_) => {}
    };
    for (id, values) in &file.params {
        for name in values.keys() {
            check(id, name);
        }
    }
    let mut malformed = Vec::new();
    for text in &flags.params {
        match split(text) {
            Some((id, name, _)) => check(id, name),
            None => malformed.push(format!("--param `{}` must be ID:NAME=VALUE", printable(text))),
        }
    }
    findings.0.extend(malformed);
}

/// Splits `id:name=value`.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let (key, value) = text.split_once('=')?;
    let (id, name) = key.rsplit_once(':')?;
    Some((id, name, value))
}

fn text_of(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Returns the value in its one spelling, or the rule it breaks.
fn value(param: &Param, text: &str) -> Result<String, String> {
    match &param.kind {
        ParamKind::Bool => match text {
            "true" | "false" => Ok(text.to_owned()),
            _ => Err("must be true or false".into()),
        },
        ParamKind::Integer(low, high) => match text.parse::<i64>() {
            Ok(number) if (low..=high).contains(&&number) => Ok(number.to_string()),
            _ => Err(format!("must be a whole number from {low} to {high}")),
        },
        ParamKind::Text if text.contains(['\n', '\r', '\0']) => Err("must be one line".into()),
        ParamKind::Choice(options) if !options.iter().any(|option| option == text) => {
            Err(format!("must be one of {}", printable(&options.join(", "))))
        }
        ParamKind::Text | ParamKind::Choice(_) => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_typed() {
        let param = |kind| Param { name: "p".into(), title: String::new(), kind, default: None };
        for (kind, text, expected) in [
            (ParamKind::Bool, "true", Ok("true")),
            (ParamKind::Bool, "yes", Err("true or false")),
            (ParamKind::Integer(1, 5), "5", Ok("5")),
            (ParamKind::Integer(1, 5), "6", Err("from 1 to 5")),
            (ParamKind::Text, "a \"b\"", Ok("a \"b\"")),
            (ParamKind::Text, "a\nb", Err("one line")),
            (ParamKind::Choice(vec!["x".into()]), "x", Ok("x")),
            (ParamKind::Choice(vec!["x".into()]), "y", Err("one of x")),
        ] {
            let result = value(&param(kind), text);
            match (&result, expected) {
                (Ok(value), Ok(expected)) => assert_eq!(value, expected),
                (Err(rule), Err(expected)) => assert!(rule.contains(expected), "{rule}"),
                _ => panic!("{text:?}: {result:?}"),
            }
        }
    }

    #[test]
    fn ids_may_hold_colons() {
        assert_eq!(split("a:b/c:name=x=y"), Some(("a:b/c", "name", "x=y")));
        assert_eq!(split("name=x"), None);
    }
}
