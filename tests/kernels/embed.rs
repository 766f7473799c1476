//! `gb_embed` gathers rows of a packed matrix.

use half::bf16;

use crate::args;
use crate::device::{Shape, every_schedule};
use crate::pack::packed;
use crate::values::{assert_same, bf16s, random};

#[test]
fn tokens_become_rows() {
    let (vocab, hidden) = (100, 272);
    let matrix = bf16s(&mut random(5), vocab * hidden);
    let tokens = [3, 99, -1, 0, 3, 16, 15];
    every_schedule(|device| {
        let embeddings = device.upload(&packed(&matrix, hidden));
        let ids = device.upload(&tokens);
        let x = device.empty::<f32>(tokens.len() * hidden);
        let arguments = args![&x, &embeddings, &ids, hidden as i32];
        device.launch("gb_embed", Shape::line(tokens.len(), 128), arguments);
        let rows = device.download(&x);
        for (token, row) in tokens.iter().zip(rows.chunks_exact(hidden)) {
            let want = match usize::try_from(*token) {
                Ok(token) => &matrix[token * hidden..][..hidden],
                Err(_) => &vec![bf16::ZERO; hidden],
            };
            let want: Vec<f32> = want.iter().map(|value| value.to_f32()).collect();
            assert_same(row, &want, "a row");
        }
    });
}
