//! Implements the text functions of `fs`, for files and lines. Editing reads and writes, so it needs both capabilities.

use super::blobs::{MAX_CONTENT, check_size};
use super::fs::FinalLink;
use super::{Answer, Session};
use crate::plugin::capability::Need;
use crate::plugin::protocol::Place;
use crate::plugin::workbench::{CallError, ErrorCode};
use crate::rootfs::files::ImagePath;
use crate::ui::printable;

impl Session<'_> {
    pub(super) fn read_text(&mut self, path: &str) -> Answer<String> {
        let place = self.resolve_authorized(path, FinalLink::Follow, &[Need::fs_read])?;
        self.text(&place)
    }

    pub(super) fn ensure_line(&mut self, path: &str, line: &str, place: &Place) -> Answer<bool> {
        if line.contains(['\n', '\r', '\0']) {
            return Err(CallError::new(ErrorCode::Invalid, "a line contains no line break and no NUL character"));
        }
        let file = self.resolve_authorized(path, FinalLink::Follow, &[Need::fs_read, Need::fs_write])?;
        let old = self.text(&file)?;
        match with_line(&old, line, place) {
            Some(new) => self.edit(&file, &new).map(|()| true),
            None => Ok(false),
        }
    }

    pub(super) fn replace(&mut self, path: &str, old: &str, new: &str) -> Answer<u64> {
        if old.is_empty() {
            return Err(CallError::new(ErrorCode::Invalid, "there is no text to look for"));
        }
        let file = self.resolve_authorized(path, FinalLink::Follow, &[Need::fs_read, Need::fs_write])?;
        let text = self.text(&file)?;
        let count = text.matches(old).count();
        // Checked before the text is made: replacing a short text by a long one could exhaust the memory.
        let length = text.len() - count * old.len() + count.saturating_mul(new.len());
        if length > MAX_CONTENT {
            return Err(CallError::new(
                ErrorCode::Limit,
                format!("the result would have more than {MAX_CONTENT} bytes"),
            ));
        }
        if count > 0 {
            self.edit(&file, &text.replace(old, new))?;
        }
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    fn text(&self, place: &ImagePath) -> Answer<String> {
        let limit = u64::try_from(MAX_CONTENT).unwrap_or(u64::MAX);
        String::from_utf8(self.bench.rootfs().read(place, limit)?).map_err(|_| {
            CallError::new(ErrorCode::Invalid, format!("`{}` is no UTF-8 text", printable(place.as_str())))
        })
    }

    fn edit(&mut self, place: &ImagePath, text: &str) -> Answer<()> {
        check_size(text.as_bytes())?;
        let attrs = self.attrs_for(place, None)?;
        Ok(self.bench.rootfs().write(place, text.as_bytes(), attrs)?)
    }
}

/// Returns the text with the line in its place; `None` if it is there already. Every line ends in a line break then.
fn with_line(text: &str, line: &str, place: &Place) -> Option<String> {
    let mut lines: Vec<&str> = text.lines().collect();
    if lines.contains(&line) {
        return None;
    }
    let find = |start: &str| lines.iter().position(|line| line.starts_with(start));
    match place {
        Place::Start => lines.insert(0, line),
        Place::End => lines.push(line),
        Place::Before(start) => {
            let at = find(start).unwrap_or(lines.len());
            lines.insert(at, line);
        }
        Place::After(start) => {
            let at = find(start).map_or(lines.len(), |at| at + 1);
            lines.insert(at, line);
        }
        Place::InsteadOf(start) => match find(start) {
            Some(at) => lines[at] = line,
            None => lines.push(line),
        },
    }
    let mut text = lines.join("\n");
    text.push('\n');
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_added_once_in_its_place() {
        for (text, place, expected) in [
            ("", Place::End, Some("new\n")),
            ("a\nb", Place::End, Some("a\nb\nnew\n")),
            ("a\nb\n", Place::Start, Some("new\na\nb\n")),
            ("a\nb\n", Place::Before("b".into()), Some("a\nnew\nb\n")),
            ("a\nb\n", Place::After("a".into()), Some("a\nnew\nb\n")),
            ("a\nb=1\n", Place::InsteadOf("b=".into()), Some("a\nnew\n")),
            ("a\n", Place::InsteadOf("b=".into()), Some("a\nnew\n")),
            ("a\nnew\n", Place::Start, None),
            ("a\nnewer\n", Place::End, Some("a\nnewer\nnew\n")),
        ] {
            assert_eq!(with_line(text, "new", &place).as_deref(), expected, "{text:?} {place:?}");
        }
    }
}
