//! `piimg audit`.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Args;

use super::blame::{build_info, open_root};
use crate::error::{Context, Failure, Kind, Result};
use crate::home::Home;
use crate::plugin::inspect::{PluginInfo, inspect};
use crate::plugin::replay::replay;
use crate::plugin::{self, CodeCache, transcript};
use crate::report::PluginReport;
use crate::report::audit::{Audit, Difference, Possible, Risk, Row, audit, difference};
use crate::ui::{Printable as _, Ui, printable};

/// Widest line, so that it reads well on the narrowest terminal and in a mail.
const WIDTH: usize = 80;

/// Say what a plugin can and cannot do, before it runs: from its imports, what it asks for, and what it did in a build.
#[derive(Debug, Args)]
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
    /// Run the plugin against the answers in an audit log, and say whether it makes the same calls; exit with 1 if not.
    #[arg(long, value_name = "LOG", conflicts_with_all = ["old", "image", "tighten", "fail_on"])]
    replay: Option<PathBuf>,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<i32> {
    let info = read(&arguments.plugin)?;
    if let Some(log) = &arguments.replay {
        return replay_log(log, &info, arguments.json, ui);
    }
    let record = arguments.image.as_deref().map(|image| record(image, &info, ui)).transpose()?;
    let audit = audit(&info, record.as_ref());
    let difference = match &arguments.old {
        Some(old) => Some(difference(&read(old)?, &info)),
        None => None,
    };
    if arguments.json {
        let all = serde_json::json!({ "version": 1, "audit": audit, "difference": difference });
        ui.json(&all)?;
    } else {
        let mut lines = match &difference {
            Some(difference) => difference_lines(difference),
            None => Vec::new(),
        };
        lines.extend(audit_lines(&audit));
        if arguments.tighten {
            lines.extend(tighten_lines(&audit));
        }
        lines.iter().for_each(|line| ui.data(line));
    }
    let reaches = arguments.fail_on.is_some_and(|limit| audit.risk >= limit);
    let widens = arguments.fail_on_wider && difference.is_some_and(|difference| difference.widens());
    Ok(if reaches || widens { Kind::Build as i32 } else { 0 })
}

fn read(path: &Path) -> Result<PluginInfo> {
    let cache = Home::of_user().as_ref().and_then(CodeCache::open);
    inspect(&plugin::engine()?, path, cache.as_ref())
}

fn replay_log(log: &Path, info: &PluginInfo, json: bool, ui: &Ui) -> Result<i32> {
    let file = File::open(log).with_context(|| Failure::usage(format!("cannot open `{}`", log.printable())))?;
    let found = replay(&plugin::engine()?, info, &transcript::read(file)?)?;
    if json {
        ui.json(&found)?;
    } else {
        ui.data(&match &found.difference {
            None => format!("the same: {} calls, to the last instruction", found.calls),
            Some(difference) => format!("not the same, after {} calls: {difference}", found.calls),
        });
    }
    Ok(if found.difference.is_none() { 0 } else { Kind::Build as i32 })
}

/// What the very plugin did in an image.
fn record(image: &Path, info: &PluginInfo, ui: &Ui) -> Result<PluginReport> {
    let told = build_info(&open_root(image, ui)?)?
        .with_context(|| Failure::usage(format!("the image `{}` does not tell how it was built", image.printable())))?;
    told.plugins.into_iter().find(|plugin| plugin.digest == info.digest).with_context(|| {
        Failure::usage(format!(
            "the image `{}` was not built with this build of `{}`",
            image.printable(),
            printable(&info.conf.id)
        ))
        .hint("build it again with this plugin, or audit the plugin that it was built with")
    })
}

fn audit_lines(audit: &Audit) -> Vec<String> {
    let mut lines =
        vec![format!("{} {}: {}", printable(&audit.id), printable(&audit.version), printable(&audit.title))];
    lines.push(audit.digest.clone());
    lines.push(String::new());
    let columns = |declared: &str, possible: &str, used: &str, changed: &str| {
        format!("{declared:<48}  {possible:<8}  {used:<8}  {changed}").trim_end().to_owned()
    };
    lines.push(columns("DECLARED", "POSSIBLE", "USED", "CHANGED"));
    for row in &audit.rows {
        lines.extend(row_lines(row, &columns));
    }
    if audit.rows.is_empty() {
        lines.push("it asks for nothing".to_owned());
    }
    lines.push(String::new());
    paragraph(&mut lines, "risk", &audit.risk.to_string());
    for finding in &audit.findings {
        paragraph(&mut lines, "", &format!("{}: {}", finding.risk, printable(&finding.says)));
    }
    paragraph(&mut lines, "can", &or_nothing(&audit.can, "; "));
    paragraph(&mut lines, "cannot", &or_nothing(&audit.cannot, ", "));
    if !audit.possible_but_not_declared.is_empty() {
        let kinds = audit.possible_but_not_declared.join(", ");
        paragraph(&mut lines, "odd", &format!("it has functions that need {kinds}, and does not ask for that"));
    }
    for scope in &audit.unused {
        paragraph(&mut lines, "unused", &printable(scope));
    }
    lines
}

