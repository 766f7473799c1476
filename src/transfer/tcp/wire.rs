//! What goes over a connection, as bytes. All numbers are little-endian.
//!
//! | from | what | form |
//! |---|---|---|
//! | D | hello | `GBKV`, version u16, role u8, agent token of P |
//! | P | welcome | `GBKV`, version u16, verdict u8 |
//! | D | frame | kind u8, length u32, body |
//! | P | answer to a read | status u8, length u64, then the blocks: all of region 0, … |
//! | P | acknowledgement of a notification | u8 |
//!
//! The body of a read is a request id (length u16, UTF-8) and blocks (count u32, u32 each); that
//! of a notification is the notification.

use crate::types::BlockId;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use thiserror::Error;

/// Changes with anything above.
pub(super) const VERSION: u16 = 1;

const MAGIC: [u8; 4] = *b"GBKV";

/// Random for each transport: what answers at an address is told from its successors by it.
pub(super) type AgentToken = [u8; 16];

/// The longest notification.
pub(super) const LONGEST_NOTIFICATION: usize = 256 << 10;

/// The most addresses that one side has.
pub(super) const MOST_ADDRESSES: usize = 16;

/// Said by P once the notification is with its owner.
pub(super) const ACKNOWLEDGED: u8 = 6;

pub(super) const HELLO: usize = 23;
pub(super) const WELCOME: usize = 7;
pub(super) const FRAME_HEAD: usize = 5;
pub(super) const ANSWER_HEAD: usize = 9;

/// What is not of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Malformed {
    #[error("it is cut short")]
    Short,
    #[error("it goes on after its end")]
    Long,
    #[error("it does not begin with GBKV")]
    Magic,
    #[error("its version is {0}, and ours {VERSION}")]
    Version(u16),
    #[error("{0} stands for nothing")]
    Code(u8),
    #[error("{0} addresses")]
    Addresses(u8),
    #[error("{0} blocks, of which there are {1}")]
    Count(u32, u32),
    #[error("block {0} of {1}")]
    Block(BlockId, u32),
    #[error("a request id that is not UTF-8")]
    Text,
    #[error("a body of {0} bytes, where {1} are the most")]
    Body(u32, u64),
}

/// What is left of some bytes.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    fn head(&mut self) -> Result<(), Malformed> {
        if self.array()? != MAGIC {
            return Err(Malformed::Magic);
        }
        match self.u16()? {
            VERSION => Ok(()),
            other => Err(Malformed::Version(other)),
        }
    }

    fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Long) }
    }
}

fn head(len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out
}

/// The shape of a pool. Two sides can read each other's blocks when all but the number of blocks
/// is equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub regions: u32,
    pub blocks: u32,
    pub block_len: u64,
}

/// How to reach a side, and what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    pub token: AgentToken,
    pub geometry: Geometry,
    pub addresses: Vec<SocketAddr>,
}

impl Metadata {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = head(64);
        out.extend_from_slice(&self.token);
        out.extend_from_slice(&self.geometry.regions.to_le_bytes());
        out.extend_from_slice(&self.geometry.blocks.to_le_bytes());
        out.extend_from_slice(&self.geometry.block_len.to_le_bytes());
        out.push(self.addresses.len() as u8);
        for address in &self.addresses {
            match address.ip() {
                IpAddr::V4(ip) => {
                    out.push(4);
                    out.extend_from_slice(&ip.octets());
                }
                IpAddr::V6(ip) => {
                    out.push(6);
                    out.extend_from_slice(&ip.octets());
                }
            }
            out.extend_from_slice(&address.port().to_le_bytes());
        }
        out
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Input(bytes);
        input.head()?;
        let token = input.array()?;
        let geometry =
            Geometry { regions: input.u32()?, blocks: input.u32()?, block_len: input.u64()? };
        let count = input.u8()?;
        if count == 0 || count as usize > MOST_ADDRESSES {
            return Err(Malformed::Addresses(count));
        }
        let mut addresses = Vec::with_capacity(count.into());
        for _ in 0..count {
            let ip = match input.u8()? {
                4 => IpAddr::V4(Ipv4Addr::from(input.array::<4>()?)),
                6 => IpAddr::V6(Ipv6Addr::from(input.array::<16>()?)),
                other => return Err(Malformed::Code(other)),
            };
            addresses.push(SocketAddr::new(ip, input.u16()?));
        }
        input.end()?;
        Ok(Self { token, geometry, addresses })
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Reads = 1,
    Notifications = 2,
}

/// How D begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub role: Role,
    /// Of the side that is meant.
    pub token: AgentToken,
}

