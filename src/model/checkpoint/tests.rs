use proptest::prelude::*;
use safetensors::tensor::{TensorView, serialize};
use tempfile::TempDir;

use super::*;
use crate::model::check_tensors;
use crate::model::config::tests::small;
use crate::model::tensors::tensors;

/// Bytes of a tensor whose element `i` is `i / 8` in the given dtype.
fn data(dtype: Dtype, elements: usize) -> Vec<u8> {
    let value = |index: usize| index as f32 / 8.0;
    match dtype {
        Dtype::BF16 => (0..elements).flat_map(|i| bf16::from_f32(value(i)).to_le_bytes()).collect(),
        Dtype::F16 => (0..elements).flat_map(|i| f16::from_f32(value(i)).to_le_bytes()).collect(),
        Dtype::F32 => (0..elements).flat_map(|i| value(i).to_le_bytes()).collect(),
        other => vec![0; elements * other.bitsize() / 8],
    }
}

fn file(tensors: &[(&str, Dtype, &[usize])]) -> Vec<u8> {
    let data: Vec<_> =
        tensors.iter().map(|(_, dtype, shape)| data(*dtype, shape.iter().product())).collect();
    let views = tensors.iter().zip(&data).map(|((name, dtype, shape), data)| {
        (*name, TensorView::new(*dtype, shape.to_vec(), data).unwrap())
    });
    serialize(views, None).unwrap()
}

fn written(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// The error of opening these bytes, without the path in front.
fn open_error(bytes: &[u8]) -> String {
    let (_folder, path) = written(bytes);
    let error = Checkpoint::open(std::slice::from_ref(&path)).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error:?}");
    error.strip_prefix(&format!("{}: ", path.display())).unwrap().to_owned()
}

#[test]
fn rows_come_out_as_bf16_from_every_dtype() {
    // Above one chunk, so that reading in pieces shows.
    let shape = [700, 300];
    for dtype in [Dtype::BF16, Dtype::F16, Dtype::F32] {
        let (_folder, path) = written(&file(&[("pad", Dtype::U8, &[2]), ("a", dtype, &shape)]));
        let checkpoint = Checkpoint::open(&[path]).unwrap();
        checkpoint.check("a", &shape).unwrap();
        let mut out = vec![bf16::ZERO; 690 * 300];
        checkpoint.read_rows("a", 10, &mut out).unwrap();
        for (index, out) in (3000..).zip(&out) {
            let mut wanted = index as f32 / 8.0;
            if dtype == Dtype::F16 {
                wanted = f16::from_f32(wanted).to_f32();
            }
            assert_eq!(*out, bf16::from_f32(wanted), "{dtype:?} {index}");
        }
        let error = checkpoint.read_rows("a", 11, &mut out).unwrap_err();
        assert!(error.to_string().contains("tensor a has no"), "{error}");
    }
}

#[test]
fn rounding_is_to_nearest_even() {
    let values = [1.0f32 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, -1.0 - 1.0 / 256.0, f32::MAX, 1e-40];
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, vec![5], &bytes).unwrap();
    let (_folder, path) = written(&serialize([("v", view)], None).unwrap());
    let mut out = [bf16::ZERO; 5];
    Checkpoint::open(&[path]).unwrap().read_rows("v", 0, &mut out).unwrap();
    let bits: Vec<u16> = out.iter().map(|value| value.to_bits()).collect();
    assert_eq!(bits, [0x3f80, 0x3f82, 0xbf80, 0x7f80, 0x0001]);
}

#[test]
fn missing_shapes_and_dtypes_are_named() {
    let (_folder, path) = written(&file(&[("a", Dtype::I8, &[4]), ("b", Dtype::BF16, &[2, 3])]));
    let place = path.display().to_string();
    let checkpoint = Checkpoint::open(&[path]).unwrap();
    let error = |name: &str, shape: &[usize]| {
        let error = checkpoint.check(name, shape).unwrap_err().to_string();
        error.strip_prefix(&format!("{place}: ")).unwrap().to_owned()
    };
    assert_eq!(error("c", &[1]), "tensor c is missing");
    assert_eq!(error("b", &[3, 2]), "tensor b has shape [2, 3], the configuration wants [3, 2]");
    assert_eq!(error("a", &[4]), "tensor a has dtype I8; bf16, f16 and f32 can be read");
    assert!(checkpoint.read_rows("a", 0, &mut [bf16::ZERO; 4]).is_err());
    assert!(checkpoint.read_rows("c", 0, &mut [bf16::ZERO; 4]).is_err());
    assert_eq!(checkpoint.bytes(), 16);
}

