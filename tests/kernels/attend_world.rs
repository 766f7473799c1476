//! Sequences to attend to, and the pools that hold their KV.

use half::bf16;
use rand::seq::SliceRandom;

use crate::args;
use crate::device::{Buffer, Device, Shape};
use crate::values::{bf16s, random, relative_error};

const DIM: usize = 128;
/// An entry of a table behind a sequence's last block.
const NOWHERE: i32 = 1 << 28;

/// Sequences whose last few tokens are the rows of a step.
pub struct World {
    group: usize,
    kv_heads: usize,
    sequences: Vec<Sequence>,
    /// Sequence and position of each row.
    places: Vec<(usize, usize)>,
}

#[derive(Clone)]
struct Sequence {
    len: usize,
    /// `[token][kv_head][K(128) | V(128)]`.
    kv: Vec<bf16>,
    /// `[token][head][128]`.
    q: Vec<bf16>,
}

impl World {
    /// The last `tail` tokens of each of the contexts are rows.
    pub fn new(group: usize, kv_heads: usize, contexts: &[usize], tail: usize) -> Self {
        let mut random = random((group * 100 + contexts.len()) as u64);
        let sequences: Vec<Sequence> = contexts
            .iter()
            .map(|&len| Sequence {
                len,
                kv: bf16s(&mut random, len * kv_heads * 2 * DIM),
                q: spread(bf16s(&mut random, len * group * kv_heads * DIM)),
            })
            .collect();
        Self::of(group, kv_heads, sequences, tail)
    }

    /// As `new`; but a token's V is the negative of one half the sequence before, and its K the
    /// same, so that all that was added up cancels, but for its rounding.
    pub fn mirrored(group: usize, kv_heads: usize, contexts: &[usize], tail: usize) -> Self {
        let mut world = Self::new(group, kv_heads, contexts, tail);
        for sequence in &mut world.sequences {
            let (first, second) = sequence.kv.split_at_mut(sequence.len / 2 * kv_heads * 2 * DIM);
            let pairs = first.chunks_exact(DIM).zip(second.chunks_exact_mut(DIM));
            for (i, (first, second)) in pairs.enumerate() {
                let is_value = i % 2 == 1;
                for (first, second) in first.iter().zip(second) {
                    *second = if is_value { -*first } else { *first };
                }
            }
        }
        world
    }

    fn of(group: usize, kv_heads: usize, sequences: Vec<Sequence>, tail: usize) -> Self {
        let rows = |(i, sequence): (usize, &Sequence)| {
            let first = sequence.len.saturating_sub(tail);
            (first..sequence.len).map(move |position| (i, position))
        };
        let places = sequences.iter().enumerate().flat_map(rows).collect();
        Self { group, kv_heads, sequences, places }
    }

    /// The same sequences when they had at most `len` tokens, all of which are rows.
    pub fn until(&self, len: usize) -> Self {
        let mut sequences = self.sequences.clone();
        for sequence in &mut sequences {
            sequence.len = sequence.len.min(len);
        }
        Self::of(self.group, self.kv_heads, sequences, len)
    }

    fn positions(&self) -> Vec<i32> {
        self.places.iter().map(|&(_, position)| position as i32).collect()
    }

    pub fn rows(&self) -> usize {
        self.places.len()
    }

    pub fn place(&self, row: usize) -> (usize, usize) {
        self.places[row]
    }

    pub fn row(&self, place: (usize, usize)) -> Option<usize> {
        self.places.iter().position(|&other| other == place)
    }

    pub fn name(&self, row: usize) -> String {
        let (sequence, position) = self.places[row];
        format!("position {position} of sequence {sequence}, groups of {}", self.group)
    }

    fn heads(&self) -> usize {
        self.group * self.kv_heads
    }

    fn query(&self, row: usize) -> &[bf16] {
        let (sequence, position) = self.places[row];
        let len = self.heads() * DIM;
        &self.sequences[sequence].q[position * len..][..len]
    }

    /// K, followed by V.
    fn token(&self, sequence: usize, position: usize, kv_head: usize) -> &[bf16] {
        let at = (position * self.kv_heads + kv_head) * 2 * DIM;
        &self.sequences[sequence].kv[at..][..2 * DIM]
    }

    /// How far `got` is from the row's attention in f64: of its worst head.
    pub fn error(&self, row: usize, got: &[bf16]) -> f64 {
        let errors = (0..self.heads()).map(|head| {
            let got = got[head * DIM..][..DIM].iter().map(|value| value.to_f64());
            relative_error(got, self.exactly(row, head).into_iter())
        });
        errors.fold(0.0, f64::max)
    }

