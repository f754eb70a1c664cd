//! Changes the text of `piimg.lock`, and leaves what is not changed as it was written, comments included. Pure.

use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, Value, value};

use super::{Entry, Lock, Template};
use piimg_sandbox::error::{Context as _, Result};

pub(super) const NEW: &str =
    "# What plugins may do, by the digest of each. `piimg grant` writes it; it may be edited.\nversion = 1\n";

/// Puts an entry into the file's text, or into a new file. It takes the place of all entries of the same component and
/// of other builds of the same plugin.
///
/// # Errors
/// If the text is no lock file.
pub fn set(text: Option<&str>, entry: &Entry) -> Result<String> {
    let mut document = parse(text.unwrap_or(NEW))?;
    let plugins = plugins(&mut document)?;
    let is_same = |table: &Table| field(table, "digest") == entry.digest || field(table, "id") == entry.id;
    let mut same = (0..plugins.len()).filter(|&index| plugins.get(index).is_some_and(is_same)).collect::<Vec<_>>();
    match same.is_empty() {
        true => {
            let mut table = Table::new();
            table.decor_mut().set_prefix("\n");
            fill(&mut table, entry);
            plugins.push(table);
        }
        false => {
            let first = plugins.get_mut(same.remove(0)).context("an entry is gone")?;
            fill(first, entry);
            for index in same.into_iter().rev() {
                plugins.remove(index);
            }
        }
    }
    finish(&document)
}

/// Takes entries out of the file's text: those of the component with this digest and of the plugin with this id, or
/// only the grants of theirs that are named. Returns the text and the grants that are gone; `None` if it has nothing of
/// that.
///
/// # Errors
/// If the text is no lock file.
pub fn revoke(text: &str, id: &str, digest: Option<&str>, only: &[String]) -> Result<Option<(String, Vec<String>)>> {
    let mut document = parse(text)?;
    let plugins = plugins(&mut document)?;
    let is_meant = |table: &Table| Some(field(table, "digest")) == digest || field(table, "id") == id;
    let (mut gone, mut has_changed) = (Vec::new(), false);
    for index in (0..plugins.len()).rev() {
        let Some(table) = plugins.get_mut(index).filter(|table| is_meant(table)) else { continue };
        let grants = strings(table.get("grant"));
        if only.is_empty() {
            plugins.remove(index);
            gone.extend(grants);
            has_changed = true;
            continue;
        }
        let (taken, left): (Vec<String>, Vec<String>) = grants.into_iter().partition(|scope| only.contains(scope));
        if !taken.is_empty() {
            table["grant"] = list(&left);
            gone.extend(taken);
            has_changed = true;
        }
    }
    Ok(if has_changed { Some((finish(&document)?, gone)) } else { None })
}

fn parse(text: &str) -> Result<DocumentMut> {
    Lock::parse(text)?;
    Ok(text.parse()?)
}

/// Returns the document's text, after checking that it reads back as written.
fn finish(document: &DocumentMut) -> Result<String> {
    let text = document.to_string();
    Lock::parse(&text).context("the changed file would not be understood")?;
    Ok(text)
}

fn plugins(document: &mut DocumentMut) -> Result<&mut ArrayOfTables> {
    let item = document.entry("plugin").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    // `plugin = [{ … }]` is the same file in another spelling.
    if item.as_array_of_tables().is_none() {
        *item = Item::ArrayOfTables(std::mem::take(item).into_array_of_tables().ok().context("`plugin` is no list")?);
    }
    item.as_array_of_tables_mut().context("`plugin` is no list of tables")
}

/// Writes what differs, so that comments beside the rest stay.
fn fill(table: &mut Table, entry: &Entry) {
    for (key, text) in [("id", &entry.id), ("digest", &entry.digest)] {
        if field(table, key) != *text {
            table[key] = value(text.as_str());
        }
    }
    let grant: Vec<String> = entry.grant.iter().map(Template::to_string).collect();
    for (key, texts) in [("request", entry.request.as_deref()), ("grant", Some(grant.as_slice()))] {
        match texts {
            None => {
                table.remove(key);
            }
            Some(texts) if !table.contains_key(key) || strings(table.get(key)) != texts => table[key] = list(texts),
            Some(_) => {}
        }
    }
}

fn field<'a>(table: &'a Table, key: &str) -> &'a str {
    table.get(key).and_then(Item::as_str).unwrap_or_default()
}

