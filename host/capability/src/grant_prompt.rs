//! Questions to a user about the grants of one plugin, and the entry that `piimg.lock` then holds. Pure.
//!
//! What a build of the plugin was granted before is not asked again: of another build only the difference is shown.
//! No wildcard is proposed but those that the plugin itself asks for, and no scope that the site does not allow.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::capability::{Capability, Template};
use super::grant::{describe, forbidden_line, grouped, requested, spelled};
use super::info::{PluginInfo, Request};
use super::lock::{Entry, Lock};
use super::policy::{Ceiling, Limit};
use piimg_sandbox::error::{Failure, Result, with_cause};
use piimg_sandbox::text::{Printable as _, printable, shell_quoted};

/// The basis that the proposals for all plugins of a command have in common.
#[derive(Clone, Debug)]
pub struct Basis<'a> {
    pub lock: Option<&'a Lock>,
    pub ceiling: &'a Ceiling,
    /// `--grant`: what counts for this build and is neither asked for nor kept.
    pub flags: &'a [Template],
}

/// The questions for one plugin.
#[derive(Clone, Debug)]
pub struct Proposal {
    id: String,
    /// The plugin for people: id, version, file and the beginning of the digest.
    name: String,
    path: PathBuf,
    entry: Entry,
    before: Before,
    needed: Vec<Asked>,
    optional: Vec<Asked>,
    /// Requests that it could do without, and the site does not allow.
    forbidden: Vec<(Asked, PathBuf)>,
    /// Requests of another build that this one does not make.
    gone: Vec<String>,
}

/// The lock file's knowledge of the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    AnotherBuild,
    ThisBuild,
}

/// A scope to be granted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    scope: Template,
    request: Request,
    means: Option<String>,
}

/// A question that is answered with yes or no, and what is shown before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub lines: Vec<String>,
    pub question: String,
}

impl Question {
    /// Returns all its lines.
    pub fn into_text(mut self) -> Vec<String> {
        self.lines.push(self.question);
        self.lines
    }
}

impl Proposal {
    /// Proposes what a plugin asks for and was not granted. `values` are those of its parameters that are known.
    ///
    /// # Errors
    /// [`Failure::usage`] if it asks for what is no capability, [`Failure::grant`] if it needs what the site does not
    /// allow.
    pub fn new(info: &PluginInfo, values: &BTreeMap<String, String>, basis: &Basis<'_>) -> Result<Self> {
        let mut proposal = Self::start(info, basis);
        let has: Vec<Template> = proposal.entry.grant.iter().chain(basis.flags).cloned().collect();
        let known = known_before(info, basis);
        let limits = basis.ceiling.limits(&info.conf.id, &info.digest);
        let mut refused = Vec::new();
        for (scope, request) in requested(info)? {
            let (asked, capability) = ask(scope, request, values)?;
            let forbidden_by = capability.as_ref().and_then(|capability| forbids(&limits, capability));
            let was_declined = proposal.before == Before::AnotherBuild && includes(&known, scope);
            match (request.optional, forbidden_by) {
                (false, Some(file)) => refused.push((asked, file)),
                (true, Some(file)) => proposal.forbidden.push((asked, file)),
                _ if includes(&has, scope) => {}
                (false, None) => proposal.needed.push(asked),
                (true, None) if was_declined => {}
                (true, None) => proposal.optional.push(asked),
            }
        }
        match refused.is_empty() {
            true => Ok(proposal),
            false => Err(refuse(&info.conf.id, &refused).into()),
        }
    }

    /// Scopes that the user named, each as the plugin asks for it or narrower; nothing else is granted to another build.
    /// Scopes that the plugin does not ask for are left out: they may be meant for another plugin.
    ///
    /// # Errors
    /// As [`Proposal::new`].
    pub fn only(
        info: &PluginInfo,
        values: &BTreeMap<String, String>,
        basis: &Basis<'_>,
        scopes: &[Template],
    ) -> Result<Self> {
        let mut proposal = Self::start(info, basis);
        if proposal.before == Before::AnotherBuild {
            proposal.entry.grant.clear();
            proposal.gone.clear();
        }
        let limits = basis.ceiling.limits(&info.conf.id, &info.digest);
        let requests = requested(info)?;
        let mut refused = Vec::new();
        for scope in scopes {
            let asked_for = requests.iter().find(|(request, _)| is_asked_for(request, scope, values));
            let Some((_, request)) = asked_for.filter(|_| !proposal.entry.grant.contains(scope)) else { continue };
            let request = Request { scope: scope.into(), ..(*request).clone() };
            let (asked, capability) = ask(scope, &request, values)?;
            match capability.and_then(|capability| forbids(&limits, &capability)) {
                Some(file) => refused.push((asked, file)),
                None => proposal.needed.push(asked),
            }
        }
        match refused.is_empty() {
            true => Ok(proposal),
            false => Err(refuse(&info.conf.id, &refused).into()),
        }
    }

