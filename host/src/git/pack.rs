//! Reads packs: the objects of a commit in one file, each compressed, some as deltas of others
//! (<https://git-scm.com/docs/pack-format>). Packs are untrusted: an object counts by the digest of its content.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::FileExt as _;

use flate2::bufread::ZlibDecoder;

use super::object::{Format, Kind, ObjectId};
use super::{Answer, Fault, GitError, delta};

/// Most bytes of one object, which is in memory with what it is made of. Those who serve git take no larger ones.
const MAX_OBJECT: u64 = 256 << 20;

/// Most bytes that are unpacked, all in all, with some for each object: a small pack can hold very much.
const MAX_WORK: u64 = 64 << 30;

/// Memory for an object besides its bytes.
const OBJECT_COST: u64 = 1024;

/// Longest chain of deltas; git itself makes none longer.
const MAX_DEPTH: usize = 4095;

/// A pack whose objects all have been looked at.
#[derive(Debug)]
pub(super) struct Pack {
    file: File,
    format: Format,
    /// Objects by their offset in the file.
    objects: HashMap<u64, Object>,
    by_id: HashMap<ObjectId, u64>,
    work: u64,
}

#[derive(Clone, Copy, Debug)]
struct Object {
    kind: Kind,
    /// Bytes of its content.
    size: u64,
    /// The object that it is a delta of.
    base: Option<u64>,
    depth: usize,
}

/// An object as it is in the file.
struct Stored {
    form: Form,
    data: Vec<u8>,
    /// Offset of the next object.
    next: u64,
}

enum Form {
    Whole(Kind),
    /// A delta of the object at that place.
    DeltaAt(u64),
    DeltaOf(ObjectId),
}

/// The file from a place on.
struct Rest<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for Rest<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.file.read_at(buffer, self.offset)?;
        self.offset += u64::try_from(length).unwrap_or_default();
        Ok(length)
    }
}

fn not_a_pack(cause: &str) -> GitError {
    GitError::damaged(format!("what came is no pack of git: {cause}"))
}

impl Pack {
    /// Unpacks every object once, to know its id.
    pub(super) fn read(file: File, format: Format) -> Answer<Self> {
        let mut head = [0; 12];
        file.read_exact_at(&mut head, 0).map_err(|_| not_a_pack("it is too short"))?;
        let [b'P', b'A', b'C', b'K', 0, 0, 0, 2 | 3, count @ ..] = head else {
            return Err(not_a_pack("it does not begin as one"));
        };
        let mut pack = Self { file, format, objects: HashMap::new(), by_id: HashMap::new(), work: 0 };
        let mut offset = u64::try_from(head.len()).expect("a small number");
        let mut waiting = Vec::new();
        for _ in 0..u32::from_be_bytes(count) {
            let stored = pack.stored(offset)?;
            let next = stored.next;
            match stored.form {
                Form::DeltaOf(ref base) if !pack.by_id.contains_key(base) => waiting.push((offset, base.clone())),
                _ => pack.add(offset, stored)?,
            }
            offset = next;
        }
        // A delta may come before what it is a delta of.
        while !waiting.is_empty() {
            let before = waiting.len();
            pack.spend(u64::try_from(before).unwrap_or(u64::MAX))?;
            let (ready, later): (Vec<_>, _) = waiting.into_iter().partition(|(_, base)| pack.by_id.contains_key(base));
            waiting = later;
            for (offset, _) in ready {
                let stored = pack.stored(offset)?;
                pack.add(offset, stored)?;
            }
            if waiting.len() == before {
                return Err(not_a_pack("it has a delta of an object that is not in it"));
            }
        }
        Ok(pack)
    }

    /// Finds an object of that kind, and its place in the pack.
    fn find(&self, id: &ObjectId, kind: Kind) -> Answer<(u64, Object)> {
        let found = self.by_id.get(id).and_then(|place| Some((*place, *self.objects.get(place)?)));
        found
            .filter(|(_, object)| object.kind == kind)
            .ok_or_else(|| GitError::damaged(format!("what came does not hold the {} {id}", kind.name())))
    }

    /// Returns the length of an object.
    pub(super) fn size(&self, id: &ObjectId, kind: Kind) -> Answer<u64> {
        Ok(self.find(id, kind)?.1.size)
    }

    /// Returns the content of an object.
    pub(super) fn content(&mut self, id: &ObjectId, kind: Kind) -> Answer<Vec<u8>> {
        let (place, _) = self.find(id, kind)?;
        self.unpack(place)
    }

    fn add(&mut self, offset: u64, stored: Stored) -> Answer<()> {
        let base = match stored.form {
            Form::Whole(kind) => return self.note(offset, &stored.data, kind, None, 0),
            Form::DeltaAt(base) => base,
            Form::DeltaOf(base) => *self.by_id.get(&base).ok_or_else(|| not_a_pack("an object is missing"))?,
        };
        let known = *self.objects.get(&base).ok_or_else(|| not_a_pack("it has a delta of nothing"))?;
        if known.depth >= MAX_DEPTH {
            return Err(not_a_pack("its deltas depend on too many others"));
        }
        let content = self.unpack(base)?;
        let content = self.apply(&content, &stored.data)?;
        self.note(offset, &content, known.kind, Some(base), known.depth + 1)
    }