fn or_nothing(parts: &[String], separator: &str) -> String {
    if parts.is_empty() { "nothing".to_owned() } else { printable(&parts.join(separator)) }
}

fn row_lines(row: &Row, columns: &dyn Fn(&str, &str, &str, &str) -> String) -> Vec<String> {
    let count = |number: Option<u64>| number.map_or("?".to_owned(), |number| number.to_string());
    let possible = match row.possible {
        Possible::Never => "never",
        Possible::ByCommand => "by exec",
        Possible::Yes => "yes",
    };
    let used = count(row.used);
    let changed = count(row.changed.map(|changed| changed as u64));
    let scope = printable(&row.declared);
    let mut lines = Vec::new();
    if scope.chars().count() <= 48 {
        lines.push(columns(&scope, possible, &used, &changed));
    } else {
        lines.push(scope);
        lines.push(columns("", possible, &used, &changed));
    }
    let optional = if row.optional { "can do without; " } else { "" };
    let who = if row.listed { "piimg's reason" } else { "its author says" };
    wrap(&mut lines, "    ", "    ", &format!("{optional}{who}: {}", printable(&row.reason)));
    lines
}

/// Adds a text under a short title, with a hanging indent.
fn paragraph(lines: &mut Vec<String>, title: &str, text: &str) {
    wrap(lines, &format!("{title:<8}"), "        ", text);
}

/// Breaks a text at spaces; a word that is longer than a line stays whole, to be copied.
fn wrap(lines: &mut Vec<String>, first: &str, rest: &str, text: &str) {
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in text.split(' ') {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::replace(&mut line, rest.to_owned()));
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines.push(line);
}

fn difference_lines(difference: &Difference) -> Vec<String> {
    let mut lines = vec![format!("from {} to {}", printable(&difference.from), printable(&difference.to))];
    for (sign, title, scopes) in [
        ('+', "asks for", &difference.new_capabilities),
        ('-', "asks for", &difference.gone_capabilities),
        ('+', "can call", &difference.new_functions),
        ('-', "can call", &difference.gone_functions),
    ] {
        lines.extend(scopes.iter().map(|scope| format!("{sign} {title}  {}", printable(scope))));
    }
    if lines.len() == 1 {
        lines.push("  it asks for the same and can call the same".to_owned());
    }
    lines.push(String::new());
    lines
}

/// The grants as they were, and as they could be without a build being refused.
fn tighten_lines(audit: &Audit) -> Vec<String> {
    let mut lines = vec![String::new(), format!("piimg.lock, grants of {}:", printable(&audit.id))];
    for row in audit.rows.iter().filter(|row| row.granted == Some(true)) {
        let is_in = |scopes: &[String]| scopes.contains(&row.declared);
        let (sign, note) = match (is_in(&audit.could_be_dropped), is_in(&audit.unused)) {
            (true, _) => ('-', ""),
            (false, true) => (' ', "  # not used, but no build starts without: its author could make it optional"),
            (false, false) => (' ', ""),
        };
        lines.push(format!("{sign}  {}{note}", toml::Value::from(printable(&row.declared))));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_spaces_and_words_stay_whole() {
        let mut lines = Vec::new();
        let long = "x".repeat(100);
        paragraph(&mut lines, "can", &format!("{} {long} end", "word ".repeat(20).trim_end()));
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH || line.contains(&long)), "{lines:?}");
        assert!(lines[0].starts_with("can     word"), "{lines:?}");
        assert_eq!(lines.last().unwrap(), "        end");
    }

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
            "   \"fs:write:/used\"",
            "   \"fs:write:/needed\"  # not used, but no build starts without: its author could make it optional",
            "-  \"fs:write:/spare\"",
        ];
        assert_eq!(tighten_lines(&audit), expected);
    }
}
