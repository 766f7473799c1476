//! What the emulator sees, and that the header's wrappers do on it what a GPU does.

use crate::args;
use crate::device::{Device, Shape, every_schedule, on_gpu};
use crate::mutants::{Mutant, must_fail, run_test};
use crate::values::{assert_same, bf16s, floats, random};

const STAGES: Shape = Shape { grid: (1, 1, 1), block: 256, shared: 2048 };

#[test]
fn tiles_are_copied_ahead() {
    let steps = 5;
    let tiles = floats(&mut random(1), 256 * steps);
    let want: Vec<f32> = (0..256)
        .map(|i| tiles.chunks_exact(256).fold(0.0, |sum, tile| sum + tile[255 - i]))
        .collect();
    every_schedule(|device| {
        let (out, source) = (device.empty::<f32>(256), device.upload(&tiles));
        device.launch("gb_probe_stages", STAGES, args![&out, &source, steps as i32]);
        assert_same(&device.download(&out), &want, "sums");
    });
}

#[test]
fn missing_waits_and_barriers_are_seen() {
    let changes = [
        ("        gb_cp_wait<1>();\n", ""),
        ("gb_cp_wait<1>()", "gb_cp_wait<2>()"),
        ("        __syncthreads();  // the tile", "        // the tile"),
        ("        __syncthreads();  // and nobody", "        // and nobody"),
    ];
    let mutants = changes.map(|(from, to)| Mutant { file: "probes.cu", from, to });
    must_fail("probes::tiles_are_copied_ahead", &mutants);
}

#[test]
fn fragments_multiply() {
    let (a, b) = (bf16s(&mut random(2), 256), bf16s(&mut random(3), 128));
    let element = |row: usize, column: usize| -> f64 {
        (0..16).map(|k| a[16 * row + k].to_f64() * b[16 * column + k].to_f64()).sum()
    };
    every_schedule(|device| {
        let (left, right) = (device.upload(&a), device.upload(&b));
        let out = device.empty::<f32>(128);
        device.launch("gb_probe_product", Shape::line(1, 32), args![&out, &left, &right]);
        for (i, got) in device.download(&out).into_iter().enumerate() {
            let want = element(i / 8, i % 8);
            assert!((f64::from(got) - want).abs() < 1e-5, "at {i}: {got}, not {want}");
        }
    });
}

#[test]
fn wrong_lanes_are_seen() {
    let changes = [
        ("left + lane % 16 * 16 + lane / 16 * 8", "left + lane % 16 * 16 + lane / 8 % 2 * 8"),
        ("gb_ldsm4(columns", "gb_ldsm4t(columns"),
        ("columns[0], columns[1]", "columns[1], columns[0]"),
        ("    __syncwarp();\n    uint32_t", "    uint32_t"),
    ];
    let mutants = changes.map(|(from, to)| Mutant { file: "probes.cu", from, to });
    must_fail("probes::fragments_multiply", &mutants);
}

/// Run in a process of its own for each crime, as a device that has failed stays so.
#[test]
fn commit_the_crime_of_the_environment() {
    let Ok(kind) = std::env::var("GLASSBOX_TEST_CRIME") else { return };
    let device = Device::open();
    let out = device.empty::<f32>(64);
    let shape = Shape { grid: (1, 1, 1), block: 64, shared: 256 };
    let kind: i32 = kind.parse().expect("a number");
    device.launch("gb_probe_crime", shape, args![&out, kind]);
    assert_eq!(device.download(&out)[63], 63.0);
}

#[test]
fn crimes_are_told() {
    if on_gpu() {
        return;
    }
    let reasons = [
        "DEADLOCK: some lanes of a warp wait in a collective, others elsewhere",
        "DEADLOCK: a warp collective without lanes that have ended",
        "a write beyond shared memory",
        "a write beyond shared memory",
        "must be of shared memory",
        "must be a multiple of 16",
        "a write beyond device memory of 256 bytes",
        "lanes of a warp meet in different collectives",
    ];
    let run = |kind: usize| {
        let kind = kind.to_string();
        let environment = [("GLASSBOX_TEST_CRIME", kind.as_str())];
        run_test("probes::commit_the_crime_of_the_environment", &environment)
    };
    assert!(run(reasons.len()).status.success(), "what is no crime");
    for (kind, reason) in reasons.iter().enumerate() {
        let output = run(kind);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(reason), "{kind}: {said}");
    }
}