#[test]
fn damaged_files_are_refused_in_one_line() {
    let good = file(&[("a", Dtype::BF16, &[10, 10])]);
    let end = good.len();
    assert_eq!(
        open_error(&good[..end - 1]),
        format!("truncated: {end} bytes are wanted, the file has {}; fetch it again", end - 1)
    );
    assert!(open_error(&good[..20]).starts_with("truncated"));
    assert_eq!(open_error(b""), "truncated: 8 bytes are wanted, the file has 0; fetch it again");
    assert_eq!(open_error(&[&good[..], b"x"].concat()), "has 1 bytes behind its last tensor");
    let html = b"<!DOCTYPE html><html></html>";
    assert_eq!(open_error(html), "not a safetensors file (its header would be above 100 MB)");
    let mut json = good.clone();
    json[8] = b'[';
    assert!(open_error(&json).starts_with("not a safetensors header: "));
    let missing = Checkpoint::open(&[PathBuf::from("/nowhere/model.safetensors")]).unwrap_err();
    let wanted = "/nowhere/model.safetensors: No such file or directory (os error 2)";
    assert_eq!(missing.to_string(), wanted);
}

#[test]
fn an_index_names_the_shards() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("model.safetensors.index.json");
    let shards = |text: &str| {
        std::fs::write(&index, text).unwrap();
        shards_of_index(&index).map_err(|error| error.to_string())
    };
    let found = shards(
        r#"{"weight_map": {"b": "2.safetensors", "a": "1.safetensors",
        "c": "2.safetensors"}}"#,
    );
    let wanted = ["1.safetensors", "2.safetensors"].map(|name| folder.path().join(name));
    assert_eq!(found.unwrap(), wanted);
    for (text, reason) in [
        ("{", "not a JSON object"),
        ("{}", "has no weight_map"),
        (r#"{"weight_map": {"a": "../x"}}"#, "weight_map gives \"../x\" for a"),
        (r#"{"weight_map": {"a": 1}}"#, "weight_map gives 1 for a"),
    ] {
        let error = shards(text).unwrap_err();
        assert!(error.contains(reason) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn a_model_in_shards_is_checked_whole() {
    let dims = small();
    let all = tensors(&dims);
    let view = |range: std::ops::Range<usize>| {
        let tensors: Vec<_> = all[range]
            .iter()
            .map(|(name, shape)| (name.as_str(), Dtype::F32, shape.as_slice()))
            .collect();
        file(&tensors)
    };
    let folder = tempfile::tempdir().unwrap();
    let paths = ["1", "2"].map(|name| folder.path().join(name));
    std::fs::write(&paths[0], view(0..9)).unwrap();
    std::fs::write(&paths[1], view(9..all.len())).unwrap();
    check_tensors(&dims, &Checkpoint::open(&paths).unwrap()).unwrap();
    let error = check_tensors(&dims, &Checkpoint::open(&paths[..1]).unwrap()).unwrap_err();
    assert!(error.to_string().ends_with(&format!("tensor {} is missing", all[9].0)), "{error}");
    let untied = crate::model::Dims { tied: false, ..dims };
    let error = check_tensors(&untied, &Checkpoint::open(&paths).unwrap()).unwrap_err();
    assert!(error.to_string().ends_with("tensor lm_head.weight is missing"), "{error}");
}

proptest! {
    /// No bytes make opening or reading panic, and what opens can be read to its end.
    #[test]
    fn no_file_panics(
        flips in prop::collection::vec((0usize..200, any::<u8>()), 0..6),
        cut in 0usize..260,
    ) {
        let mut bytes = file(&[("a", Dtype::BF16, &[3, 5]), ("b", Dtype::F32, &[7])]);
        for (place, byte) in flips {
            let place = place % bytes.len();
            bytes[place] = byte;
        }
        bytes.truncate(cut.max(1));
        let (_folder, path) = written(&bytes);
        if let Ok(checkpoint) = Checkpoint::open(&[path]) {
            for name in ["a", "b"] {
                let _ = checkpoint.check(name, &[3, 5]);
                let _ = checkpoint.read_rows(name, 1, &mut [bf16::ZERO; 5]);
            }
        }
    }
}
