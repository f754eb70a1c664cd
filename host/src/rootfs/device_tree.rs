//! Parses flattened device trees, as far as they say which overlays and parameters they take
//! (<https://devicetree-specification.readthedocs.io/en/stable/flattened-format.html>). Pure.
//!
//! The firmware applies an overlay by the labels that the tree offers in `__symbols__`, and a `dtparam` by the names in
//! `__overrides__`; where a tree has neither, a line of config.txt that asks for one changes nothing, and nobody is told. The
//! format is that of <https://devicetree-specification.readthedocs.io/en/stable/flattened-format.html>, the two nodes are
//! <https://github.com/raspberrypi/documentation/blob/master/documentation/asciidoc/computers/configuration/device-tree.adoc>.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

const MAGIC: u32 = 0xd00d_feed;
/// Places in the header with the offsets of structure and strings.
const STRUCTURE: usize = 8;
const STRINGS: usize = 12;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;

/// Longest name of a node or a property that is kept.
const LONGEST_NAME: usize = 256;

/// Facts about a tree or an overlay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceTree {
    /// Labels that overlays may refer to.
    pub symbols: BTreeSet<String>,
    /// Parameters.
    pub overrides: BTreeSet<String>,
    /// Labels that an overlay needs of what it is applied to.
    pub needs: BTreeSet<String>,
    /// Content of the overlay map: names that the firmware looks for, and the files that it takes instead.
    pub renamed: BTreeMap<String, BTreeSet<String>>,
}

impl DeviceTree {
    /// Returns what `data` says; `None` if it is no device tree.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let mut tree = Self::default();
        let strings = data.get(usize::try_from(word(data, STRINGS)?).ok()?..)?;
        let mut position = usize::try_from(word(data, STRUCTURE)?).ok()?;
        if word(data, 0)? != MAGIC {
            return None;
        }
        // Names of the nodes around; that of the root is empty.
        let mut nodes: Vec<String> = Vec::new();
        loop {
            let token = word(data, position)?;
            position += 4;
            match token {
                BEGIN_NODE => {
                    let name = name(data.get(position..)?)?;
                    position = aligned(position + name.len() + 1);
                    if nodes.len() == 1 {
                        tree.begin(name);
                    }
                    nodes.push(name.to_owned());
                }
                END_NODE => {
                    nodes.pop()?;
                    if nodes.is_empty() {
                        return Some(tree);
                    }
                }
                PROPERTY => {
                    let length = usize::try_from(word(data, position)?).ok()?;
                    let at = usize::try_from(word(data, position + 4)?).ok()?;
                    let value = data.get(position + 8..position.checked_add(8)?.checked_add(length)?)?;
                    position = aligned(position + 8 + length);
                    if let [_, node] = &nodes[..] {
                        tree.add(node, name(strings.get(at..)?)?, value);
                    }
                }
                NOP => {}
                _ => return None,
            }
        }
    }

    fn begin(&mut self, node: &str) {
        if !node.starts_with("__") {
            self.renamed.entry(node.to_owned()).or_default();
        }
    }

    /// Takes a property of a node below the root.
    fn add(&mut self, node: &str, property: &str, value: &[u8]) {
        let names = match node {
            "__symbols__" => &mut self.symbols,
            "__overrides__" => &mut self.overrides,
            "__fixups__" => &mut self.needs,
            _ => return self.map(node, property, value),
        };
        names.insert(property.to_owned());
    }

    /// Takes a line of the map: for a processor the file of an overlay, or the overlay's new name.
    fn map(&mut self, node: &str, property: &str, value: &[u8]) {
        if !property.starts_with("bcm2") && property != "renamed" {
            return;
        }
        // Without a value it is the overlay's own name.
        let target = name(value).filter(|target| !target.is_empty()).unwrap_or(node);
        self.renamed.entry(node.to_owned()).or_default().insert(target.to_owned());
    }

    /// Returns the labels that an overlay needs and neither this tree nor one of the `others` has.
    pub fn lacks(&self, overlay: &Self, others: &[&Self]) -> Vec<String> {
        let has = |label: &String| self.symbols.contains(label) || others.iter().any(|it| it.symbols.contains(label));
        overlay.needs.iter().filter(|label| !has(label)).cloned().collect()
    }
}

/// Returns the names of the parameters in a value of `dtparam`.
pub fn names_in(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(|part| part.split('=').next().unwrap_or_default().trim())
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().expect("four bytes were taken")))
}

/// Returns the text up to the first zero.
fn name(data: &[u8]) -> Option<&str> {
    let end = data.iter().take(LONGEST_NAME).position(|byte| *byte == 0)?;
    std::str::from_utf8(&data[..end]).ok()
}

const fn aligned(position: usize) -> usize {
    position.next_multiple_of(4)
}
