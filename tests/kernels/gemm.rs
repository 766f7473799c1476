//! Products of packed weights: every variant comes to the same bits, those of the fixed order.

use std::ops::Range;

use half::bf16;

use crate::args;
use crate::device::{Device, Shape, every_schedule, on_gpu};
use crate::mutants::{Mutant, must_fail};
use crate::pack::packed;
use crate::values::{assert_same, bf16s, floats, random, relative_error};

const EPS: f32 = 1e-6;

/// What there is in results before a product, where it adds nothing to it.
const BEFORE: u32 = 0x5a5a_5a5a;

/// Columns from row to row of results that no product may write.
const MARGIN: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Store,
    Add,
    SwiGlu,
}

const FORMS: [Form; 3] = [Form::Store, Form::Add, Form::SwiGlu];

#[derive(Clone, Copy, Debug)]
enum Variant {
    /// For so many rows, in blocks of so many warps, the grid a fraction of the tiles.
    Stream {
        norm: bool,
        rows: usize,
        warps: usize,
        share: usize,
    },
    Tile {
        outputs: usize,
        rows: usize,
        block: u32,
        shared: u32,
    },
}

const TILES: [Variant; 5] = [
    Variant::Tile { outputs: 128, rows: 128, block: 256, shared: 131_072 },
    Variant::Tile { outputs: 128, rows: 64, block: 256, shared: 98_304 },
    Variant::Tile { outputs: 64, rows: 64, block: 128, shared: 98_304 },
    Variant::Tile { outputs: 32, rows: 64, block: 128, shared: 98_304 },
    Variant::Tile { outputs: 32, rows: 32, block: 128, shared: 98_304 },
];

/// Streams of every kind; blocks that have one tile and one segment a warp, or several of each.
fn streams(form: Form) -> Vec<Variant> {
    let mut streams = Vec::new();
    for (rows, most) in [(8, 16), (16, 12), (32, 7)] {
        for (warps, share) in [(4, 1), (5, 3), (most, 9)] {
            streams.push(Variant::Stream { norm: false, rows, warps, share });
            if rows == 8 && form != Form::Add {
                streams.push(Variant::Stream { norm: true, rows, warps, share });
            }
        }
    }
    streams
}

fn variants(form: Form) -> Vec<Variant> {
    [streams(form).as_slice(), &TILES].concat()
}

impl Variant {
    fn name(self, form: Form) -> String {
        let form = format!("{form:?}").to_lowercase();
        match self {
            Self::Stream { norm: true, rows, .. } => format!("gb_stream_norm_{form}_{rows}"),
            Self::Stream { norm: false, rows, .. } => format!("gb_stream_{form}_{rows}"),
            Self::Tile { outputs, rows, .. } => format!("gb_tile_{form}_{outputs}x{rows}"),
        }
    }

    /// The most rows it is for.
    fn most(self) -> usize {
        if let Self::Stream { rows, .. } = self { rows } else { usize::MAX }
    }

    /// As kernels/README.md says.
    fn shape(self, m: usize, n: usize, k: usize) -> Shape {
        let (segments, tiles) = (k.div_ceil(256), n.div_ceil(16));
        match self {
            Self::Stream { norm, rows, warps, share } => {
                let grid = tiles.div_ceil(share);
                let slots = if norm { segments } else { warps };
                let totals = if segments > warps { 64 * rows * tiles.div_ceil(grid) } else { 0 };
                let shared = 512 * rows * slots + 160 * rows * warps + totals;
                Shape { shared: shared as u32, ..Shape::line(grid, 32 * warps as u32) }
            }
            Self::Tile { outputs, rows, block, shared } => {
                Shape { shared, ..Shape::line(n.div_ceil(outputs) * m.div_ceil(rows), block) }
            }
        }
    }
}

struct Case {
    n: usize,
    k: usize,
    x: Vec<f32>,
    norm_weight: Vec<f32>,
    /// The norms of `x`, which the other products start from.
    normed: Vec<bf16>,
    matrix: Vec<bf16>,
}