impl Hello {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = head(HELLO);
        out.push(self.role as u8);
        out.extend_from_slice(&self.token);
        out
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Input(bytes);
        input.head()?;
        let role = match input.u8()? {
            1 => Role::Reads,
            2 => Role::Notifications,
            other => return Err(Malformed::Code(other)),
        };
        let token = input.array()?;
        input.end()?;
        Ok(Self { role, token })
    }
}

/// What P says to a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Welcome = 0,
    /// The hello is of another version.
    Version = 1,
    /// Somebody else is meant.
    Stranger = 2,
}

impl Verdict {
    pub fn encode(self) -> Vec<u8> {
        let mut out = head(WELCOME);
        out.push(self as u8);
        out
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Input(bytes);
        input.head()?;
        let verdict = match input.u8()? {
            0 => Self::Welcome,
            1 => Self::Version,
            2 => Self::Stranger,
            other => return Err(Malformed::Code(other)),
        };
        input.end()?;
        Ok(verdict)
    }
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Read = 1,
    Notification = 2,
}

impl Kind {
    /// The frame of this kind around a body.
    pub fn frame(self, out: &mut Vec<u8>, body: &[u8]) {
        out.push(self as u8);
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        out.extend_from_slice(body);
    }

    /// The length of the body, if it is a frame of this kind and no longer than `most`.
    pub fn parse(self, head: &[u8; FRAME_HEAD], most: u64) -> Result<usize, Malformed> {
        let [kind, len @ ..] = *head;
        let len = u32::from_le_bytes(len);
        match (kind == self as u8, u64::from(len) <= most) {
            (false, _) => Err(Malformed::Code(kind)),
            (true, false) => Err(Malformed::Body(len, most)),
            (true, true) => Ok(len as usize),
        }
    }
}

/// The longest body of a read from a pool of so many blocks.
pub(super) fn longest_read(blocks: u32) -> u64 {
    2 + u64::from(u16::MAX) + 4 + 4 * u64::from(blocks)
}

/// The frame of a read. The id is at most 65,535 bytes long.
pub(super) fn read_frame(request_id: &str, blocks: &[BlockId]) -> Vec<u8> {
    let mut body = Vec::with_capacity(6 + request_id.len() + 4 * blocks.len());
    body.extend_from_slice(&(request_id.len() as u16).to_le_bytes());
    body.extend_from_slice(request_id.as_bytes());
    body.extend_from_slice(&(blocks.len() as u32).to_le_bytes());
    blocks.iter().for_each(|block| body.extend_from_slice(&block.to_le_bytes()));
    let mut out = Vec::with_capacity(FRAME_HEAD + body.len());
    Kind::Read.frame(&mut out, &body);
    out
}

/// The request id and the blocks of a read from a pool of `num_blocks`.
pub(super) fn parse_read<'a>(
    body: &'a [u8],
    num_blocks: u32,
    blocks: &mut Vec<BlockId>,
) -> Result<&'a str, Malformed> {
    let mut input = Input(body);
    let len = input.u16()?;
    let id = std::str::from_utf8(input.bytes(len.into())?).map_err(|_| Malformed::Text)?;
    let count = input.u32()?;
    if count > num_blocks {
        return Err(Malformed::Count(count, num_blocks));
    }
    // The bytes are there, so what is put into `blocks` is no more than was sent.
    let list = input.bytes(count as usize * size_of::<BlockId>())?;
    input.end()?;
    blocks.clear();
    for block in list.chunks_exact(size_of::<BlockId>()) {
        let block = BlockId::from_le_bytes(block.try_into().expect("four bytes"));
        if block >= num_blocks {
            return Err(Malformed::Block(block, num_blocks));
        }
        blocks.push(block);
    }
    Ok(id)
}

/// What P says to a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Granted = 0,
    /// These blocks are not granted to this request.
    NotGranted = 1,
    /// The frame is malformed.
    Malformed = 2,
}

/// The head of an answer: `len` bytes follow.
pub(super) fn answer_head(status: Status, len: u64) -> [u8; ANSWER_HEAD] {
    let mut head = [status as u8; ANSWER_HEAD];
    head[1..].copy_from_slice(&len.to_le_bytes());
    head
}

pub(super) fn parse_answer(head: &[u8; ANSWER_HEAD]) -> Result<(Status, u64), Malformed> {
    let mut input = Input(head);
    let status = match input.u8()? {
        0 => Status::Granted,
        1 => Status::NotGranted,
        2 => Status::Malformed,
        other => return Err(Malformed::Code(other)),
    };
    Ok((status, input.u64()?))
}

#[cfg(test)]
mod tests;
