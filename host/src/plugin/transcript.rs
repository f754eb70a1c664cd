//! The audit log of a run: every call of a host function with what it asked for, what it was told, and what became of
//! the files it wrote. One JSON object a line, so that it can be searched, and be replayed to the plugin.
//!
//! Secrets are not in it: a plugin has none, it holds handles. Bytes that a plugin passed are there by digest alone;
//! bytes that it was given are there whole, for without them nothing could be replayed.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::protocol::{Call, ImageInfo, Reply};
use super::run::Run;
use super::workbench::{ConnectionNote, Outcome};
use crate::error::{Context as _, Failure, Result};

/// Of the log's form; another number means that older programs must not read it.
const VERSION: u32 = 1;

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

/// What a run was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    pub log_version: u32,
    pub plugin: String,
    pub plugin_version: String,
    pub digest: String,
    pub image: ImageInfo,
    pub params: std::collections::BTreeMap<String, String>,
    /// What was requested and granted.
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
    /// The host function and its arguments.
    pub call: Value,
    /// Each capability that it needed, for the resolved path, and whether that was allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Asked>,
    /// Files it was allowed to write, before and after.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileChange>,
    /// What its command asked the network for.
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

/// A file that a call may have written: `sha256:` and the digits, none if it is not there or no file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    pub path: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    pub plugin: String,
    pub calls: u64,
    /// Instructions, if the guest returned.
    pub fuel: Option<u64>,
    /// What the failure says; none if there was none.
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
    /// The same goes into each of the files: one is lost with its layer if the build fails.
    pub fn new(outs: Vec<File>) -> Self {
        Self { outs, left: LONGEST }
    }

    /// A line is in the files, whole, when this returns: whoever kills the build, what a plugin was told is on record.
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
            && begin.log_version != VERSION
        {
            let cause = anyhow::anyhow!("its version is {}, this piimg reads {VERSION}", begin.log_version);
            return Err(cause.context(failed()));
        }
        lines.push(line);
    }
    Ok(lines)
}

/// A call as the log has it: the same for the same call, and short.
pub fn call(call: &Call) -> Value {
    let data = |data: &[u8]| json!({ "bytes": data.len(), "sha256": hex::encode(Sha256::digest(data)) });
    match call {
        Call::Write { path, data: bytes, attrs } => {
            json!({ "Write": { "path": path, "data": data(bytes), "attrs": attrs } })
        }
        Call::BlobFromBytes { data: bytes } => json!({ "BlobFromBytes": { "data": data(bytes) } }),
        other => serde_json::to_value(other).expect("calls are plain data"),
    }
}

/// A reply as the log has it.
pub fn reply(reply: &Reply) -> Value {
    match reply {
        Reply::Bytes(data) => json!({ "Bytes": hex::encode(data) }),
        Reply::Outcome(outcome) => {
            let Outcome { status, stdout, stderr, truncated, tail } = outcome;
            json!({ "Outcome": {
                "status": status,
                "stdout": hex::encode(stdout),
                "stderr": hex::encode(stderr),
                "truncated": truncated,
                "tail": tail,
            } })
        }
        other => serde_json::to_value(other).expect("replies are plain data"),
    }
}

/// The reply that [`reply`] wrote.
///
/// # Errors
/// If it is none.
pub fn parse_reply(value: &Value) -> Result<Reply> {
    let bytes = |value: &Value| -> Result<Vec<u8>> {
        hex::decode(value.as_str().unwrap_or_default()).context("these are no hexadecimal digits")
    };
    if let Some(data) = value.get("Bytes") {
        return Ok(Reply::Bytes(bytes(data)?));
    }
    if let Some(fields) = value.get("Outcome") {
        let of = |name: &str| fields.get(name).cloned().unwrap_or_default();
        return Ok(Reply::Outcome(Outcome {
            status: serde_json::from_value(of("status")).context("a status is a number")?,
            stdout: bytes(&of("stdout"))?,
            stderr: bytes(&of("stderr"))?,
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
            Reply::MaybeText(None),
            Reply::Outcome(outcome),
            Reply::Failed(CallError::new(ErrorCode::Denied, "no")),
        ] {
            let text = reply(&original).to_string();
            let back = parse_reply(&serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(format!("{back:?}"), format!("{original:?}"));
        }
        assert!(parse_reply(&json!({ "Bytes": "xyz" })).unwrap_err().to_string().contains("hexadecimal"));
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
        let text = call(&write).to_string();
        assert!(text.contains("2cf24dba5fb0a30e") && !text.contains("104"), "{text}");
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
