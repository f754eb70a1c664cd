//! Coverage of calls by capabilities, found a second time by trying everything; what follows from inclusion; and the
//! gate.

use std::collections::BTreeMap;
use std::path::Path;

use arbitrary::{Result, Unstructured};
use piimg::download::Url;
use piimg::plugin::grant::{GrantSet, Granted, scopes_of};
use piimg::plugin::info::{PluginInfo, Request};
use piimg::plugin::policy::Ceiling;
use piimg::plugin::{Capability, Invocation, Need, Reach, ServiceAction, UserAction};

use super::naive::{choices, glob, segments, words};

/// A scope by its parts.
#[derive(Clone, Debug)]
enum Scope<'a> {
    Path { write: bool, segments: Vec<&'a str> },
    Exec { env: Vec<&'a str>, program: &'a str, args: Vec<&'a str> },
    Name { kind: &'a str, glob: String },
    Net { scheme: &'a str, host: &'a str, port: &'a str, segments: Vec<&'a str> },
}

/// The capability that a call needs, by its parts.
#[derive(Clone, Debug)]
enum Call<'a> {
    Path { write: bool, segments: Vec<&'a str> },
    Tree { write: bool, segments: Vec<&'a str> },
    Exec { env: Vec<&'a str>, program: &'a str, args: Vec<&'a str> },
    Name { kind: &'a str, name: String },
    Net { scheme: &'a str, host: &'a str, port: &'a str, segments: Vec<&'a str>, query: bool },
}

const NAMES: [&str; 7] = ["a", "b", "ab", "ba", "é", "e\u{301}", "A"];
const GLOBS: [&str; 10] = ["a", "b", "ab", "*", "a*", "*b", "a*b", "**", "é", "*a*"];
/// Beside names: what a path that was not resolved may have, and a name that looks like a wildcard.
const SEGMENTS: [&str; 10] = ["a", "b", "ab", "ba", "", "..", ".", "*", "é", "A"];
const PROGRAMS: [&str; 4] = ["sh", "/bin/sh", "id", "/bin/id"];
const ARG_GLOBS: [&str; 5] = ["a", "-c", "*", "**", "ab"];
const ARGS: [&str; 7] = ["a", "-c", "*", "**", "ab", "", "a b"];
/// `LANG` may be set to a locale without being asked for.
const VARIABLE_GLOBS: [&str; 8] = ["A=1", "A=*", "A=", "B=1", "B=a*", "LANG=C", "LANG=*", "LANG=/x"];
const VARIABLES: [&str; 9] = ["A=1", "A=*", "A=", "B=1", "B=a b", "B=a*", "LANG=C", "LANG=/x", "LANG=C C"];
const KINDS: [&str; 15] = [
    "pkg:install:",
    "pkg:remove:",
    "debconf:aa/",
    "asset:",
    "boot:config:",
    "boot:cmdline:",
    "svc:enable:",
    "svc:disable:",
    "svc:mask:",
    "svc:install:",
    "user:create:",
    "user:group:",
    "user:keys:",
    "user:password:",
    "secret:",
];
const PIECES: [&str; 5] = ["a", "b", "root", "r", "1"];
const GLOB_PIECES: [&str; 6] = ["a", "b", "*", "root", "r", "1"];
const HOSTS: [&str; 6] = ["example.org", "a.example.org", "b.a.example.org", "evilexample.org", "org", "127.0.0.1"];
const HOST_GLOBS: [&str; 6] = ["example.org", "*.example.org", "*.a.example.org", "a.example.org", "org", "127.0.0.1"];
const PORTS: [&str; 4] = ["", ":443", ":80", ":8080"];
const SCHEMES: [&str; 2] = ["https", "http"];

fn kind_of_name<'a>(input: &mut Unstructured<'_>) -> Result<&'a str> {
    input.choose(&KINDS).copied()
}

impl<'a> Scope<'a> {
    fn choose(input: &mut Unstructured<'_>, which: u8) -> Result<Self> {
        Ok(match which {
            0 => Self::Path { write: input.arbitrary()?, segments: words(input, &GLOBS, 5)? },
            1 => Self::Exec {
                env: words(input, &VARIABLE_GLOBS, 2)?,
                program: input.choose(&PROGRAMS)?,
                args: words(input, &ARG_GLOBS, 4)?,
            },
            2 => {
                let kind = kind_of_name(input)?;
                let suffix = if kind.starts_with("svc:") { ".service" } else { "" };
                Self::Name { kind, glob: words(input, &GLOB_PIECES, 4)?.concat() + suffix }
            }
            _ => Self::Net {
                scheme: input.choose(&SCHEMES)?,
                host: input.choose(&HOST_GLOBS)?,
                port: input.choose(&PORTS)?,
                segments: words(input, &GLOBS[..8], 4)?,
            },
        })
    }

    fn text(&self) -> String {
        match self {
            Self::Path { write, segments } => {
                format!("fs:{}:/{}", if *write { "write" } else { "read" }, segments.join("/"))
            }
            Self::Exec { env, program, args } => {
                format!("exec:{}", [env.as_slice(), &[*program], args.as_slice()].concat().join(" "))
            }
            Self::Name { kind, glob } => format!("{kind}{glob}"),
            Self::Net { scheme, host, port, segments } => format!("net:{scheme}://{host}{port}/{}", segments.join("/")),
        }
    }

    /// Decides by the words of the plugin author's guide.
    fn covers(&self, call: &Call<'_>) -> bool {
        match (self, call) {
            (Self::Path { write, segments: pattern }, Call::Path { write: wanted, segments: path }) => {
                write == wanted && covers_path(pattern, path)
            }
            (Self::Path { write, segments: pattern }, Call::Tree { write: wanted, segments: path }) => {
                write == wanted && pattern.last() == Some(&"**") && covers_path(pattern, path)
            }
            (Self::Exec { env: variables, program, args: pattern }, Call::Exec { env, program: wanted, args }) => {
                let (fixed, more) = match pattern.split_last() {
                    Some((&"**", fixed)) => (fixed, true),
                    _ => (pattern.as_slice(), false),
                };
                let name = |word: &str| word.split('=').next().map(str::to_owned);
                let sets = |variable: &&str| {
                    env.iter().any(|set| set == variable || (variable.ends_with("=*") && name(set) == name(variable)))
                };
                let is_free =
                    |set: &&str| *set == "LANG=C" || variables.iter().any(|variable| name(set) == name(variable));
                program == wanted
                    && variables.iter().all(sets)
                    && env.iter().all(is_free)
                    && (args.len() == fixed.len() || (more && args.len() > fixed.len()))
                    && fixed.iter().zip(args).all(|(one, arg)| *one == "*" || one == arg)
            }
            (Self::Name { kind, glob: pattern }, Call::Name { kind: wanted, name }) => {
                kind == wanted && !(kind.starts_with("user:") && name == "root") && glob(pattern, name)
            }
            (
                Self::Net { scheme, host, port, segments: pattern },
                Call::Net { scheme: wanted, host: name, port: number, segments: path, query },
            ) => {
                let real = |port: &str| match (port, *scheme) {
                    ("", "https") => ":443".to_owned(),
                    ("", _) => ":80".to_owned(),
                    (port, _) => port.to_owned(),
                };
                let is_host = match host.strip_prefix('*') {
                    Some(rest) => name.len() > rest.len() && name.ends_with(rest),
                    None => host == name,
                };
                let path: &[&str] = if path.is_empty() { &[""] } else { path };
                scheme == wanted
                    && is_host
                    && real(port) == real(number)
                    && (!query || pattern.last().is_some_and(|last| last.ends_with('*')))
                    && segments(pattern, path)
            }
            _ => false,
        }
    }
}

fn covers_path(pattern: &[&str], path: &[&str]) -> bool {
    let path: Vec<&str> = path.iter().copied().filter(|segment| !segment.is_empty()).collect();
    !path.contains(&"..") && segments(pattern, &path)
}

impl<'a> Call<'a> {
    fn choose(input: &mut Unstructured<'_>, which: u8) -> Result<Self> {
        Ok(match which {
            0 if input.ratio(1, 4)? => Self::Tree { write: input.arbitrary()?, segments: words(input, &SEGMENTS, 5)? },
            0 => Self::Path { write: input.arbitrary()?, segments: words(input, &SEGMENTS, 5)? },
            1 => {
                let mut env = words(input, &VARIABLES, 2)?;
                // No command has one twice.
                env.dedup_by_key(|word| word.split('=').next());
                Self::Exec { env, program: input.choose(&PROGRAMS)?, args: words(input, &ARGS, 4)? }
            }
            2 => {
                let kind = kind_of_name(input)?;
                let suffix = if kind.starts_with("svc:") { ".service" } else { "" };
                Self::Name { kind, name: words(input, &PIECES, 4)?.concat() + suffix }
            }
            _ => Self::Net {
                scheme: input.choose(&SCHEMES)?,
                host: input.choose(&HOSTS)?,
                port: input.choose(&PORTS)?,
                segments: words(input, &NAMES[..4], 4)?,
                query: input.arbitrary()?,
            },
        })
    }

    fn need(&self) -> Need {
        let path = |segments: &[&str]| format!("/{}", segments.join("/"));
        match self {
            Self::Path { write: true, segments } => Need::fs_write(path(segments)),
            Self::Path { write: false, segments } => Need::fs_read(path(segments)),
            Self::Tree { write: true, segments } => Need::fs_write_tree(path(segments)),
            Self::Tree { write: false, segments } => Need::fs_read_tree(path(segments)),
            Self::Exec { env, program, args } => {
                let variables = env.iter().filter_map(|word| word.split_once('='));
                Need::Exec(variables.fold(Invocation::new(program, args), |call, (name, value)| call.with(name, value)))
            }
            Self::Name { kind, name } => named(kind, name.clone()),
            Self::Net { scheme, host, port, segments, query } => {
                let query = if *query { "?q" } else { "" };
                let url = format!("{scheme}://{host}{port}/{}{query}", segments.join("/"));
                Need::net(Url::parse(&url).expect("it is put together from good parts").to_string())
            }
        }
    }
}

fn named(kind: &str, name: String) -> Need {
    match kind {
        "pkg:install:" => Need::PkgInstall(name),
        "pkg:remove:" => Need::PkgRemove(name),
        "debconf:aa/" => Need::Debconf(format!("aa/{name}")),
        "asset:" => Need::Asset(name),
        "boot:config:" => Need::BootConfig(name),
        "boot:cmdline:" => Need::BootCmdline(name),
        "svc:enable:" => Need::service(ServiceAction::Enable, &name),
        "svc:disable:" => Need::service(ServiceAction::Disable, &name),
        "svc:mask:" => Need::service(ServiceAction::Mask, &name),
        "svc:install:" => Need::service(ServiceAction::Install, &name),
        "user:create:" => Need::user(UserAction::Create, &name),
        "user:group:" => Need::user(UserAction::Group, &name),
        "user:password:" => Need::user(UserAction::Password, &name),
        "secret:" => Need::Secret(name),
        _ => Need::user(UserAction::Keys, &name),
    }
}

pub(super) fn check(data: &[u8]) -> bool {
    choices(data, |input| {
        let which = input.int_in_range(0..=3)?;
        let call = Call::choose(input, which)?;
        let need = call.need();
        let mut scopes = Vec::new();
        for _ in 0..3 {
            // Another kind now and then.
            let which = if input.ratio(1, 8)? { input.int_in_range(0..=3)? } else { which };
            let scope = Scope::choose(input, which)?;
            if let Ok(capability) = Capability::parse(&scope.text()) {
                assert_eq!(capability.covers(&need), scope.covers(&call), "{capability} covers {need}");
                scopes.push((scope, capability));
            }
        }
        for (_, outer) in &scopes {
            for (_, inner) in &scopes {
                if outer.includes(inner) && inner.covers(&need) {
                    assert!(outer.covers(&need), "{outer} includes {inner}, which alone covers {need}");
                }
            }
            check_tree(outer, &need);
        }
        check_needed(&call, &need);
        let is_covered = scopes.iter().any(|(scope, _)| scope.covers(&call));
        let [(requested, _), (granted, _), (allowed, _)] = scopes.as_slice() else { return Ok(is_covered) };
        let granted = if input.ratio(1, 2)? { requested } else { granted };
        let bounded: bool = input.arbitrary()?;
        let ceiling = bounded.then_some(allowed);
        let expected =
            requested.covers(&call) && granted.covers(&call) && ceiling.is_none_or(|scope| scope.covers(&call));
        let set = grants(requested, granted, ceiling);
        assert_eq!(set.allows(&need).is_ok(), expected, "{requested:?}, {granted:?} and {ceiling:?} allow {need}");
        Ok(is_covered)
    })
}

/// Checks that a tree is covered only if all that could be in it is.
fn check_tree(outer: &Capability, need: &Need) {
    let (path, one): (_, fn(String) -> Need) = match need {
        Need::FsWrite(Reach::Tree(path)) => (path, Need::fs_write),
        Need::FsRead(Reach::Tree(path)) => (path, Need::fs_read),
        _ => return,
    };
    if outer.covers(need) {
        for below in ["", "/a", "/*", "/x/.y/z", "/é/b/a/A"] {
            let inside = one(format!("{path}{below}"));
            assert!(outer.covers(&inside), "{outer} covers {need}, but not {inside}");
        }
    }
}

/// Checks that what a refusal says was needed is enough.
fn check_needed(call: &Call<'_>, need: &Need) {
    let unresolved =
        matches!(call, Call::Path { segments, .. } | Call::Tree { segments, .. } if segments.contains(&".."));
    if let Ok(capability) = Capability::parse(&need.to_string()) {
        let is_root = matches!(need, Need::User(change) if change.to_string().ends_with(":root"));
        assert!(capability.covers(need) || unresolved || is_root, "{need} is not enough for itself");
    }
}

fn grants(requested: &Scope<'_>, granted: &Scope<'_>, ceiling: Option<&Scope<'_>>) -> GrantSet {
    let mut info = PluginInfo::default();
    info.conf.id = "a/b".into();
    info.requests =
        vec![Request { scope: requested.text().into(), reason: String::new(), optional: false, listed: false }];
    let text = |scope: &Scope<'_>| format!("version = 1\nallow = [{}]\n", toml::Value::from(scope.text()));
    let files: Vec<_> = ceiling.into_iter().map(|scope| (Path::new("policy.toml"), text(scope))).collect();
    let ceiling = Ceiling::parse(&files).expect("a capability is a bound");
    let granted = Granted {
        scopes: scopes_of("--grant", &[granted.text()]).expect("it is a capability"),
        ceiling,
        ..Granted::default()
    };
    GrantSet::new(&info, &BTreeMap::new(), &granted).expect("they are capabilities")
}
