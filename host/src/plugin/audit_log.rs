//! Writes the audit log of a run: every host function call with its arguments, its result, and the final state of the
//! files that it wrote. One JSON object per line, which can be searched, and replayed to the plugin.
//!
//! Secrets are not in it: a plugin has none, it holds handles. Bytes that a plugin passed are there by digest alone;
//! bytes that it was given are there whole, for without them nothing could be replayed.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::protocol::{Call, ImageInfo, Reply};
use super::run::Run;
use super::workbench::{ConnectionNote, Outcome};
use crate::error::{Context as _, Failure, Result, with_cause};

/// Version of the log's format; older programs must refuse a newer one. Version 1 had calls by their names in piimg's
/// source, and bytes of replies in hexadecimal.
pub(super) const VERSION: u32 = 2;
const READABLE: [u32; 2] = [1, VERSION];

/// Longest line that is read: the biggest reply, in hexadecimal digits, and some room.
const LONGEST_LINE: u64 = 64 << 20;

/// Most bytes of a log: a plugin that reads more than half of this in one run copies what it does not need.
const LONGEST: u64 = 4 << 30;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Line {
    Begin(Begin),
    Call(Box<CallLine>),
    End(End),
}

/// Inputs of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    pub log_version: u32,
    pub plugin: String,
    pub plugin_version: String,
    pub digest: String,
    pub image: ImageInfo,
    pub params: std::collections::BTreeMap<String, String>,
    /// Scopes that were requested and granted.
    pub granted: Vec<String>,
    /// Most instructions, and bytes of memory.
    pub fuel: u64,
    pub memory: usize,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallLine {
    pub number: u64,
    pub plugin: String,
    /// The host function, `interface.function`; in version 1 with its arguments.
    pub call: Value,
    /// Arguments by name. Bytes that the plugin passed are given by length and digest.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub args: Value,
    /// Each capability that it needed, for the resolved path, and whether that was allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Asked>,
    /// Files it was allowed to write, before and after.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileChange>,
    /// Connections that its command requested.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<ConnectionNote>,
    pub reply: Value,
    pub microseconds: u64,
}

/// A question to the gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub scope: String,
    pub allowed: bool,
}

/// A file that a call may have written: `sha256:` and the digits, `None` if it is not there or no file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    pub path: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// End of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    pub plugin: String,
    pub calls: u64,
    /// Instructions, if the guest returned.
    pub fuel: Option<u64>,
    /// The failure's message; `None` if the run succeeded.
    pub error: Option<String>,
}

/// A log that is being written.
#[derive(Debug)]
pub struct Transcript {
    outs: Vec<File>,
    /// Bytes that may still be written.
    left: u64,
}

impl Transcript {
    /// Writes each line to all files: one is lost with its layer if the build fails.
    pub fn new(outs: Vec<File>) -> Self {
        Self { outs, left: LONGEST }
    }

    /// Appends a line. It is complete in all files when this returns: even if the build is killed, what a plugin was
    /// told is on record.
    ///
    /// # Errors
    /// If a file cannot be written, or becomes too long.
    pub(super) fn write(&mut self, line: &Line) -> Result<()> {
        const FAILED: &str = "cannot write the audit log";
        let mut text = serde_json::to_vec(line).context(FAILED)?;
        text.push(b'\n');
        let left = u64::try_from(text.len()).ok().and_then(|length| self.left.checked_sub(length));
        self.left = left
            .with_context(|| Failure::plugin(format!("its audit log is longer than {}", crate::ui::bytes(LONGEST))))?;
        self.outs.iter_mut().try_for_each(|out| out.write_all(&text)).context(FAILED)
    }
}

impl Begin {
    /// Describes a run that is about to begin.
    pub(super) fn of(run: &Run<'_>) -> Self {
        Self {
            log_version: VERSION,
            plugin: run.plugin.conf.id.clone(),
            plugin_version: run.plugin.conf.version.clone(),
            digest: run.plugin.digest.clone(),
            image: run.image.clone(),
            params: run.params.clone(),
            granted: run.grants.held().map(|(capability, _)| capability.to_string()).collect(),
            fuel: run.limits.fuel,
            memory: run.limits.memory,
        }
    }
}

/// Reads a log to its end.
///
/// # Errors
/// [`Failure::usage`] naming the line that is none of a log, or is of another version.
pub fn read(log: impl Read) -> Result<Vec<Line>> {
    let mut reader = BufReader::new(log);
    let mut lines = Vec::new();
    for number in 1.. {
        let mut text = String::new();
        let failed = || Failure::usage(format!("cannot use line {number} of the audit log"));
        let length = reader.by_ref().take(LONGEST_LINE).read_line(&mut text).with_context(failed)?;
        if length == 0 {
            break;
        }
        let line: Line = serde_json::from_str(&text).with_context(failed)?;
        if let Line::Begin(begin) = &line
            && !READABLE.contains(&begin.log_version)
        {
            let cause = anyhow::anyhow!("its version is {}, this piimg reads 1 and {VERSION}", begin.log_version);
            return Err(with_cause(cause, failed()));
        }
        lines.push(line);
    }
    Ok(lines)
}

/// Returns a call as a log of that version has it: the function and its arguments.
pub fn call(call: &Call, version: u32) -> (Value, Value) {
    let whole = serde_json::to_value(call).expect("calls are plain data");
    if version == 1 {
        return (whole, Value::Null);
    }
    let args = match whole {
        Value::Object(fields) => fields.into_iter().next().map_or(Value::Null, |(_, args)| args),
        _ => Value::Null,
    };
    (call.function().name.into(), args)
}

