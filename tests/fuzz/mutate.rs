//! New inputs out of old ones: bytes flipped, pieces cut, repeated, moved, taken from other inputs,
//! and words put in that mean something to parsers.

/// Words that parsers stumble over.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "null", "true", "NaN", "-Infinity", "1e999", "-0", "18446744073709551616", "0.1e-400",
    "\\ud800", "\\u0000", "\u{feff}", "\u{2028}", "{}", "[]", "[[", "{\"", "\"", "\\", "\n\n",
    "data: ", "[DONE]", "<think>", "</think>", "<tool_call>", "</tool_call>", "<|im_start|>",
    "<|im_end|>", "{{", "}}", "{%", "%}", "{#", "for x in y", "-%}", "--", "=", ".", "%00", "%zz",
    "&", "\u{1f600}", "é", "00-", "\x00", "\x7f", "\u{ff}", ":", "!", "+",
];

/// splitmix64 over a corpus.
pub struct Mutator {
    state: u64,
    seeds: Vec<Vec<u8>>,
}

/// Longer inputs are cut: what is wrong shows in short ones, too.
const LONGEST: usize = 16 << 10;

impl Mutator {
    pub fn new(seed: u64, seeds: Vec<Vec<u8>>) -> Self {
        Self { state: seed, seeds }
    }

    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In `0..=most`.
    fn below(&mut self, most: usize) -> usize {
        (self.random() % (most as u64 + 1)) as usize
    }

    /// A piece of `input`, mostly short.
    fn piece(&mut self, len: usize) -> std::ops::Range<usize> {
        let start = self.below(len);
        let most = if self.below(3) == 0 { len - start } else { (len - start).min(16) };
        start..start + self.below(most)
    }

    /// The next input.
    pub fn next(&mut self) -> Vec<u8> {
        let at = self.below(self.seeds.len() - 1);
        let mut input = self.seeds[at].clone();
        for _ in 0..=self.below(5) {
            self.mutate(&mut input);
        }
        input.truncate(LONGEST);
        // Some mutants become seeds themselves, so that changes add up.
        if self.below(50) == 0 {
            let at = self.below(self.seeds.len() - 1);
            match self.seeds.len() < 1000 {
                true => self.seeds.push(input.clone()),
                false => self.seeds[at] = input.clone(),
            }
        }
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        let piece = self.piece(input.len());
        match self.below(7) {
            0 => {
                if let Some(byte) = input.get_mut(piece.start) {
                    *byte ^= 1 << (self.random() % 8);
                }
            }
            1 => {
                let byte = self.random() as u8;
                input.insert(piece.start, byte);
            }
            2 => drop(input.drain(piece)),
            3 => {
                let copies = [1, 2, 8, 200][self.below(3)];
                let piece = input[piece].repeat(copies);
                let at = self.below(input.len());
                input.splice(at..at, piece.into_iter().take(LONGEST));
            }
            4 => {
                let word = WORDS[self.below(WORDS.len() - 1)];
                input.splice(piece, word.bytes());
            }
            5 => {
                let other = self.below(self.seeds.len() - 1);
                let cut = self.piece(self.seeds[other].len());
                let cut = self.seeds[other][cut].to_vec();
                input.splice(piece, cut);
            }
            6 => input[piece].reverse(),
            _ => {
                let digit = b'0' + (self.random() % 10) as u8;
                input[piece].iter_mut().filter(|b| b.is_ascii_digit()).for_each(|b| *b = digit);
            }
        }
    }
}
