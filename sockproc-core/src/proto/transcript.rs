//! The transcripts in PROTOCOL.md, for the tests that replay them.

/// The bytes that `side` (`C` or `S`) sends in the transcript of this protocol.
pub(crate) fn sent_by(side: char, protocol: &str) -> Vec<u8> {
    let document = include_str!("../../PROTOCOL.md");
    let (_, section) = document.split_once(&format!("\n## {protocol}")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let lines = section
        .lines()
        .filter_map(|line| line.strip_prefix(side)?.strip_prefix(' '));
    let words = lines.flat_map(|line| {
        line.split(' ')
            .take_while(|word| word.len() == 2)
            .map(|word| u8::from_str_radix(word, 16))
    });
    words.collect::<Result<_, _>>().unwrap()
}
