//! Serves the network of a box: a proxy that connects to granted hosts and to no others.
//!
//! The box's network namespace has only `lo`. The proxy's listening socket is made inside it and served here, in the
//! build's process, which resolves names and connects. There is no other way out. Programs find the proxy through
//! environment variables and a file in the box's own `/run`; nothing is written into the image.

mod address;
pub mod request;

use std::fmt;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

use crate::error::{Context as _, Result};
pub use address::is_public;
use request::{Kind, MAX_HEAD, Refusal, Request};

/// Port of the proxy; Squid's default, too.
const PORT: u16 = 3128;
/// Most simultaneous connections; browsers and package managers use fewer than ten.
const MAX_CONNECTIONS: usize = 64;
/// Time limit for the head of a request, and for connecting.
const SHORT: Duration = Duration::from_secs(15);
/// Time limit for a connection without traffic.
const IDLE: Duration = Duration::from_secs(120);
/// Time between two checks that the box still exists.
const TICK: Duration = Duration::from_millis(200);

/// File in the box that configures apt for the proxy; [`environment`] names it to apt.
pub(super) const APT_CONFIG: &str = "run/piimg/apt.conf";

/// Answer to a requested connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow,
    Refuse,
}

/// Outcome of a connection that a program requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionOutcome {
    Connected,
    /// The decision was to refuse it.
    Refused,
    /// The name resolves to a private address; only an address that is granted as such may be reached.
    NotPublic,
    /// The connection failed; holds the reason.
    Failed(String),
    /// The request is invalid and names no host; holds the reason.
    NotUnderstood(&'static str),
    /// The connection carried more than [`Network::bytes`] and was cut off.
    TooMuch,
}

impl fmt::Display for ConnectionOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("connected"),
            Self::Refused => f.write_str("refused: it was not granted"),
            Self::NotPublic => f.write_str("refused: it leads into a private network"),
            Self::Failed(why) => write!(f, "failed: {why}"),
            Self::NotUnderstood(why) => write!(f, "not understood: {why}"),
            Self::TooMuch => f.write_str("cut off: it carried too much"),
        }
    }
}

/// A connection that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Host as the program named it, in lower case.
    pub host: String,
    pub port: u16,
    pub sent: u64,
    pub received: u64,
    pub fate: ConnectionOutcome,
}

/// Decides whether a box may connect to a host and port.
pub type Decide = dyn Fn(&str, u16) -> Decision + Send + Sync;
/// Records each connection that has ended.
pub type Record = dyn Fn(&Connection) + Send + Sync;

/// Network access of a command.
#[derive(Clone)]
pub struct Network {
    pub decide: Arc<Decide>,
    pub record: Arc<Record>,
    /// Most bytes that one connection may carry, in both directions together.
    pub bytes: u64,
}

impl Network {
    /// Makes a network whose connections carry at most 16 GiB each.
    pub fn new(
        decide: impl Fn(&str, u16) -> Decision + Send + Sync + 'static,
        record: impl Fn(&Connection) + Send + Sync + 'static,
    ) -> Self {
        Self { decide: Arc::new(decide), record: Arc::new(record), bytes: 16 << 30 }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

/// Returns the variables that announce the proxy: curl and git read the lower-case ones, others the upper-case ones.
pub(super) fn environment() -> Vec<(String, String)> {
    let proxy = format!("http://127.0.0.1:{PORT}");
    let names =
        ["http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY"];
    let mut variables: Vec<(String, String)> = names.into_iter().map(|name| (name.to_owned(), proxy.clone())).collect();
    // A program's own local servers are in the box with it.
    variables.extend(["no_proxy", "NO_PROXY"].map(|name| (name.to_owned(), "localhost".to_owned())));
    variables.push(("APT_CONFIG".to_owned(), format!("/{APT_CONFIG}")));
    variables
}

/// Returns the content of [`APT_CONFIG`]. The proxy closes a connection after each answer, so apt must not pipeline.
pub(super) fn apt_config() -> String {
    format!(
        "Acquire::http::Proxy \"http://127.0.0.1:{PORT}/\";\nAcquire::https::Proxy \"http://127.0.0.1:{PORT}/\";\n\
         Acquire::http::Pipeline-Depth \"0\";\n"
    )
}

/// Makes the listening socket in this process's network namespace and sends it to the build.
pub(super) fn send_listener(build: &UnixStream) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).context("cannot listen inside the box")?;
    let descriptors = [listener.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    rustix::net::sendmsg(build, &[IoSlice::new(b"l")], &mut ancillary, SendFlags::empty())
        .context("cannot hand over the socket of the network")?;
    Ok(())
}

/// Receives the socket that [`send_listener`] sends. Returns `None` if the box ended first.
fn receive_listener(inner: &UnixStream) -> Option<TcpListener> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::net::recvmsg(inner, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC).ok()?;
    ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next().map(TcpListener::from),
        _ => None,
    })
}

