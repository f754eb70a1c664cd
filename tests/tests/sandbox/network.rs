//! What a command reaches over the network.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use piimg::sandbox::command::Network;
use piimg::sandbox::proxy::{Connection, ConnectionOutcome, Decision};

use super::{Image, Test, run};

pub(super) const TESTS: [Test; 6] = [
    ("there_is_no_network_without_a_grant", none),
    ("a_granted_host_is_reached_and_no_other", granted),
    ("a_tunnel_carries_both_ways", tunnel),
    ("one_connection_carries_one_request", one_request),
    ("a_connection_is_limited_in_bytes", limited),
    ("ordinary_programs_find_the_proxy", programs),
];

/// A server on this machine that keeps what it was sent.
struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(serve: fn(TcpStream, &str)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.unwrap();
                let mut request = [0; 4096];
                let length = client.read(&mut request).unwrap();
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                kept.lock().unwrap().push(request.clone());
                serve(client, &request);
            }
        });
        Self { port, requests }
    }

    fn page() -> Self {
        Self::start(|mut client, _| {
            let page = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
            client.write_all(page).unwrap();
        })
    }
}

/// The answer of the proxy to what a box sends it, and what was recorded.
fn ask(image: &Image, server: &Server, bytes: u64, text: &str) -> (String, Vec<Connection>) {
    let (network, recorded) = network(server.port, bytes);
    let mut command = image.command(&["/attack", "attack", "ask", "127.0.0.1:3128", text]);
    command.network = Some(network);
    let (output, text) = run(&command);
    assert_eq!(output.status, 0, "{text}");
    let recorded = recorded.lock().unwrap().clone();
    (text, recorded)
}

/// Allows one port of this machine, by its address and by a name that leads to it.
fn network(port: u16, bytes: u64) -> (Network, Arc<Mutex<Vec<Connection>>>) {
    let recorded = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&recorded);
    let mut network = Network::new(
        move |host, asked| {
            let is_allowed = ["127.0.0.1", "localhost"].contains(&host) && asked == port;
            if is_allowed { Decision::Allow } else { Decision::Refuse }
        },
        move |connection| record.lock().unwrap().push(connection.clone()),
    );
    network.bytes = bytes;
    (network, recorded)
}

fn none() {
    let server = Server::page();
    let image = Image::new("no-network");
    let address = format!("127.0.0.1:{}", server.port);
    for (address, answer) in [
        (address.as_str(), "Connection refused"),
        ("127.0.0.1:3128", "Connection refused"),
        ("1.1.1.1:80", "Network is unreachable"),
        ("169.254.169.254:80", "Network is unreachable"),
    ] {
        let (_, text) = image.run(&["/attack", "attack", "ask", address, ""]);
        assert!(text.contains(answer), "{address}: {text}");
    }
    assert!(server.requests.lock().unwrap().is_empty());
}

fn granted() {
    let server = Server::page();
    let image = Image::new("network");
    let port = server.port;
    let get = |host: &str| format!("GET http://{host}/x HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let (text, recorded) = ask(&image, &server, 1 << 20, &get(&format!("127.0.0.1:{port}")));
    assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with("hello"), "{text}");
    let connection = |host: &str, port, received, fate| Connection { host: host.into(), port, sent: 0, received, fate };
    assert_eq!(recorded, [connection("127.0.0.1", port, 62, ConnectionOutcome::Connected)]);
    assert!(server.requests.lock().unwrap()[0].starts_with("GET /x HTTP/1.1\r\nHost: 127.0.0.1:"));

    for (request, status, fate) in [
        (get("127.0.0.1:1"), "403 Forbidden", connection("127.0.0.1", 1, 0, ConnectionOutcome::Refused)),
        (get("deb.example"), "403 Forbidden", connection("deb.example", 80, 0, ConnectionOutcome::Refused)),
        (
            "CONNECT deb.example:443 HTTP/1.1\r\n\r\n".into(),
            "403",
            connection("deb.example", 443, 0, ConnectionOutcome::Refused),
        ),
        // It may be reached as the address that it is, but not by a name that somebody made to lead there.
        (
            get(&format!("localhost:{port}")),
            "403 Forbidden",
            connection("localhost", port, 0, ConnectionOutcome::NotPublic),
        ),
        ("GET /x HTTP/1.1\r\nHost: h\r\n\r\n".into(), "400 Bad Request", {
            connection("", 0, 0, ConnectionOutcome::NotUnderstood("it is no request for an http:// address"))
        }),
        (format!("GET http://h/{} HTTP/1.1\r\n", "x".repeat(20 << 10)), "431", {
            connection("", 0, 0, ConnectionOutcome::NotUnderstood("its head is too long"))
        }),
    ] {
        let (text, recorded) = ask(&image, &server, 1 << 20, &request);
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{text}");
        assert_eq!(recorded, [fate]);
    }
    assert_eq!(server.requests.lock().unwrap().len(), 1, "nothing else reached the server");
    assert_eq!(std::fs::read_dir(image.root.join("run")).unwrap().count(), 0, "nothing is left in the image");
}

