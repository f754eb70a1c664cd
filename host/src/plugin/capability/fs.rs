//! `fs:read:<glob>` and `fs:write:<glob>`.

use std::fmt;

use super::glob;

/// A glob over absolute paths of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathGlob {
    segments: Vec<String>,
}

impl PathGlob {
    pub(super) fn parse(scope: &str) -> Result<Self, String> {
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

    pub(super) fn matches(&self, path: &str) -> bool {
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        // A path that still has a `..` was not resolved: what it leads to is not known.
        !segments.contains(&"..")
            && glob::matches_all(&self.segments, &segments, &|pattern, item| glob::matches(pattern, item))
    }

    /// Whether the path and everything that could be below it is covered.
    pub(super) fn matches_tree(&self, path: &str) -> bool {
        self.segments.last().is_some_and(|last| last == "**") && self.matches(path)
    }

    pub(super) fn includes(&self, other: &Self) -> bool {
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
