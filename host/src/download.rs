//! Requests over http and https, most of them downloads to a file: blocking, limited, one request at a time.
//!
//! A redirection is returned, not followed: whoever asks decides whether the next address is allowed. No name leads into
//! a private network, though an address or `localhost` does: who owns a name decides where it leads. Certificates are
//! checked against the host's own list of authorities.

mod authorities;
mod resolver;
mod retry;

use std::fs::File;
use std::io::{Read, Write as _};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use ureq::http::{HeaderValue, Request, Response, request};
use ureq::tls::TlsConfig;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, AsSendBody, Body};

use crate::error::{Context, Failure, Result};
use crate::secret::Authorization;
pub use authorities::Authorities;
pub use piimg_capability::url::{Origin, Url, check_path, is_host};
use resolver::PublicOnly;
pub use retry::get_patiently;

/// Limits of a download.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes.
    pub size: u64,
    /// Time to connect.
    pub connect: Duration,
    /// Time for the whole download.
    pub total: Duration,
}

impl Limits {
    /// Models and root file systems stay below.
    pub const USUAL: Self = Self { size: 8 << 30, connect: Duration::from_secs(30), total: Duration::from_secs(3600) };
}

/// Outcome of a request that did not fail.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The whole content was written; its SHA-256, in hexadecimal.
    Content(String),
    /// The server sent on to this location.
    Redirect(String),
}

/// Asks for `url`, with what proves that one may have it if need be, and writes the content to `file`. A server of https
/// must be vouched for by one of the authorities.
///
/// # Errors
/// If the server cannot be reached, is not who it should be, or answers with anything but content or a redirection.
pub fn get(
    url: &Url,
    authorization: Option<&Authorization>,
    file: &mut File,
    authorities: &Authorities,
    limits: Limits,
) -> Result<Answer> {
    let failed = || format!("cannot download `{url}`");
    let request = Request::get(url.to_string());
    let response = ask(request, (), url, authorization, authorities, limits).with_context(failed)?;
    let status = response.status().as_u16();
    if matches!(status, 301 | 302 | 303 | 307 | 308) {
        let location = response.headers().get("location").and_then(|location| location.to_str().ok());
        let nowhere = || Failure::build(format!("the server sent on, with status {status}, but leads nowhere"));
        return location.map(|to| Answer::Redirect(to.to_owned())).with_context(nowhere).with_context(failed);
    }
    if status != 200 {
        return Err(BadStatus(status)).context(Failure::build(failed()));
    }
    let mut body = response.into_body().into_reader().take(limits.size.saturating_add(1));
    let (mut hash, mut buffer, mut size) = (Sha256::new(), vec![0; 128 << 10], 0);
    loop {
        let length = body.read(&mut buffer).with_context(failed)?;
        if length == 0 {
            break;
        }
        size += u64::try_from(length).unwrap_or(u64::MAX);
        if size > limits.size {
            return Err(Failure::build(format!("it has more than {}", crate::ui::bytes(limits.size))))
                .with_context(failed);
        }
        hash.update(&buffer[..length]);
        file.write_all(&buffer[..length]).context("cannot write a download")?;
    }
    Ok(Answer::Content(hex::encode(hash.finalize())))
}

/// A request to a server.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Names and values for its head.
    pub headers: &'a [(&'static str, &'static str)],
    pub body: &'a [u8],
}

/// A server's answer, whatever its status.
pub struct Answered {
    pub status: u16,
    /// Empty if it does not say.
    pub content_type: String,
    /// The body. Only the time limit bounds its length.
    pub body: Box<dyn Read>,
}

impl std::fmt::Debug for Answered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answered").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Puts a question to `url`. A redirection is an answer, too.
///
/// # Errors
/// If the server cannot be reached, or is not who it should be.
pub fn post(
    url: &Url,
    authorization: Option<&Authorization>,
    question: &Question<'_>,
    authorities: &Authorities,
    limits: Limits,
) -> Result<Answered> {
    let request = Request::post(url.to_string());
    let request = question.headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = ask(request, question.body, url, authorization, authorities, limits)
        .with_context(|| format!("cannot ask `{url}`"))?;
    let content_type = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    Ok(Answered {
        status: response.status().as_u16(),
        content_type: content_type.to_owned(),
        body: Box::new(response.into_body().into_reader()),
    })
}

