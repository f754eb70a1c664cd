//! The documentation as a site, made by mdBook (<https://rust-lang.github.io/mdBook/>).
//!
//! The pages stay where they are read in the repository, and link to each other there; `docs/site/SUMMARY.md` gives their
//! order. For mdBook they are copied as they lie, so that the same links lead to the same pages. A directory's page is its
//! `README.md`, which mdBook has as `index.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::setup;

const SUMMARY: &str = "docs/site/SUMMARY.md";
const SETTINGS: &str = "docs/site/book.toml";
const README: &str = "README.md";
const INDEX: &str = "index.md";

/// Text of each page, by its path in the repository.
type Pages = BTreeMap<PathBuf, String>;

/// Makes the site, and prints the path of its first page.
pub(crate) fn write(target: &Path) -> Result<()> {
    let top = Path::new("");
    let pages = checked(top)?;
    setup::site_maker()?;
    let site = target.join("site");
    if site.exists() {
        fs::remove_dir_all(&site).with_context(|| format!("cannot remove {}", site.display()))?;
    }
    let put = |path: &Path, content: &[u8]| {
        let path = site.join(path);
        let parent = path.parent().unwrap_or(top);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, content))
            .with_context(|| format!("cannot write {}", path.display()))
    };
    let source = Path::new("src");
    for (path, text) in &pages {
        put(&source.join(as_index(path)), rewritten(top, path, path.parent().unwrap_or(top), text).as_bytes())?;
        for file in
            targets(top, path, text).into_iter().filter(|file| !pages.contains_key(file) && top.join(file).is_file())
        {
            put(
                &source.join(&file),
                &fs::read(top.join(&file)).with_context(|| format!("cannot read {}", file.display()))?,
            )?;
        }
    }
    put(&source.join("SUMMARY.md"), rewritten(top, Path::new(SUMMARY), top, &read(Path::new(SUMMARY))?).as_bytes())?;
    put(Path::new("book.toml"), read(Path::new(SETTINGS))?.as_bytes())?;
    let status = Command::new("mdbook").arg("build").arg(&site).stdout(std::io::stderr()).status();
    ensure!(status.context("cannot start mdbook")?.success(), "`mdbook build` failed");
    for path in pages.keys().map(|path| site.join("html").join(as_index(path)).with_extension("html")) {
        ensure!(path.is_file(), "mdBook has not made {}", path.display());
    }
    println!("{}", site.join("html/index.html").display());
    Ok(())
}

/// Fails if a link of a page leads nowhere, or a page is not on the site.
pub(crate) fn check(top: &Path) -> Result<()> {
    checked(top).map(drop)
}

fn checked(top: &Path) -> Result<Pages> {
    let mut pages = Pages::new();
    for page in targets(top, Path::new(SUMMARY), &read(&top.join(SUMMARY))?) {
        let text = read(&top.join(&page)).with_context(|| format!("{SUMMARY} names a page that is not there"))?;
        pages.insert(page, text);
    }
    let mut found = problems(top, &pages);
    for entry in fs::read_dir(top.join("docs")).context("cannot list docs")? {
        let path = Path::new("docs").join(entry.context("cannot list docs")?.file_name());
        if path.extension().is_some_and(|extension| extension == "md") && !pages.contains_key(&path) {
            found.push(format!("{} is not in {SUMMARY}", path.display()));
        }
    }
    if found.is_empty() { Ok(pages) } else { bail!("links of the documentation:\n{}", found.join("\n")) }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Describes each link that leads nowhere.
fn problems(top: &Path, pages: &Pages) -> Vec<String> {
    let mut found = Vec::new();
    for (page, text) in pages {
        for link in links(text) {
            let line = text[..link.at.start].matches('\n').count() + 1;
            let mut object = |what: &str| found.push(format!("{}:{line}: `{}` {what}", page.display(), link.to));
            let (target, anchor) = link.target(top, page);
            let Some(content) = pages.get(&target) else {
                if !top.join(&target).exists() {
                    object("leads nowhere");
                } else if top.join(&target).is_dir() {
                    object("leads to a directory without a README.md");
                } else if target.extension().is_some_and(|extension| extension == "md") {
                    object(&format!("leads to a page that is not in {SUMMARY}"));
                }
                continue;
            };
            if anchor.is_some_and(|anchor| !anchors(content).contains(anchor)) {
                object("leads to no heading of that page");
            }
        }
    }
    found
}

/// A link to something in the repository.
struct Link {
    /// Place of the whole link in its page.
    at: Range<usize>,
    to: String,
}

impl Link {
    /// Returns the file that it leads to from a page, and the heading there.
    fn target(&self, top: &Path, page: &Path) -> (PathBuf, Option<&str>) {
        let (path, anchor) = self.to.split_once('#').map_or((self.to.as_str(), None), |(path, it)| (path, Some(it)));
        if path.is_empty() {
            return (page.to_owned(), anchor);
        }
        let target = normal(&page.parent().unwrap_or(top).join(path));
        let index = target.join(README);
        (if top.join(&index).is_file() { index } else { target }, anchor)
    }
}

fn parser(text: &str) -> Parser<'_> {
    Parser::new_ext(text, Options::ENABLE_TABLES)
}