fn strings(item: Option<&Item>) -> Vec<String> {
    let array = item.and_then(Item::as_array);
    array.into_iter().flat_map(Array::iter).filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Makes a list with one line for each text: one change is then one line of a diff.
fn list(texts: &[String]) -> Item {
    let mut array = Array::new();
    for text in texts {
        array.push_formatted(Value::from(text.as_str()).decorated("\n  ", ""));
    }
    if !texts.is_empty() {
        array.set_trailing("\n");
        array.set_trailing_comma(true);
    }
    value(array)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    fn entry(id: &str, digit: char, scopes: &[&str]) -> Entry {
        let scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
        let grant = scopes.iter().map(|scope| Template::parse(scope).unwrap()).collect();
        Entry { id: id.into(), digest: digest(digit), request: Some(scopes), grant }
    }

    /// A file that somebody wrote by hand.
    fn by_hand() -> String {
        format!(
            "# ours\nversion = 1 # of the file\n\n# the first\n[[plugin]]\nid = \"a/a\" # from the shop\ndigest = \"{}\"\ngrant = [\n  \"asset:x\", # the logo\n]\n\n\
             # the second\n[[plugin]]\nid = \"b/b\"\ndigest = \"{}\"\ngrant = [\"asset:y\", \"asset:z\"]\n# the end\n",
            digest('a'),
            digest('b')
        )
    }

    #[test]
    fn a_new_file_has_one_line_for_each_scope() {
        let text = set(None, &entry("a/a", 'a', &["fs:write:/etc/x", "exec:sh -c \"x\""])).unwrap();
        let expected = format!(
            "{NEW}\n[[plugin]]\nid = \"a/a\"\ndigest = \"{}\"\nrequest = [\n  \"fs:write:/etc/x\",\n  'exec:sh -c \"x\"',\n]\n\
             grant = [\n  \"fs:write:/etc/x\",\n  'exec:sh -c \"x\"',\n]\n",
            digest('a')
        );
        assert_eq!(text, expected);
        let empty = set(None, &entry("a/a", 'a', &[])).unwrap();
        assert!(empty.ends_with("request = []\ngrant = []\n"), "{empty}");
    }

    #[test]
    fn what_others_have_stays_as_it_was_written() {
        let text = set(Some(&by_hand()), &entry("c/c", 'c', &["asset:c"])).unwrap();
        assert!(text.starts_with(by_hand().trim_end_matches("# the end\n")), "{text}");
        assert!(text.contains("# the end") && text.contains("id = \"c/c\""), "{text}");

        let text = set(Some(&by_hand()), &entry("b/b", 'd', &["asset:y"])).unwrap();
        let (first, second) = text.split_once("# the second\n").unwrap();
        assert!(by_hand().starts_with(first), "{text}");
        assert!(second.contains(&digest('d')) && !text.contains(&digest('b')) && !text.contains("asset:z"), "{text}");
        assert!(text.ends_with("# the end\n"), "{text}");
    }

    #[test]
    fn setting_the_same_changes_nothing() {
        let entry = entry("a/a", 'a', &["asset:x", "asset:\"odd\""]);
        let text = set(Some(&by_hand()), &entry).unwrap();
        assert_eq!(set(Some(&text), &entry).unwrap(), text);
        let unchanged = Entry { request: None, grant: vec![Template::parse("asset:x").unwrap()], ..entry };
        assert_eq!(set(Some(&by_hand()), &unchanged).unwrap(), by_hand());
    }

    #[test]
    fn one_entry_takes_the_place_of_all_of_its_plugin() {
        let twice = format!("{}[[plugin]]\nid = \"a/a\"\ndigest = \"{}\"\ngrant = []\n", by_hand(), digest('e'));
        let text = set(Some(&twice), &entry("a/a", 'e', &["asset:e"])).unwrap();
        assert_eq!(text.matches("\"a/a\"").count(), 1, "{text}");
        assert!(text.contains("# the first") && text.contains(&digest('e')) && text.contains("b/b"), "{text}");
    }

    #[test]
    fn an_inline_list_is_understood() {
        let inline = format!("version = 1\nplugin = [{{ id = \"a/a\", digest = \"{}\", grant = [] }}]\n", digest('a'));
        let text = set(Some(&inline), &entry("b/b", 'b', &["asset:x"])).unwrap();
        assert!(text.contains(&digest('a')) && text.contains(&digest('b')), "{text}");
    }

    #[test]
    fn grants_are_revoked_whole_or_one_by_one() {
        let (text, gone) = revoke(&by_hand(), "b/b", None, &[]).unwrap().unwrap();
        assert_eq!(gone, ["asset:y", "asset:z"]);
        assert!(!text.contains("b/b") && text.contains("\"asset:x\", # the logo"), "{text}");

        let (text, gone) = revoke(&by_hand(), "b/b", None, &["asset:y".into()]).unwrap().unwrap();
        assert_eq!(gone, ["asset:y"]);
        assert!(text.contains("b/b") && text.contains("asset:z") && !text.contains("asset:y"), "{text}");

        let (text, gone) = revoke(&by_hand(), "other", Some(&digest('a')), &[]).unwrap().unwrap();
        assert!(gone == ["asset:x"] && !text.contains("a/a"), "{text}");

        for (id, only) in [("c/c", vec![]), ("c/c", vec!["asset:x".into()]), ("a/a", vec!["asset:y".into()])] {
            assert_eq!(revoke(&by_hand(), id, Some(&digest('c')), &only).unwrap(), None);
        }
    }

    #[test]
    fn what_is_no_lock_is_not_changed() {
        for text in ["version = 2\n", "nonsense", "version = 1\nplugin = 3\n"] {
            assert!(set(Some(text), &entry("a/a", 'a', &[])).is_err(), "{text}");
            assert!(revoke(text, "a/a", None, &[]).is_err(), "{text}");
        }
    }
}