/// Returns a reply as the log has it.
pub fn reply(reply: &Reply) -> Value {
    match reply {
        Reply::Bytes(data) => json!({ "Bytes": readable(data) }),
        Reply::Outcome(outcome) => {
            let Outcome { status, stdout, stderr, truncated, tail } = outcome;
            json!({ "Outcome": {
                "status": status,
                "stdout": readable(stdout),
                "stderr": readable(stderr),
                "truncated": truncated,
                "tail": tail,
            } })
        }
        other => serde_json::to_value(other).expect("replies are plain data"),
    }
}

/// Bytes as text where they are text, and else as hexadecimal digits.
fn readable(data: &[u8]) -> Value {
    match std::str::from_utf8(data) {
        Ok(text) => json!({ "text": text }),
        Err(_) => json!({ "hex": hex::encode(data) }),
    }
}

/// Reads bytes that [`readable`] wrote, or those of version 1.
fn parse_readable(value: &Value) -> Result<Vec<u8>> {
    if let Some(text) = value.get("text").and_then(Value::as_str) {
        return Ok(text.as_bytes().to_vec());
    }
    let digits = value.get("hex").unwrap_or(value).as_str();
    let digits = digits.context("these are neither text nor hexadecimal digits")?;
    hex::decode(digits).context("these are no hexadecimal digits")
}

/// Parses what [`reply`] wrote, in any version.
///
/// # Errors
/// If it has another form.
pub fn parse_reply(value: &Value) -> Result<Reply> {
    if let Some(data) = value.get("Bytes") {
        return Ok(Reply::Bytes(parse_readable(data)?));
    }
    if let Some(fields) = value.get("Outcome") {
        let of = |name: &str| fields.get(name).cloned().unwrap_or_default();
        return Ok(Reply::Outcome(Outcome {
            status: serde_json::from_value(of("status")).context("a status is a number")?,
            stdout: parse_readable(&of("stdout"))?,
            stderr: parse_readable(&of("stderr"))?,
            truncated: serde_json::from_value(of("truncated")).context("`truncated` is true or false")?,
            tail: serde_json::from_value(of("tail")).context("`tail` is a text")?,
        }));
    }
    serde_json::from_value(value.clone()).context("this is no reply")
}

pub(super) fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::workbench::{CallError, ErrorCode};

    #[test]
    fn replies_come_back_as_they_were() {
        let outcome =
            Outcome { status: 3, stdout: vec![0, 255], stderr: b"e".to_vec(), truncated: true, tail: "t".into() };
        for original in [
            Reply::Done,
            Reply::Bool(true),
            Reply::Bytes(vec![1, 2, 254]),
            Reply::Bytes("two\nlines \u{e4}".into()),
            Reply::Bytes(Vec::new()),
            Reply::MaybeText(None),
            Reply::Outcome(outcome),
            Reply::Failed(CallError::new(ErrorCode::Denied, "no")),
        ] {
            let text = reply(&original).to_string();
            let back = parse_reply(&serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(format!("{back:?}"), format!("{original:?}"));
        }
        let of_version_1 = parse_reply(&json!({ "Bytes": "0102fe" })).unwrap();
        assert_eq!(format!("{of_version_1:?}"), format!("{:?}", Reply::Bytes(vec![1, 2, 254])));
        for bytes in [json!("xyz"), json!({ "hex": "xyz" }), json!({ "text": 1 }), json!(1)] {
            let error = parse_reply(&json!({ "Bytes": bytes })).unwrap_err().to_string();
            assert!(error.contains("hexadecimal"), "{error}");
        }
    }

    #[test]
    fn a_log_does_not_grow_for_ever() {
        let mut log = Transcript { left: 200, ..Transcript::new(vec![tempfile::tempfile().unwrap()]) };
        let end = Line::End(End { plugin: "a/b".into(), calls: 1, fuel: None, error: None });
        let error = (0..9).find_map(|_| log.write(&end).err()).unwrap();
        assert_eq!(error.to_string(), "its audit log is longer than 4 GiB");
    }

    #[test]
    fn bytes_that_a_plugin_passed_are_there_by_digest() {
        let write = Call::Write { path: "/etc/x".into(), data: b"hello".to_vec(), attrs: None };
        let digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let data = json!({ "bytes": 5, "sha256": digest });
        let args = json!({ "path": "/etc/x", "data": data, "attrs": null });
        assert_eq!(call(&write, 2), (json!("fs.write"), args.clone()));
        assert_eq!(call(&write, 1), (json!({ "Write": args }), Value::Null));
        assert_eq!(call(&Call::Image, 2), (json!("context.image"), Value::Null));
        assert_eq!(call(&Call::Image, 1), (json!("Image"), Value::Null));
        // Between the processes they are whole.
        let sent = postcard::to_allocvec(&write).unwrap();
        let Call::Write { data, .. } = postcard::from_bytes(&sent).unwrap() else { panic!("it is another call") };
        assert_eq!(data, b"hello");
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        for (text, cause) in [
            ("{\"event\":\"end\",\"plugin\":\"a/b\",\"calls\":1,\"fuel\":2,\"error\":null}\nnonsense\n", "line 2"),
            ("{\"event\":\"other\"}\n", "line 1"),
        ] {
            let error = crate::error::report(&read(text.as_bytes()).unwrap_err());
            assert!(error.messages[0].contains(cause), "{error:?}");
        }
    }
}
