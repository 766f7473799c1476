//! `gb_pack_rows` and `gb_widen` against the layout as kernels/README.md draws it.

use half::bf16;

use crate::args;
use crate::device::{Device, Shape, every_schedule};
use crate::mutants::{Mutant, must_fail};
use crate::values::{assert_same, bf16s, random};

/// Output and input of the eight elements that lane `4 g + t` holds of its 16 x 16 tile.
fn of_lane(g: usize, t: usize) -> [(usize, usize); 8] {
    [
        (g, 2 * t),
        (g, 2 * t + 1),
        (g + 8, 2 * t),
        (g + 8, 2 * t + 1),
        (g, 2 * t + 8),
        (g, 2 * t + 9),
        (g + 8, 2 * t + 8),
        (g + 8, 2 * t + 9),
    ]
}

/// A matrix of `outputs` rows by `inputs`, packed; outputs beyond the last are 0.
pub fn packed(matrix: &[bf16], inputs: usize) -> Vec<bf16> {
    let outputs = matrix.len() / inputs;
    let mut packed = Vec::with_capacity(outputs.next_multiple_of(16) * inputs);
    for tile_row in 0..outputs.div_ceil(16) {
        for tile_column in 0..inputs / 16 {
            for lane in 0..32 {
                packed.extend(of_lane(lane / 4, lane % 4).map(|(output, input)| {
                    let (output, input) = (16 * tile_row + output, 16 * tile_column + input);
                    matrix.get(output * inputs + input).copied().unwrap_or(bf16::ZERO)
                }));
            }
        }
    }
    packed
}

/// Where the rows of a source go: `(unit, stride, offset)`.
type Place = (usize, usize, usize);

fn pack_on(device: &Device, sources: &[(&[bf16], Place)], outputs: usize, k: usize) -> Vec<bf16> {
    let packed = device.zeros::<bf16>(outputs.next_multiple_of(16) * k);
    for (rows, (unit, stride, offset)) in sources {
        let source = device.upload(rows);
        let blocks = (rows.len() / 2).div_ceil(256);
        let numbers = [rows.len() / k, k, *unit, *stride, *offset].map(|number| number as i32);
        let [n, k, unit, stride, offset] = numbers;
        let arguments = args![&packed, &source, n, k, unit, stride, offset];
        device.launch("gb_pack_rows", Shape::line(blocks, 256), arguments);
    }
    device.download(&packed)
}

#[test]
fn matrices_are_packed() {
    every_schedule(|device| {
        for (outputs, k) in [(1, 16), (16, 32), (40, 48), (67, 256)] {
            let matrix = bf16s(&mut random(outputs as u64), outputs * k);
            let got = pack_on(device, &[(&matrix, (outputs, outputs, 0))], outputs, k);
            assert_same(&got, &packed(&matrix, k), "a matrix");
        }
    });
}

#[test]
fn matrices_that_are_read_together_are_stacked() {
    let (device, k) = (Device::open(), 32);
    let [q, kv] = [48, 16].map(|outputs| bf16s(&mut random(outputs as u64), outputs * k));
    let got = pack_on(&device, &[(&q, (48, 48, 0)), (&kv, (16, 16, 48))], 64, k);
    assert_same(&got, &packed(&[q, kv].concat(), k), "Q and K");
}

#[test]
fn gate_and_up_lie_in_one_lane() {
    let (device, k, intermediate) = (Device::open(), 64, 40);
    let gate = bf16s(&mut random(1), intermediate * k);
    let up = bf16s(&mut random(2), intermediate * k);
    let sources: &[(&[bf16], Place)] = &[(&gate, (8, 16, 0)), (&up, (8, 16, 8))];
    let got = pack_on(&device, sources, 2 * intermediate, k);
    let pairs = gate.chunks_exact(8 * k).zip(up.chunks_exact(8 * k));
    let woven: Vec<bf16> = pairs.flat_map(|(gate, up)| [gate, up].concat()).collect();
    assert_same(&got, &packed(&woven, k), "gate and up");
}

#[test]
fn bf16_is_widened() {
    every_schedule(|device| {
        let every: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
        let source = device.upload(&every);
        let out = device.empty::<f32>(every.len() - 1);
        let n = every.len() as i32 - 1;
        device.launch("gb_widen", Shape::line(256, 256), args![&out, &source, n]);
        let bits = device.download(&out).iter().map(|f| f.to_bits()).collect::<Vec<u32>>();
        let want: Vec<u32> = (0..u16::MAX).map(|bits| u32::from(bits) << 16).collect();
        assert_same(&bits, &want, "all of bf16");
    });
}

#[test]
fn mutants_of_packing_are_caught() {
    let changes = [
        ("output % 8 * 4 + pair % 4", "output % 8 * 4 + pair % 2"),
        ("output % 16 / 8 + pair % 8 / 4 * 2", "output % 16 / 8 * 2 + pair % 8 / 4"),
        ("(inputs / 16)", "(inputs / 8)"),
    ];
    let mutants = changes.map(|(from, to)| Mutant { file: "packed.cuh", from, to });
    must_fail("pack::matrices_are_packed", &mutants);
}
