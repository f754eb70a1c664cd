//! The audit log: what is read is what would be written, and a reply that it holds is a reply or none.

use piimg::plugin::audit_log::{self, Line};

pub(super) fn check(data: &[u8]) -> bool {
    let Ok(lines) = audit_log::read(data) else { return false };
    let mut written = Vec::new();
    for line in &lines {
        serde_json::to_writer(&mut written, line).expect("it is plain data");
        written.push(b'\n');
        if let Line::Call(call) = line
            && let Ok(reply) = audit_log::parse_reply(&call.reply)
        {
            let again = audit_log::parse_reply(&audit_log::reply(&reply)).expect("it was written by us");
            assert_eq!(format!("{again:?}"), format!("{reply:?}"));
        }
    }
    let again = audit_log::read(written.as_slice()).expect("it was written by us");
    assert_eq!(again, lines);
    !lines.is_empty()
}
