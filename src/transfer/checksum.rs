//! What a block holds, in 64 bits: whoever pulls it can tell whether it is what was computed.

use std::hash::Hasher;
use twox_hash::XxHash3_64;

/// The checksum of a block over its regions, layer 0 first: XXH3 of their bytes in this order.
pub fn checksum<'a>(regions: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hasher = XxHash3_64::default();
    regions.into_iter().for_each(|bytes| hasher.write(bytes));
    hasher.finish()
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