    fn note(&mut self, offset: u64, content: &[u8], kind: Kind, base: Option<u64>, depth: usize) -> Answer<()> {
        let id = ObjectId::of(kind, content, self.format)?;
        let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
        self.objects.insert(offset, Object { kind, size, base, depth });
        self.by_id.entry(id).or_insert(offset);
        Ok(())
    }

    /// Returns the content of the object at that place, by all the deltas that lead to it.
    fn unpack(&mut self, place: u64) -> Answer<Vec<u8>> {
        let mut chain = vec![place];
        while let Some(base) = chain.last().and_then(|last| self.objects.get(last)?.base) {
            chain.push(base);
        }
        let mut content = Vec::new();
        for (step, place) in chain.into_iter().rev().enumerate() {
            let stored = self.stored(place)?;
            content = if step == 0 { stored.data } else { self.apply(&content, &stored.data)? };
        }
        Ok(content)
    }

    fn apply(&mut self, base: &[u8], by: &[u8]) -> Answer<Vec<u8>> {
        let most = usize::try_from(MAX_OBJECT).unwrap_or(usize::MAX);
        let made = delta::apply(base, by, most).ok_or_else(|| not_a_pack("a delta does not fit its object"))?;
        self.spend(u64::try_from(made.len()).unwrap_or(u64::MAX))?;
        Ok(made)
    }

    /// Reads and decompresses what is at that place.
    fn stored(&mut self, place: u64) -> Answer<Stored> {
        let cut = || not_a_pack("it ends too early");
        let mut input = BufReader::with_capacity(16 << 10, Rest { file: &self.file, offset: place });
        // The longest head has 10 bytes of a length, and 10 of a distance or a whole id.
        let head = input.fill_buf().map_err(|error| GitError::io(&error))?;
        let mut rest = head;
        let first = *rest.first().ok_or_else(cut)?;
        // Four bits of the length, and the others as a number of its own.
        let mut size = u64::from(first & 0x0f);
        rest = &rest[1..];
        if first & 0x80 != 0 {
            let more = delta::number(&mut rest).and_then(|more| more.checked_mul(16)).ok_or_else(cut)?;
            size = size.checked_add(more).ok_or_else(cut)?;
        }
        let form = match (first >> 4) & 7 {
            1 => Form::Whole(Kind::Commit),
            2 => Form::Whole(Kind::Tree),
            3 => Form::Whole(Kind::Blob),
            4 => Form::Whole(Kind::Tag),
            6 => {
                let distance = distance(&mut rest).filter(|distance| *distance > 0).ok_or_else(cut)?;
                let base = place.checked_sub(distance);
                Form::DeltaAt(base.ok_or_else(|| not_a_pack("it has a delta of nothing"))?)
            }
            7 => {
                let (id, after) = rest.split_at_checked(self.format.length()).ok_or_else(cut)?;
                rest = after;
                Form::DeltaOf(ObjectId::from_bytes(id, self.format).ok_or_else(cut)?)
            }
            _ => return Err(not_a_pack("it has an object of an unknown kind")),
        };
        if size > MAX_OBJECT {
            let most = crate::ui::bytes(MAX_OBJECT);
            return Err(GitError::new(Fault::Limit, format!("the commit has a file of more than {most}")));
        }
        let used = head.len() - rest.len();
        input.consume(used);
        let mut data = Vec::new();
        let mut decoder = ZlibDecoder::new(input);
        // One more, so that the end is read, with its sum.
        let read = decoder.by_ref().take(size + 1).read_to_end(&mut data);
        read.map_err(|error| not_a_pack(&format!("an object cannot be decompressed: {error}")))?;
        let taken = u64::try_from(used).unwrap_or_default() + decoder.total_in();
        drop(decoder);
        if u64::try_from(data.len()) != Ok(size) {
            return Err(not_a_pack("an object has another length than it says"));
        }
        self.spend(size)?;
        Ok(Stored { form, data, next: place + taken })
    }

    fn spend(&mut self, bytes: u64) -> Answer<()> {
        self.work = self.work.saturating_add(bytes).saturating_add(OBJECT_COST);
        if self.work > MAX_WORK {
            let most = crate::ui::bytes(MAX_WORK);
            return Err(GitError::new(Fault::Limit, format!("the commit takes more than {most} to unpack")));
        }
        Ok(())
    }
}

/// Decodes the distance to the base of a delta: seven bits a byte, the highest first, and each further byte adds one.
/// See <https://git-scm.com/docs/pack-format>.
fn distance(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    loop {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value = value.checked_mul(128)?.checked_add(u64::from(byte & 0x7f))?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
        value = value.checked_add(1)?;
    }
}