impl Case {
    fn new(device: &Device, rows: usize, n: usize, k: usize) -> Self {
        let mut random = random((n * 10_000 + k) as u64);
        let (x, norm_weight) = (floats(&mut random, rows * k), floats(&mut random, k));
        let matrix = bf16s(&mut random, n * k);
        let mut case = Self { n, k, x, norm_weight, normed: Vec::new(), matrix };
        case.norm(device);
        case
    }

    fn norm(&mut self, device: &Device) {
        let (x, weight) = (device.upload(&self.x), device.upload(&self.norm_weight));
        let (out, rows) = (device.empty::<bf16>(self.x.len()), self.x.len() / self.k);
        let (count, k) = (rows as i32, self.k as i32);
        let arguments = args![&out, &x, &weight, crate::device::NULL, count, k, EPS];
        device.launch("gb_rms_norm", Shape::line(rows.div_ceil(8), 256), arguments);
        self.normed = device.download(&out);
    }

    fn columns(&self, form: Form) -> usize {
        if form == Form::SwiGlu { self.n / 2 } else { self.n }
    }

    /// What the product of a row finds in its place.
    fn before(&self, form: Form, row: usize, column: usize) -> u32 {
        let value = (row * 31 + column) % 97;
        if form == Form::Add { (value as f32 / 4.0 - 12.0).to_bits() } else { BEFORE }
    }

    /// The bits of what some of the rows come to.
    fn on(&self, device: &Device, form: Form, variant: Variant, rows: Range<usize>) -> Vec<u32> {
        let (n, k, m) = (self.n, self.k, rows.len());
        let packed = device.upload(&packed(&self.matrix, k));
        let norm_weight = device.upload(&self.norm_weight);
        let x = device.upload(&self.x[rows.start * k..rows.end * k]);
        let normed = device.upload(&self.normed[rows.start * k..rows.end * k]);
        let columns = self.columns(form);
        let ld = columns + MARGIN;
        let before: Vec<u32> = (rows.start..rows.end + 1)
            .flat_map(|row| (0..ld).map(move |column| self.before(form, row, column)))
            .collect();
        let small: Vec<u16> = before.iter().map(|&bits| bits as u16).collect();
        let (wide, small) = (device.upload(&before), device.upload(&small));
        let out = if form == Form::SwiGlu { small.address } else { wide.address };
        let (name, shape) = (variant.name(form), variant.shape(m, n, k));
        let [m, n, k, ld_out] = [m, n, k, ld].map(|number| number as i32);
        if matches!(variant, Variant::Stream { norm: true, .. }) {
            let arguments = args![out, &packed, &x, &norm_weight, EPS, m, n, k, ld_out];
            device.launch(&name, shape, arguments);
        } else {
            device.launch(&name, shape, args![out, &packed, &normed, m, n, k, ld_out]);
        }
        let got: Vec<u32> = match form {
            Form::SwiGlu => device.download(&small).into_iter().map(u32::from).collect(),
            _ => device.download(&wide),
        };
        let mask = if form == Form::SwiGlu { 0xffff } else { u32::MAX };
        for (i, (got, before)) in got.iter().zip(&before).enumerate() {
            let outside = i % ld >= columns || i / ld >= rows.len();
            assert!(!outside || *got == before & mask, "{name} writes beyond its results: {i}");
        }
        got.chunks_exact(ld).take(rows.len()).flat_map(|row| &row[..columns]).copied().collect()
    }

    /// A row's products before they are stored, in the fixed order of kernels/README.md and of
    /// the emulator's own matrices.
    fn products(&self, row: usize) -> Vec<f32> {
        let x: Vec<f32> =
            self.normed[row * self.k..][..self.k].iter().map(|v| v.to_f32()).collect();
        let segment = |(weights, x): (&[bf16], &[f32])| {
            weights.iter().zip(x).fold(0.0_f32, |sum, (w, x)| sum + w.to_f32() * x)
        };
        let output = |weights: &[bf16]| {
            let segments = weights.chunks(256).zip(x.chunks(256)).map(segment);
            segments.reduce(|total, sum| total + sum).expect("a segment")
        };
        self.matrix.chunks_exact(self.k).map(output).collect()
    }

