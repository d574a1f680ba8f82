//! Changes that keep an input's shape: one word for another.
//!
//! The fuzzer's own changes make a broken body of nearly every good one.

use libfuzzer_sys::fuzzer_mutate;

/// Words of the senders and of the API, one a line.
const WORDS: &str = include_str!("words.txt");
/// Numbers at which something may end.
const NUMBERS: [&str; 12] = [
    "-1",
    "0",
    "1",
    "7",
    "9",
    "99",
    "100",
    "101",
    "4294967295",
    "4294967296",
    "9223372036854775808",
    "1e400",
];
/// What stands between words.
const BETWEEN: &[u8] = b"\"{}[]:,&=?;/| \r\n";

/// Changes the first `size` bytes of the input, and returns how many there are then.
pub fn mutate(input: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    let mut dice = Dice(u64::from(seed));
    let words: Vec<_> = words(&input[..size]).collect();
    if words.is_empty() || dice.below(2) == 0 {
        return fuzzer_mutate(input, size, most);
    }
    let (from, to) = words[dice.below(words.len())];
    let mut word = input[from..to].to_vec();
    match dice.below(6) {
        0 => word.clear(),
        1 => {
            let at = dice.below(word.len());
            word[at] = u8::try_from(dice.below(256)).unwrap_or_default();
        }
        2 => {
            let (from, to) = words[dice.below(words.len())];
            word = input[from..to].to_vec();
        }
        3 => word = NUMBERS[dice.below(NUMBERS.len())].into(),
        _ => {
            let known: Vec<_> = WORDS.lines().collect();
            word = known[dice.below(known.len())].as_bytes().to_vec();
        }
    }
    let changed = [&input[..from], &word, &input[to..size]].concat();
    if changed.len() > most {
        return fuzzer_mutate(input, size, most);
    }
    input[..changed.len()].copy_from_slice(&changed);
    changed.len()
}

/// Where the words of a text begin and end.
fn words(text: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let mut end = 0;
    text.chunk_by(|one, other| BETWEEN.contains(one) == BETWEEN.contains(other)).filter_map(
        move |run| {
            let from = end;
            end += run.len();
            (!BETWEEN.contains(&run[0])).then_some((from, end))
        },
    )
}

/// Numbers that follow from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap_or_default() % end
    }
}