/// A running proxy; dropping it ends it. All connections are recorded by then, except for one that hangs.
#[derive(Debug)]
pub(super) struct ProxyServer {
    /// Closing it ends the proxy.
    end: Option<UnixStream>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl ProxyServer {
    /// Waits in a thread for the socket that the box sends to the other end of `inner`, and serves it.
    pub(super) fn start(inner: UnixStream, network: Network) -> Result<Self> {
        let (end, is_ended) = UnixStream::pair().context("cannot make a socket pair")?;
        let thread = std::thread::spawn(move || {
            if let Some(listener) = receive_listener(&inner) {
                serve(&listener, &Arc::new(is_ended), &network);
            }
        });
        Ok(Self { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for ProxyServer {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // Everything that it had to report was recorded with the connections.
            thread.join().ok();
        }
    }
}

/// Waits until one of `sources` is readable. Returns `false` if none is within `time`.
fn is_readable(sources: &[&dyn std::os::fd::AsFd], time: Duration) -> bool {
    let mut polled: Vec<PollFd<'_>> =
        sources.iter().map(|source| PollFd::from_borrowed_fd(source.as_fd(), PollFlags::IN)).collect();
    let time = Timespec::try_from(time).unwrap_or_default();
    rustix::event::poll(&mut polled, Some(&time)).is_ok_and(|ready| ready > 0)
}

/// Returns whether the box has ended.
fn is_over(end: &UnixStream) -> bool {
    is_readable(&[end], Duration::ZERO)
}

fn serve(listener: &TcpListener, end: &Arc<UnixStream>, network: &Network) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        is_readable(&[listener, &**end], IDLE);
        if is_over(end) {
            break;
        }
        if !is_readable(&[listener], Duration::ZERO) {
            continue;
        }
        // The kernel queues connections beyond the limit.
        let Some((client, _)) =
            (open.load(Ordering::SeqCst) < MAX_CONNECTIONS).then(|| listener.accept().ok()).flatten()
        else {
            std::thread::sleep(TICK / 4);
            continue;
        };
        open.fetch_add(1, Ordering::SeqCst);
        let (network, end, open) = (network.clone(), Arc::clone(end), Arc::clone(&open));
        std::thread::spawn(move || {
            (network.record)(&connection(client, &end, &network));
            open.fetch_sub(1, Ordering::SeqCst);
        });
    }
    // Each thread notices within a tick, except for one that waits for a name lookup: that one is abandoned.
    let start = Instant::now();
    while open.load(Ordering::SeqCst) > 0 && start.elapsed() < SHORT {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Handles one connection of a program, from its request to its end.
fn connection(mut client: TcpStream, end: &UnixStream, network: &Network) -> Connection {
    let mut record =
        Connection { host: String::new(), port: 0, sent: 0, received: 0, fate: ConnectionOutcome::Connected };
    let (request, rest) = match read_head(&mut client, end) {
        Ok(read) => read,
        Err((status, why)) => {
            record.fate = ConnectionOutcome::NotUnderstood(why);
            answer(&mut client, status, &format!("the request was not understood: {why}"));
            return record;
        }
    };
    record.host.clone_from(&request.host);
    record.port = request.port;
    match connect(&request, network) {
        Ok(server) => record.fate = carry(client, server, &request, &rest, end, network.bytes, &mut record),
        Err(fate) => {
            let Request { host, port, .. } = &request;
            match &fate {
                ConnectionOutcome::Refused => {
                    answer(&mut client, "403 Forbidden", &format!("{host}:{port} is not granted"));
                }
                ConnectionOutcome::NotPublic => {
                    answer(&mut client, "403 Forbidden", &format!("{host} is a machine of a private network"));
                }
                ConnectionOutcome::Failed(why) => answer(&mut client, "502 Bad Gateway", why),
                _ => {}
            }
            record.fate = fate;
        }
    }
    record
}

/// Sends an answer of the proxy itself.
fn answer(client: &mut TcpStream, status: &str, text: &str) {
    let text = format!("piimg: {text}\n");
    let length = text.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
    );
    // A client that has gone needs no answer; one that does not read gets a part of it.
    client.set_write_timeout(Some(TICK)).and_then(|()| client.write_all(head.as_bytes())).ok();
    // Unread data from the client would make the kernel reset the connection and discard the answer.
    client.shutdown(Shutdown::Write).and_then(|()| client.set_read_timeout(Some(TICK))).ok();
    let mut rest = [0; 4096];
    for _ in 0..16 {
        if !client.read(&mut rest).is_ok_and(|length| length > 0) {
            break;
        }
    }
}

/// Reads the request, and the bytes that the client sent after it.
fn read_head(client: &mut TcpStream, end: &UnixStream) -> std::result::Result<(Request, Vec<u8>), Refusal> {
    const LATE: Refusal = ("408 Request Timeout", "it did not end in time");
    let deadline = Instant::now() + SHORT;
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if is_over(end) || Instant::now() > deadline {
            return Err(LATE);
        }
        client.set_read_timeout(Some(TICK)).map_err(|_| LATE)?;
        match client.read(&mut buffer) {
            Ok(0) => return Err(("400 Bad Request", "it ended too early")),
            Ok(length) => head.extend_from_slice(&buffer[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => continue,
            Err(_) => return Err(("400 Bad Request", "it ended too early")),
        }
        if let Some((request, length)) = request::parse(&head)? {
            return Ok((request, head.split_off(length)));
        }
        if head.len() > MAX_HEAD {
            return Err(("431 Request Header Fields Too Large", "its head is too long"));
        }
    }
}

/// Asks for the decision, resolves the name once, and connects to one of the resulting addresses.
fn connect(request: &Request, network: &Network) -> std::result::Result<TcpStream, ConnectionOutcome> {
    if (network.decide)(&request.host, request.port) == Decision::Refuse {
        return Err(ConnectionOutcome::Refused);
    }
    let addresses: Vec<SocketAddr> = match request.host.parse::<IpAddr>() {
        // Granted as an address: whoever granted it knew where it leads.
        Ok(address) => vec![SocketAddr::new(address, request.port)],
        Err(_) => {
            let found = (request.host.as_str(), request.port)
                .to_socket_addrs()
                .map_err(|error| ConnectionOutcome::Failed(format!("cannot find {}: {error}", request.host)))?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(ConnectionOutcome::NotPublic);
            }
            public
        }
    };
    let mut error = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, SHORT) {
            Ok(server) => return Ok(server),
            Err(this) => error = Some(this),
        }
    }
    let why = error.map(|error| error.to_string()).unwrap_or_default();
    Err(ConnectionOutcome::Failed(format!("cannot connect to {}:{}: {why}", request.host, request.port)))
}