/// Sends one request, with what proves that one may have what it asks for.
fn ask(
    mut request: request::Builder,
    body: impl AsSendBody,
    url: &Url,
    authorization: Option<&Authorization>,
    authorities: &Authorities,
    limits: Limits,
) -> Result<Response<Body>> {
    if let Some(authorization) = authorization {
        let mut value = HeaderValue::from_str(authorization.expose()).context("this is no header")?;
        value.set_sensitive(true);
        request = request.header("Authorization", value);
    }
    let request = request.body(body).context("this is no request")?;
    agent(&url.origin, authorities, limits).run(request).map_err(authorities::explain)
}
/// An answer that is neither content nor a redirection.
#[derive(Debug)]
struct BadStatus(u16);

impl std::fmt::Display for BadStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the server answered with status {}", self.0)
    }
}

impl std::error::Error for BadStatus {}

fn agent(origin: &Origin, authorities: &Authorities, limits: Limits) -> Agent {
    let mut config = Agent::config_builder()
        .max_redirects(0)
        .http_status_as_error(false)
        .timeout_connect(Some(limits.connect))
        .timeout_global(Some(limits.total))
        .user_agent(concat!("piimg/", env!("CARGO_PKG_VERSION")));
    if origin.scheme == "https" {
        let tls = TlsConfig::builder()
            .root_certs(authorities.roots())
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
        config = config.tls_config(tls.build());
    }
    let resolver = PublicOnly { host: origin.host.clone(), inner: DefaultResolver::default() };
    Agent::with_parts(config.build(), DefaultConnector::default(), resolver)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;

    use super::*;
    use crate::secret::{Scheme, Secret};

    /// Answers one request with `answer`; the address to ask, and what was asked.
    fn serve(answer: &'static str) -> (Url, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("http://{}/a?b", listener.local_addr().unwrap())).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
            let asked = lines.take_while(|line| !line.is_empty()).collect();
            stream.write_all(answer.as_bytes()).unwrap();
            asked
        });
        (url, server)
    }

    fn fetch(answer: &'static str) -> (Result<Answer>, Vec<String>, String) {
        let (url, server) = serve(answer);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let result = get(&url, None, file.as_file_mut(), &Authorities::default(), Limits::USUAL);
        (result, server.join().unwrap(), std::fs::read_to_string(file.path()).unwrap())
    }

    #[test]
    fn content_is_written_and_digested() {
        let (result, asked, text) = fetch("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n");
        let digest = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        assert_eq!((result.unwrap(), text.as_str()), (Answer::Content(digest.into()), "hello\n"));
        assert_eq!(asked[0], "GET /a?b HTTP/1.1");
    }

    #[test]
    fn a_secret_is_sent_in_a_header() {
        let (url, server) = serve("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let secret = Secret::new("token", b"user:pass".to_vec().into()).unwrap();
        let header = secret.authorization(Scheme::Basic).unwrap();
        get(&url, Some(&header), &mut tempfile::tempfile().unwrap(), &Authorities::default(), Limits::USUAL).unwrap();
        let asked = server.join().unwrap();
        let sent: Vec<&String> = asked.iter().filter(|line| line.to_lowercase().starts_with("authorization")).collect();
        assert_eq!(sent.len(), 1, "{asked:?}");
        assert!(sent[0].ends_with(": Basic dXNlcjpwYXNz"), "{asked:?}");
    }

    #[test]
    fn a_redirection_is_told_and_not_followed() {
        let (result, _, text) = fetch("HTTP/1.1 302 Found\r\nLocation: http://evil.org/\r\nContent-Length: 0\r\n\r\n");
        assert_eq!((result.unwrap(), text.as_str()), (Answer::Redirect("http://evil.org/".into()), ""));
    }

    #[test]
    fn other_answers_and_half_files_are_failures() {
        for (answer, cause) in [
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", "status 404"),
            ("HTTP/1.1 206 Partial\r\nContent-Length: 2\r\n\r\nno", "status 206"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 60\r\nConnection: close\r\n\r\nhello", "cannot download"),
            ("nonsense\r\n\r\n", "cannot download"),
        ] {
            let (result, ..) = fetch(answer);
            let error = format!("{:#}", result.unwrap_err());
            assert!(error.contains(cause), "{answer:?}: {error}");
        }
    }
}