    /// Begins with what the lock file holds, before anything is asked.
    fn start(info: &PluginInfo, basis: &Basis<'_>) -> Self {
        let scopes: Vec<String> = info.requests.iter().map(|request| request.scope.to_string()).collect();
        let this = basis.lock.and_then(|lock| lock.grants(&info.digest, &info.requests));
        let another = basis.lock.and_then(|lock| lock.another_build(&info.conf.id, &info.digest));
        let (before, grant) = match (this, another) {
            (Some(grants), _) => (Before::ThisBuild, grants.into_iter().cloned().collect()),
            (None, Some(entry)) => (Before::AnotherBuild, kept(&entry.grant, &info.requests)),
            (None, None) => (Before::Nothing, Vec::new()),
        };
        let gone = match before {
            Before::AnotherBuild => {
                known_before(info, basis).iter().map(Template::to_string).filter(|old| !scopes.contains(old)).collect()
            }
            _ => Vec::new(),
        };
        let short = info.digest.get(..SHORT_DIGEST).unwrap_or(&info.digest);
        let name = format!(
            "`{}` {} ({}, {short}…)",
            printable(&info.conf.id),
            printable(&info.conf.version),
            info.path.printable()
        );
        let entry = Entry { id: info.conf.id.clone(), digest: info.digest.clone(), request: Some(scopes), grant };
        Self {
            id: info.conf.id.clone(),
            name,
            path: info.path.clone(),
            entry,
            before,
            needed: Vec::new(),
            optional: Vec::new(),
            forbidden: Vec::new(),
            gone,
        }
    }

