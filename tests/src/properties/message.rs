//! Messages of a worker: understood whole, or not at all; and what is understood is what would be sent again.

use piimg::plugin::protocol::Reply;
use piimg::plugin::{Answer, Said, wire};

use super::naive::assert_printable;

pub(super) fn check(data: &[u8]) -> bool {
    check_reply(data);
    let Some(said) = wire::decode::<Said>(data) else { return false };
    // Numbers have more than one spelling, so that the bytes may differ; what they say does not.
    let sent = wire::encode(&said).expect("what was read can be written");
    let (length, content) = sent.split_at(4);
    let length = u32::from_le_bytes(length.try_into().expect("four bytes"));
    assert_eq!(usize::try_from(length), Ok(content.len()));
    let again: Said = wire::decode(content).expect("what was written can be read");
    assert_eq!(format!("{again:?}"), format!("{said:?}"));
    assert!(wire::decode::<Said>(&[content, &[0]].concat()).is_none(), "what follows a message is not ignored");
    if let Said::Ended(ended) = said
        && let Ok(Answer::Conf(answers)) = ended.result
    {
        answers.iter().for_each(super::conf::check_answer);
    }
    true
}

/// Checks what the host answers, as the worker reads it.
fn check_reply(data: &[u8]) {
    if let Some(reply) = wire::decode::<Reply>(data) {
        if let Reply::Failed(error) = &reply {
            assert_printable(&piimg::ui::printable(&error.to_string().chars().take(1000).collect::<String>()));
        }
        let sent = wire::encode(&reply).expect("what was read can be written");
        let again: Reply = wire::decode(&sent[4..]).expect("what was written can be read");
        assert_eq!(format!("{again:?}"), format!("{reply:?}"));
    }
}