    fn exactly(&self, row: usize, head: usize) -> Vec<f64> {
        let (sequence, position) = self.places[row];
        let q = &self.query(row)[head * DIM..][..DIM];
        let tokens: Vec<&[bf16]> = (0..=position)
            .map(|position| self.token(sequence, position, head / self.group))
            .collect();
        let score = |token: &&[bf16]| -> f64 {
            let products = q.iter().zip(*token).map(|(q, k)| q.to_f64() * k.to_f64());
            products.sum::<f64>() / (DIM as f64).sqrt()
        };
        let scores: Vec<f64> = tokens.iter().map(score).collect();
        let most = scores.iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let value = |i: usize| -> f64 {
            let parts = weights.iter().zip(&tokens).map(|(w, token)| w * token[DIM + i].to_f64());
            parts.sum::<f64>() / sum
        };
        (0..DIM).map(value).collect()
    }
}

/// Makes scores differ: the products of small values would all be about 0.
fn spread(q: Vec<bf16>) -> Vec<bf16> {
    q.into_iter().map(|value| bf16::from_f32(value.to_f32() * 6.0)).collect()
}

/// A world's KV in blocks, all of which are in use and none of which lies beside the next.
pub struct Placed<'a> {
    pub world: &'a World,
    pub block_size: usize,
    width: usize,
    tables: Vec<i32>,
    pool: Vec<bf16>,
}

impl<'a> Placed<'a> {
    /// What no token has written is no number.
    pub fn new(world: &'a World, block_size: usize, seed: u64) -> Self {
        let blocks = |sequence: &Sequence| sequence.len.div_ceil(block_size);
        let width = world.sequences.iter().map(blocks).max().expect("a sequence") + 1;
        let used: usize = world.sequences.iter().map(blocks).sum();
        let mut free: Vec<i32> = (0..used as i32 + 2).collect();
        free.shuffle(&mut random(seed));
        let mut tables = vec![NOWHERE; world.sequences.len() * width];
        let block = world.kv_heads * block_size * 2 * DIM;
        let mut pool = vec![bf16::NAN; free.len() * block];
        for (i, sequence) in world.sequences.iter().enumerate() {
            for position in 0..sequence.len {
                let entry = i * width + position / block_size;
                if position % block_size == 0 {
                    tables[entry] = free.pop().expect("enough blocks");
                }
                for head in 0..world.kv_heads {
                    let place = tables[entry] as usize * world.kv_heads + head;
                    let slot = (place * block_size + position % block_size) * 2 * DIM;
                    pool[slot..][..2 * DIM].copy_from_slice(world.token(i, position, head));
                }
            }
        }
        Self { world, block_size, width, tables, pool }
    }

    fn queries(&self) -> Vec<bf16> {
        (0..self.world.rows()).flat_map(|row| self.world.query(row)).copied().collect()
    }

    fn split(&self, attended: &[bf16]) -> Vec<Vec<bf16>> {
        attended.chunks_exact(self.world.heads() * DIM).map(<[bf16]>::to_vec).collect()
    }

    fn scale() -> f32 {
        (std::f64::consts::LOG2_E / (DIM as f64).sqrt()) as f32
    }

    /// Tiles of as many tokens as there may be and at most `most`, with padding before and among
    /// them; and where the first token of each is among all of them.
    fn tiles(&self, most: usize) -> (Vec<[i32; 4]>, Vec<i32>) {
        let world = self.world;
        let most = most.min(128 / world.group);
        let (mut tiles, mut places) = (vec![[0, 0, 0, 0]; 2], vec![0; 2]);
        let mut row = 0;
        while row < world.rows() {
            let (sequence, position) = world.places[row];
            let left = world.places[row..].iter().take_while(|place| place.0 == sequence).count();
            let tokens = left.min(most);
            let start = (sequence * self.width) as i32;
            tiles.push([start, row as i32, tokens as i32, position as i32]);
            places.push(row as i32);
            row += tokens;
        }
        tiles.push([0, 0, 0, 0]);
        places.push(0);
        (tiles, places)
    }

