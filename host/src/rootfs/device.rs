//! Parses the names of partitions in `fstab` (<https://man7.org/linux/man-pages/man5/fstab.5.html>) and in `root=` of
//! the kernel's command line. Pure.

/// A name of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device<'a> {
    /// By the partition table: a disk signature and a number.
    PartUuid(&'a str),
    /// By a label in the partition table; a master boot record has no labels.
    PartLabel(&'a str),
    Uuid(&'a str),
    Label(&'a str),
    /// A device by the kind of its disk and its place there, such as `/dev/mmcblk0p2`.
    Path(&'a str),
    /// No partition: a file, `tmpfs`, another machine's directory.
    Other(&'a str),
}

impl<'a> Device<'a> {
    pub fn parse(text: &'a str) -> Self {
        const WAYS: [(&str, &str); 4] = [
            ("PARTUUID=", "/dev/disk/by-partuuid/"),
            ("PARTLABEL=", "/dev/disk/by-partlabel/"),
            ("UUID=", "/dev/disk/by-uuid/"),
            ("LABEL=", "/dev/disk/by-label/"),
        ];
        let named = WAYS.into_iter().find_map(|(tag, directory)| {
            let value = text.strip_prefix(tag).map(|value| value.trim_matches('"'));
            value.or_else(|| text.strip_prefix(directory)).map(|value| (tag, value))
        });
        match named {
            Some(("PARTUUID=", value)) => Self::PartUuid(value),
            Some(("PARTLABEL=", value)) => Self::PartLabel(value),
            Some(("UUID=", value)) => Self::Uuid(value),
            Some((_, value)) => Self::Label(value),
            None if text.starts_with("/dev/") || text.starts_with("ID=") => Self::Path(text),
            None => Self::Other(text),
        }
    }

    /// Returns whether it is a disk's partition, or a disk.
    pub const fn is_of_disk(&self) -> bool {
        !matches!(self, Self::Other(_))
    }

    /// Returns the number of the partition, if the name holds it: of `1234abcd-02`, `/dev/mmcblk0p2`, `/dev/sda2`.
    pub fn number(&self) -> Option<usize> {
        match self {
            Self::PartUuid(id) => usize::from_str_radix(id.split_once('-')?.1, 16).ok(),
            Self::Path(path) => {
                let digits = path.len() - path.trim_end_matches(|c: char| c.is_ascii_digit()).len();
                let (disk, number) = path.split_at(path.len() - digits);
                // If a disk's own name ends in a digit, a `p` comes before the number: `/dev/mmcblk0` is a whole disk.
                let is_numbered = |disk: &str| disk.ends_with(|c: char| c.is_ascii_digit());
                let is_partition = match disk.strip_suffix('p') {
                    Some(disk) => is_numbered(disk),
                    None => ["/dev/sd", "/dev/vd", "/dev/hd", "/dev/xvd"].iter().any(|start| disk.starts_with(start)),
                };
                number.parse().ok().filter(|_| is_partition)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_have_many_names() {
        for (text, expected, number) in [
            ("PARTUUID=1234abcd-02", Device::PartUuid("1234abcd-02"), Some(2)),
            ("/dev/disk/by-partuuid/1234abcd-0a", Device::PartUuid("1234abcd-0a"), Some(10)),
            ("UUID=\"ab-cd\"", Device::Uuid("ab-cd"), None),
            ("/dev/disk/by-uuid/ab-cd", Device::Uuid("ab-cd"), None),
            ("LABEL=rootfs", Device::Label("rootfs"), None),
            ("/dev/disk/by-label/rootfs", Device::Label("rootfs"), None),
            ("PARTLABEL=root", Device::PartLabel("root"), None),
            ("/dev/mmcblk0p2", Device::Path("/dev/mmcblk0p2"), Some(2)),
            ("/dev/nvme0n1p12", Device::Path("/dev/nvme0n1p12"), Some(12)),
            ("/dev/mmcblk0", Device::Path("/dev/mmcblk0"), None),
            ("/dev/sda3", Device::Path("/dev/sda3"), Some(3)),
            ("/dev/root", Device::Path("/dev/root"), None),
            ("tmpfs", Device::Other("tmpfs"), None),
            ("server:/srv", Device::Other("server:/srv"), None),
            ("/swapfile", Device::Other("/swapfile"), None),
        ] {
            let device = Device::parse(text);
            assert_eq!((device, device.number()), (expected, number), "{text}");
        }
    }
}
