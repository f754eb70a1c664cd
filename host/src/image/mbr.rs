//! Reads and writes the master boot record, the only partition table that the boot ROM of a Pi 0 to 3 reads:
//! <https://www.raspberrypi.com/documentation/computers/raspberry-pi.html>.

use std::fs::File;
use std::io::Cursor;

use mbrman::{BOOT_INACTIVE, CHS, MBR, MBRPartitionEntry};
use serde::{Deserialize, Serialize};

use super::layout::{Layout, Partition, PartitionType, SECTOR, Sectors};
use crate::error::{Context as _, Failure, Result, with_cause};

/// Says "see the block address" in the table's oldest fields, which nothing reads any more.
const NO_GEOMETRY: CHS = CHS { cylinder: 1023, head: 254, sector: 63 };

/// A partition table as found on a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub disk_signature: u32,
    /// The used primary partitions with their numbers, from 1.
    pub partitions: Vec<(usize, Partition)>,
}

impl Table {
    /// Returns the first partition that firmware could boot from.
    pub fn boot(&self) -> Option<&(usize, Partition)> {
        self.partitions.iter().find(|(_, partition)| partition.kind.is_fat())
    }

    /// Returns the first Linux partition, which is that of the root in an image that piimg made; `root::find` knows
    /// others.
    pub fn root(&self) -> Option<&(usize, Partition)> {
        self.partitions.iter().find(|(_, partition)| partition.kind.is_linux())
    }
}

/// Writes the table of `layout` into the first sector of `image`.
///
/// # Errors
/// If a number does not fit into the table or the file cannot be written.
pub fn write(image: &File, layout: &Layout, disk_signature: u32) -> Result<()> {
    let sector = u32::try_from(SECTOR).expect("a sector is short");
    let mut file = image;
    let mut table =
        MBR::new_from(&mut file, sector, disk_signature.to_le_bytes()).context("cannot make a partition table")?;
    table.header.partition_1 = entry(&layout.boot)?;
    table.header.partition_2 = entry(&layout.root)?;
    table.write_into(&mut file).context("cannot write the partition table")
}

fn entry(partition: &Partition) -> Result<MBRPartitionEntry> {
    let field = |sectors: Sectors| {
        u32::try_from(sectors.0)
            .context(Failure::bug(format!("sector {} does not fit into a master boot record", sectors.0)))
    };
    Ok(MBRPartitionEntry {
        // Firmware looks for files, not for an active flag.
        boot: BOOT_INACTIVE,
        first_chs: NO_GEOMETRY,
        sys: partition.kind.0,
        last_chs: NO_GEOMETRY,
        starting_lba: field(partition.start)?,
        sectors: field(partition.length)?,
    })
}

/// Reads the table of `image`.
///
/// # Errors
/// If there is no table.
pub fn read(image: &File) -> Result<Table> {
    use std::os::unix::fs::FileExt as _;

    // Only the first sector is parsed: a hostile chain of extended partitions has no say.
    let mut sector = [0; 512];
    image.read_exact_at(&mut sector, 0).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => anyhow::anyhow!("the file is shorter than a partition table"),
        _ => with_cause(error.into(), "cannot read the partition table"),
    })?;
    let header = mbrman::MBRHeader::read_from(&mut Cursor::new(sector)).context("the file has no partition table")?;
    let partitions = (1..=4)
        .filter_map(|number| header.get(number).filter(|entry| entry.is_used()).map(|entry| (number, entry)))
        .map(|(number, entry)| {
            let partition = Partition {
                kind: PartitionType(entry.sys),
                start: Sectors(entry.starting_lba.into()),
                length: Sectors(entry.sectors.into()),
            };
            (number, partition)
        })
        .collect();
    Ok(Table { disk_signature: u32::from_le_bytes(header.disk_signature), partitions })
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};

    use super::*;
    use crate::image::layout::Bytes;

    #[test]
    fn a_table_reads_back_and_has_fixed_bytes() {
        let layout = Layout::new(Bytes::mib(512), Bytes::mib(1000)).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        write(&file, &layout, 0x1234_abcd).unwrap();
        let table = read(&file).unwrap();
        assert_eq!(table.disk_signature, 0x1234_abcd);
        assert_eq!(table.partitions, [(1, layout.boot), (2, layout.root)]);
        file.rewind().unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 512);
        assert!(bytes[..440].iter().all(|byte| *byte == 0));
        assert_eq!(&bytes[440..446], [0xcd, 0xab, 0x34, 0x12, 0, 0]);
        assert_eq!(&bytes[446..462], [0, 254, 255, 255, 0x0c, 254, 255, 255, 0, 0x40, 0, 0, 0, 0, 0x10, 0]);
        assert_eq!(&bytes[510..], [0x55, 0xaa]);
    }

    #[test]
    fn a_file_without_table_is_refused() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(read(&file).unwrap_err().to_string(), "the file is shorter than a partition table");
        file.set_len(4096).unwrap();
        assert_eq!(read(&file).unwrap_err().to_string(), "the file has no partition table");
    }
}
