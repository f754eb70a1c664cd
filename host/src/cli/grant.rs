//! `piimg grant`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;

use super::build_request::inspect_all;
use super::consent::{self, Answers};
use super::recipe::RecipeArguments;
use crate::error::{Failure, Result};
use crate::home::Home;
use crate::plugin::InspectedPlugin;
use crate::plugin::Template;
use crate::plugin::grant::scopes_of;
use crate::plugin::grant_prompt::{Basis, Proposal, Question};
use crate::plugin::lock::{self, Lock};
use crate::plugin::policy::Ceiling;
use crate::recipe::file::RecipeFile;
use crate::recipe::host::{HostPath, admit};
use crate::recipe::overrides::Overrides;
use crate::recipe::plan::{PluginSource, known_params};
use crate::recipe::trust::{Trust, refuse};
use crate::ui::{Printable as _, Ui, count, printable, shell_quoted};

/// Show what plugins ask for, and keep in `piimg.lock` what they may do.
#[derive(Debug, Args)]
#[command(after_help = "Example: piimg grant motd.wasm --only fs:write:/etc/motd")]
pub(super) struct Arguments {
    /// Plugin, as a file; those of the recipe if none is named. With --revoke also its id.
    #[arg(value_name = "PLUGIN")]
    plugins: Vec<PathBuf>,
    #[command(flatten)]
    recipe: RecipeArguments,
    /// Value of a plugin's parameter, to show what a scope means with it; may be repeated.
    #[arg(long = "param", value_name = "ID:NAME=VALUE")]
    params: Vec<String>,
    /// Policy that bounds what may be granted, beside the site's own.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Grant this scope only, as the plugin asks for it or narrower; may be repeated.
    #[arg(long, value_name = "SCOPE")]
    only: Vec<String>,
    /// Answer every question with yes.
    #[arg(short, long)]
    yes: bool,
    /// Take the grants out of the lock file, all or those named with --only.
    #[arg(long, conflicts_with = "yes")]
    revoke: bool,
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<i32> {
    let (lock, file) = (arguments.recipe.lock(), arguments.recipe.read()?);
    let home = Home::of_user();
    let paths = plugins(arguments, &file, home.as_ref())?;
    if paths.is_empty() {
        return Err(Failure::usage("there is no plugin to grant anything to")
            .hint("name one: piimg grant PLUGIN")
            .into());
    }
    if arguments.revoke {
        return revoke(&paths, &arguments.only, home.as_ref(), &lock, ui).map(|()| 0);
    }
    let infos = inspect_all(&paths, home.as_ref())?;
    let values = values(&infos, &file, &arguments.params)?;
    let ceiling = Ceiling::read(arguments.policy.as_deref())?;
    let only = scopes_of("--only", &arguments.only)?;
    check_only(&infos, &values, &only)?;
    for (info, values) in infos.iter().zip(&values) {
        grant(info, values, (arguments, &only), &ceiling, &lock, ui)?;
    }
    Ok(0)
}

/// Returns those that the user names, or those of the recipe.
fn plugins(arguments: &Arguments, file: &RecipeFile, home: Option<&Home>) -> Result<Vec<HostPath>> {
    if !arguments.plugins.is_empty() {
        return Ok(arguments.plugins.iter().map(HostPath::named).collect());
    }
    // Nothing else of the recipe is used.
    let file = RecipeFile { plugins: file.plugins.clone(), directory: file.directory.clone(), ..RecipeFile::default() };
    let trust = Trust::of_user(home, &file.directory)?;
    let admitted = admit(&file, &Overrides::default(), &trust);
    Ok(admitted.map_err(|wishes| refuse(&wishes, &file.directory, home, false))?.plugins)
}

/// Asks for one plugin.
fn grant(
    info: &InspectedPlugin,
    values: &BTreeMap<String, String>,
    (arguments, only): (&Arguments, &[Template]),
    ceiling: &Ceiling,
    path: &Path,
    ui: &Ui,
) -> Result<()> {
    let known = Lock::read(path)?;
    let basis = Basis { lock: known.as_ref(), ceiling, flags: &[] };
    let proposal = match only {
        [] => Proposal::new(info, values, &basis)?,
        _ => Proposal::only(info, values, &basis, only)?,
    };
    let id = printable(&info.conf.id);
    if proposal.is_empty() {
        proposal.notes().iter().for_each(|note| ui.say(note));
        ui.info(&format!("`{id}` has all of it already, in `{}`", path.printable()));
        return Ok(());
    }
    let answers = match (arguments.yes, ui.can_ask()) {
        (true, _) => Answers::Yes,
        (false, true) => Answers::Terminal,
        (false, false) => return Err(nobody_to_ask(&proposal, &info.path, &arguments.recipe).into()),
    };
    if !consent::ask(&proposal, path, answers, ui)? {
        return Err(Failure::grant(format!("nothing was granted to `{id}`")).into());
    }
    if !only.is_empty() {
        let known = Lock::read(path)?;
        let rest = Proposal::new(info, values, &Basis { lock: known.as_ref(), ceiling, flags: &[] })?;
        let rest: Vec<String> = rest.needed().map(|scope| format!("`{}`", printable(scope))).collect();
        if !rest.is_empty() {
            ui.warn(&format!("`{id}` says that it also needs {}: a build with it will be refused", rest.join(", ")));
        }
    }
    Ok(())
}

/// Returns what would be asked, where there is nobody to answer.
fn nobody_to_ask(proposal: &Proposal, path: &Path, recipe: &RecipeArguments) -> Failure {
    let questions = [proposal.first(), proposal.second()];
    let lines: Vec<String> = questions.into_iter().flatten().flat_map(Question::into_text).collect();
    Failure::grant(format!("there is no terminal to ask at:\n{}", lines.join("\n"))).hint(format!(
        "to agree to all of it: piimg grant --yes{} {}",
        recipe.words(),
        shell_quoted(&path.to_string_lossy())
    ))
}

/// Values of the plugins' parameters as far as they are known.
fn values(infos: &[InspectedPlugin], file: &RecipeFile, params: &[String]) -> Result<Vec<BTreeMap<String, String>>> {
    let flags = Overrides { params: params.to_vec(), ..Overrides::default() };
    let source = |info: &InspectedPlugin| PluginSource {
        path: info.path.clone(),
        digest: info.digest.clone(),
        conf: info.conf.clone(),
    };
    known_params(file, &flags, &infos.iter().map(source).collect::<Vec<_>>())
}

/// Refuses a scope that no plugin asks for: most often it is a spelling mistake.
fn check_only(infos: &[InspectedPlugin], values: &[BTreeMap<String, String>], only: &[Template]) -> Result<()> {
    for scope in only {
        let mut concerned = false;
        for (info, values) in infos.iter().zip(values) {
            concerned |= Proposal::concerns(info, values, scope)?;
        }
        if !concerned {
            return Err(Failure::usage(format!(
                "no plugin asks for `{}`, or for more than it",
                printable(scope.as_str())
            ))
            .hint("see what a plugin asks for: piimg inspect PLUGIN")
            .into());
        }
    }
    Ok(())
}

fn revoke(plugins: &[HostPath], only: &[String], home: Option<&Home>, path: &Path, ui: &Ui) -> Result<()> {
    let shown = path.printable();
    for plugin in plugins {
        // The file may be gone; what it was called is then enough.
        let (id, digest) = if plugin.path().exists() {
            let infos = inspect_all(std::slice::from_ref(plugin), home)?;
            infos.into_iter().next().map(|it| (it.info.conf.id, Some(it.info.digest))).unwrap_or_default()
        } else {
            (plugin.shown().to_string_lossy().into_owned(), None)
        };
        let mut gone = None;
        lock::update(path, |text| {
            let changed = text.map(|text| lock::revoke(text, &id, digest.as_deref(), only)).transpose()?.flatten();
            let (text, grants) = changed.unzip();
            gone = grants;
            Ok(text)
        })?;
        match gone {
            None => ui.info(&format!("`{}` has nothing of that in `{shown}`", printable(&id))),
            Some(grants) => {
                ui.info(&format!("`{}` lost {} in `{shown}`", printable(&id), count(grants.len(), "grant")));
                grants.iter().for_each(|scope| ui.info(&format!("  {}", printable(scope))));
            }
        }
    }
    Ok(())
}
