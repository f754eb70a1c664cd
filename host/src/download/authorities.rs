//! Reads the certificate authorities that vouch for servers, from the store that the host's other programs use.
//!
//! It is read in the process that the user starts, with the user's environment; the build gets what was found. So a file
//! that `SSL_CERT_FILE` names may be anywhere, though the build sees little of the host's tree.

use std::path::Path;

use rustls::{CertificateError, Error as TlsError};
use rustls_native_certs::CertificateResult;
use serde::{Deserialize, Serialize};
use ureq::tls::{Certificate, RootCerts};

use super::resolver::NotPublic;
use crate::error::{Context as _, Failure, Result, with_cause};
use crate::ui::Printable as _;

/// Certificates of authorities: none vouch for nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorities(
    /// Each in DER, in hexadecimal.
    Vec<String>,
);

impl Authorities {
    /// Reads the certificate authorities of this host, or those in `SSL_CERT_FILE` and `SSL_CERT_DIR` if the
    /// environment has them.
    ///
    /// # Errors
    /// [`Failure::host`] if there are none.
    pub fn of_host() -> Result<Self> {
        Self::found(rustls_native_certs::load_native_certs(), "this machine's certificate store")
    }

    /// Reads certificates in PEM format from a file.
    ///
    /// # Errors
    /// Those of [`Authorities::of_host`].
    pub fn of_file(file: &Path) -> Result<Self> {
        let found = rustls_native_certs::load_certs_from_paths(Some(file), None);
        Self::found(found, &format!("`{}`", file.printable()))
    }

    /// Takes over the certificates found at `place`. One that cannot be read is ignored if there are others.
    fn found(found: CertificateResult, place: &str) -> Result<Self> {
        let certificates: Vec<String> = found.certs.iter().map(hex::encode).collect();
        if !certificates.is_empty() {
            return Ok(Self(certificates));
        }
        let failure = || {
            Failure::host(format!("{place} has no certificates of authorities, which tell servers from impostors"))
                .hint("install those of Debian: sudo apt-get install ca-certificates")
                .hint("or name a file of them in PEM with the variable SSL_CERT_FILE")
        };
        match found.errors.into_iter().next() {
            Some(error) => Err(error).with_context(failure),
            None => Err(failure().into()),
        }
    }

    /// Returns the number of certificates.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn roots(&self) -> RootCerts {
        let certificates: Vec<Certificate<'static>> = self
            .0
            .iter()
            .filter_map(|text| hex::decode(text).ok())
            .map(|der| Certificate::from_der(&der).to_owned())
            .collect();
        RootCerts::new_with_certs(&certificates)
    }
}

/// Returns the error of a request; why a server is not believed is said in words.
pub(super) fn explain(error: ureq::Error) -> anyhow::Error {
    let error = match error {
        ureq::Error::Other(cause) if cause.is::<NotPublic>() => return anyhow::Error::from_boxed(cause),
        other => other,
    };
    let cause = match &error {
        ureq::Error::Rustls(cause) => Some(cause),
        ureq::Error::Io(error) => error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()),
        _ => None,
    };
    let words = match cause {
        Some(TlsError::InvalidCertificate(cause)) => match cause {
            CertificateError::UnknownIssuer => {
                "no authority that this machine trusts vouches for the server (one of your own belongs into its certificate store, or into the file that SSL_CERT_FILE names)"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the server's certificate is for another host"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the server's certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the server's certificate is not valid yet: is this machine's clock right?"
            }
            _ => "the server's certificate cannot be trusted",
        },
        _ => return error.into(),
    };
    with_cause(error.into(), words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_a_failure_of_the_host() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        for content in [None, Some(""), Some("-----BEGIN CERTIFICATE-----\nnonsense\n")] {
            content.iter().for_each(|text| std::fs::write(&path, text).unwrap());
            let report = crate::error::report(&Authorities::of_file(&path).unwrap_err());
            assert!(report.messages[0].contains("ca.pem` has no certificates of authorities"), "{report:?}");
            assert!(report.hints.iter().any(|hint| hint.contains("SSL_CERT_FILE")), "{report:?}");
            assert_eq!(report.kind, crate::error::Kind::Host);
        }
    }
}
