//! Checksums: named of blocks that are kept, compared with those of blocks that were read.

use super::parts::Codec;
use crate::types::BlockId;

/// Those of blocks that are kept for a peer. None when the device does not show the blocks: it will
/// hardly let them be read either, and then the peer is told so.
pub fn of(codec: &mut dyn Codec, blocks: &[BlockId]) -> Vec<u64> {
    let sums: Result<Vec<u64>, String> =
        blocks.iter().map(|&block| codec.checksum(block)).collect();
    sums.unwrap_or_else(|reason| {
        log::error!("blocks are kept for a peer without checksums: {reason}");
        Vec::new()
    })
}

/// Whether `blocks` hold what `sums` say, as far as they say something.
///
/// # Errors
/// What is wrong with the first that does not.
pub fn check(codec: &mut dyn Codec, blocks: &[BlockId], sums: &[u64]) -> Result<(), String> {
    for (block, sum) in blocks.iter().zip(sums) {
        if codec.checksum(*block)? != *sum {
            return Err(format!("block {block} does not have the checksum that its peer named"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks whose sums are ten times their numbers; the fifth cannot be looked at.
    struct Tens;

    impl Codec for Tens {
        fn export(&mut self, _: &[BlockId]) {}

        fn import(&mut self, _: &[BlockId]) {}

        fn checksum(&mut self, block: BlockId) -> Result<u64, String> {
            if block == 5 { Err("it broke".to_owned()) } else { Ok(u64::from(block) * 10) }
        }
    }

    #[test]
    fn a_block_that_cannot_be_looked_at_is_not_taken_for_a_good_one() {
        assert_eq!(of(&mut Tens, &[1, 2]), [10, 20]);
        assert!(of(&mut Tens, &[1, 5]).is_empty());
        assert_eq!(check(&mut Tens, &[1, 2], &[10, 20]), Ok(()));
        assert_eq!(check(&mut Tens, &[1, 5], &[]), Ok(()), "nothing was said of them");
        assert_eq!(check(&mut Tens, &[1, 5], &[10, 50]), Err("it broke".to_owned()));
        let wrong = check(&mut Tens, &[1, 2], &[10, 21]).expect_err("another block");
        assert_eq!(wrong, "block 2 does not have the checksum that its peer named");
    }
}
