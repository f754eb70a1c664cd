//! `fs:read:<glob>` and `fs:write:<glob>`: files of the image.

use std::fmt;

use super::glob::by_glob;
use super::kind::{Kind, Risk, Scope};
use super::{Need, glob};
use crate::places::{PLACES, Place};

pub const READ: Kind =
    Kind { name: "fs:read", verb: "read", cannot: Some("read files of the image"), by_command: true };
pub const WRITE: Kind =
    Kind { name: "fs:write", verb: "write", cannot: Some("write files of the image"), by_command: true };

/// Files that nobody may read but root.
const SECRET_FILES: [&str; 9] = [
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/ssh/ssh_host_*",
    "/etc/ssl/private/**",
    "/etc/NetworkManager/system-connections/**",
    "/etc/wpa_supplicant/**",
    "/etc/wireguard/**",
    "/home/*/.ssh/**",
    "/root/**",
];

/// A part of the image that a call reaches; paths are resolved ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    Path(String),
    /// The path and everything below it.
    Tree(String),
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.write_str(path),
            Self::Tree(path) => write!(f, "{}/**", path.trim_end_matches('/')),
        }
    }
}

impl Need {
    pub fn fs_read(path: String) -> Self {
        Self::FsRead(Reach::Path(path))
    }

    pub fn fs_read_tree(path: String) -> Self {
        Self::FsRead(Reach::Tree(path))
    }

    pub fn fs_write(path: String) -> Self {
        Self::FsWrite(Reach::Path(path))
    }

    pub fn fs_write_tree(path: String) -> Self {
        Self::FsWrite(Reach::Tree(path))
    }
}

/// Files that may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read(PathGlob);

impl Scope for Read {
    const KINDS: &'static [&'static Kind] = &[&READ];
    by_glob!(Reach, holds);

    fn parse(scope: &str) -> Result<Self, String> {
        PathGlob::parse(scope).map(Self)
    }

    fn risk(&self, _: &str) -> Option<(Risk, String)> {
        let glob = self.to_string();
        let is_secret = SECRET_FILES.iter().any(|path| crate::glob::meets_path(&glob, path));
        is_secret.then(|| (Risk::Medium, "reads password hashes and keys".to_owned()))
    }
}

impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Files that may be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write(PathGlob);

impl Scope for Write {
    const KINDS: &'static [&'static Kind] = &[&WRITE];
    by_glob!(Reach, holds);

    fn parse(scope: &str) -> Result<Self, String> {
        PathGlob::parse(scope).map(Self)
    }

    fn risk(&self, declared: &str) -> Option<(Risk, String)> {
        let glob = self.to_string();
        if begins_anywhere(&glob) {
            return Some((Risk::Critical, "writes anywhere in the image".to_owned()));
        }
        let any = || (Risk::Medium, format!("writes any file that `{declared}` matches"));
        reached(declared, &glob).or_else(|| declared.contains('*').then(any))
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Returns whether a glob matches in any directory of the image.
pub fn begins_anywhere(glob: &str) -> bool {
    glob.split('/').nth(1).is_some_and(|first| first.is_empty() || first.contains('*'))
}

/// Names the places that a glob could write to, the gravest risk and the first of them first.
fn reached(declared: &str, glob: &str) -> Option<(Risk, String)> {
    // A directory's owner and mode are in reach too, and a link in its place. The narrower place comes first: where one
    // has all that the glob matches, those after it say nothing more.
    let mut found: Vec<(&Place, &str, &str)> = Vec::new();
    for place in PLACES {
        if let Some(at) = place.within(glob) {
            found.push((place, "covers", at));
        } else if let Some(at) = place.below(glob) {
            found.push((place, "leads to", at));
        }
        if place.has_all_of(glob) {
            break;
        }
    }
    found.sort_by_key(|(place, ..)| std::cmp::Reverse(place.risk));
    let risk = found.first()?.0.risk;
    if !declared.contains(['*', '{']) && found[0].1 == "covers" {
        return Some((risk, format!("`{declared}` {}", found[0].0.does)));
    }
    const LISTED: usize = 3;
    let listed = found.iter().take(LISTED).map(|(place, how, at)| format!("{how} {at}, which {}", place.does));
    let more = match found.len().saturating_sub(LISTED) {
        0 => String::new(),
        1 => "; and one more such place".to_owned(),
        more => format!("; and {more} more such places"),
    };
    Some((risk, format!("`{declared}` {}{more}", listed.collect::<Vec<_>>().join("; "))))
}

/// A glob over absolute paths of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PathGlob {
    segments: Vec<String>,
}

