//! `gb_heads` against the same sums in the same order, and against f64.

use half::bf16;

use crate::args;
use crate::device::{Device, Shape, every_schedule, on_gpu};
use crate::mutants::{Mutant, must_fail};
use crate::values::{assert_same, floats, random, relative_error};

const EPS: f32 = 1e-6;
const DIM: usize = 128;
const SEQS: usize = 3;
/// Blocks of a sequence's table, whose entries come from a pool of as many as all have.
const WIDTH: usize = 4;
/// What memory holds before anybody writes it.
const UNTOUCHED: u16 = 0x7fc1;

struct Case {
    heads: usize,
    kv_heads: usize,
    block_size: usize,
    qkv: Vec<f32>,
    norms: [Vec<f32>; 2],
    rotary: Vec<f32>,
    positions: Vec<i32>,
    seqs: Vec<i32>,
    tables: Vec<i32>,
}

/// A Q, K or V of a row.
type Head = Vec<bf16>;

impl Case {
    fn new(heads: usize, kv_heads: usize, block_size: usize) -> Self {
        let mut random = random((heads * 1000 + block_size) as u64);
        let last = (WIDTH * block_size - 1) as i32;
        let positions = vec![0, 1, -1, block_size as i32 - 1, block_size as i32, last, -1, 5];
        let seqs = vec![0, 0, 1, 1, 1, 2, 2, 2];
        let angles = floats(&mut random, WIDTH * block_size * DIM / 2);
        let rotary = angles.chunks_exact(DIM / 2).flat_map(|angles| {
            let cosines = angles.iter().map(|angle| (angle * 3.0).cos());
            cosines.chain(angles.iter().map(|angle| (angle * 3.0).sin())).collect::<Vec<f32>>()
        });
        Self {
            heads,
            kv_heads,
            block_size,
            rotary: rotary.collect(),
            qkv: floats(&mut random, positions.len() * (heads + 2 * kv_heads) * DIM),
            norms: [floats(&mut random, DIM), floats(&mut random, DIM)],
            positions,
            seqs,
            // All different, and none in the order of the sequences.
            tables: (0..(SEQS * WIDTH) as i32).map(|i| i * 5 % (SEQS * WIDTH) as i32).collect(),
        }
    }

    fn input(&self, row: usize, head: usize) -> &[f32] {
        &self.qkv[(row * (self.heads + 2 * self.kv_heads) + head) * DIM..][..DIM]
    }

    fn is_value(&self, head: usize) -> bool {
        head >= self.heads + self.kv_heads
    }

    fn weight(&self, head: usize) -> &[f32] {
        &self.norms[usize::from(head >= self.heads)]
    }

    fn turn(&self, row: usize) -> &[f32] {
        &self.rotary[self.positions[row] as usize * DIM..][..DIM]
    }

    /// In the fixed order of kernels/README.md.
    fn wanted(&self, row: usize, head: usize) -> Head {
        let x = self.input(row, head);
        if self.is_value(head) {
            return x.iter().copied().map(bf16::from_f32).collect();
        }
        let mut lanes: [f32; 32] = std::array::from_fn(|lane| {
            x[4 * lane..][..4].iter().fold(0.0, |sum, x| x.mul_add(*x, sum))
        });
        for distance in [16, 8, 4, 2, 1] {
            lanes = std::array::from_fn(|lane| lanes[lane] + lanes[lane ^ distance]);
        }
        let scale = 1.0 / lanes[0].mul_add(1.0 / DIM as f32, EPS).sqrt();
        let weight = self.weight(head);
        let normed: Vec<f32> = x.iter().zip(weight).map(|(x, w)| x * scale * w).collect();
        let turned = |i: usize| {
            let (cos, sin) = (self.turn(row)[i % 64], self.turn(row)[64 + i % 64]);
            let away = normed[i ^ 64] * sin;
            normed[i].mul_add(cos, if i < 64 { -away } else { away })
        };
        (0..DIM).map(|i| bf16::from_f32(turned(i))).collect()
    }

    fn exactly(&self, row: usize, head: usize) -> Vec<f64> {
        let x: Vec<f64> = self.input(row, head).iter().map(|&x| f64::from(x)).collect();
        if self.is_value(head) {
            return x;
        }
        let squares: f64 = x.iter().map(|x| x * x).sum();
        let scale = 1.0 / (squares / DIM as f64 + f64::from(EPS)).sqrt();
        let weight = self.weight(head).iter().map(|&w| f64::from(w));
        let normed: Vec<f64> = x.iter().zip(weight).map(|(x, w)| x * scale * w).collect();
        let turn: Vec<f64> = self.turn(row).iter().map(|&turn| f64::from(turn)).collect();
        let turned = |i: usize| match i < 64 {
            true => normed[i] * turn[i] - normed[i + 64] * turn[i + 64],
            false => normed[i] * turn[i - 64] + normed[i - 64] * turn[i],
        };
        (0..DIM).map(turned).collect()
    }