    /// Returns whether a plugin asks for this scope, or for more than it.
    ///
    /// # Errors
    /// As [`Proposal::only`].
    pub fn concerns(info: &PluginInfo, values: &BTreeMap<String, String>, scope: &Template) -> Result<bool> {
        Ok(requested(info)?.iter().any(|(request, _)| is_asked_for(request, scope, values)))
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns whether there is nothing to ask: this very build has all that it asks for.
    pub fn is_empty(&self) -> bool {
        self.before == Before::ThisBuild && self.needed.is_empty() && self.optional.is_empty()
    }

    /// Asks whether the plugin gets what it cannot do without; `None` if it has that already.
    pub fn first(&self) -> Option<Question> {
        let name = &self.name;
        let mut lines = Vec::new();
        let count = self.needed.len();
        let (head, question) = match (self.before, count) {
            (Before::ThisBuild, 0) => return None,
            (Before::AnotherBuild, 0) => {
                let less = match self.gone.len() {
                    0 => String::new(),
                    gone => format!(", and for {gone} less"),
                };
                let same = match self.entry.grant.len() {
                    0 => "Accept it without any grant".to_owned(),
                    kept => format!("Grant it the {kept} that the other had and it asks for"),
                };
                let question = format!("{name} is another build, which asks for nothing new{less}. {same}?");
                return Some(Question { lines, question });
            }
            (Before::Nothing, 0) => {
                (format!("the plugin {name} asks for nothing that it could not do without"), "Accept it?".to_owned())
            }
            (Before::Nothing, _) => (format!("the plugin {name} asks for:"), grant_these(count, "")),
            (Before::ThisBuild, _) => (format!("the plugin {name} was not granted:"), grant_these(count, " too")),
            (Before::AnotherBuild, _) => (
                format!("the plugin {name} is another build than the one in the lock file, and asks for more:"),
                match self.entry.grant.len() {
                    0 => grant_these(count, ""),
                    kept => grant_these(count, &format!(", beside {kept} that the other had")),
                },
            ),
        };
        lines.push(head);
        if count > MANY {
            let file = shell_quoted(&self.path.to_string_lossy());
            lines.push(format!("(to see what they come to: piimg audit {file}; to grant some of them: --only SCOPE)"));
        }
        lines.extend(in_lines(&self.needed));
        if !self.gone.is_empty() {
            lines.push("it asks no longer for:".into());
            lines.extend(self.gone.iter().map(|scope| format!("  {}", spelled(scope, None))));
        }
        Some(Question { lines, question })
    }

    /// Asks for what the plugin can do without; `None` if there is no such request.
    pub fn second(&self) -> Option<Question> {
        if self.optional.is_empty() {
            return None;
        }
        let mut lines = vec![format!("`{}` can do without, but would use:", printable(&self.id))];
        lines.extend(in_lines(&self.optional));
        Some(Question { lines, question: grant_these(self.optional.len(), " too") })
    }

    /// Returns what it could do without and does not get, whoever would grant it.
    pub fn notes(&self) -> Vec<String> {
        let note = |(asked, file): &(Asked, PathBuf)| {
            format!(
                "`{}` does not allow `{}` what it can do without: {}",
                file.printable(),
                printable(&self.id),
                asked.line()
            )
        };
        self.forbidden.iter().map(note).collect()
    }

    /// Returns the entry of the lock file if the first question, and perhaps the second, was answered with yes.
    pub fn entry(&self, optional: bool) -> Entry {
        let mut entry = self.entry.clone();
        let more = self.needed.iter().chain(if optional { self.optional.as_slice() } else { &[] });
        entry.grant.extend(more.map(|asked| asked.scope.clone()));
        entry
    }

    /// Returns what it needs and would not have after a yes to what is asked.
    pub fn needed(&self) -> impl Iterator<Item = &str> {
        self.needed.iter().map(|asked| asked.request.scope.as_str())
    }
}

/// `sha256:` and enough of the digits to tell builds apart by eye.
const SHORT_DIGEST: usize = 7 + 12;

impl Asked {
    fn line(&self) -> String {
        describe(&self.request, self.means.as_deref())
    }
}

/// More scopes than are judged one by one.
const MANY: usize = 12;

fn in_lines(asked: &[Asked]) -> impl Iterator<Item = String> {
    let requests = asked.iter().map(|asked| (&asked.request, asked.means.as_deref()));
    grouped(requests).into_iter().map(|line| format!("  {line}"))
}

/// Returns whether a scope that the user typed, with a parameter or with its value, is what a plugin asks for or a part
/// of it.
fn is_asked_for(request: &Template, scope: &Template, values: &BTreeMap<String, String>) -> bool {
    let filled = request.fill(values).ok().zip(scope.fill(values).ok());
    request.seems_to_include(scope) || filled.is_some_and(|(request, scope)| request.includes(&scope))
}

fn grant_these(count: usize, how: &str) -> String {
    match count {
        1 => format!("Grant this{how}?"),
        _ => format!("Grant these {count}{how}?"),
    }
}

/// Returns a scope with what it means, as far as the values of its parameters are known.
fn ask(scope: &Template, request: &Request, values: &BTreeMap<String, String>) -> Result<(Asked, Option<Capability>)> {
    use super::capability::Unfilled;

    let capability = match scope.fill(values) {
        Ok(capability) => Some(capability),
        Err(Unfilled::NoValue(_)) => None,
        Err(unfit) => return Err(with_cause(unfit.into(), Failure::usage("cannot ask for a grant"))),
    };
    let means = capability.as_ref().map(Capability::to_string);
    Ok((Asked { scope: scope.clone(), request: request.clone(), means }, capability))
}

fn forbids(limits: &[Limit], capability: &Capability) -> Option<PathBuf> {
    limits.iter().find(|limit| !limit.includes(capability)).map(|limit| limit.file.clone())
}

fn refuse(id: &str, refused: &[(Asked, PathBuf)]) -> Failure {
    let lines: String =
        refused.iter().map(|(asked, file)| forbidden_line(&asked.request, asked.means.as_deref(), file)).collect();
    let failure =
        Failure::grant(format!("the plugin `{}` cannot be granted what is not allowed here:{lines}", printable(id)));
    failure.hint("only a change of the policy could allow it")
}

/// Returns what the last other build asked for, or was granted by a list that somebody wrote by hand.
fn known_before(info: &PluginInfo, basis: &Basis<'_>) -> Vec<Template> {
    let entry = basis.lock.and_then(|lock| lock.another_build(&info.conf.id, &info.digest));
    entry.into_iter().flat_map(Entry::asked).filter_map(|scope| Template::parse(scope).ok()).collect()
}

/// Keeps of another build's grants what this one asks for: the request where the grant is as wide or wider, the grant
/// where the user had granted less.
fn kept(grants: &[Template], requests: &[Request]) -> Vec<Template> {
    let mut kept: Vec<Template> = Vec::new();
    for request in requests.iter().filter_map(|request| request.scope.template().ok()) {
        if includes(grants, request) {
            kept.push(request.clone());
        } else {
            kept.extend(grants.iter().filter(|grant| request.includes(grant)).cloned());
        }
    }
    kept.dedup();
    kept
}

fn includes(outer: &[Template], inner: &Template) -> bool {
    outer.iter().any(|outer| outer.includes(inner))
}

#[cfg(test)]
mod tests;