fn tunnel() {
    let server = Server::start(|mut client, _| {
        client.write_all(b"and back").unwrap();
    });
    let request = format!("CONNECT 127.0.0.1:{} HTTP/1.1\r\n\r\nthere", server.port);
    let (text, recorded) = ask(&Image::new("tunnel"), &server, 1 << 20, &request);
    assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("and back"), "{text}");
    assert_eq!(*server.requests.lock().unwrap(), ["there"]);
    assert_eq!((recorded[0].sent, recorded[0].received, &recorded[0].fate), (5, 8, &ConnectionOutcome::Connected));
}

fn one_request() {
    let server = Server::page();
    let host = format!("127.0.0.1:{}", server.port);
    let second = "GET / HTTP/1.1\r\nHost: another\r\n\r\n";
    let request = format!("POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\nabc{second}");
    let (text, recorded) = ask(&Image::new("one-request"), &server, 1 << 20, &request);
    assert!(text.ends_with("hello"), "{text}");
    assert_eq!(recorded[0].sent, 3);
    // Head and body may come in two pieces, of which the server reads one.
    let requests = server.requests.lock().unwrap().concat();
    assert!(requests.starts_with("POST / HTTP/1.1") && !requests.contains("another"), "{requests}");
}

fn limited() {
    let server = Server::start(|mut client, _| while client.write_all(&[b'x'; 4096]).is_ok() {});
    let host = format!("127.0.0.1:{}", server.port);
    let request = format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let (_, recorded) = ask(&Image::new("limited"), &server, 100_000, &request);
    assert_eq!(recorded[0].fate, ConnectionOutcome::TooMuch);
    assert!(recorded[0].received > 100_000 && recorded[0].received < 200_000, "{recorded:?}");
}

fn programs() {
    let server = Server::page();
    let image = Image::new("programs");
    let (granted, recorded) = network(server.port, 1 << 20);
    let address = format!("http://127.0.0.1:{}/file", server.port);
    let script = format!(
        "/usr/lib/apt/apt-helper -oAcquire::Retries=0 download-file {address} /var/tmp/file >/dev/null 2>&1 && cat /var/tmp/file
        printenv https_proxy APT_CONFIG"
    );
    let mut command = image.command(&["sh", "-ec", &script]);
    command.network = Some(granted);
    let (output, text) = run(&command);
    assert_eq!(output.status, 0, "{text}");
    assert!(text.contains("hello") && text.ends_with("http://127.0.0.1:3128\n/run/piimg/apt.conf"), "{text}");
    assert_eq!(recorded.lock().unwrap().len(), 1);
    for (argv, expected) in [
        (["curl", "-sSf", &address], (0, "hello")),
        (["wget", "-qO-", &address], (0, "hello")),
        // To it, the page is a repository without references; without an answer it would fail.
        (["git", "ls-remote", &address], (0, "")),
    ] {
        let (granted, recorded) = network(server.port, 1 << 20);
        let mut command = image.command(&argv);
        command.network = Some(granted);
        let (output, text) = run(&command);
        assert_eq!((output.status, text.contains(expected.1)), (expected.0, true), "{argv:?}: {text}");
        assert!(
            recorded.lock().unwrap().iter().any(|connection| connection.fate == ConnectionOutcome::Connected),
            "{argv:?}"
        );
    }
}
