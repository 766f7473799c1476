use super::super::driver::Plan;
use super::*;
use crate::types::Token;
use proptest::collection::vec;
use proptest::prelude::*;

const BLOCK: usize = 16;
const WIDTH: usize = 64;
const LIMITS: Limits = Limits {
    max_tokens: 400,
    max_seqs: 24,
    max_blocks_per_seq: WIDTH,
    num_blocks: 4096,
    block_size: BLOCK,
    vocab_size: 1000,
};

/// A sequence of a step: tokens before its rows, its rows, and how many of them are wanted.
type Part = (usize, usize, usize, Option<Draw>);

fn draw() -> impl Strategy<Value = Option<Draw>> {
    let report = proptest::option::of(0..=32u32);
    let draw = (any::<u64>(), any::<u32>(), 0..2000u32, report);
    proptest::option::of(draw.prop_map(|(seed, position, top_k, report)| {
        let (temperature, top_p, min_p) = (0.7, 0.9, 0.05);
        Draw { temperature, top_k, top_p, min_p, seed, position, report }
    }))
}

/// Single tokens mostly, as steps are.
fn part() -> impl Strategy<Value = Part> {
    let single = (0..1000usize, Just(1usize), 0..=1usize);
    let several = (0..900usize, 2..100usize, 0..=3usize);
    let rows = prop_oneof![4 => single, 1 => several];
    (rows, draw()).prop_map(|((start, len, wanted), draw)| (start, len, wanted.min(len), draw))
}

fn batch(parts: &[Part]) -> StepBatch {
    let mut batch = StepBatch::new(&LIMITS);
    for (seq, &(start, len, wanted, draw)) in parts.iter().enumerate() {
        if batch.num_tokens() + len > LIMITS.max_tokens {
            continue;
        }
        let tokens: Vec<Token> = (0..len).map(|i| ((seq * 31 + i * 7) % 1000) as Token).collect();
        let blocks: Vec<u32> =
            (0..(start + len).div_ceil(BLOCK)).map(|i| (seq * WIDTH + i) as u32).collect();
        batch.push(&tokens, start, &blocks, wanted, draw);
    }
    batch.check(&LIMITS).unwrap();
    batch
}

/// One that neither pads nor splits anything.
fn plain() -> Planner {
    Planner {
        block_size: BLOCK,
        longest: WIDTH * BLOCK / SEGMENT,
        group: 2,
        kv_heads: 2,
        processors: 1,
        segments: 64,
        buckets: Vec::new(),
        pads: true,
        splits: true,
    }
}

fn planner() -> impl Strategy<Value = Planner> {
    // At least what one sequence of full length needs.
    let segments = plain().longest..200;
    let buckets = prop_oneof![Just(vec![]), Just(vec![1, 2, 4, 8, 16, 24])];
    let processors = prop_oneof![Just(1), Just(20), Just(132)];
    let parts = (segments, 1..=16usize, processors, buckets);
    parts.prop_map(|(segments, group, processors, buckets)| Planner {
        group,
        processors,
        segments,
        buckets,
        ..plain()
    })
}

/// What a batch becomes: its shape, whether it is padded, the layout, the integers, the passes.
struct Written {
    len: usize,
    shape: Shape,
    padded: bool,
    layout: Layout,
    out: Vec<i32>,
    passes: Vec<Range<usize>>,
}

impl Written {
    fn new(planner: &Planner, batch: &StepBatch) -> Self {
        let (shape, padded) = planner.shape(batch);
        let layout = Layout::new(shape);
        // What an earlier step has left there.
        let mut out = vec![77; Layout::longest(&LIMITS)];
        let mut passes = vec![0..1; 3];
        let len = planner.write(batch, &layout, &mut out, &mut passes);
        assert!(out[len..].iter().all(|&left| left == 77), "written beyond its end");
        Self { len, shape, padded, layout, out, passes }
    }

    fn at(&self, start: usize, len: usize) -> &[i32] {
        &self.out[start..][..len]
    }

    fn rows(&self) -> usize {
        self.shape.rows
    }

    /// Each row attends once: by itself, or in a tile.
    fn check_attention(&self, planner: &Planner, batch: &StepBatch) {
        let mut seen = vec![0; batch.num_tokens()];
        for &row in self.at(self.layout.singles, self.shape.singles) {
            if row >= 0 {
                seen[row as usize] += 1;
                let context = batch.positions[row as usize] as usize + 1;
                let segments = context.div_ceil(SEGMENT);
                assert!(segments <= self.shape.segments, "{segments} of {:?}", self.shape);
            }
        }
        for tile in self.at(self.layout.tiles, self.shape.tiles * 4).chunks(4) {
            let [start, first, tokens, position] = [0, 1, 2, 3].map(|i| tile[i] as usize);
            assert_eq!(self.at(self.layout.table_starts, self.rows())[first] as usize, start);
            assert!(tokens > 0 && tokens * planner.group <= TILE_ROWS.max(planner.group));
            assert_eq!(batch.positions[first] as usize, position);
            seen[first..][..tokens].iter_mut().for_each(|times| *times += 1);
            let mut rows = (0..batch.num_seqs()).map(|seq| batch.rows_of(seq));
            let rows = rows.find(|rows| rows.contains(&first)).expect("a sequence");
            assert!(first + tokens <= rows.end, "{tile:?} of {rows:?}");
        }
        assert!(seen.iter().all(|&times| times == 1), "{seen:?}");
    }