    /// The rows, in tiles of at most `most` tokens.
    pub fn prefill(&self, device: &Device, most: usize) -> Vec<Vec<bf16>> {
        let world = self.world;
        let (tiles, _) = self.tiles(most);
        let (q, kv) = (device.upload(&self.queries()), device.upload(&self.pool));
        let tables = device.upload(&self.tables);
        let attended = device.upload(&vec![bf16::NAN; world.rows() * world.heads() * DIM]);
        let grid = (world.kv_heads as u32, tiles.len() as u32, 1);
        let tiles = device.upload(tiles.as_flattened());
        let block_size = self.block_size as i32;
        let (heads, kv_heads) = (world.heads() as i32, world.kv_heads as i32);
        let scale = Self::scale();
        let arguments =
            args![&attended, &q, &kv, &tiles, &tables, heads, kv_heads, block_size, scale];
        device.launch("gb_attend_prefill", Shape { grid, ..TILE }, arguments);
        self.split(&device.download(&attended))
    }

    /// The same, by `blocks` blocks for each tile.
    pub fn prefill_split(&self, device: &Device, most: usize, blocks: u32) -> Vec<Vec<bf16>> {
        let world = self.world;
        let (tiles, places) = self.tiles(most);
        let rows: Vec<i32> = (0..world.rows() as i32).collect();
        let parts = Partial::new(device, world, rows.len());
        let (q, kv) = (device.upload(&self.queries()), device.upload(&self.pool));
        let (tables, places) = (device.upload(&self.tables), device.upload(&places));
        let grid = (world.kv_heads as u32, tiles.len() as u32, blocks);
        let tiles = device.upload(tiles.as_flattened());
        let block_size = self.block_size as i32;
        let (heads, kv_heads) = (world.heads() as i32, world.kv_heads as i32);
        let arguments = args![
            &parts.o,
            &parts.ml,
            &q,
            &kv,
            &tiles,
            &places,
            &tables,
            heads,
            kv_heads,
            block_size,
            parts.max_segments,
            Self::scale()
        ];
        device.launch("gb_attend_prefill_split", Shape { grid, ..TILE }, arguments);
        self.split(&parts.combine(device, world, &rows))
    }

    /// All rows; those that are not asked for stay no numbers.
    pub fn decode(
        &self,
        device: &Device,
        rows: &[i32],
        blocks: u32,
        stages: u32,
    ) -> Vec<Vec<bf16>> {
        let world = self.world;
        let starts: Vec<i32> =
            world.places.iter().map(|&(seq, _)| (seq * self.width) as i32).collect();
        let parts = Partial::new(device, world, rows.len());
        let (q, kv) = (device.upload(&self.queries()), device.upload(&self.pool));
        let (listed, tables) = (device.upload(rows), device.upload(&self.tables));
        let (starts, positions) = (device.upload(&starts), device.upload(&world.positions()));
        let block_size = self.block_size as i32;
        let (heads, kv_heads) = (world.heads() as i32, world.kv_heads as i32);
        let count = rows.len() as i32;
        let arguments = args![
            &parts.o,
            &parts.ml,
            &q,
            &kv,
            &listed,
            &positions,
            &starts,
            &tables,
            count,
            heads,
            kv_heads,
            block_size,
            parts.max_segments,
            stages as i32,
            Self::scale()
        ];
        let shape = Shape { grid: (blocks, 1, 1), block: 128, shared: stages * 65_536 };
        device.launch("gb_attend_decode", shape, arguments);
        self.split(&parts.combine(device, world, rows))
    }
}

/// A block of a tile.
const TILE: Shape = Shape { grid: (1, 1, 1), block: 256, shared: 126_976 };

/// Partial results, with room for more segments than any row has.
struct Partial {
    o: Buffer<f32>,
    ml: Buffer<f32>,
    max_segments: i32,
}

impl Partial {
    fn new(device: &Device, world: &World, rows: usize) -> Self {
        let max_segments = world.positions().iter().max().expect("a row") / 128 + 2;
        let parts = rows * max_segments as usize * world.heads();
        Self { o: device.empty(parts * DIM), ml: device.empty(parts * 2), max_segments }
    }

    /// Rows that are not listed stay no numbers.
    fn combine(&self, device: &Device, world: &World, rows: &[i32]) -> Vec<bf16> {
        let attended = device.upload(&vec![bf16::NAN; world.rows() * world.heads() * DIM]);
        let (listed, positions) = (device.upload(rows), device.upload(&world.positions()));
        let (heads, max_segments) = (world.heads() as i32, self.max_segments);
        let arguments =
            args![&attended, &self.o, &self.ml, &listed, &positions, heads, max_segments];
        let grid = (rows.len() as u32, (heads as u32).div_ceil(4), 1);
        device.launch("gb_attend_combine", Shape { grid, block: 128, shared: 0 }, arguments);
        device.download(&attended)
    }
}
