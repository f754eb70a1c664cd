//! Flattened device trees, made by hand.

/// Nodes below the root, each with its properties.
pub type Nodes<'a> = &'a [(&'a str, &'a [(&'a str, &'a [u8])])];

/// Returns a tree with these nodes, in the form of
/// <https://devicetree-specification.readthedocs.io/en/stable/flattened-format.html>.
///
/// # Panics
/// If it is longer than a tree can be.
pub fn device_tree(nodes: Nodes<'_>) -> Vec<u8> {
    const HEADER: usize = 40;
    let (mut structure, mut strings) = (Words::default(), Vec::new());
    structure.begin("");
    for (name, properties) in nodes {
        structure.begin(name);
        for (name, value) in *properties {
            structure.word(3);
            structure.word(value.len());
            structure.word(strings.len());
            structure.padded(value);
            strings.extend_from_slice(name.as_bytes());
            strings.push(0);
        }
        structure.word(2);
    }
    structure.word(2);
    structure.word(9);
    let end = HEADER + structure.0.len();
    let mut tree = Words::default();
    let numbers = [0xd00d_feed, end + strings.len(), HEADER, end, end, 17, 16, 0, strings.len(), structure.0.len()];
    numbers.into_iter().for_each(|number| tree.word(number));
    [tree.0, structure.0, strings].concat()
}

#[derive(Default)]
struct Words(Vec<u8>);

impl Words {
    fn word(&mut self, word: usize) {
        self.0.extend_from_slice(&u32::try_from(word).expect("a tree is short").to_be_bytes());
    }

    fn padded(&mut self, data: &[u8]) {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn begin(&mut self, name: &str) {
        self.word(1);
        self.padded(&[name.as_bytes(), b"\0"].concat());
    }
}