    /// Where tiles are split, every row of theirs has a place of its own, in which it is listed.
    fn check_split(&self, planner: &Planner) {
        let Some(Split { blocks, rows, segments }) = self.shape.split else { return };
        assert!((2..=segments).contains(&blocks) && rows * segments <= planner.segments);
        assert!(blocks * self.shape.tiles * planner.kv_heads <= planner.processors);
        let mut next = 0;
        let places = self.at(self.layout.tile_places, self.shape.tiles);
        for (tile, &place) in self.at(self.layout.tiles, self.shape.tiles * 4).chunks(4).zip(places)
        {
            assert_eq!(place, next);
            let listed = self.at(self.layout.tiled + place as usize, tile[2] as usize);
            assert!(listed.iter().copied().eq(tile[1]..tile[1] + tile[2]));
            assert!((tile[3] + tile[2] - 1) as usize / SEGMENT < segments);
            next += tile[2];
        }
        assert_eq!(next as usize, rows);
    }

    /// Passes are all single rows, in order, and have room.
    fn check_passes(&self, planner: &Planner) {
        let mut next = 0;
        for pass in &self.passes {
            assert!(pass.start == next && pass.end > next, "{:?}", self.passes);
            assert!(pass.len() * self.shape.segments <= planner.segments);
            next = pass.end;
        }
        assert_eq!(next, self.shape.singles);
        assert!(!self.padded || self.passes.len() == 1, "a graph has one pass");
    }

    fn check_rows(&self, batch: &StepBatch) {
        let (rows, known) = (self.rows(), batch.num_tokens());
        let padding = vec![NONE; rows - known];
        let as_ints = |values: &[u32]| -> Vec<i32> { values.iter().map(|&v| v as i32).collect() };
        assert_eq!(self.at(0, rows), [as_ints(&batch.tokens), padding.clone()].concat());
        let positions = self.at(self.layout.positions, rows);
        assert_eq!(positions, [as_ints(&batch.positions), padding].concat());
        assert!(self.at(self.layout.feed, rows).iter().all(|&from| from == NONE));
        for seq in 0..batch.num_seqs() {
            let starts = &self.at(self.layout.table_starts, rows)[batch.rows_of(seq)];
            assert!(starts.iter().all(|start| *start == starts[0]));
            let used = (batch.context_len[seq] as usize).div_ceil(BLOCK);
            let start = self.layout.tables + starts[0] as usize;
            assert!(start + used <= self.len, "a table beyond what is copied");
            let table = self.at(start, used);
            assert_eq!(table, as_ints(&batch.block_table(seq)[..used]));
        }
    }

    fn check_wanted(&self, batch: &StepBatch) {
        let wanted = self.at(self.layout.wanted, self.shape.wanted);
        let draws = self.at(self.layout.draws, self.shape.wanted * DRAW_LEN).chunks(DRAW_LEN);
        let reports = self.at(self.layout.reports, self.shape.wanted);
        for (i, ((&row, draw), &report)) in wanted.iter().zip(draws).zip(reports).enumerate() {
            let Some(sample) = batch.rows.get(i) else {
                assert_eq!((row, draw[DRAW_LEN - 1], report), (0, NO_DRAW, NONE), "padding");
                continue;
            };
            assert_eq!(row, sample.row as i32);
            assert_eq!(draw, encode(sample.draw.as_ref()));
            let wanted = sample.draw.and_then(|draw| draw.report);
            assert_eq!(report, wanted.map_or(NONE, |count| count as i32));
        }
    }
}