    fn finished(&self, form: Form, row: usize, products: &[f32]) -> Vec<u32> {
        let places = products.iter().enumerate();
        match form {
            Form::Store => products.iter().map(|product| product.to_bits()).collect(),
            Form::Add => places
                .map(|(i, v)| (f32::from_bits(self.before(form, row, i)) + v).to_bits())
                .collect(),
            Form::SwiGlu => {
                let activated = |i: usize| {
                    let (gate, up) =
                        (products[i / 8 * 16 + i % 8], products[i / 8 * 16 + 8 + i % 8]);
                    u32::from(bf16::from_f32(gate / (1.0 + (-gate).exp()) * up).to_bits())
                };
                (0..products.len() / 2).map(activated).collect()
            }
        }
    }

    /// What rows come to: in the emulator's own order, or by one of a GPU's variants.
    fn wanted(&self, device: &Device, form: Form) -> Vec<u32> {
        let rows = self.x.len() / self.k;
        if on_gpu() {
            return self.on(device, form, TILES[2], 0..rows);
        }
        (0..rows).flat_map(|row| self.finished(form, row, &self.products(row))).collect()
    }

    #[track_caller]
    fn assert_variant(
        &self,
        device: &Device,
        form: Form,
        variant: Variant,
        rows: Range<usize>,
        wanted: &[u32],
    ) {
        let columns = self.columns(form);
        let wanted = &wanted[rows.start * columns..rows.end * columns];
        let what = format!("{variant:?}, {form:?}, {} by {}, rows {rows:?}", self.n, self.k);
        assert_same(&self.on(device, form, variant, rows), wanted, &what);
    }
}

#[test]
fn products_have_the_fixed_order() {
    let device = Device::open();
    let case = Case::new(&device, 21, 80, 1072);
    let wanted = case.wanted(&device, Form::Store);
    every_schedule(|device| {
        for variant in variants(Form::Store) {
            case.assert_variant(device, Form::Store, variant, 0..variant.most().min(21), &wanted);
        }
    });
}

#[test]
fn every_form_of_result_is_right() {
    let device = Device::open();
    let case = Case::new(&device, 35, 208, 272);
    for form in FORMS {
        let wanted = case.wanted(&device, form);
        for variant in variants(form) {
            case.assert_variant(&device, form, variant, 0..variant.most().min(35), &wanted);
        }
    }
}

#[test]
fn inputs_of_any_length_have_the_fixed_order() {
    let device = Device::open();
    for k in [16, 48, 240, 256, 272, 512, 2576] {
        let case = Case::new(&device, 5, 48, k);
        let wanted = case.wanted(&device, Form::Store);
        for variant in variants(Form::Store) {
            case.assert_variant(&device, Form::Store, variant, 0..5, &wanted);
        }
    }
}

#[test]
fn a_row_has_the_same_bits_in_any_company() {
    let device = Device::open();
    let case = Case::new(&device, 140, 48, 272);
    for form in FORMS {
        let wanted = case.wanted(&device, form);
        for m in (1..=33).chain([64, 65, 100, 130]) {
            let first = m * 7 % 11;
            for variant in variants(form).into_iter().filter(|variant| m <= variant.most()) {
                case.assert_variant(&device, form, variant, first..first + m, &wanted);
            }
        }
    }
}

#[test]
fn many_blocks_cover_all_rows_and_outputs() {
    let device = Device::open();
    let case = Case::new(&device, 331, 336, 32);
    let wanted = case.wanted(&device, Form::Store);
    for variant in TILES {
        case.assert_variant(&device, Form::Store, variant, 0..331, &wanted);
    }
}