    /// Where K, followed by V, of a row is in the pool.
    fn slot(&self, row: usize, kv_head: usize) -> usize {
        let position = self.positions[row] as usize;
        let entry = self.seqs[row] as usize * WIDTH + position / self.block_size;
        let block = self.tables[entry] as usize * self.kv_heads + kv_head;
        (block * self.block_size + position % self.block_size) * 2 * DIM
    }

    /// Q of all rows, and the pool.
    fn on(&self, device: &Device, blocks: u32) -> [Vec<bf16>; 2] {
        let rows = self.positions.len();
        let untouched = bf16::from_bits(UNTOUCHED);
        let pool = SEQS * WIDTH * self.kv_heads * self.block_size * 2 * DIM;
        let q = device.empty::<bf16>(rows * self.heads * DIM);
        let kv = device.upload(&vec![untouched; pool]);
        let (qkv, rotary) = (device.upload(&self.qkv), device.upload(&self.rotary));
        let norms = [device.upload(&self.norms[0]), device.upload(&self.norms[1])];
        let starts: Vec<i32> = self.seqs.iter().map(|seq| seq * WIDTH as i32).collect();
        let (positions, starts) = (device.upload(&self.positions), device.upload(&starts));
        let tables = device.upload(&self.tables);
        let [heads, kv_heads] = [self.heads as i32, self.kv_heads as i32];
        let block_size = self.block_size as i32;
        let arguments = args![
            &q, &kv, &qkv, &norms[0], &norms[1], &rotary, &positions, &starts, &tables, heads,
            kv_heads, block_size, EPS
        ];
        let shape = Shape { grid: (rows as u32, blocks, 1), block: 256, shared: 0 };
        device.launch("gb_heads", shape, arguments);
        [device.download(&q), device.download(&kv)]
    }

    /// Each head of the rows that are no padding, with what the kernel made of it. Takes what it
    /// finds out of the pool.
    fn found(&self, q: &[bf16], pool: &mut [bf16]) -> Vec<(usize, usize, Head)> {
        let mut found = Vec::new();
        for row in (0..self.positions.len()).filter(|&row| self.positions[row] >= 0) {
            for head in 0..self.heads + 2 * self.kv_heads {
                let values = match head.checked_sub(self.heads) {
                    None => q[(row * self.heads + head) * DIM..][..DIM].to_vec(),
                    Some(head) => {
                        let slot = self.slot(row, head % self.kv_heads);
                        let at = &mut pool[slot + head / self.kv_heads * DIM..][..DIM];
                        let values = at.to_vec();
                        at.fill(bf16::from_bits(UNTOUCHED));
                        values
                    }
                };
                found.push((row, head, values));
            }
        }
        found
    }
}

#[test]
fn heads_have_the_fixed_order_and_their_places() {
    every_schedule(|device| {
        for (heads, kv_heads, block_size) in [(2, 1, 16), (16, 8, 32), (5, 1, 64), (32, 4, 16)] {
            let case = Case::new(heads, kv_heads, block_size);
            let [q, mut pool] = case.on(device, (heads + 2 * kv_heads).div_ceil(8) as u32);
            for (row, head, values) in case.found(&q, &mut pool) {
                if on_gpu() {
                    let values = values.iter().map(|value| value.to_f64());
                    let error = relative_error(values, case.exactly(row, head).into_iter());
                    assert!(error < 4e-3, "row {row}, head {head}: {error}");
                } else {
                    assert_same(&values, &case.wanted(row, head), "a head");
                }
            }
            assert!(pool.iter().all(|value| value.to_bits() == UNTOUCHED), "a slot of nobody");
            for row in [2, 6] {
                let padding = &q[row * heads * DIM..][..heads * DIM];
                assert_same(padding, &vec![bf16::ZERO; heads * DIM], "padding");
            }
        }
    });
}

#[test]
fn heads_are_close_to_exact_ones() {
    let device = Device::open();
    let case = Case::new(16, 8, 32);
    let [q, mut pool] = case.on(&device, 4);
    for (row, head, values) in case.found(&q, &mut pool) {
        let values = values.iter().map(|value| value.to_f64());
        let error = relative_error(values, case.exactly(row, head).into_iter());
        assert!(error < 4e-3, "row {row}, head {head}: {error}");
    }
}

#[test]
fn heads_do_not_depend_on_the_grid() {
    let device = Device::open();
    let case = Case::new(16, 8, 16);
    let bits = |values: [Vec<bf16>; 2]| {
        values.map(|values| values.iter().map(|value| value.to_bits()).collect::<Vec<u16>>())
    };
    let want = bits(case.on(&device, 4));
    for blocks in [1, 3, 9] {
        assert_eq!(bits(case.on(&device, blocks)), want, "{blocks} blocks a row");
    }
}

#[test]
fn mutants_of_the_heads_are_caught() {
    let changes = [
        ("gb_lane() < 16 ? -away : away", "away"),
        ("x.w, 16)", "x.w, 8)"),
        ("position % block_size", "0"),
        ("is_query ? q_norm : k_norm", "q_norm"),
        ("} else if (position >= 0) {", "} else {"),
    ];
    let mutants = changes.map(|(from, to)| Mutant { file: "heads.cu", from, to });
    must_fail("heads::heads_have_the_fixed_order_and_their_places", &mutants);
}
