//! `piimg audit`.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Args;
use console::Style;

use super::blame::{build_info, open_root};
use super::recipe::RecipeArguments;
use crate::error::{Context, Failure, Kind, Result};
use crate::home::Home;
use crate::plugin::InspectedPlugin;
use crate::plugin::inspect::inspect;
use crate::plugin::lock::Lock;
use crate::plugin::replay::{Replayed, replay, replay_another};
use crate::plugin::{self, CodeCache, audit_log};
use crate::report::audit::{Audit, Record, Risk, Tone, audit, difference, text};
use crate::ui::{Printable as _, Ui, count, printable, text_columns};

/// Say what a plugin can and cannot do, before it runs: from its imports, what it asks for, and what it did in a build.
#[derive(Debug, Args)]
#[command(after_help = "Example: piimg audit motd.wasm motd-before.wasm --fail-on-wider")]
pub(super) struct Arguments {
    /// The plugin.
    plugin: PathBuf,
    /// An older build of it: say what the new one could do that this one could not.
    old: Option<PathBuf>,
    /// An image that was built with it: compare with what it used and changed there.
    #[arg(long, value_name = "IMAGE")]
    image: Option<PathBuf>,
    /// Show the grants that it did without in that image and can do without, as a change of `piimg.lock`.
    #[arg(long, requires = "image")]
    tighten: bool,
    /// Exit with 1 if it reaches that far or farther: low, medium, high or critical.
    #[arg(long, value_name = "RISK")]
    fail_on: Option<Risk>,
    /// Exit with 1 if it could do anything that OLD could not.
    #[arg(long, requires = "old")]
    fail_on_wider: bool,
    /// Run the plugin against the answers in an audit log, and say whether it makes the same calls; exit with 1 if not. With
    /// OLD, the log is of that one: also says which files the new one writes otherwise.
    #[arg(long, value_name = "LOG", conflicts_with_all = ["image", "tighten", "fail_on", "fail_on_wider"])]
    replay: Option<PathBuf>,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<i32> {
    let info = read(&arguments.plugin)?;
    if let Some(log) = &arguments.replay {
        let old = arguments.old.as_deref().map(read).transpose()?;
        return replay_log(log, &info, old.as_ref(), arguments.json, ui);
    }
    let record = arguments.image.as_deref().map(|image| record(image, &info, ui)).transpose()?;
    let audit = audit(&info, record.as_ref());
    let difference = match &arguments.old {
        Some(old) => Some(difference(&*read(old)?, &info)),
        None => None,
    };
    if arguments.json {
        let all = serde_json::json!({ "version": 1, "audit": audit, "difference": difference });
        ui.json(&all)?;
    } else {
        let granted = if difference.is_none() { granted_before(&info)? } else { None };
        let lines = text(&audit, difference.as_ref(), granted.as_deref(), text_columns());
        lines.iter().for_each(|line| ui.styled(&line.text, &style(line.tone)));
        if arguments.tighten {
            tighten_lines(&audit).iter().for_each(|line| ui.data(line));
        }
    }
    let reaches = arguments.fail_on.is_some_and(|limit| audit.risk >= limit);
    let widens = arguments.fail_on_wider && difference.is_some_and(|difference| difference.widens());
    Ok(if reaches || widens { Kind::Build as i32 } else { 0 })
}

fn read(path: &Path) -> Result<InspectedPlugin> {
    let cache = Home::of_user().as_ref().and_then(CodeCache::open);
    inspect(&plugin::engine()?, path, cache.as_ref())
}

fn replay_log(log: &Path, info: &InspectedPlugin, old: Option<&InspectedPlugin>, json: bool, ui: &Ui) -> Result<i32> {
    let file = File::open(log).with_context(|| Failure::usage(format!("cannot open `{}`", log.printable())))?;
    let (engine, lines) = (plugin::engine()?, audit_log::read(file)?);
    let found = match old {
        None => replay(&engine, info, &lines)?,
        Some(old) => replay_another(&engine, info, old, &lines)?,
    };
    if json {
        ui.json(&found)?;
    } else {
        replay_lines(&found, old.is_some()).iter().for_each(|line| ui.data(line));
    }
    Ok(if found.is_same() { 0 } else { Kind::Build as i32 })
}

fn replay_lines(found: &Replayed, is_another: bool) -> Vec<String> {
    let mut lines = vec![match &found.difference {
        None if is_another => {
            format!("the same: it makes the {} of the log, with the same data", count(found.calls, "call"))
        }
        None => format!("the same: {}, to the last instruction", count(found.calls, "call")),
        Some(difference) => format!("not the same, after {}: {difference}", count(found.calls, "call")),
    }];
    for file in &found.files {
        lines.push(format!("{} {}", file.change.sign(), printable(&file.what)));
        lines.extend(file.lines.iter().map(|line| format!("    {}", printable(line))));
    }
    if let Some(end) = &found.stopped {
        lines.push(format!("what it would do after that is not known: {}", printable(end)));
    }
    lines
}

/// Reads what the very plugin did in an image.
fn record(image: &Path, info: &InspectedPlugin, ui: &Ui) -> Result<Record> {
    let told = build_info(&open_root(image, ui)?)?
        .with_context(|| Failure::usage(format!("the image `{}` does not tell how it was built", image.printable())))?;
    let report = told.plugins.into_iter().find(|plugin| plugin.digest == info.digest).with_context(|| {
        Failure::usage(format!(
            "the image `{}` was not built with this build of `{}`",
            image.printable(),
            printable(&info.conf.id)
        ))
        .hint("build it again with this plugin, or audit the plugin that it was built with")
    })?;
    Ok(report.record())
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Plain | Tone::Ranked(Risk::Low) => Style::new(),
        Tone::Title => Style::new().bold(),
        Tone::Ranked(Risk::Medium) => Style::new().yellow(),
        Tone::Ranked(Risk::High) => Style::new().red(),
        Tone::Ranked(Risk::Critical) => Style::new().red().bold(),
    }
}

