//! Components, before they are handed to a worker: read or refused. A plugin is never made of chance, so that what counts
//! here is that the reader comes to an end, whatever it reads.

use piimg::plugin::inspect::check as imports;

use super::naive::assert_printable;

pub(super) fn check(data: &[u8]) -> bool {
    const HEAD: &[u8] = b"\0asm\x0d\0\x01\0";
    // Beyond its first bytes a component is what is to be tried.
    let bytes = if data.starts_with(b"\0asm") { data.to_vec() } else { [HEAD, data].concat() };
    match imports(&bytes) {
        Ok(imports) => imports.iter().for_each(|import| assert_printable(&piimg::ui::printable(&import.name))),
        Err(problem) => {
            let report = piimg::error::report(&problem.failure("a.wasm").into());
            assert_printable(&report.messages[0].chars().take(10_000).collect::<String>());
        }
    }
    data.len() > 8
}