/// Copies bytes in both directions until both sides have ended, or a limit is reached.
fn carry(
    client: TcpStream,
    server: TcpStream,
    request: &Request,
    rest: &[u8],
    end: &UnixStream,
    limit: u64,
    record: &mut Connection,
) -> ConnectionOutcome {
    let (greeting, head, body) = match &request.kind {
        Kind::Tunnel => (&b"HTTP/1.1 200 Connection established\r\n\r\n"[..], &[][..], u64::MAX),
        Kind::Forward { head, body } => (&[][..], head.as_slice(), *body),
    };
    let mut up = Way { from: client, to: server, left: body, is_open: true };
    let Some(mut down) = up.back() else { return ConnectionOutcome::Failed("the connection was lost".into()) };
    let rest = &rest[..rest.len().min(usize::try_from(body).unwrap_or(usize::MAX))];
    let length = |bytes: &[u8]| u64::try_from(bytes.len()).expect("a length fits 64 bits");
    up.left -= length(rest);
    if up.send(head).is_err() || up.send(rest).is_err() || down.send(greeting).is_err() {
        return ConnectionOutcome::Failed("the connection was lost".into());
    }
    record.sent += length(rest);
    up.close_if_done();
    let mut moved = Instant::now();
    while down.is_open && moved.elapsed() < IDLE && !is_over(end) {
        let sources: Vec<&dyn std::os::fd::AsFd> =
            [&up, &down].into_iter().filter(|way| way.is_open).map(|way| &way.from as &dyn std::os::fd::AsFd).collect();
        if !is_readable(&sources, TICK) {
            continue;
        }
        for (way, count) in [(&mut up, &mut record.sent), (&mut down, &mut record.received)] {
            if way.is_open && is_readable(&[&way.from], Duration::ZERO) {
                *count += way.step();
                moved = Instant::now();
            }
        }
        if record.sent.saturating_add(record.received) > limit {
            return ConnectionOutcome::TooMuch;
        }
    }
    ConnectionOutcome::Connected
}

/// One direction of a connection.
struct Way {
    from: TcpStream,
    to: TcpStream,
    /// Bytes that may still be carried.
    left: u64,
    is_open: bool,
}

impl Way {
    fn back(&self) -> Option<Self> {
        for socket in [&self.from, &self.to] {
            socket.set_write_timeout(Some(IDLE)).and_then(|()| socket.set_read_timeout(Some(IDLE))).ok()?;
        }
        let (from, to) = (self.to.try_clone().ok()?, self.from.try_clone().ok()?);
        Some(Self { from, to, left: u64::MAX, is_open: true })
    }

    fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.to.write_all(bytes)
    }

    /// Copies available bytes, and returns their number.
    fn step(&mut self) -> u64 {
        let mut buffer = [0; 32 << 10];
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let length = self.from.read(&mut buffer[..room]).unwrap_or(0);
        if length == 0 || self.to.write_all(&buffer[..length]).is_err() {
            self.close();
            return 0;
        }
        let length = u64::try_from(length).expect("a length fits 64 bits");
        self.left -= length;
        self.close_if_done();
        length
    }

    /// Ends this direction after the announced length. Further bytes are not carried; the way back stays open.
    fn close_if_done(&mut self) {
        if self.left == 0 {
            self.is_open = false;
        }
    }

    fn close(&mut self) {
        self.is_open = false;
        // The other side may have closed it already.
        self.to.shutdown(Shutdown::Write).ok();
    }
}
