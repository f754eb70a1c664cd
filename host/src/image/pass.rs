//! Reads a finished image once, for everything that needs all of its bytes.
//!
//! A reader hands pieces of the image to consumers in threads of their own: its checksum, its block map, and the
//! compressor. Holes are not read.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, ScopedJoinHandle};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::bmap::{Bmap, BmapBuilder};
use super::compress::Compression;
use super::layout::Bytes;
use super::{descriptor_path, occupied};
use crate::error::{Context as _, Failure, Result};
use crate::sparse;

/// Bytes of a piece: long enough that handing it over costs nothing, short enough to stay in the processor's cache.
/// A whole number of a block map's blocks.
const PIECE: usize = 1 << 20;

/// Pieces that wait for the slowest consumer.
const QUEUE: usize = 16;

/// Digests of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// SHA-256 of the whole image, in hexadecimal.
    pub sha256: String,
    pub bmap: Bmap,
}

/// Result of the compressor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compressed {
    pub sha256: String,
    pub length: Bytes,
}

type Piece = Arc<Vec<u8>>;

/// Reads `image` once; compresses it to the given file on all cores, if asked to.
///
/// `watch` hears how far the reading is, and stops it by saying `false`.
///
/// # Errors
/// If the image cannot be read, the compressed file cannot be written, or `watch` stopped the pass.
pub fn pass(
    image: &File,
    compress: Option<(Compression, &File)>,
    watch: &mut dyn FnMut(Bytes) -> bool,
) -> Result<(Digests, Option<Compressed>)> {
    let occupied = occupied::occupied(image)?;
    let wanted = Wanted { sha256: true, occupied: Some(&occupied) };
    let (sha256, bmap, compressed) = read(image, wanted, compress, watch)?;
    let sha256 = sha256.context(Failure::bug("the image was read without a checksum"))?;
    let bmap = bmap.context(Failure::bug("the image was read without a map"))?;
    Ok((Digests { sha256, bmap }, compressed))
}

/// Reads `image` once: returns its block map alone. That says all of an image: where it names nothing, there are zeros.
///
/// # Errors
/// Those of [`pass`].
pub fn map(image: &File, watch: &mut dyn FnMut(Bytes) -> bool) -> Result<Bmap> {
    let occupied = occupied::occupied(image)?;
    let (_, bmap, _) = read(image, Wanted { sha256: false, occupied: Some(&occupied) }, None, watch)?;
    bmap.context(Failure::bug("the image was read without a map"))
}

/// Reads any `file` once: returns its SHA-256 in hexadecimal digits; the rest is as [`pass`] does it.
///
/// # Errors
/// Those of [`pass`].
pub fn digest(
    file: &File,
    compress: Option<(Compression, &File)>,
    watch: &mut dyn FnMut(Bytes) -> bool,
) -> Result<(String, Option<Compressed>)> {
    let (sha256, _, compressed) = read(file, Wanted { sha256: true, occupied: None }, compress, watch)?;
    Ok((sha256.context(Failure::bug("the file was read without a checksum"))?, compressed))
}

/// Requested results of a reading.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    sha256: bool,
    /// A block map, which must name this in any case.
    occupied: Option<&'a [Range<u64>]>,
}

fn read(
    file: &File,
    wanted: Wanted<'_>,
    compress: Option<(Compression, &File)>,
    watch: &mut dyn FnMut(Bytes) -> bool,
) -> Result<(Option<String>, Option<Bmap>, Option<Compressed>)> {
    // Holes are found by seeking, which must not move anybody else's position.
    let file = File::open(descriptor_path(file)).context("cannot open what was written again")?;
    let length = Bytes(file.metadata().context("cannot read what was written")?.len());
    thread::scope(|scope| {
        let mut senders = Vec::new();
        let mut queue = || {
            let (sender, pieces) = sync_channel(QUEUE);
            senders.push(sender);
            pieces
        };
        let sha256 = wanted.sha256.then(|| {
            let pieces = queue();
            scope.spawn(move || checksum(&pieces))
        });
        let bmap = wanted.occupied.map(|occupied| {
            let pieces = queue();
            scope.spawn(move || map_pieces(&pieces, occupied))
        });
        let compressed = compress.map(|(compression, out)| {
            let pieces = queue();
            scope.spawn(move || write_compressed(&pieces, compression, length, out))
        });
        let end = feed(&file, length, &senders, watch).context("cannot read what was written");
        // Which ends the consumers.
        drop(senders);
        let (sha256, bmap, compressed) = (sha256.map(join), bmap.map(join), compressed.map(join));
        match end? {
            // A compressor that was cut off has something to say too, but it is not the cause.
            End::Stopped => Err(Failure::build("what was written was not read to its end").into()),
            End::Complete | End::Deserted => {
                Ok((sha256, bmap, compressed.transpose().context("cannot write the compressed file")?))
            }
        }
    })
}

fn join<T>(consumer: ScopedJoinHandle<'_, T>) -> T {
    consumer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// End of a reading that did not fail.
enum End {
    Complete,
    Stopped,
    /// A consumer failed, and says why.
    Deserted,
}

fn feed(
    image: &File,
    length: Bytes,
    consumers: &[SyncSender<Piece>],
    watch: &mut dyn FnMut(Bytes) -> bool,
) -> io::Result<End> {
    let zeros = Arc::new(vec![0; PIECE]);
    for piece in sparse::pieces(image, length.0, PIECE) {
        let piece = piece?;
        if !watch(Bytes(piece.start)) {
            return Ok(End::Stopped);
        }
        let content = if piece.is_hole && piece.length == PIECE {
            Arc::clone(&zeros)
        } else {
            let mut content = vec![0; piece.length];
            piece.read(image, &mut content)?;
            Arc::new(content)
        };
        if consumers.iter().any(|consumer| consumer.send(Arc::clone(&content)).is_err()) {
            return Ok(End::Deserted);
        }
    }
    Ok(End::Complete)
}

fn checksum(pieces: &Receiver<Piece>) -> String {
    let mut hash = Sha256::new();
    pieces.iter().for_each(|piece| hash.update(&*piece));
    hex::encode(hash.finalize())
}

fn map_pieces(pieces: &Receiver<Piece>, occupied: &[Range<u64>]) -> Bmap {
    let mut builder = BmapBuilder::new(occupied);
    pieces.iter().for_each(|piece| builder.add(&piece));
    builder.finish()
}

fn write_compressed(
    pieces: &Receiver<Piece>,
    compression: Compression,
    length: Bytes,
    out: &File,
) -> io::Result<Compressed> {
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let out = Hashed { out, hash: Sha256::new(), length: 0 };
    let mut compressor = compression.start(out, length, u32::try_from(threads).unwrap_or(u32::MAX))?;
    for piece in pieces {
        compressor.write_all(&piece)?;
    }
    let out = compressor.finish()?;
    Ok(Compressed { sha256: hex::encode(out.hash.finalize()), length: Bytes(out.length) })
}

/// A file that is only appended to, and the checksum of what went there.
struct Hashed<'a> {
    out: &'a File,
    hash: Sha256,
    length: u64,
}

impl Write for Hashed<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let count = self.out.write(data)?;
        self.hash.update(&data[..count]);
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
