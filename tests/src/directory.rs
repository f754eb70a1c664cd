//! An image that is a directory: plugins run against it without a build.

use std::fs;
use std::path::Path;

use piimg::download::{self, Answer, Authorities, Limits, Url};
use piimg::git::{self, ObjectId, Snapshot};
use piimg::image::command_lines::command_lines;
use piimg::image::parsing;
use piimg::plugin::ImageInfo;
use piimg::plugin::workbench::{
    CallError, Command, ErrorCode, Fetched, InstalledPackage, Outcome, PackageRequest, Stdin, Workbench,
};
use piimg::rootfs::files::{ImagePath, Rootfs};
use piimg::sandbox::free_space::Room;
use piimg::secret::Authorization;
use piimg::ui::printable;

/// Time of whatever is written.
const EPOCH: u64 = 1_700_000_000;

/// Commands are only written down, and so are packages where some may be asked for; there are none.
#[derive(Debug)]
pub struct Directory {
    rootfs: Rootfs,
    pub commands: Vec<Command>,
    /// The packages that may be installed or otherwise wanted of package runs; without it nothing may be.
    pub packages: Option<Vec<String>>,
    /// The addresses that were asked for.
    pub requests: Vec<String>,
    /// The requests with a header that proves to have a secret, and that header.
    pub authorized: Vec<(String, String)>,
    /// With what downloads are made; without it they are made up.
    online: Option<(Authorities, Limits)>,
}

impl Directory {
    /// # Panics
    /// If the directory cannot be opened.
    pub fn open(root: &Path) -> Self {
        let rootfs = Rootfs::open(root, EPOCH).expect("the directory can be opened");
        Self {
            rootfs,
            commands: Vec::new(),
            packages: None,
            requests: Vec::new(),
            authorized: Vec::new(),
            online: None,
        }
    }

    /// Opens one that asks real servers.
    ///
    /// # Panics
    /// As [`Directory::open`].
    pub fn online(root: &Path, authorities: Authorities, limits: Limits) -> Self {
        Self { online: Some((authorities, limits)), ..Self::open(root) }
    }

    /// Asks as a build does it.
    fn ask(
        url: &Url,
        authorization: Option<&Authorization>,
        authorities: &Authorities,
        limits: Limits,
    ) -> anyhow::Result<Fetched> {
        let mut file = tempfile::tempfile()?;
        match download::get(url, authorization, &mut file, authorities, limits) {
            Ok(Answer::Content(digest)) => Ok(Fetched::Content { file, digest }),
            Ok(Answer::Redirect(to)) => Ok(Fetched::Redirect(to)),
            Err(error) => Err(CallError::new(ErrorCode::Network, printable(&format!("{error:#}"))).into()),
        }
    }
}

impl Workbench for Directory {
    fn rootfs(&self) -> &Rootfs {
        &self.rootfs
    }

    fn command_lines(&self) -> anyhow::Result<Vec<ImagePath>> {
        command_lines(&self.rootfs)
    }

    fn run(&mut self, command: &Command, _stdin: Option<Stdin<'_>>) -> anyhow::Result<Outcome> {
        self.commands.push(command.clone());
        Ok(Outcome { stdout: b"htop 3.2.2\n".to_vec(), ..Outcome::default() })
    }

    fn install_packages(
        &mut self,
        specs: &[String],
        _recommends: bool,
    ) -> anyhow::Result<Option<Vec<InstalledPackage>>> {
        let Some(packages) = &mut self.packages else { panic!("nothing may be installed, but {specs:?} was") };
        packages.extend(specs.iter().cloned());
        Ok(Some(Vec::new()))
    }

    fn has_settled(&mut self, request: &PackageRequest) -> anyhow::Result<bool> {
        let Some(packages) = &mut self.packages else { panic!("no packages may change, but it asks: {request}") };
        packages.push(request.to_string());
        Ok(true)
    }

    fn fetch(&mut self, url: &Url, _digest: &str, authorization: Option<&Authorization>) -> anyhow::Result<Fetched> {
        self.requests.push(url.to_string());
        self.authorized.extend(authorization.map(|header| (url.to_string(), header.expose().to_owned())));
        if let Some((authorities, limits)) = &self.online {
            return Self::ask(url, authorization, authorities, *limits);
        }
        let redirect = |to: &str| Ok(Fetched::Redirect(to.to_owned()));
        match url.path.as_str() {
            "/pub/moved" => redirect("https://a.files.example.org/x?signed=1"),
            "/pub/away" => redirect("https://evil.org/x"),
            "/pub/down" => redirect("http://example.org/pub/hello"),
            "/pub/round" => redirect("/pub/round"),
            "/pub/there-and-back" => redirect("https://a.files.example.org/back"),
            "/back" => redirect("https://example.org/pub/hello"),
            "/pub/near" => redirect("/pub/hello"),
            // A server that tells what it was told, to whoever reads the next address.
            "/pub/echo" => redirect(&format!("https://a.files.example.org/{}", "t0ken-of-ann")),
            path => {
                let text = if path == "/pub/changed" { "changed" } else { "hello\n" };
                let mut file = tempfile::tempfile()?;
                std::io::Write::write_all(&mut file, text.as_bytes())?;
                Ok(Fetched::Content { file, digest: sha256(text) })
            }
        }
    }

    fn fetch_commit(
        &mut self,
        url: &Url,
        commit: &ObjectId,
        authorization: Option<&Authorization>,
    ) -> anyhow::Result<Snapshot> {
        self.requests.push(git::address(url));
        self.authorized.extend(authorization.map(|header| (git::address(url), header.expose().to_owned())));
        let Some((authorities, limits)) = &self.online else {
            return Err(CallError::new(ErrorCode::Network, "there is no server of git").into());
        };
        Ok(git::fetch(url, commit, authorization, &mut tempfile::tempfile()?, authorities, *limits)?)
    }

    fn unpacked(&mut self, file: &fs::File) -> anyhow::Result<fs::File> {
        let whole = tempfile::tempfile()?;
        let mut room = Room::new(&std::env::temp_dir(), "the temporary directory", "what is in the archive")?;
        parsing::unpack(&crate::parser(), file, &whole, parsing::LONGEST, &mut room)?;
        Ok(whole)
    }

    fn query_package(&mut self, _name: &str) -> anyhow::Result<Option<InstalledPackage>> {
        Ok(None)
    }
}

fn sha256(text: &str) -> String {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes a directory with what the guests look for in an image.
///
/// # Panics
/// If it cannot be made.
pub fn image() -> tempfile::TempDir {
    image_in(&std::env::temp_dir())
}

/// Makes the same in a directory of one's own choice.
///
/// # Panics
/// If it cannot be made.
pub fn image_in(parent: &Path) -> tempfile::TempDir {
    let root = tempfile::tempdir_in(parent).expect("a directory can be made");
    for dir in ["etc", "opt"] {
        fs::create_dir(root.path().join(dir)).expect("a directory can be made");
    }
    for (name, content) in
        [("passwd", "root:x:0:0:root:/root:/bin/bash\n"), ("group", "root:x:0:\n"), ("shadow", "root:secret\n")]
    {
        fs::write(root.path().join("etc").join(name), content).expect("a file can be written");
    }
    root
}

/// Returns what plugins are told about it.
pub fn image_info() -> ImageInfo {
    ImageInfo {
        architecture: "arm64".into(),
        distribution: "debian".into(),
        release: "bookworm".into(),
        hostname: "box".into(),
        flavour: "test".into(),
        epoch: EPOCH,
    }
}
