//! Lists of archives while they arrive. apt compares a list with the length that the signed file says when all of it has
//! come, which may be never; here it ends at that length, and at what no list has, whoever signs for it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Failure, Result};
use crate::sandbox::free_space::Room;
use crate::ui::{bytes, printable};

/// Longest list: that of all of Debian has 60 MB.
pub(super) const LONGEST: u64 = 1 << 30;

/// Most bytes of all lists of a bootstrap.
const ALL: u64 = 4 << 30;

/// Longest signed file, which nothing says the length of: twice what apt takes.
const LONGEST_SIGNED: u64 = 20_000_000;

/// A file of apt's, and how long it is so far.
type Lengths = Vec<(PathBuf, u64)>;

/// Looks at what apt has put into the directory `lists`, which may not be there yet, and at what is left of the disk.
///
/// # Errors
/// If the disk cannot be asked.
pub(super) fn look(lists: &Path) -> Result<impl FnMut() -> Result<()> + Send + use<>> {
    let lists = lists.to_owned();
    // The tree exists before mmdebstrap starts.
    let tree = lists.ancestors().find(|directory| directory.is_dir()).unwrap_or(Path::new("/")).to_owned();
    let room = Room::new(&tree, "the store", "the package lists")?;
    let mut said = Said::default();
    Ok(move || {
        let lengths = lengths(&lists);
        check(&lengths, &mut said)?;
        room.check(0, lengths.iter().map(|(_, length)| length).sum())
    })
}

/// Returns the lengths of the files so far.
fn lengths(lists: &Path) -> Lengths {
    // Files come and go; a directory that is missing has no files.
    let files = |directory: PathBuf| {
        fs::read_dir(directory).into_iter().flatten().filter_map(|entry| {
            let entry = entry.ok()?;
            let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            Some((entry.path(), metadata.len()))
        })
    };
    files(lists.to_owned()).chain(files(lists.join("partial"))).collect()
}

/// Lengths that signed files say, by the names that apt gives to lists.
#[derive(Debug, Default)]
struct Said {
    /// The signed files that they are from.
    of: Lengths,
    lengths: BTreeMap<String, u64>,
}

impl Said {
    /// Reads the signed files among those that there are, if others have come.
    fn renew(&mut self, there: &Lengths) {
        let signed = there.iter().filter(|(path, length)| is_signed(path) && *length <= LONGEST_SIGNED);
        let signed: Lengths = signed.cloned().collect();
        if signed == self.of {
            return;
        }
        self.lengths = signed.iter().flat_map(|(path, _)| said_by(path)).collect();
        self.of = signed;
    }
}

/// Returns the lengths of lists according to the signed file at `path`; nothing while it is incomplete.
fn said_by(path: &Path) -> Vec<(String, u64)> {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let Some(archive) = name(path).rsplit_once('_').map(|(archive, _)| archive.to_owned()) else { return Vec::new() };
    // `DIGEST LENGTH PATH`; the last line may be half of one.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = whole.lines().filter_map(|line| {
        let mut words = line.strip_prefix(' ')?.split_whitespace().skip(1);
        let (length, path) = (words.next()?.parse().ok()?, words.next()?);
        Some((format!("{archive}_{}", path.replace('/', "_")), length))
    });
    lines.collect()
}

fn is_signed(path: &Path) -> bool {
    name(path).ends_with("Release")
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Refuses a list that is longer than it may be.
fn check(lengths: &Lengths, said: &mut Said) -> Result<()> {
    said.renew(lengths);
    let refuse = |text: String| {
        let failure = Failure::build(text).hint("the server sends something else: use another mirror");
        Err(anyhow::Error::from(failure))
    };
    for (path, length) in lengths {
        let name = name(path);
        // apt names a list after its address.
        let shown = printable(&name.replace('_', "/"));
        if let Some(signed) = said.lengths.get(&name).filter(|signed| length > signed) {
            return refuse(format!(
                "the list `{shown}` is longer than the archive's signature says, which is {signed} bytes"
            ));
        }
        let longest = if is_signed(path) { LONGEST_SIGNED } else { LONGEST };
        if *length >= longest {
            return refuse(format!("the list `{shown}` has more than {}", bytes(longest)));
        }
    }
    if lengths.iter().fold(0_u64, |sum, (_, length)| sum.saturating_add(*length)) >= ALL {
        return refuse(format!("the lists of the archives have more than {}", bytes(ALL)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_without_an_end_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("partial")).unwrap();
        let list = |name: &str, length: u64| {
            fs::File::create(dir.path().join(name)).unwrap().set_len(length).unwrap();
        };
        let mut said = Said::default();
        let mut look = || check(&lengths(dir.path()), &mut said).map_err(|error| error.to_string());
        let (signed, packages) = ("h_debian_dists_x_InRelease", "partial/h_debian_dists_x_main_Packages");
        list(signed, 1000);
        list(packages, LONGEST - 1);
        assert_eq!(look(), Ok(()));
        list(packages, LONGEST);
        assert_eq!(look().unwrap_err(), "the list `h/debian/dists/x/main/Packages` has more than 1 GiB");
        list(packages, 0);
        list(signed, LONGEST_SIGNED);
        assert!(look().unwrap_err().starts_with("the list `h/debian/dists/x/InRelease` has more than "));
        list(signed, 0);
        for number in 0..5 {
            list(&format!("partial/{number}"), LONGEST - 1);
        }
        assert_eq!(look().unwrap_err(), "the lists of the archives have more than 4 GiB");
        assert!(lengths(&dir.path().join("none")).is_empty());
    }

    #[test]
    fn a_list_ends_where_the_signed_file_says() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("partial")).unwrap();
        let mut said = Said::default();
        let mut look = || check(&lengths(dir.path()), &mut said).map_err(|error| error.to_string());
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("partial/h_x_main_binary-arm64_Packages", "12345");
        // Half of it has come.
        write(
            "h_x_InRelease",
            "Suite: x\nSHA256:\n aa 4 main/binary-arm64/Packages.xz\n bb 4 main/binary-arm64/Packages",
        );
        assert_eq!(look(), Ok(()));
        write("h_x_InRelease", "SHA256:\n aa 4 main/binary-arm64/Packages.xz\n bb 5 main/binary-arm64/Packages\n");
        assert_eq!(look(), Ok(()));
        write("partial/h_x_main_binary-arm64_Packages", "123456");
        let expected =
            "the list `h/x/main/binary-arm64/Packages` is longer than the archive's signature says, which is 5 bytes";
        assert_eq!(look().unwrap_err(), expected);
    }
}
