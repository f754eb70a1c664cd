//! How each of a plugin's requests stands, and the failure where one that it needs stands badly.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::GrantSet;
use crate::error::Failure;
use crate::plugin::inspect::Request;
use crate::plugin::lock;
use crate::ui::{Printable as _, printable, shell_quoted};

/// Most characters of an author's reason that are shown: a longer one could push what matters off the screen.
const MAX_REASON: usize = 200;
/// Most letters outside ASCII that are named.
const MAX_ODD: usize = 8;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing<'a> {
    #[serde(flatten)]
    pub request: &'a Request,
    /// The capability that it is, with the values of its parameters.
    pub means: String,
    pub state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Granted,
    /// Nobody granted it.
    Missing,
    /// This policy does not allow it, whoever grants it.
    Forbidden(PathBuf),
}

impl GrantSet {
    /// How the requests stand, in their order.
    pub fn standings(&self) -> Vec<Standing<'_>> {
        let standings = self.requested.iter().map(|(capability, request)| Standing {
            request,
            means: capability.to_string(),
            state: self.state(capability),
        });
        standings.collect()
    }

    /// Whether a grant is all that is missing: what a prompt could mend.
    pub fn wants_grants(&self) -> bool {
        let states: Vec<State> = self.needs().map(|standing| standing.state).collect();
        !self.locked
            && states.contains(&State::Missing)
            && !states.iter().any(|state| matches!(state, State::Forbidden(_)))
    }

    /// What the plugin cannot do without.
    fn needs(&self) -> impl Iterator<Item = Standing<'_>> {
        self.standings().into_iter().filter(|standing| !standing.request.optional)
    }

    /// One failure for all that the plugin lacks; none if it lacks nothing.
    pub fn check(&self) -> Option<Failure> {
        let id = printable(&self.id);
        if self.unlisted {
            let failure = Failure::grant(format!("the plugin `{id}` is not in `piimg.lock`, by its digest"));
            return Some(failure.hint(format!("without --locked: {}", self.command())));
        }
        let missing: Vec<_> = self.needs().filter(|standing| standing.state == State::Missing).collect();
        let forbidden: Vec<_> = self.needs().filter(|standing| matches!(standing.state, State::Forbidden(_))).collect();
        let mut texts = Vec::new();
        if !missing.is_empty() {
            texts.push(format!("the plugin `{id}` needs capabilities that nobody granted:{}", lines(&missing)));
        }
        if !forbidden.is_empty() {
            texts.push(format!("the plugin `{id}` needs capabilities that are not allowed here:{}", lines(&forbidden)));
        }
        if self.stale && !missing.is_empty() {
            texts.push("the grants in `piimg.lock` are for another build of it and do not count".into());
        }
        if texts.is_empty() {
            return None;
        }
        let failure = Failure::grant(texts.join("\n"));
        let failure = forbidden.iter().fold(failure, |failure, standing| match &standing.state {
            State::Forbidden(file) => failure.hint(format!("only a change of {} could allow it", quoted(file))),
            _ => failure,
        });
        Some(if missing.is_empty() { failure } else { self.hints(failure, &missing) })
    }

    fn hints(&self, failure: Failure, missing: &[Standing<'_>]) -> Failure {
        let scopes = || missing.iter().map(|standing| standing.request.scope.as_str());
        let flags: Vec<String> = scopes().map(|scope| format!("--grant {}", shell_quoted(scope))).collect();
        let failure = match self.locked {
            true => failure,
            false => failure.hint(format!("for this build: {}", flags.join(" "))),
        };
        failure.hint(format!(
            "for good: {}, or in `piimg.lock` (a new file begins with `version = 1`):\n{}",
            self.command(),
            lock::lines(&self.id, &self.digest, scopes())
        ))
    }

    /// The command that would ask for what is missing.
    fn command(&self) -> String {
        let recipe =
            self.recipe.as_ref().map(|recipe| format!("--recipe {} ", shell_quoted(&recipe.to_string_lossy())));
        format!("piimg grant {}{}", recipe.unwrap_or_default(), shell_quoted(&self.path.to_string_lossy()))
    }
}

fn quoted(file: &Path) -> String {
    format!("`{}`", file.printable())
}

fn lines(standings: &[Standing<'_>]) -> String {
    let line = |standing: &Standing<'_>| match &standing.state {
        State::Forbidden(file) => forbidden_line(standing.request, Some(&standing.means), file),
        _ => format!("\n  {}", describe(standing.request, Some(&standing.means))),
    };
    standings.iter().map(line).collect()
}

/// A line of a refusal, with the policy that is in the way.
pub(in crate::plugin) fn forbidden_line(request: &Request, means: Option<&str>, file: &Path) -> String {
    format!("\n  {}  [not in {}]  ({})", spelled(&request.scope, means), quoted(file), reason(request))
}

/// A request for people: its scope, what that means with the parameters' values if they are known, and the reason.
pub fn describe(request: &Request, means: Option<&str>) -> String {
    format!("{}  ({})", spelled(&request.scope, means), reason(request))
}

/// A reason, made fit for a line, and known as the author's words where it is not piimg's.
pub fn reason(request: &Request) -> String {
    let whose = if request.listed { "" } else { "it says: " };
    let mut reason = whose.to_owned() + &printable(&request.reason.chars().take(MAX_REASON).collect::<String>());
    if request.reason.chars().count() > MAX_REASON {
        reason.push('…');
    }
    reason
}

/// A scope for people. Letters that look like others are named: what is compared is the bytes.
pub fn spelled(scope: &str, means: Option<&str>) -> String {
    let mut text = printable(scope);
    let means = means.filter(|means| *means != scope);
    if let Some(means) = means {
        text = format!("{text} → {}", printable(means));
    }
    let mut odd: Vec<char> = means.unwrap_or(scope).chars().filter(|c| !c.is_ascii()).collect();
    odd.sort_unstable();
    odd.dedup();
    if !odd.is_empty() {
        let named: Vec<String> = odd.iter().take(MAX_ODD).map(|c| c.escape_unicode().to_string()).collect();
        let more = if odd.len() > MAX_ODD { " …" } else { "" };
        text = format!("{text}  [not ASCII: {}{more}]", named.join(" "));
    }
    text
}
