//! Resolves host names for requests. No name may lead to a private address; commands in a box have the same rule.

use std::fmt;
use std::net::IpAddr;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::sandbox::proxy::is_public;

/// Looks names up, and leaves out of what is found for one host whatever is not public.
#[derive(Debug)]
pub(super) struct PublicOnly<R> {
    /// The host that is asked; a proxy of the user's may be where it likes.
    pub(super) host: String,
    pub(super) inner: R,
}

/// A name that leads to a private address.
#[derive(Debug)]
pub(super) struct NotPublic(String);

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` leads into a private network, where no name may lead: only an address that is granted itself",
            self.0
        )
    }
}

impl std::error::Error for NotPublic {}

impl<R: Resolver> Resolver for PublicOnly<R> {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        if uri.host() != Some(&self.host) || names_its_machine(&self.host) {
            return Ok(found);
        }
        let mut public = self.empty();
        found.iter().filter(|address| is_public(address.ip())).for_each(|address| public.push(*address));
        if public.is_empty() {
            return Err(ureq::Error::Other(Box::new(NotPublic(self.host.clone()))));
        }
        Ok(public)
    }
}

/// Returns whether nobody but whoever wrote it decides where it leads: whoever granted it knew.
fn names_its_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{SocketAddr, TcpListener};

    use ureq::Agent;
    use ureq::unversioned::transport::DefaultConnector;

    use super::*;

    /// Finds the same for every name.
    #[derive(Debug)]
    struct Fixed(Vec<SocketAddr>);

    impl Resolver for Fixed {
        fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
            let mut found = self.empty();
            self.0.iter().for_each(|address| found.push(*address));
            Ok(found)
        }
    }

    /// What comes of a request to a host that is found there.
    fn ask(host: &str, found: &[SocketAddr], port: u16) -> ureq::Error {
        let inner = Fixed(found.to_vec());
        let config =
            Agent::config_builder().proxy(None).timeout_global(Some(std::time::Duration::from_secs(1))).build();
        let resolver = PublicOnly { host: host.to_owned(), inner };
        let agent = Agent::with_parts(config, DefaultConnector::default(), resolver);
        agent.get(format!("http://{host}:{port}/")).call().unwrap_err()
    }

    #[test]
    fn no_name_leads_to_a_machine_of_ones_own() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        let own = server.local_addr().unwrap();
        let was_asked = || match server.accept() {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                false
            }
        };
        for host in ["files.example.org", "a.localhost", "localhost.example.org"] {
            let error = ask(host, &[own, "10.0.0.1:80".parse().unwrap()], own.port());
            let expected = format!("other: `{host}` leads into a private network, where no name may lead");
            assert!(error.to_string().starts_with(&expected), "{error}");
            assert!(!was_asked(), "{host}");
        }
        // Nothing answers there: it is the time that runs out.
        for host in ["localhost", "127.0.0.1"] {
            let error = ask(host, &[own], own.port());
            assert!(error.to_string().starts_with("timeout"), "{error}");
            assert!(was_asked(), "{host}");
        }
    }

    #[test]
    fn the_public_addresses_of_a_name_are_left() {
        let addresses = ["127.0.0.1:80", "1.1.1.1:80", "[fd00::1]:80"].map(|text| text.parse().unwrap());
        let only = PublicOnly { host: "example.org".into(), inner: Fixed(addresses.to_vec()) };
        let find = |address: &'static str| {
            let found = only.resolve(&Uri::from_static(address), &Config::default(), NextTimeout::default()).unwrap();
            found.iter().copied().collect::<Vec<SocketAddr>>()
        };
        assert_eq!(find("http://example.org/"), addresses[1..2]);
        // A proxy, which the user chose.
        assert_eq!(find("http://proxy.example.org:3128/"), addresses);
    }
}
