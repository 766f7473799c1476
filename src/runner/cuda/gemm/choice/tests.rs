use super::*;

const STREAM_SOURCE: &str = include_str!("../../../../../kernels/gemm_stream.cu");

/// Every dense Qwen3, from 0.6B to 32B: hidden size, query heads, intermediate size. All have 8 KV
/// heads of 128.
const MODELS: [(usize, usize, usize); 6] = [
    (1024, 16, 3072),
    (2048, 16, 6144),
    (2560, 32, 9728),
    (4096, 32, 12_288),
    (5120, 40, 17_408),
    (5120, 64, 25_600),
];
/// Multiprocessors, and bytes of shared memory that a block may have beside the driver's: A100,
/// H100 PCIe and SXM, B200.
const GPUS: [(usize, usize); 4] = [(108, 165_888), (114, 231_424), (132, 231_424), (148, 231_424)];

/// Outputs and elements along the sum of the products of a model; the first and the third norm.
fn products((hidden, heads, intermediate): (usize, usize, usize)) -> [(usize, usize); 5] {
    [
        ((heads + 16) * 128, hidden),
        (hidden, heads * 128),
        (2 * intermediate, hidden),
        (hidden, intermediate),
        (151_936, hidden),
    ]
}

/// The most threads of a block of the kernels with `rows` rows, by their sources: the least of all.
fn thread_bound(rows: usize) -> usize {
    let lines = STREAM_SOURCE.lines().filter(|line| line.starts_with("GB_STREAM"));
    let bounds = lines.filter_map(|line| {
        let arguments: Vec<&str> = line.split(['(', ')']).nth(1)?.split(", ").collect();
        (arguments[2] == rows.to_string()).then(|| arguments[3].parse().expect("a number"))
    });
    bounds.min().expect("there are such kernels")
}

fn check_stream(i: usize, norms: bool, (n, k): (usize, usize), (processors, most): (usize, usize)) {
    let shape = StreamShape::of(i, norms, (n, k), processors);
    let what = format!("{shape:?} for {n} x {k} on {processors}");
    let (segments, tiles) = (k.div_ceil(SEGMENT), n.div_ceil(TILE));
    assert!(32 * shape.warps <= thread_bound(shape.rows), "{what}");
    assert!(shape.warps >= FEWEST_WARPS, "{what}");
    assert!(shape.rounds * shape.warps >= segments, "every segment has a warp: {what}");
    assert!((shape.rounds - 1) * shape.warps < segments, "no round is for nothing: {what}");
    assert_eq!(shape.slots, if norms { segments } else { shape.warps });
    assert!(shape.fits(most), "{what}");
    for resident in 1..=8 {
        let (blocks, share) = shape.share(n, processors * resident);
        assert!(blocks * share >= tiles && blocks <= tiles, "{blocks} of {share}: {what}");
        assert!(tiles.div_ceil(blocks) <= share, "a block has more than its share: {what}");
        assert!(shape.shared(share) <= shape.reckoned().min(most), "{what}");
        // Blocks that run at once take everything, or as few times over as there is room for.
        let most = if shape.rounds > 1 { MOST_TOTALS / shape.rows } else { tiles };
        let waves = blocks.div_ceil(processors * resident);
        let fewer = tiles.div_ceil(most * processors * resident);
        assert!(share <= most && waves <= fewer, "{waves} for {fewer}: {what}");
    }
}

#[test]
fn no_block_of_a_qwen3_is_too_large() {
    for gpu in GPUS {
        for model in MODELS {
            for (at, product) in products(model).into_iter().enumerate() {
                for i in 0..STREAMS.len() {
                    check_stream(i, false, product, gpu);
                }
                if at == 0 || at == 2 {
                    check_stream(0, true, product, gpu);
                }
            }
        }
        for tiled in TILED {
            assert!(tiled.shared <= gpu.1 && tiled.threads.is_multiple_of(32), "{tiled:?}");
        }
    }
}

#[test]
fn what_does_not_fit_is_not_normed_on_the_way() {
    let shape = StreamShape::of(0, true, (1024, 64 * SEGMENT), 132);
    assert!(!shape.fits(232_448) && shape.fits(1 << 20));
    // The totals count too.
    assert!(!shape.fits(shape.shared(0)));
}

#[test]
fn rows_choose_their_kernel() {
    let rows = [1, 8, 9, 16, 17, 32, 33];
    let found = rows.map(stream_for);
    assert_eq!(found, [Some(0), Some(0), Some(1), Some(1), Some(2), Some(2), None]);
}

#[test]
fn a_tiled_kernel_has_the_least_work_and_covers_the_product() {
    for m in [33, 64, 100, 128, 257, 512, 2048, 8192] {
        for (n, _) in MODELS.into_iter().flat_map(products) {
            for (processors, _) in GPUS {
                let tiled = TILED[tiled_for(m, n, processors)];
                let covered = tiled.blocks(m, n) * tiled.outputs * tiled.rows;
                assert!(covered >= m * n);
                let works = TILED.map(|other| other.work(m, n, processors));
                assert_eq!(tiled.work(m, n, processors), *works.iter().min().unwrap());
            }
        }
    }
    // A long prompt is worth the largest tiles, a short one is spread out.
    assert_eq!(tiled_for(8192, 6144, 132), 0);
    assert_eq!(tiled_for(33, 1024, 132), TILED.len() - 1);
}
