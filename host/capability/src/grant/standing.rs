//! Determines the status of each of a plugin's requests, and the failure if a required one is not granted.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::GrantSet;
use crate::capability::Kind;
use crate::info::Request;
use piimg_sandbox::error::Failure;
use piimg_sandbox::text::{Printable as _, printable, shell_quoted};

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
    /// Returns the status of each request, in order.
    pub fn standings(&self) -> Vec<Standing<'_>> {
        let standings = self.requested.iter().map(|(capability, request)| Standing {
            request,
            means: capability.to_string(),
            state: self.state(capability),
        });
        standings.collect()
    }

    /// Returns whether a grant is all that is missing: what a prompt could mend.
    pub fn wants_grants(&self) -> bool {
        let states: Vec<State> = self.needs().map(|standing| standing.state).collect();
        !self.locked
            && states.contains(&State::Missing)
            && !states.iter().any(|state| matches!(state, State::Forbidden(_)))
    }

    /// Returns the requests that the plugin cannot work without.
    fn needs(&self) -> impl Iterator<Item = Standing<'_>> {
        self.standings().into_iter().filter(|standing| !standing.request.optional)
    }

    /// Makes one failure for all required grants that are missing; `None` if none is.
    pub fn check(&self) -> Option<Failure> {
        check_all(std::slice::from_ref(self))
    }

    /// Returns what the plugin lacks, in lines; `None` if nothing.
    fn lacks(&self) -> Option<Lack> {
        let id = printable(&self.id);
        let missing: Vec<_> = self.needs().filter(|standing| standing.state == State::Missing).collect();
        let forbidden: Vec<_> = self.needs().filter(|standing| matches!(standing.state, State::Forbidden(_))).collect();
        let policies = forbidden.iter().filter_map(|standing| match &standing.state {
            State::Forbidden(file) => Some(file.clone()),
            _ => None,
        });
        let lack = |texts: Vec<String>| Lack { text: texts.join("\n"), is_mended_by_grant: true, policies: Vec::new() };
        if self.same_as_before && (self.unlisted || !missing.is_empty()) && forbidden.is_empty() {
            return Some(lack(vec![format!(
                "the plugin `{id}` is another build than the one in the lock file, which asks for nothing new"
            )]));
        }
        if self.unlisted {
            return Some(lack(vec![format!("the plugin `{id}` is not in the lock file, by its digest")]));
        }
        let mut texts = Vec::new();
        if !missing.is_empty() {
            texts.push(format!(
                "the plugin `{id}` needs capabilities that nobody granted:{}",
                grouped(missing.iter().map(|standing| (standing.request, Some(standing.means.as_str()))))
                    .iter()
                    .map(|line| format!("\n  {line}"))
                    .collect::<String>()
            ));
        }
        if !forbidden.is_empty() {
            texts.push(format!("the plugin `{id}` needs capabilities that are not allowed here:{}", lines(&forbidden)));
        }
        if self.stale && !missing.is_empty() {
            texts.push("the grants in the lock file are for another build of it and do not count".into());
        }
        let is_mended_by_grant = !missing.is_empty();
        (!texts.is_empty()).then(|| Lack { is_mended_by_grant, policies: policies.collect(), ..lack(texts) })
    }
}

/// Grants that one plugin lacks.
struct Lack {
    text: String,
    is_mended_by_grant: bool,
    policies: Vec<PathBuf>,
}

/// Returns one failure for all that plugins lack, with the one command that grants it; `None` if they lack nothing.
pub fn check_all(plugins: &[GrantSet]) -> Option<Failure> {
    let lacks: Vec<(&GrantSet, Lack)> = plugins.iter().filter_map(|plugin| Some((plugin, plugin.lacks()?))).collect();
    let texts: Vec<&str> = lacks.iter().map(|(_, lack)| lack.text.as_str()).collect();
    let mut failure = Failure::grant(texts.join("\n"));
    let mut policies: Vec<&PathBuf> = lacks.iter().flat_map(|(_, lack)| &lack.policies).collect();
    policies.dedup();
    for file in policies {
        failure = failure.hint(format!("only a change of {} could allow it", quoted(file)));
    }
    let mended: Vec<&GrantSet> =
        lacks.iter().filter(|(_, lack)| lack.is_mended_by_grant).map(|(plugin, _)| *plugin).collect();
    let (first, _) = lacks.first()?;
    if !mended.is_empty() {
        let files: Vec<String> = mended.iter().map(|plugin| shell_quoted(&plugin.path.to_string_lossy())).collect();
        let without = if first.locked { ", without --locked" } else { "" };
        failure = failure.hint(format!(
            "to see, grant and keep it{without}: piimg grant{} {}",
            first.recipe,
            files.join(" ")
        ));
    }
    Some(failure)
}

/// Requests in lines for people, by kind; packages that a plugin lists are one line.
pub fn grouped<'a>(requests: impl Iterator<Item = (&'a Request, Option<&'a str>)>) -> Vec<String> {
    let all: Vec<(&Request, Option<&str>)> = requests.collect();
    let kind_of = |request: &Request| request.scope.kind().map(|kind| kind.name);
    let mut lines = Vec::new();
    for kind in Kind::all().map(|kind| Some(kind.name)).chain([None]) {
        let of_kind = all.iter().copied().filter(|(request, _)| kind_of(request) == kind);
        let is_package = |request: &Request| request.listed && kind == Some("pkg:install");
        let (listed, own): (Vec<(&Request, Option<&str>)>, Vec<_>) =
            of_kind.partition(|(request, _)| is_package(request));
        lines.extend(own.into_iter().map(|(request, means)| describe(request, means)));
        let names: Vec<String> = listed
            .iter()
            .filter_map(|(request, _)| Kind::split(&request.scope))
            .map(|(_, name)| spelled(name, None))
            .collect();
        if let Some((request, _)) = listed.first() {
            lines.push(format!("pkg:install:{}  ({})", names.join(", "), reason(request)));
        }
    }
    lines
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

/// Returns a line of a refusal, with the policy that is in the way.
pub fn forbidden_line(request: &Request, means: Option<&str>, file: &Path) -> String {
    format!("\n  {}  [not in {}]  ({})", spelled(&request.scope, means), quoted(file), reason(request))
}

/// Returns a request for people: its scope, what that means with the parameters' values if they are known, and the
/// reason.
pub fn describe(request: &Request, means: Option<&str>) -> String {
    format!("{}  ({})", spelled(&request.scope, means), reason(request))
}

/// Returns a reason, made fit for a line, and known as the author's words where it is not piimg's.
pub fn reason(request: &Request) -> String {
    let whose = if request.listed { "" } else { "it says: " };
    let mut reason = whose.to_owned() + &printable(&request.reason.chars().take(MAX_REASON).collect::<String>());
    if request.reason.chars().count() > MAX_REASON {
        reason.push('…');
    }
    reason
}

/// Returns a scope for people. Letters that look like others are named: what is compared is the bytes.
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
