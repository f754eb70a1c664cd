//! `piimg.lock`: what is written is what is read, and an edit for one plugin leaves the others and the comments.

use piimg::plugin::Template;
use piimg::plugin::grant::scopes_of;
use piimg::plugin::info::Request;
use piimg::plugin::lock::{self, Entry, Lock};
use toml::Value;

use super::naive::text;

/// Reads the entries by another reader: id, digest and grants.
fn entries(text: &str) -> Vec<(String, String, Vec<String>)> {
    let table: toml::Table = text.parse().expect("it was read before");
    let texts = |value: Option<&Value>| -> Vec<String> {
        let items = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let field = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let plugins = table.get("plugin").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    plugins.iter().map(|entry| (field(entry, "id"), field(entry, "digest"), texts(entry.get("grant")))).collect()
}

fn comments(text: &str) -> usize {
    text.lines().filter(|line| line.trim_start().starts_with("# kept")).count()
}

pub(super) fn check(data: &[u8]) -> bool {
    let Some(text) = text(data) else { return false };
    check_lines(text);
    if Lock::parse(text).is_err() {
        let entry = Entry { id: "a/b".into(), digest: digest('b'), request: None, grant: Vec::new() };
        assert!(lock::set(Some(text), &entry).is_err(), "what is not read is not changed: {text:?}");
        return false;
    }
    let old = entries(text);
    for id in ["a/b", "new/one"] {
        check_edit(text, &old, id);
    }
    !old.is_empty()
}

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// Gives one plugin grants, and takes them away again.
fn check_edit(text: &str, old: &[(String, String, Vec<String>)], id: &str) {
    let grant = vec!["exec:sh **".to_owned(), "fs:write:/etc/\"x\"".to_owned()];
    let templates = scopes_of("--grant", &grant).expect("they are capabilities");
    let entry = Entry { id: id.into(), digest: digest('e'), request: Some(grant.clone()), grant: templates };
    let set = lock::set(Some(text), &entry).unwrap_or_else(|error| panic!("{error:#} in {text:?}"));
    let is_same = |known: &&(String, String, Vec<String>)| known.0 == id || known.1 == entry.digest;
    let others: Vec<_> = old.iter().filter(|known| !is_same(known)).cloned().collect();
    let new = entries(&set);
    assert_eq!(new.iter().filter(|known| !is_same(known)).cloned().collect::<Vec<_>>(), others, "{text:?} is {set:?}");
    assert_eq!(new.iter().filter(is_same).collect::<Vec<_>>(), [&(id.to_owned(), entry.digest.clone(), grant.clone())]);
    let request = |scope: &String| Request {
        scope: scope.as_str().into(),
        reason: String::new(),
        optional: false,
        listed: false,
    };
    let requests: Vec<Request> = grant.iter().map(request).collect();
    let lock = Lock::parse(&set).expect("it was written by us");
    assert_eq!(lock.grants(&entry.digest, &requests), Some(entry.grant.iter().collect()), "{set:?}");
    assert_eq!(lock::set(Some(&set), &entry).expect("it was written by us"), set, "the second time changes nothing");
    if old.iter().all(|known| !is_same(&known)) {
        assert_eq!(comments(&set), comments(text), "{text:?} is {set:?}");
    }
    let (revoked, gone) = lock::revoke(&set, id, None, &[]).expect("it was written by us").expect("it is there");
    assert_eq!((entries(&revoked), gone.len()), (others, 2), "{set:?} is {revoked:?}");
}

/// Checks the lines that a message tells people to add.
fn check_lines(text: &str) {
    let scope = format!("fs:write:/{}", text.chars().take(100).collect::<String>());
    let lines = lock::lines(text, &digest('a'), [scope.as_str()]);
    match Lock::parse(&format!("version = 1\n{lines}\n")) {
        Ok(lock) => assert_eq!(lock.grants(&digest('a'), &[]).expect("it is there"), [scope.as_str()], "{lines}"),
        Err(error) => assert!(Template::parse(&scope).is_err(), "{error:#} in {lines}"),
    }
}
