//! Attention of single tokens and of prompts: both to the same bits, whatever the company, the cuts
//! and the blocks are; and close to f64.

use half::bf16;

use crate::attend_world::{Placed, World};
use crate::device::{Device, every_schedule};
use crate::mutants::{Mutant, must_fail};
use crate::values::assert_same;

const EDGES: [usize; 17] =
    [1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 300];

/// All ways give the rows of `placed` the same bits.
#[track_caller]
fn assert_agree(device: &Device, placed: &Placed, blocks: u32, stages: u32) -> Vec<Vec<bf16>> {
    let rows: Vec<i32> = (0..placed.world.rows() as i32).collect();
    let prompt = placed.prefill(device, 1000);
    let tokens = placed.decode(device, &rows, blocks, stages);
    let split = placed.prefill_split(device, 1000, blocks);
    for (row, prompt) in prompt.iter().enumerate() {
        let what = format!("{} of block size {}", placed.world.name(row), placed.block_size);
        assert_same(&tokens[row], prompt, &what);
        assert_same(&split[row], prompt, &format!("{what}, split"));
    }
    prompt
}

#[test]
fn both_ways_agree_and_are_close_to_exact_ones() {
    every_schedule(|device| {
        for (group, block_size) in [(2, 16), (5, 32), (16, 64)] {
            let world = World::new(group, 1, &[1, 16, 33, 127, 129, 300], 3);
            let got = assert_agree(device, &Placed::new(&world, block_size, 1), 2, 3);
            for (row, got) in got.iter().enumerate() {
                let error = world.error(row, got);
                assert!(error < 5e-3, "{}: {error}", world.name(row));
            }
            // What is left is mostly rounding: no other order comes to the same.
            let world = World::mirrored(group, 1, &[270, 600], 2);
            assert_agree(device, &Placed::new(&world, block_size, 2), 3, 2);
        }
    });
}

#[test]
fn every_group_at_every_edge_of_tiles_blocks_and_segments() {
    let device = Device::open();
    for group in [1, 2, 4, 5, 8, 16] {
        let world = World::new(group, 2, &EDGES, 2);
        let placings = [(16, 1), (32, 2), (64, 3), (16, 4)];
        let got = placings.map(|(block_size, seed)| {
            let placed = Placed::new(&world, block_size, seed);
            assert_agree(&device, &placed, 5 + seed as u32, 2 + seed as u32 % 2)
        });
        for row in 0..world.rows() {
            let error = world.error(row, &got[0][row]);
            assert!(error < 5e-3, "{}: {error}", world.name(row));
            for other in &got[1..] {
                assert_same(&other[row], &got[0][row], "a row in other blocks");
            }
        }
    }
}

#[test]
fn a_long_context() {
    let device = Device::open();
    let world = World::new(4, 2, &[4096, 4095], 2);
    let got = assert_agree(&device, &Placed::new(&world, 32, 1), 24, 3);
    for (row, got) in got.iter().enumerate() {
        let error = world.error(row, got);
        assert!(error < 5e-3, "{}: {error}", world.name(row));
    }
}

#[test]
fn a_prompt_has_the_same_bits_however_it_is_cut() {
    let device = Device::open();
    let world = World::new(2, 1, &[200, 70], 200);
    let placed = Placed::new(&world, 16, 1);
    let whole = placed.prefill(&device, 64);
    for tokens in [1, 7, 33] {
        let tiles = placed.prefill(&device, tokens);
        for row in 0..world.rows() {
            assert_same(&tiles[row], &whole[row], &format!("{} of {tokens}", world.name(row)));
        }
        for blocks in [1, 2, 9] {
            let split = placed.prefill_split(&device, tokens, blocks);
            for row in 0..world.rows() {
                let what = format!("{} of {tokens}, split by {blocks}", world.name(row));
                assert_same(&split[row], &whole[row], &what);
            }
        }
    }
    // In steps: what a later step will write is not there yet.
    for until in [1, 40, 128, 161] {
        let step = world.until(until);
        let first = Placed::new(&step, 32, 2).prefill(&device, 64);
        for (row, got) in first.iter().enumerate() {
            let place = world.row(step.place(row)).expect("a row of the whole");
            assert_same(got, &whole[place], &format!("{} of {until}", step.name(row)));
        }
    }
}

