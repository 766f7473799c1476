//! What a block holds, in 64 bits: whoever pulls it can tell whether it is what was computed.

use std::hash::Hasher;
use twox_hash::XxHash3_64;

/// The checksum of a block over its regions, layer 0 first: XXH3 of their bytes in this order.
pub fn checksum<'a>(regions: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut sum = Checksum::default();
    regions.into_iter().for_each(|bytes| sum.add(bytes));
    sum.finish()
}

/// The same for bytes that come one after the other.
#[derive(Default)]
pub struct Checksum(XxHash3_64);

impl Checksum {
    /// The next bytes, however they are cut.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// Of all of them.
    pub fn finish(&self) -> u64 {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_depends_on_every_byte_and_on_its_place_alone() {
        let bytes: Vec<u8> = (0..3000u32).map(|i| (i * i) as u8).collect();
        let whole = checksum([&bytes[..]]);
        assert_eq!(checksum([&bytes[..1000], &bytes[1000..]]), whole);
        assert_ne!(checksum([&bytes[1000..], &bytes[..1000]]), whole);
        for at in [0, 1, 1500, 2999] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_ne!(checksum([&other[..]]), whole, "{at}");
        }
        // XXH3 of nothing, from its specification.
        assert_eq!(checksum([]), 0x2d06_8005_38d3_94c2);
    }
}
