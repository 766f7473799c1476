use super::*;
use proptest::prelude::*;

/// Bytes that only a lane can reach, whose copies happen when they are waited for.
struct Far {
    memory: Vec<u8>,
    buffers: [Vec<u8>; 2],
    /// Into memory or out of it, in order.
    begun: Vec<(usize, bool, Vec<KvPiece>)>,
    /// Copies until one fails.
    left: usize,
}

impl Far {
    fn new(memory: Vec<u8>, room: usize) -> Self {
        Self { memory, buffers: [vec![0; room], vec![0; room]], begun: vec![], left: usize::MAX }
    }

    fn perform(&mut self, which: usize, stores: bool, pieces: &[KvPiece]) {
        let mut at = 0;
        for piece in pieces {
            let range = piece.address as usize..piece.address as usize + piece.len;
            let buffer = &mut self.buffers[which][at..at + piece.len];
            match stores {
                true => self.memory[range].copy_from_slice(buffer),
                false => buffer.copy_from_slice(&self.memory[range]),
            }
            at += piece.len;
        }
    }

    fn begin(&mut self, which: usize, stores: bool, pieces: &[KvPiece]) -> Result<(), String> {
        self.left = self.left.checked_sub(1).ok_or("it broke")?;
        self.begun.push((which, stores, pieces.to_vec()));
        Ok(())
    }
}

impl KvLane for Far {
    /// Does what was begun up to the last copy of this buffer.
    fn buffer(&mut self, which: usize) -> Result<&mut [u8], String> {
        let until = self.begun.iter().rposition(|(of, ..)| *of == which).map_or(0, |at| at + 1);
        for (of, stores, pieces) in self.begun.drain(..until).collect::<Vec<_>>() {
            self.perform(of, stores, &pieces);
        }
        Ok(&mut self.buffers[which])
    }

    fn fetch(&mut self, which: usize, pieces: &[KvPiece]) -> Result<(), String> {
        self.begin(which, false, pieces)
    }

    fn store(&mut self, which: usize, pieces: &[KvPiece]) -> Result<(), String> {
        self.begin(which, true, pieces)
    }
}

/// Pieces that do not overlap.
fn pieces(lens: &[(usize, usize)]) -> Vec<KvPiece> {
    let mut address = 0;
    let piece = |&(gap, len): &(usize, usize)| {
        let piece = KvPiece { address: address + gap as u64, len };
        address = piece.address + len as u64;
        piece
    };
    lens.iter().map(piece).collect()
}

proptest! {
    #[test]
    fn all_bytes_go_through_in_order(
        lens in prop::collection::vec((0usize..5, 1usize..40), 0..20),
        room in 1usize..50,
    ) {
        let pieces = pieces(&lens);
        let size = pieces.last().map_or(0, |last| last.address as usize + last.len);
        let memory: Vec<u8> = (0..size).map(|at| (at * 7 + at / 256) as u8).collect();
        let bytes = |memory: &[u8]| -> Vec<u8> {
            let of = |piece: &KvPiece| memory[piece.address as usize..][..piece.len].to_vec();
            pieces.iter().flat_map(of).collect()
        };
        let wanted = bytes(&memory);
        let mut taken = Vec::new();
        let mut far = Far::new(memory, room);
        fetch(&mut far, pieces.iter().copied(), |part| {
            assert!(!part.is_empty() && part.len() <= room);
            taken.extend_from_slice(part);
            Ok(())
        }).expect("it works");
        prop_assert_eq!(&taken, &wanted);
        let mut there = Far::new(vec![0; size + 10], room);
        let mut given = &wanted[..];
        store(&mut there, pieces.iter().copied(), |part| {
            let (now, later) = given.split_at(part.len());
            part.copy_from_slice(now);
            given = later;
            Ok(())
        }).expect("it works");
        prop_assert!(given.is_empty() && there.begun.is_empty(), "all of it was waited for");
        let wanted_nonzero = wanted.iter().filter(|byte| **byte != 0).count();
        prop_assert_eq!(bytes(&there.memory), wanted);
        // What lies between and behind the pieces stays as it was.
        let written = there.memory.iter().filter(|byte| **byte != 0).count();
        prop_assert_eq!(written, wanted_nonzero);
    }
}

#[test]
fn a_copy_that_fails_is_told_from_a_socket_that_does() {
    let all = [KvPiece { address: 0, len: 100 }];
    for good in 0..2 {
        let mut far = Far { left: good, ..Far::new(vec![1; 100], 40) };
        let error = fetch(&mut far, all.into_iter(), |_| Ok(())).expect_err("it breaks");
        assert!(CopyFailed::is(&error));
        assert_eq!(error.to_string(), "KV could not be copied: it broke");
        let mut far = Far { left: good, ..Far::new(vec![1; 100], 40) };
        let error = store(&mut far, all.into_iter(), |_| Ok(())).expect_err("it breaks");
        assert!(CopyFailed::is(&error));
    }
    let mut far = Far::new(vec![1; 100], 40);
    let gone = || Err(io::Error::other("gone"));
    let error = fetch(&mut far, all.into_iter(), |_| gone()).expect_err("nobody takes it");
    assert!(!CopyFailed::is(&error));
    let error = store(&mut far, all.into_iter(), |_| gone()).expect_err("nobody gives it");
    assert!(!CopyFailed::is(&error));
}