/// Returns what the lock file of the current directory says of this plugin, in a sentence; `None` if nothing.
fn granted_before(info: &InspectedPlugin) -> Result<Option<String>> {
    let path = RecipeArguments::default().lock();
    let Some(lock) = Lock::read(&path)? else { return Ok(None) };
    let shown = path.printable();
    if lock.grants(&info.digest, &info.requests).is_some() {
        return Ok(Some(format!("this very build, in `{shown}`")));
    }
    let Some(before) = lock.another_build(&info.conf.id, &info.digest) else { return Ok(None) };
    let known = before.asked();
    let asked: Vec<&str> = info.requests.iter().map(|request| request.scope.as_str()).collect();
    let only = |these: &[&str], those: &[&str]| -> Vec<String> {
        these.iter().filter(|scope| !those.contains(scope)).map(|scope| format!("`{}`", printable(scope))).collect()
    };
    let (more, less) = (only(&asked, &known), only(&known, &asked));
    let list = |what: &str, scopes: &[String]| match scopes {
        [] => String::new(),
        scopes => format!("; it {what} {}", scopes.join(", ")),
    };
    let same = if more.is_empty() && less.is_empty() { "; it asks for the same, its code differs" } else { "" };
    let changes = list("now asks for", &more) + &list("no longer asks for", &less);
    Ok(Some(format!("to another build of it, in `{shown}`{same}{changes}")))
}

/// Returns the grants that could go without a build being refused, and those that its author could make optional.
fn tighten_lines(audit: &Audit) -> Vec<String> {
    let granted: Vec<&str> =
        audit.rows.iter().filter(|row| row.granted == Some(true)).map(|row| row.declared.as_str()).collect();
    let is_in = |scopes: &[String], scope: &str| scopes.iter().any(|it| it == scope);
    let mut lines = vec![String::new(), format!("piimg.lock, grants of {}:", printable(&audit.id))];
    for scope in &granted {
        let scope_shown = toml::Value::from(printable(scope));
        if is_in(&audit.could_be_dropped, scope) {
            lines.push(format!("-  {scope_shown}"));
        } else if is_in(&audit.unused, scope) {
            let note = "not used, but no build starts without: its author could make it optional";
            lines.push(format!("   {scope_shown}  # {note}"));
        }
    }
    let stay = granted.iter().filter(|scope| !is_in(&audit.unused, scope)).count();
    lines.push(format!("   # {stay} of {} were used, and stay", granted.len()));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::audit::{Possible, Row};

    #[test]
    fn only_what_a_build_would_start_without_is_proposed_to_be_dropped() {
        let row = |declared: &str, optional, used, granted| Row {
            declared: declared.into(),
            reason: String::new(),
            listed: false,
            optional,
            possible: Possible::Yes,
            granted: Some(granted),
            used: Some(used),
            changed: Some(0),
        };
        let audit = Audit {
            id: "a/b".into(),
            version: "1.0.0".into(),
            title: "B".into(),
            digest: String::new(),
            rows: vec![
                row("fs:write:/used", false, 1, true),
                row("fs:write:/needed", false, 0, true),
                row("fs:write:/spare", true, 0, true),
                row("fs:write:/refused", true, 0, false),
            ],
            possible_but_not_declared: Vec::new(),
            can: Vec::new(),
            cannot: Vec::new(),
            risk: Risk::Low,
            findings: Vec::new(),
            unused: vec!["fs:write:/needed".into(), "fs:write:/spare".into()],
            could_be_dropped: vec!["fs:write:/spare".into()],
            compared_with_build: true,
        };
        let expected = [
            "",
            "piimg.lock, grants of a/b:",
            "   \"fs:write:/needed\"  # not used, but no build starts without: its author could make it optional",
            "-  \"fs:write:/spare\"",
            "   # 1 of 3 were used, and stay",
        ];
        assert_eq!(tighten_lines(&audit), expected);
    }
}
