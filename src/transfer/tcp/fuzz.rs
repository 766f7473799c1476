//! Doors for the fuzz targets under `tests/fuzz`: what peers send, by itself.

use super::wire::{self, Hello, Kind, Metadata, Verdict};

/// Reads bytes as all that the tcp transport reads.
///
/// # Panics
/// When what was read is not what would be written, or more was made of it than was sent.
pub fn received(bytes: &[u8]) {
    if let Ok(metadata) = Metadata::parse(bytes) {
        assert_eq!(metadata.encode(), bytes);
    }
    if let Ok(hello) = Hello::parse(bytes) {
        assert_eq!(hello.encode(), bytes);
    }
    if let Ok(verdict) = Verdict::parse(bytes) {
        assert_eq!(verdict.encode(), bytes);
    }
    if let Some((head, _)) = bytes.split_first_chunk()
        && let Ok((status, len)) = wire::parse_answer(head)
    {
        assert_eq!(wire::answer_head(status, len), *head);
    }
    for num_blocks in [1, 100, u32::MAX] {
        frames(bytes, num_blocks);
    }
}

/// The frames that follow on each other.
fn frames(mut bytes: &[u8], num_blocks: u32) {
    let mut blocks = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk() {
        let notification = Kind::Notification.parse(head, wire::LONGEST_NOTIFICATION as u64);
        let read = Kind::Read.parse(head, wire::longest_read(num_blocks));
        assert!(read.is_err() || notification.is_err());
        let Ok(len) = read.or(notification) else { return };
        let Some((body, next)) = rest.split_at_checked(len) else { return };
        if let (Ok(_), Ok(id)) = (read, wire::parse_read(body, num_blocks, &mut blocks)) {
            assert_eq!(wire::read_frame(id, &blocks), bytes[..wire::FRAME_HEAD + len]);
            assert!(blocks.capacity() * 4 <= 2 * body.len().max(32));
        }
        bytes = next;
    }
}