impl PathGlob {
    /// Returns whether all of what a call reaches is matched.
    fn holds(&self, reach: &Reach) -> bool {
        match reach {
            Reach::Path(path) => self.matches(path),
            Reach::Tree(path) => self.matches_tree(path),
        }
    }

    fn parse(scope: &str) -> Result<Self, String> {
        let Some(rest) = scope.strip_prefix('/') else {
            return Err("the path is not absolute".into());
        };
        if rest.is_empty() {
            return Ok(Self { segments: Vec::new() });
        }
        if rest.ends_with('/') {
            return Err("the path ends in `/`; write `/**` for everything below it".into());
        }
        let segments: Vec<String> = rest.split('/').map(str::to_owned).collect();
        for segment in &segments {
            match segment.as_str() {
                "" => return Err("the path has `//` in it".into()),
                "." | ".." => return Err(format!("the path has `{segment}` in it")),
                "**" => {}
                text if text.contains("**") => return Err("`**` must be a whole segment".into()),
                text if text.contains(char::is_control) => {
                    return Err("the path has a control character in it".into());
                }
                _ => {}
            }
        }
        Ok(Self { segments })
    }

    fn matches(&self, path: &str) -> bool {
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        // A path that still has a `..` was not resolved: what it leads to is not known.
        !segments.contains(&"..")
            && glob::matches_all(&self.segments, &segments, &|pattern, item| glob::matches(pattern, item))
    }

    /// Returns whether the path and everything that could be below it is covered.
    fn matches_tree(&self, path: &str) -> bool {
        self.segments.last().is_some_and(|last| last == "**") && self.matches(path)
    }

    fn includes(&self, other: &Self) -> bool {
        // A `**` of the inner glob stands for segments unknown: only a `**` of the outer one may swallow it.
        let inner: Vec<&str> = other.segments.iter().map(String::as_str).collect();
        glob::matches_all(&self.segments, &inner, &|outer, inner| *inner != "**" && glob::includes(outer, inner))
    }
}