/// Lists the links and pictures of a page that lead to the repository's own files.
fn links(text: &str) -> Vec<Link> {
    let link = |(event, at)| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
            Some(Link { at, to: dest_url.into_string() })
        }
        _ => None,
    };
    parser(text).into_offset_iter().filter_map(link).filter(|link| !link.to.contains(':')).collect()
}

/// Lists the files that the links of a page lead to.
fn targets(top: &Path, page: &Path, text: &str) -> BTreeSet<PathBuf> {
    links(text).iter().map(|link| link.target(top, page).0).collect()
}

/// Returns the names of a page's headings, as GitHub and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let (mut found, mut title) = (BTreeSet::new(), None::<String>);
    for event in parser(text) {
        match (event, &mut title) {
            (Event::Start(Tag::Heading { .. }), _) => title = Some(String::new()),
            (Event::End(TagEnd::Heading(_)), _) => found.extend(title.take().map(|title| anchor(&title))),
            (Event::Text(text) | Event::Code(text), Some(title)) => title.push_str(&text),
            _ => {}
        }
    }
    found
}

fn anchor(title: &str) -> String {
    let kept = title.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || ['-', '_', ' '].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Returns a page's text with the links as they are on the site, if the page lies in `directory` there.
fn rewritten(top: &Path, page: &Path, directory: &Path, text: &str) -> String {
    let mut result = String::new();
    let mut done = 0;
    for link in links(text) {
        let (target, anchor) = link.target(top, page);
        if target == page {
            continue;
        }
        // The text of a link may hold a picture, which is a link of its own and comes first.
        let Some(at) = text[link.at.clone()].rfind(&link.to).map(|at| link.at.start + at).filter(|at| *at >= done)
        else {
            continue;
        };
        result.push_str(&text[done..at]);
        result.push_str(&relative(directory, &as_index(&target)));
        result.extend(anchor.map(|anchor| format!("#{anchor}")));
        done = at + link.to.len();
    }
    result + &text[done..]
}

fn as_index(path: &Path) -> PathBuf {
    if path.ends_with(README) { path.with_file_name(INDEX) } else { path.to_owned() }
}

/// Returns the way from a directory to a file, both from the top.
fn relative(directory: &Path, file: &Path) -> String {
    let up = directory.components().map(|_| "..".to_owned());
    let down = file.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    up.chain(down).collect::<Vec<_>>().join("/")
}

/// Takes `.` and `..` out of a path.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, part| {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            other => path.push(other),
        }
        path
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(all: &[(&str, &str)]) -> Pages {
        all.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect()
    }

    #[test]
    fn each_link_of_the_documentation_leads_somewhere() {
        check(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()).unwrap();
    }

    #[test]
    fn a_link_that_leads_nowhere_is_named() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let other = "# A `title`, and more\n## Zwei Wörter\n";
        for (text, expected) in [
            ("[a](b.md) [b](b.md#a-title-and-more) [c](#d) [d](https://x) [e](../xtask/Cargo.toml)\n\n# D\n", ""),
            ("[a](b.md#zwei-wörter) `[b](none)`\n\n```text\n[c](none)\n```\n", ""),
            ("a\n\n[a](c.md)", "docs/a.md:3: `c.md` leads nowhere"),
            ("![a](none.svg)", "docs/a.md:1: `none.svg` leads nowhere"),
            ("[a](b.md#none)", "docs/a.md:1: `b.md#none` leads to no heading of that page"),
            ("[a](#none)", "docs/a.md:1: `#none` leads to no heading of that page"),
            ("[a](../xtask/src)", "docs/a.md:1: `../xtask/src` leads to a directory without a README.md"),
            (
                "[a](../SECURITY.md)",
                "docs/a.md:1: `../SECURITY.md` leads to a page that is not in docs/site/SUMMARY.md",
            ),
        ] {
            let found = problems(top, &pages(&[("docs/a.md", text), ("docs/b.md", other)]));
            assert_eq!(found.join("\n"), expected, "{text}");
        }
    }

    #[test]
    fn links_are_those_of_the_site() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for (page, text, expected) in [
            ("docs/a.md", "[a](../README.md#x) [b](b.md) [c](#d)", "[a](../index.md#x) [b](../docs/b.md) [c](#d)"),
            (
                "docs/a.md",
                "[a](../plugins/base), `../plugins/base`",
                "[a](../plugins/base/index.md), `../plugins/base`",
            ),
            ("README.md", "[docs/b.md](docs/b.md)", "[docs/b.md](docs/b.md)"),
        ] {
            let page = Path::new(page);
            assert_eq!(rewritten(top, page, page.parent().unwrap(), text), expected);
        }
    }
}