proptest! {
    #[test]
    fn a_step_is_written_as_it_is(planner in planner(), parts in vec(part(), 1..=24)) {
        let batch = batch(&parts);
        let written = Written::new(&planner, &batch);
        written.check_rows(&batch);
        written.check_attention(&planner, &batch);
        written.check_split(&planner);
        written.check_passes(&planner);
        written.check_wanted(&batch);
    }

    #[test]
    fn steps_of_wanted_single_rows_are_padded(
        planner in planner(),
        contexts in vec((0..1000usize, draw()), 1..=24),
    ) {
        let parts: Vec<Part> = contexts.iter().map(|&(start, draw)| (start, 1, 1, draw)).collect();
        let batch = batch(&parts);
        let (shape, padded) = planner.shape(&batch);
        let bucket = planner.buckets.iter().find(|&&bucket| bucket >= parts.len());
        let longest = contexts.iter().map(|&(start, _)| segments_of(start + 1)).max().unwrap();
        let fits = bucket.is_some_and(|bucket| bucket * longest <= planner.segments);
        prop_assert_eq!(padded, fits);
        let rows = if fits { *bucket.unwrap() } else { parts.len() };
        let Shape { singles, tiles, wanted, segments, .. } = shape;
        prop_assert_eq!((shape.rows, singles, tiles, wanted), (rows, rows, 0, rows));
        prop_assert!(longest <= segments && (fits || segments == longest));
        // The bucket alone tells the shape: a graph is captured before anybody knows the lengths.
        prop_assert!(!fits || shape == planner.padded(rows));
    }

    #[test]
    fn parts_lie_apart(
        sizes in (1..400usize, 0..24usize, 0..50usize, 0..400usize),
    ) {
        let (rows, singles, tiles, wanted) = sizes;
        let split = Some(Split { blocks: 2, rows, segments: 3 });
        let layout = Layout::new(Shape { rows, singles, segments: 1, tiles, split, wanted });
        let len = Layout::longest(&LIMITS);
        let input = Plan::new().take(len);
        let parts = layout.parts(input);
        let all = [
            parts.tokens,
            parts.positions,
            parts.table_starts,
            parts.feed,
            parts.singles,
            parts.tiles,
            parts.tile_places,
            parts.tiled,
            parts.wanted,
            parts.draws,
            parts.reports,
            parts.tables,
        ];
        let mut end = 0;
        for part in all {
            prop_assert!(part.at >= end && part.at % 16 == 0, "{part:?} begins before {end}");
            end = part.at + part.bytes() as u64;
        }
        prop_assert!(end <= 4 * len as u64);
        prop_assert!(parts.tables.len >= LIMITS.max_seqs * WIDTH, "room for all tables");
    }
}

#[test]
fn a_row_that_is_unlike_the_others_makes_no_graph() {
    let planner = Planner { buckets: vec![1, 4, 24], ..plain() };
    let single = (30, 1, 1, None);
    let padded = |parts: &[Part]| planner.shape(&batch(parts)).1;
    assert!(padded(&[single; 3]));
    assert!(!padded(&[single, (0, 2, 1, None)]), "a prompt");
    assert!(!padded(&[single, (30, 1, 0, None)]), "a row that nobody wants");
    // Four rows with 8 segments each have room, 24 do not.
    assert!(padded(&[(1000, 1, 1, None); 4]));
    assert!(!padded(&[(1000, 1, 1, None); 5]));
    let never = Planner { pads: false, ..planner.clone() };
    assert!(!never.shape(&batch(&[single; 3])).1);
}

#[test]
fn a_draw_is_eight_integers() {
    let draw = Draw {
        temperature: 0.5,
        top_k: 7,
        top_p: 0.25,
        min_p: 0.125,
        seed: 0x8000_0001_ffff_fffe,
        position: u32::MAX,
        report: Some(3),
    };
    let (half, quarter, eighth) = (0x3f00_0000, 0x3e80_0000, 0x3e00_0000);
    let high = 0x8000_0001_u32 as i32;
    assert_eq!(encode(Some(&draw)), [half, 7, quarter, eighth, -2, high, -1, 0]);
    // More than any vocabulary has: off.
    assert_eq!(encode(Some(&Draw { top_k: u32::MAX, ..draw }))[1], 0);
    assert_eq!(encode(None)[DRAW_LEN - 1], NO_DRAW);
}

#[test]
fn fed_rows_name_the_row_that_feeds_them() {
    let planner = Planner { buckets: vec![4], ..plain() };
    let mut batch = StepBatch::new(&LIMITS);
    for from in [2, 0] {
        batch.push_fed(from, 20, &[5, 6], Draw::GREEDY);
    }
    let written = Written::new(&planner, &batch);
    assert_eq!(written.at(written.layout.feed, 4), [2, 0, NONE, NONE]);
}

#[test]
fn few_rows_that_see_many_keys_are_split() {
    let planner = Planner { processors: 40, segments: 400, ..plain() };
    let split = |parts: &[Part]| planner.shape(&batch(parts)).0.split;
    let of = |blocks, rows, segments| Some(Split { blocks, rows, segments });
    assert_eq!(split(&[(900, 20, 1, None)]), of(8, 20, 8), "a block for each segment");
    assert_eq!(split(&[(900, 20, 1, None); 2]), of(8, 40, 8));
    assert_eq!(split(&[(900, 20, 1, None), (900, 1, 1, None), (3, 9, 1, None)]), of(8, 29, 8));
    assert_eq!(split(&[(300, 20, 1, None)]), None, "few keys");
    assert_eq!(split(&[(900, 90, 1, None)]), None, "no room");
    let never = Planner { splits: false, ..planner.clone() };
    assert_eq!(never.shape(&batch(&[(900, 20, 1, None)])).0.split, None);
    let few = Planner { processors: 3, ..planner.clone() };
    assert_eq!(few.shape(&batch(&[(900, 20, 1, None)])).0.split, None, "nobody is idle");
    let wide = Planner { kv_heads: 8, group: 16, processors: 132, ..planner };
    assert_eq!(wide.shape(&batch(&[(900, 20, 1, None)])).0.split, None, "many heads");
}
