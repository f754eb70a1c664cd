//! Implements `net`: downloads by the host. Each address is authorized, those of redirections too. The content must
//! have the named digest; it never enters the plugin, so that a layer's key stays true. A secret goes to the host of
//! the first address only.

use super::blobs::Blob;
use super::{Answer, Session, from_bench, invalid};
use crate::download::Url;
use crate::plugin::capability::Need;
use crate::plugin::lock::is_digest;
use crate::plugin::workbench::{CallError, ErrorCode, Fetched};
use crate::secret::leak::Search;
use crate::secret::{Authorization, Scheme, Secret};

/// Most redirections of one download.
const MAX_REDIRECTS: usize = 5;

impl Session<'_> {
    pub(super) fn fetch(&mut self, url: &str, digest: &str) -> Answer<u32> {
        let wanted = check_digest(digest)?;
        let url = parse(url)?;
        self.download(url, wanted, None)
    }

    /// Downloads with a secret, which is sent to the server of the first address only.
    pub(super) fn fetch_authorized(&mut self, url: &str, digest: &str, name: &str, scheme: Scheme) -> Answer<u32> {
        let wanted = check_digest(digest)?;
        let url = parse(url)?;
        if url.origin.scheme != "https" {
            return Err(refused(&url.to_string(), "a secret is sent over https only"));
        }
        let secret = self.secret(name)?;
        let header = secret.authorization(scheme).map_err(invalid)?;
        self.download(url, wanted, Some((secret, header)))
    }

    fn download(&mut self, url: Url, wanted: &str, mut proof: Option<(&Secret, Authorization)>) -> Answer<u32> {
        let sent_back = proof.as_ref().map(|(secret, _)| Search::new([*secret]));
        let mut current = url;
        for _ in 0..=MAX_REDIRECTS {
            self.gate(&Need::net(current.to_string()))?;
            let header = proof.as_ref().map(|(_, header)| header);
            match self.bench.fetch(&current, wanted, header).map_err(|error| from_bench(&error))? {
                Fetched::Content { file, digest } if digest == wanted => return self.blobs.add(Blob::file(file)?),
                Fetched::Content { digest, .. } => {
                    // The server may have sent the secret back. A digest of it would help to guess the value.
                    let found = if sent_back.is_some() {
                        "another digest".into()
                    } else {
                        format!("the digest sha256:{digest}")
                    };
                    let message = format!("`{current}` has {found}, not sha256:{wanted}");
                    return Err(CallError::new(ErrorCode::DigestMismatch, message));
                }
                Fetched::Redirect(location) => {
                    // The next address is authorized, logged and reported, so it must not contain the secret.
                    if sent_back.as_ref().is_some_and(|search| search.is_in(&location)) {
                        return Err(refused(&current.to_string(), "it leads to an address with the secret in it"));
                    }
                    let next = current.follow(&location).map_err(|cause| refused(&current.to_string(), &cause))?;
                    if next.origin != current.origin {
                        proof = None;
                    }
                    current = next;
                }
            }
        }
        Err(CallError::new(
            ErrorCode::Network,
            format!("`{current}` is the end of more than {MAX_REDIRECTS} redirections"),
        ))
    }
}

fn refused(url: &str, cause: &str) -> CallError {
    invalid(format!("cannot download `{url}`: {cause}"))
}

fn parse(url: &str) -> Answer<Url> {
    Url::parse(url).map_err(|cause| refused(url, &cause))
}

/// Returns the hexadecimal digits.
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
