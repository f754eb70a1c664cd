//! `piimg plugin run`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, SystemTime};

use clap::Args;
use nix::sys::signal::{SigSet, Signal};

use crate::error::{Context as _, Failure, Kind, Result, with_cause};
use crate::home::Home;
use crate::host_files::{Directory, Links, for_user};
use crate::plugin::inspect::{inspect, keep_code};
use crate::plugin::{self, CodeCache};
use crate::report::Effect;
use crate::secret::source::{FORMS, Source};
use crate::steps::trial::{self, Outcome, Problem, Rooms, Scenario, StubCommand};
use crate::ui::{Printable as _, Ui, printable, text_columns, wrapped};

/// Between two looks at a file that is watched.
const PAUSE: Duration = Duration::from_millis(300);
/// Longest description of a trial.
const LONGEST: u64 = 64 << 20;

/// Try a plugin on a copy of a directory, archive or image, and show what it changed and by which call.
#[derive(Debug, Args)]
#[command(after_help = "\
Needs no root and no network. Commands, packages, downloads and checkouts are what you say they are.

Example: piimg plugin run target/wasm32-wasip2/release/hello.wasm --param greeting=hi \\
           --asset logo.txt=./logo.txt --command 'systemctl daemon-reload'")]
pub(super) struct Arguments {
    /// The component.
    plugin: PathBuf,
    /// Directory, tar archive of a root file system, or image; it is copied and never changed. Without it: a few files of a Debian.
    #[arg(long, value_name = "DIR|TAR|IMAGE")]
    rootfs: Option<PathBuf>,
    /// Grant this alone, and what else is named so; without it, everything that the plugin requests. May be repeated.
    #[arg(long = "grant", value_name = "SCOPE")]
    grants: Vec<String>,
    /// Value of a parameter; may be repeated.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// File for the plugin, or directory of files; may be repeated.
    #[arg(long = "asset", value_name = "NAME=PATH")]
    assets: Vec<String>,
    /// Where a secret comes from: file:PATH, env:VARIABLE or cmd:COMMAND; may be repeated.
    #[arg(long = "secret", value_name = "NAME=SOURCE")]
    secrets: Vec<String>,
    /// Package that the plugin can have, or that is there; may be repeated.
    #[arg(long = "package", value_name = "NAME=VERSION")]
    packages: Vec<String>,
    /// File that stands for what is at an address; may be repeated.
    #[arg(long = "download", value_name = "URL=FILE")]
    downloads: Vec<String>,
    /// Directory that stands for any commit of the repository at an address; may be repeated.
    #[arg(long = "checkout", value_name = "URL=DIR")]
    checkouts: Vec<String>,
    /// Command that succeeds and says nothing; `*` is any argument, `**` any number of them. May be repeated.
    #[arg(long = "command", value_name = "COMMAND")]
    commands: Vec<String>,
    /// Read all of this from a file instead, or from standard input with `-`: what the crate `piimg-plugin-test` writes.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rootfs", "grants", "params", "assets", "secrets", "packages", "downloads", "checkouts", "commands", "watch"])]
    scenario: Option<PathBuf>,
    /// Keep the changed copy in this directory, which must not exist yet.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Write the audit log there.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Run it again whenever the component changes, until Ctrl-C.
    #[arg(long, conflicts_with = "keep")]
    watch: bool,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<i32> {
    let scenario = match &arguments.scenario {
        Some(path) => Scenario::parse(&read(path)?)?,
        None => described(arguments)?,
    };
    if !arguments.watch {
        return once(arguments, &scenario, ui);
    }
    loop {
        let seen = state(&arguments.plugin);
        if let Err(error) = once(arguments, &scenario, ui) {
            ui.error(&error);
        }
        ui.info(&format!("waiting for a change of `{}`; Ctrl-C ends", arguments.plugin.printable()));
        // While it is being written it may be missing.
        while state(&arguments.plugin).is_none_or(|now| Some(now) == seen) {
            std::thread::sleep(PAUSE);
        }
    }
}

/// Returns what changes when a file is written.
fn state(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = path.metadata().ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn once(arguments: &Arguments, scenario: &Scenario, ui: &Ui) -> Result<i32> {
    let engine = plugin::engine()?;
    let home = Home::of_user();
    let cache = home.as_ref().and_then(CodeCache::open);
    let info = inspect(&engine, &arguments.plugin, cache.as_ref())?;
    if let Some(home) = &home
        && let Err(error) = keep_code(home, std::iter::once(&info))
    {
        // It only means that the next run compiles again.
        ui.detail(&format!("{error:#}"));
    }
    let place = tempfile::tempdir().context("cannot make a directory for the copy")?;
    remove_at_signal(place.path().to_owned());
    let copy = arguments.keep.clone().unwrap_or_else(|| place.path().join("image"));
    trial::room(&copy)?;
    let log = tempfile::tempfile().context("cannot make an audit log")?;
    let rooms = Rooms { copy, log: log.try_clone().context("cannot make an audit log")? };
    let outcome = trial::run(&engine, &info, scenario, &rooms)?;
    if let Some(path) = &arguments.log {
        keep_log(&log, path)?;
    }
    if arguments.json {
        ui.json(&outcome)?;
    } else {
        show(&outcome, ui);
    }
    Ok(match &outcome.error {
        Some(error) => error.exit_code,
        None if outcome.problems.is_empty() => 0,
        None => Kind::Plugin as i32,
    })
}

/// The directory that Ctrl-C removes.
static PLACE: Mutex<Option<PathBuf>> = Mutex::new(None);
static WAITING: Once = Once::new();

/// Has Ctrl-C remove the copy before the process ends.
fn remove_at_signal(place: PathBuf) {
    *PLACE.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
    WAITING.call_once(|| {
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        if signals.thread_block().is_err() {
            return;
        }
        std::thread::spawn(move || {
            let signal = signals.wait().unwrap_or(Signal::SIGINT);
            if let Some(place) = PLACE.lock().unwrap_or_else(PoisonError::into_inner).take() {
                // Whatever cannot be removed, the user asked for the end.
                std::fs::remove_dir_all(place).ok();
            }
            std::process::exit(128 + signal as i32);
        });
    });
}

fn keep_log(mut log: &File, path: &Path) -> Result<()> {
    let failed = || Failure::usage(format!("cannot write the audit log to `{}`", path.printable()));
    let mut content = Vec::new();
    std::io::Seek::rewind(&mut log).and_then(|()| log.read_to_end(&mut content)).with_context(failed)?;
    let name = path.file_name().and_then(|name| name.to_str()).with_context(failed)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = Directory::open(parent, Links::Followed).with_context(failed)?;
    directory.replace_with(name, &content, for_user(0o600), |_| Ok(())).with_context(failed)
}

fn read(path: &Path) -> Result<String> {
    let failed = || Failure::usage("cannot read the description of the trial");
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(LONGEST).read_to_string(&mut text).with_context(failed)?;
    } else {
        File::open(path).with_context(failed)?.take(LONGEST).read_to_string(&mut text).with_context(failed)?;
    }
    Ok(text)
}

/// Makes a scenario of the flags.
fn described(arguments: &Arguments) -> Result<Scenario> {
    let source = |(name, text): (String, String)| {
        let unfit = || Failure::usage(format!("the source of the secret `{}` is not {FORMS}", printable(&name)));
        let source = Source::named(&text).with_context(unfit)?;
        Ok((name, source))
    };
    let secret_sources = pairs("--secret", &arguments.secrets)?.into_iter().map(source).collect::<Result<_>>()?;
    let files = |flag, values: &[String]| -> Result<BTreeMap<String, PathBuf>> {
        Ok(pairs(flag, values)?.into_iter().map(|(name, path)| (name, PathBuf::from(path))).collect())
    };
    Ok(Scenario {
        base: arguments.rootfs.clone(),
        grants: (!arguments.grants.is_empty()).then(|| arguments.grants.clone()),
        params: pairs("--param", &arguments.params)?,
        assets: files("--asset", &arguments.assets)?,
        secret_sources,
        packages: pairs("--package", &arguments.packages)?,
        downloads: files("--download", &arguments.downloads)?,
        checkouts: files("--checkout", &arguments.checkouts)?,
        commands: arguments.commands.iter().map(|text| stub(text)).collect::<Result<_>>()?,
        ..Scenario::default()
    })
}

fn stub(text: &str) -> Result<StubCommand> {
    let mut words = text.split_whitespace().map(str::to_owned);
    let program = words.next().with_context(|| Failure::usage("--command must name a program"))?;
    Ok(StubCommand {
        program,
        args: words.collect(),
        status: 0,
        stdout: String::new(),
        stderr: String::new(),
        files: Vec::new(),
        optional: true,
    })
}

/// Takes `NAME=VALUE` apart; in an address the last `=` is meant.
fn pairs(flag: &str, values: &[String]) -> Result<BTreeMap<String, String>> {
    let split = |text: &String| {
        let parts =
            if ["--download", "--checkout"].contains(&flag) { text.rsplit_once('=') } else { text.split_once('=') };
        let parts = parts.filter(|(name, _)| !name.is_empty());
        let (name, value) =
            parts.with_context(|| Failure::usage(format!("{flag} `{}` must be NAME=VALUE", printable(text))))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    values.iter().map(split).collect()
}

/// Shows log, changes, refusals and what is wrong.
fn show(outcome: &Outcome, ui: &Ui) {
    for line in &outcome.log {
        ui.info(&format!("{} | {}", printable(&outcome.plugin), line.text));
    }
    for line in tree(&outcome.changes) {
        ui.data(&line);
    }
    if outcome.changes.is_empty() {
        ui.info("it changed nothing");
    }
    for refused in &outcome.refused {
        ui.warn(&format!("refused: `{}` in call {}, {}", refused.scope, refused.call, refused.function));
    }
    for problem in &outcome.problems {
        ui.warn(problem);
    }
    if let Some(error) = &outcome.error {
        ui.error(&rebuilt(error));
    }
}

/// Returns the failure of a trial as the failure that it was.
fn rebuilt(problem: &Problem) -> anyhow::Error {
    let mut messages = problem.messages.iter().cloned();
    let outermost = messages.next().unwrap_or_default();
    let failure = problem.hints.iter().fold(Failure::new(problem.kind, outermost), Failure::hint);
    let mut causes = messages.rev();
    match causes.next() {
        None => failure.into(),
        Some(innermost) => with_cause(causes.fold(anyhow::anyhow!(innermost), with_cause), failure),
    }
}

/// Draws the changes as a tree: each with what happened to it, and who did that.
fn tree(changes: &[Effect]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut above: Vec<&str> = Vec::new();
    for effect in changes {
        let parts: Vec<&str> = effect.change.path.split('/').filter(|part| !part.is_empty()).collect();
        let Some((name, directories)) = parts.split_last() else {
            lines.push(format!("/  {} by {}", effect.change.kind, effect.by()));
            continue;
        };
        let common = above.iter().zip(directories).take_while(|(a, b)| a == b).count();
        for (depth, directory) in directories.iter().enumerate().skip(common) {
            lines.push(format!("{}{}{}/", "  ".repeat(depth), if depth == 0 { "/" } else { "" }, printable(directory)));
        }
        let indent = "  ".repeat(directories.len());
        let root = if directories.is_empty() { "/" } else { "" };
        let end = if effect.change.directory { "/" } else { "" };
        let text = format!("{root}{}{end}  {} by {}", printable(name), effect.change.kind, effect.by());
        lines.extend(wrapped(&indent, &format!("{indent}    "), &text, text_columns()));
        above = directories.to_vec();
        if effect.change.directory {
            above.push(name);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::report::Who;
    use crate::rootfs::changes::{Change, ChangeKind};

    #[test]
    fn changes_are_drawn_as_a_tree() {
        let effect = |path: &str, directory, call| Effect {
            change: Change {
                path: path.into(),
                kind: ChangeKind::Added,
                notable: BTreeSet::new(),
                unreadable: false,
                directory,
                place: PathBuf::new(),
            },
            by: [Who::Call(call, "fs.write".into())].into(),
        };
        let changes = [
            effect("/etc/a", false, 1),
            effect("/etc/b\n", false, 2),
            effect("/opt/x", true, 3),
            effect("/opt/x/y", false, 4),
            effect("/top", false, 5),
        ];
        let expected = [
            "/etc/",
            "  a  added by call 1, fs.write",
            "  b\\u{a}  added by call 2, fs.write",
            "/opt/",
            "  x/  added by call 3, fs.write",
            "    y  added by call 4, fs.write",
            "/top  added by call 5, fs.write",
        ];
        assert_eq!(tree(&changes), expected);
    }

    #[test]
    fn flags_are_pairs() {
        let text = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        assert_eq!(pairs("--param", &text(&["a=b=c"])).unwrap()["a"], "b=c");
        assert_eq!(pairs("--download", &text(&["https://x/?a=b=f"])).unwrap()["https://x/?a=b"], "f");
        for odd in ["a", "=b"] {
            let error = pairs("--param", &text(&[odd])).unwrap_err().to_string();
            assert_eq!(error, format!("--param `{odd}` must be NAME=VALUE"));
        }
    }
}
