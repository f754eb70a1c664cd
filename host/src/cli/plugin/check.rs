//! `piimg plugin check`.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::build::build;
use crate::error::{Context as _, Kind, Result};
use crate::home::Home;
use crate::plugin::InspectedPlugin;
use crate::plugin::info::Request;
use crate::plugin::inspect::inspect;
use crate::plugin::{self, CodeCache, Template};
use crate::report::audit::{Possible, audit};
use crate::ui::{Printable as _, Ui, printable};

/// Where tests note what a component used, below the directory that cargo builds in.
const RECORDS: &str = "piimg-plugin-test";

/// Check a plugin before it is shipped: its contract, its requests against its code and its tests, and its bytes.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code 1 if there is an error; warnings alone are 0.

Example: piimg plugin test && piimg plugin check")]
pub(super) struct Arguments {
    /// Directory with its Cargo.toml, or a component.
    #[arg(default_value = ".")]
    plugin: PathBuf,
    /// Do not compile it a second time to compare the bytes.
    #[arg(long)]
    once: bool,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

/// Something that the check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// It must not be shipped like this.
    is_error: bool,
    says: String,
}

impl Finding {
    fn error(says: String) -> Self {
        Self { is_error: true, says }
    }

    fn warning(says: String) -> Self {
        Self { is_error: false, says }
    }
}

/// What the tests of a component used, as `piimg-plugin-test` writes it.
#[derive(Debug, Deserialize)]
struct Record {
    scopes: Vec<String>,
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<i32> {
    let is_source = arguments.plugin.is_dir();
    let component = if is_source { build(&arguments.plugin, None, ui)? } else { arguments.plugin.clone() };
    let cache = Home::of_user().as_ref().and_then(CodeCache::open);
    let info = inspect(&plugin::engine()?, &component, cache.as_ref())?;
    let used = if is_source { used(&component, &info)? } else { None };
    let mut findings = of_code(&info);
    match &used {
        Some(used) => findings.extend(of_tests(&info.requests, used)),
        None if is_source => {
            findings.push(Finding::warning(
                "no test has run this component: run `piimg plugin test`, and check again".to_owned(),
            ));
        }
        None => {}
    }
    if is_source && !arguments.once {
        findings.extend(of_bytes(&arguments.plugin, &component, ui)?);
    }
    let contract: Vec<String> = info.imports.iter().map(|import| import.name.clone()).collect();
    if arguments.json {
        ui.json(&serde_json::json!({
            "version": 1,
            "component": component,
            "plugin": info.conf.id,
            "digest": info.digest,
            "imports": contract,
            "findings": findings,
        }))?;
    } else {
        ui.data(&format!("{} {}, {}", info.conf.id, info.conf.version, component.printable()));
        ui.data(&format!("imports {}", if contract.is_empty() { "nothing".to_owned() } else { contract.join(", ") }));
        for finding in &findings {
            let word = if finding.is_error { "error" } else { "warning" };
            ui.data(&format!("{word}: {}", finding.says));
        }
        if findings.is_empty() {
            ui.data("nothing is wrong");
        }
    }
    Ok(if findings.iter().any(|finding| finding.is_error) { Kind::Build as i32 } else { 0 })
}

/// Compares requests with what the code can call.
fn of_code(info: &InspectedPlugin) -> Vec<Finding> {
    let audit = audit(info, None);
    let unrequested = audit.possible_but_not_declared.iter().map(|kind| {
        Finding::error(format!(
            "it calls functions that need `{kind}`, and conf() requests none: request it, or leave the call out"
        ))
    });
    let useless = audit.rows.iter().filter(|row| row.possible == Possible::Never && !row.listed).map(|row| {
        Finding::warning(format!(
            "`{}` is requested, and no function that it calls needs it: leave the request out",
            printable(&row.declared)
        ))
    });
    unrequested.chain(useless).collect()
}

/// Compares requests with what the tests used.
fn of_tests(requests: &[Request], used: &[String]) -> Vec<Finding> {
    let used: Vec<(&String, _)> =
        used.iter().filter_map(|scope| Some((scope, Template::parse(scope).ok()?.widest()))).collect();
    let own = requests.iter().filter(|request| !request.listed);
    own.filter_map(|request| {
        let wide = request.scope.template().ok()?.widest();
        let mut within: Vec<&str> =
            used.iter().filter(|(_, narrow)| wide.includes(narrow)).map(|(scope, _)| scope.as_str()).collect();
        within.sort_unstable();
        within.dedup();
        let scope = printable(&request.scope);
        match within.as_slice() {
            [] => Some(Finding::warning(format!("`{scope}` is requested, and no test used it"))),
            [one] if scope.contains('*') => Some(Finding::warning(format!(
                "`{scope}` is wider than what the tests used: request `{}`",
                printable(one)
            ))),
            _ => None,
        }
    })
    .collect()
}

/// Returns what the tests of this very component used; `None` if none has run it.
fn used(component: &Path, info: &InspectedPlugin) -> Result<Option<Vec<String>>> {
    // <target>/wasm32-wasip2/release/NAME.wasm
    let Some(target) = component.ancestors().nth(3) else { return Ok(None) };
    let name = format!("{}.jsonl", info.digest.trim_start_matches("sha256:"));
    let path = target.join(RECORDS).join(name);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read `{}`", path.printable())),
    };
    let records = text.lines().filter_map(|line| serde_json::from_str::<Record>(line).ok());
    Ok(Some(records.flat_map(|record| record.scopes).collect()))
}

/// Compiles it again elsewhere: whoever gets the source must get the same bytes.
fn of_bytes(dir: &Path, component: &Path, ui: &Ui) -> Result<Option<Finding>> {
    let Some(target) = component.ancestors().nth(3) else { return Ok(None) };
    let again = target.join("piimg-plugin-check");
    let other = build(dir, Some(&again), ui)?;
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read `{}`", path.printable()));
    let is_same = read(component)? == read(&other)?;
    fs::remove_dir_all(&again).with_context(|| format!("cannot remove `{}`", again.printable()))?;
    Ok((!is_same).then(|| {
        Finding::error(
            "two compilations give different bytes: look for what its build script or its macros read of the machine"
                .to_owned(),
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_compared_with_what_tests_used() {
        let request =
            |scope: &str| Request { scope: scope.into(), reason: String::new(), optional: false, listed: false };
        let requests = ["fs:write:/etc/motd", "fs:write:/opt/**", "fs:write:/srv/**", "exec:true", "asset:{params.a}"];
        let used = ["fs:write:/etc/motd", "fs:write:/opt/a", "fs:write:/opt/b", "fs:write:/srv/one", "asset:x"];
        let found: Vec<String> = of_tests(&requests.map(request), &used.map(str::to_owned))
            .into_iter()
            .map(|finding| finding.says)
            .collect();
        assert_eq!(
            found,
            [
                "`fs:write:/srv/**` is wider than what the tests used: request `fs:write:/srv/one`",
                "`exec:true` is requested, and no test used it",
            ]
        );
    }
}
