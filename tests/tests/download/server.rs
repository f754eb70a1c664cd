//! A server of https whose answers are as its paths say, and the authority behind its certificate.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

pub(crate) const CONTENT: &str = "hello\n";
pub(crate) const DIGEST: &str = "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

/// Who certifies servers.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// When a certificate is valid.
#[derive(Clone, Copy)]
pub(crate) enum Validity {
    Past,
    Now,
    Future,
}

/// A certificate and its key.
pub(crate) struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn certify(&self, host: &str, validity: Validity) -> Identity {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        (params.not_before, params.not_after) = match validity {
            Validity::Past => (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(2002, 1, 1)),
            Validity::Now => (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(2999, 1, 1)),
            Validity::Future => (rcgen::date_time_ymd(2998, 1, 1), rcgen::date_time_ymd(2999, 1, 1)),
        };
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Identity { certificate, key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() }
    }
}

/// A server on a port of its own, for as long as the test runs.
pub(crate) struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

/// What a client asks for.
pub(crate) struct Request {
    pub(crate) path: String,
    /// Names in lowercase, and values.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// None if the client goes away before it has said it all.
    fn read(stream: &mut impl Read) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let (first, rest) = lines.split_first()?;
        let header = |line: &String| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        let headers: Vec<_> = rest.iter().filter_map(header).collect();
        let mut request = Self { path: first.split(' ').nth(1)?.to_owned(), headers, body: Vec::new() };
        let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or_default();
        request.body = vec![0; length];
        reader.read_exact(&mut request.body).ok()?;
        Some(request)
    }
}

/// What a server does with a request; its own port is known to it.
type Handler = dyn Fn(&mut dyn Write, &Request, u16) -> std::io::Result<()> + Send + Sync;

impl Server {
    /// One that the authority vouches for.
    pub(crate) fn usual() -> (Authority, Self) {
        let authority = Authority::new("the test's");
        let server = Self::start(authority.certify("localhost", Validity::Now));
        (authority, server)
    }

    pub(crate) fn start(identity: Identity) -> Self {
        Self::with(identity, |stream, request, port| answer(stream, &request.path, port))
    }

    /// One that answers as `handler` does.
    pub(crate) fn with(
        identity: Identity,
        handler: impl Fn(&mut dyn Write, &Request, u16) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let handler: Arc<Handler> = Arc::new(handler);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![identity.certificate], identity.key)
            .unwrap();
        let (config, asked) = (Arc::new(config), Arc::<Mutex<Vec<String>>>::default());
        let record = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (config, record, handler) = (Arc::clone(&config), Arc::clone(&record), Arc::clone(&handler));
                std::thread::spawn(move || serve(stream.unwrap(), config, port, &record, &*handler));
            }
        });
        Self { port, asked }
    }

    pub(crate) fn origin(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin())
    }

    /// The paths that were asked for. A client that does not believe the server asks for none.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A client may go away at any time: what cannot be sent to it does not matter.
fn serve(stream: TcpStream, config: Arc<ServerConfig>, port: u16, record: &Mutex<Vec<String>>, handler: &Handler) {
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let Some(request) = Request::read(&mut stream) else { return };
    let path = request.path.clone();
    record.lock().unwrap().push(path.clone());
    handler(&mut stream, &request, port).ok();
    if path != "/cut" && path != "/short" {
        stream.conn.send_close_notify();
        stream.flush().ok();
    }
}

fn answer(stream: &mut dyn Write, path: &str, port: u16) -> std::io::Result<()> {
    let length = CONTENT.len();
    let mut say = |text: &str| stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
    let status = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    let moved = |to: &str| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    match path {
        "/good" => say(&format!("{}{CONTENT}", status("200 OK"))),
        "/other" => say(&format!("{}hallo\n", status("200 OK"))),
        "/chunked" => {
            say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n")?;
            say("4\r\nllo\n\r\n0\r\n\r\n")
        }
        "/moved" => say(&moved("/good")),
        "/round" => say(&moved(&format!("https://localhost:{port}/round"))),
        "/nowhere" => say("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"),
        "/missing" => say(&format!("{}{CONTENT}", status("404 Not Found"))),
        "/broken" => say(&format!("{}{CONTENT}", status("500 Internal Server Error"))),
        "/part" => say(&format!("{}{CONTENT}", status("206 Partial Content"))),
        "/big" => say(&format!("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{}", "x".repeat(5000))),
        "/endless" => {
            say("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                say(&"x".repeat(1000))?;
            }
        }
        "/short" => say(&format!("HTTP/1.1 200 OK\r\nContent-Length: 60\r\nConnection: close\r\n\r\n{CONTENT}")),
        "/cut" => say("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhel"),
        "/slow" => {
            say("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                say("x")?;
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        "/silent" => {
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        }
        "/nonsense" => say("nonsense\r\n\r\n"),
        path => say(&moved(path.strip_prefix("/to?").unwrap_or("/good"))),
    }
}
