//! `net`: downloads by the host. Each address is asked for, those of redirections too, and the content must be the one
//! that was named: it never enters the plugin, and a layer's key stays true.

use super::blobs::Blob;
use super::{Answer, Session, from_bench, invalid};
use crate::download::Url;
use crate::plugin::capability::Need;
use crate::plugin::lock::is_digest;
use crate::plugin::workbench::{CallError, ErrorCode, Fetched};

/// Most redirections of one download.
const MAX_REDIRECTS: usize = 5;

impl Session<'_> {
    pub(super) fn fetch(&mut self, url: &str, digest: &str) -> Answer<u32> {
        let wanted = check_digest(digest)?;
        let refused = |url: &str, cause: String| invalid(format!("cannot download `{url}`: {cause}"));
        let mut current = Url::parse(url).map_err(|cause| refused(url, cause))?;
        for _ in 0..=MAX_REDIRECTS {
            self.gate(&Need::Net(current.to_string()))?;
            match self.bench.fetch(&current, wanted).map_err(|error| from_bench(&error))? {
                Fetched::Content { file, digest } if digest == wanted => return self.blobs.add(Blob::file(file)?),
                Fetched::Content { digest, .. } => {
                    let message = format!("`{current}` has the digest sha256:{digest}, not sha256:{wanted}");
                    return Err(CallError::new(ErrorCode::DigestMismatch, message));
                }
                Fetched::Redirect(location) => {
                    current = current.follow(&location).map_err(|cause| refused(&current.to_string(), cause))?;
                }
            }
        }
        Err(CallError::new(
            ErrorCode::Network,
            format!("`{current}` is the end of more than {MAX_REDIRECTS} redirections"),
        ))
    }
}

/// The hexadecimal digits.
fn check_digest(digest: &str) -> Answer<&str> {
    digest
        .strip_prefix("sha256:")
        .filter(|_| is_digest(digest))
        .ok_or_else(|| invalid(format!("`{digest}` is no digest: `sha256:` and 64 hexadecimal digits in lowercase")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_digests_pin_content() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(check_digest(&good).unwrap().len(), 64);
        for bad in ["", "sha256:", &good[7..], &good[..70], &good.to_uppercase(), &good.replace("sha256", "md5")] {
            assert!(check_digest(bad).unwrap_err().message.contains("is no digest"), "{bad}");
        }
    }
}