#[test]
fn a_token_has_the_same_bits_in_any_company() {
    let device = Device::open();
    let world = World::new(4, 2, &[257, 1, 130, 64, 65, 700], 2);
    let placed = Placed::new(&world, 16, 1);
    let all: Vec<i32> = (0..world.rows() as i32).collect();
    let together = placed.decode(&device, &all, 3, 3);
    let companies: [(&[i32], u32, u32); 5] = [
        (&[8], 1, 3),
        (&[-1, 3, -1, -1, 0, -1], 2, 2),
        (&[10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0], 1, 2),
        (&[4, 0], 200, 3),
        (&[-1, -1], 4, 3),
    ];
    for (rows, blocks, stages) in companies {
        let got = placed.decode(&device, rows, blocks, stages);
        for (row, got) in got.iter().enumerate() {
            match rows.contains(&(row as i32)) {
                true => assert_same(got, &together[row], &world.name(row)),
                false => assert!(got.iter().all(|value| value.is_nan()), "a row of nobody"),
            }
        }
    }
    // More rows than a warp looks at together, with the same ones far behind.
    let mut many = vec![-1; 70];
    many[3] = 5;
    many.extend([10, -1, 2]);
    let got = placed.decode(&device, &many, 6, 3);
    for row in [5, 10, 2] {
        assert_same(&got[row], &together[row], &world.name(row));
    }
}

fn caught(file: &'static str, changes: &[(&'static str, &'static str)]) {
    let mutants: Vec<Mutant> =
        changes.iter().map(|&(from, to)| Mutant { file, from, to }).collect();
    must_fail("attend::both_ways_agree_and_are_close_to_exact_ones", &mutants);
}

#[test]
fn mutants_of_the_tile_are_caught() {
    let changes = [
        ("i < exist", "true"),
        ("sees ? s[n][j] : -INFINITY", "s[n][j]"),
        ("gb_merged(by[half], a.l[half], l)", "__fadd_rn(a.l[half], l)"),
        ("(at ^ d % 8 * 8)", "(at + d % 8 * 8)"),
    ];
    caught("attend.cuh", &changes);
}

#[test]
fn mutants_of_decode_are_caught() {
    let changes = [
        ("gb_cp_wait<1>()", "gb_cp_wait<2>()"),
        ("__syncthreads();\n        load(stage", "load(stage"),
        ("__syncthreads();\n        const size_t place", "const size_t place"),
        ("by.part = __shfl_sync(0xffffffffu, own_merge.part, i + j)", "by.part = 1.0f"),
        ("until += before", "until += 0"),
    ];
    caught("attend_decode.cu", &changes[..4]);
    let wide = Mutant { file: "attend_decode.cu", from: changes[4].0, to: changes[4].1 };
    must_fail("attend::a_token_has_the_same_bits_in_any_company", &[wide]);
}

#[test]
fn mutants_of_prefill_are_caught() {
    let changes = [
        ("gb_cp_wait<PREFILL_STAGES - 2>()", "gb_cp_wait<PREFILL_STAGES - 1>()"),
        ("__syncthreads();", ""),
        ("end % GB_SEGMENT == 0 || ", ""),
        ("key + GB_TILE - 1 <= least", "true"),
        ("min(first + 15, rows - 1)", "first"),
    ];
    caught("attend_prefill.cu", &changes);
}

#[test]
fn mutants_of_shared_tiles_are_caught() {
    let changes = [
        ("(segments + blocks - 1) / blocks", "segments / blocks"),
        ("first * GB_SEGMENT, scale_log2", "0, scale_log2"),
        ("row / of.group) * parts.max_segments + index", "row / of.group) * parts.max_segments"),
        ("places[blockIdx.y]) * max_segments", "tile.y)"),
    ];
    caught("attend_prefill.cu", &changes);
}