impl fmt::Display for PathGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.segments.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_segment_by_segment() {
        for (pattern, path, expected) in [
            ("/etc/foo", "/etc/foo", true),
            ("/etc/foo", "/etc/foobar", false),
            ("/etc/foo", "/etc/foo/x", false),
            ("/etc/foo", "/etc", false),
            ("/etc/foo*", "/etc/foobar", true),
            ("/etc/*", "/etc/a/b", false),
            ("/etc/*", "/etc", false),
            ("/etc/*/x", "/etc/../x", false),
            ("/etc/**", "/etc", true),
            ("/etc/**", "/etc/a/b", true),
            ("/etc/**", "/etcfoo", false),
            ("/etc/**", "/etc/../shadow", false),
            ("/**/x", "/x", true),
            ("/**/x", "/a/b/x", true),
            ("/**", "/", true),
            ("/", "/", true),
            ("/", "/etc", false),
            ("/home/*/.ssh/**", "/home/pi/.ssh/authorized_keys", true),
            ("/home/*/.ssh/**", "/home/pi/x/.ssh/k", false),
            // Near misses: another case, another letter that looks alike, another spelling of the same letter.
            ("/etc/foo", "/ETC/foo", false),
            ("/etc/foo", "/etc/Foo", false),
            ("/etc/foo", "/\u{435}tc/foo", false),
            ("/etc/foo", "/etc/f\u{3bf}o", false),
            ("/etc/foo", "/etc/foo\u{200b}", false),
            ("/etc/foo", "/etc\u{2215}foo", false),
            ("/etc/foo", "/etc\u{ff0f}foo", false),
            ("/srv/\u{e9}", "/srv/\u{e9}", true),
            ("/srv/\u{e9}", "/srv/e\u{301}", false),
            ("/srv/e\u{301}", "/srv/\u{e9}", false),
            ("/srv/*", "/srv/e\u{301}", true),
            ("/etc/foo", "/etc/foo ", false),
            ("/etc/foo", "/etc/ foo", false),
            // A slash too much is no other path; a `..` is.
            ("/etc/foo", "/etc/foo/", true),
            ("/etc/foo", "//etc///foo", true),
            ("/etc/foo", "/etc/x/../foo", false),
            ("/**", "/etc/..", false),
            ("/etc/**", "/etc/x/../../shadow", false),
            // A `.` is resolved before it comes here: what still has one is another name.
            ("/etc/foo", "/etc/./foo", false),
            // `*` does not cross `/`, `**` in the middle does.
            ("/srv/*/x", "/srv/a/x", true),
            ("/srv/*/x", "/srv/a/b/x", false),
            ("/srv/*/x", "/srv/x", false),
            ("/srv/a*z", "/srv/a/z", false),
            ("/srv/**/x", "/srv/x", true),
            ("/srv/**/x", "/srv/a/b/x", true),
            ("/srv/**/x", "/srv/a/b/x/y", false),
            ("/srv/**/x", "/srvx", false),
            ("/srv/**/x/*", "/srv/x/x/y", true),
            ("/srv/**/x/**/y", "/srv/a/x/b/y", true),
            ("/srv/**/x/**/y", "/srv/a/y/b/x", false),
            // Every letter of a scope but `*` means itself.
            ("/etc/[ab]", "/etc/a", false),
            ("/etc/?", "/etc/a", false),
            ("/etc/.*", "/etc/ab", false),
            ("/etc/a\\*", "/etc/a*", false),
        ] {
            assert_eq!(PathGlob::parse(pattern).unwrap().matches(path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_tree_needs_everything_below_it() {
        for (pattern, path, expected) in [
            ("/opt/app/**", "/opt/app", true),
            ("/opt/app/**", "/opt/app/bin", true),
            ("/opt/app/**", "/opt", false),
            ("/opt/*", "/opt/app", false),
            ("/opt/**/x", "/opt/x", false),
            ("/opt/app/**", "/opt/application", false),
            ("/opt/app/**", "/OPT/app", false),
            ("/opt/app/**", "/opt/app/../x", false),
            ("/opt/**/lib/**", "/opt/app/lib", true),
            ("/opt/app", "/opt/app", false),
            ("/**", "/", true),
        ] {
            assert_eq!(PathGlob::parse(pattern).unwrap().matches_tree(path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn malformed_globs_say_why() {
        for (scope, cause) in [
            ("", "not absolute"),
            ("etc", "not absolute"),
            ("/etc/", "ends in `/`"),
            ("/etc//x", "`//`"),
            ("//etc", "`//`"),
            ("/etc/../x", "`..`"),
            ("/./x", "`.`"),
            ("/etc/a**", "whole segment"),
            ("/etc/***", "whole segment"),
            ("/etc/\nx", "control character"),
            ("/etc/\0", "control character"),
            ("/etc/..", "`..`"),
            ("/..", "`..`"),
            ("/**/..", "`..`"),
            ("/etc/**x", "whole segment"),
            ("/**/", "ends in `/`"),
            (" /etc", "not absolute"),
            ("\u{2215}etc", "not absolute"),
        ] {
            let error = PathGlob::parse(scope).unwrap_err();
            assert!(error.contains(cause), "{scope}: {error}");
        }
    }

    #[test]
    fn inclusion_never_widens() {
        for (outer, inner, expected) in [
            ("/etc/x", "/etc/x", true),
            ("/etc/*", "/etc/x", true),
            ("/etc/*", "/etc/x*", true),
            ("/etc/x*", "/etc/*", false),
            ("/etc/**", "/etc/a/**", true),
            ("/etc/a/**", "/etc/**", false),
            ("/etc/*", "/etc/**", false),
            ("/etc/*/b", "/etc/**/b", false),
            ("/**", "/**", true),
            ("/a/**/z", "/a/b/**/z", true),
            ("/a/**/z", "/a/**", false),
            ("/a/*/z", "/a/**/z", false),
            ("/etc/foo", "/etc/foo/**", false),
            ("/etc/foo/**", "/etc/foo", true),
            ("/etc/foo/**", "/etc/foobar", false),
            ("/etc/foo", "/ETC/foo", false),
            ("/srv/\u{e9}", "/srv/e\u{301}", false),
            ("/a/x*", "/a/x*y", false),
        ] {
            let parse = |text| PathGlob::parse(text).unwrap();
            assert_eq!(parse(outer).includes(&parse(inner)), expected, "{outer} {inner}");
        }
    }
}