#[test]
fn a_row_without_numbers_stays_alone() {
    let device = Device::open();
    let mut case = Case::new(&device, 7, 48, 272);
    let wanted = case.wanted(&device, Form::Store);
    case.x[3 * case.k + 17] = f32::NAN;
    case.norm(&device);
    for variant in variants(Form::Store) {
        let got = case.on(&device, Form::Store, variant, 0..7);
        let (lost, kept) = (3 * case.n..4 * case.n, 4 * case.n..);
        assert!(got[lost.clone()].iter().all(|bits| f32::from_bits(*bits).is_nan()));
        assert_same(&got[..lost.start], &wanted[..lost.start], "rows before it");
        assert_same(&got[kept.clone()], &wanted[kept], "rows after it");
    }
}

#[test]
fn products_are_close_to_exact_ones() {
    let device = Device::open();
    let case = Case::new(&device, 8, 48, 2064);
    let exact = (0..8 * case.n).map(|i| {
        let x = &case.normed[i / case.n * case.k..][..case.k];
        let weights = &case.matrix[i % case.n * case.k..][..case.k];
        x.iter().zip(weights).map(|(x, w)| x.to_f64() * w.to_f64()).sum::<f64>()
    });
    for variant in variants(Form::Store) {
        let got = case.on(&device, Form::Store, variant, 0..8);
        let got = got.iter().map(|bits| f64::from(f32::from_bits(*bits)));
        assert!(relative_error(got, exact.clone()) < 1e-6, "{variant:?}");
    }
}

#[test]
fn mutants_of_the_streams_are_caught() {
    let changes = [
        // No wait for the rows; a wrong lane's rows, and a wrong half of them.
        ("    gb_cp_wait<0>();\n", ""),
        ("8 * r + (lane & 7), 2 * step", "8 * r + (lane & 3), 2 * step"),
        ("rows[r][2 * half], rows[r][2 * half + 1]", "rows[r][half], rows[r][half + 2]"),
        // No barrier before partial sums are added, or before the next ones take their place.
        (
            "            __syncthreads();\n            if (threadIdx.x < ADDERS)",
            "            if (threadIdx.x < ADDERS)",
        ),
        ("turn ^= 1", "turn ^= 0"),
        // No barrier between the scales and the elements, or between these and the products.
        ("    __syncthreads();\n    float4 next_weights", "    float4 next_weights"),
        (
            "            }\n        }\n    }\n    __syncthreads();\n}",
            "            }\n        }\n    }\n}",
        ),
        // Segments in another order, or the first one twice.
        ("partials[(warp * ROWS", "partials[((present - 1 - warp) * ROWS"),
        ("float total = round > 0 ? *kept : NOTHING;", "float total = NOTHING;"),
    ];
    let mutants = changes.map(|(from, to)| Mutant { file: "gemm_stream.cu", from, to });
    must_fail("gemm::products_have_the_fixed_order", &mutants);
}

#[test]
fn mutants_of_the_tiles_are_caught() {
    let changes = [
        // Waits that are too short; no barrier after them.
        ("gb_cp_wait<S::STAGES - 2>", "gb_cp_wait<S::STAGES - 1>"),
        (
            "gb_cp_wait<S::STAGES - 2>();\n                    __syncthreads();",
            "gb_cp_wait<S::STAGES - 2>();",
        ),
        // Results that take the place of stages too early, or leave it.
        ("gb_cp_wait<0>();\n    __syncthreads();", "gb_cp_wait<0>();"),
        (
            "put_results<S>(results, total);\n    __syncthreads();",
            "put_results<S>(results, total);",
        ),
        // A wrong lane, a wrong stage, and segments that do not end.
        ("+ (lane >> 4) * 8", "+ (lane >> 3 & 1) * 8"),
        ("refill = stage;", ""),
        ("smaller(left, SEGMENT_TILES)", "left"),
    ];
    let mutants = changes.map(|(from, to)| Mutant { file: "gemm_tile.cu", from, to });
    must_fail("gemm::products_have_the_fixed_order", &mutants);
}
