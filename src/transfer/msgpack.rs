//! msgpack read with types, in vLLM's words: its decoder (msgspec) takes no other type than the
//! one that is declared, and names the place. Nothing is allocated beyond what really arrived.

use rmp::Marker;
use rmp::decode::{self, bytes::Bytes};
use std::fmt::Display;
use thiserror::Error;

/// What is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct DecodeError(String);

impl DecodeError {
    pub(super) fn new(message: impl Display) -> Self {
        Self(message.to_string())
    }

    fn expected(wanted: &str, marker: Marker, place: &str) -> Self {
        Self(format!("Expected `{wanted}`, got `{}` - at `{place}`", kind(marker)))
    }

    fn short() -> Self {
        Self("Input data was truncated".to_owned())
    }
}

/// msgspec's name of what a marker begins.
fn kind(marker: Marker) -> &'static str {
    match marker {
        Marker::Null | Marker::Reserved => "null",
        Marker::True | Marker::False => "bool",
        Marker::F32 | Marker::F64 => "float",
        Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => "str",
        Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => "bytes",
        Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => "array",
        Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => "object",
        Marker::FixPos(_)
        | Marker::FixNeg(_)
        | Marker::U8
        | Marker::U16
        | Marker::U32
        | Marker::U64
        | Marker::I8
        | Marker::I16
        | Marker::I32
        | Marker::I64 => "int",
        _ => "ext",
    }
}

/// Reads one message from its start.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Nothing may follow.
    pub fn end(self) -> Result<(), DecodeError> {
        match self.rest {
            [] => Ok(()),
            rest => Err(DecodeError::new(format_args!(
                "MessagePack data is malformed: {} bytes follow its end",
                rest.len()
            ))),
        }
    }

    fn marker(&self) -> Result<Marker, DecodeError> {
        self.rest.first().map(|&byte| Marker::from_u8(byte)).ok_or_else(DecodeError::short)
    }

    /// Runs one of rmp's readers. The marker was looked at, so that only the length can fail.
    fn take<T, E>(
        &mut self,
        read: impl FnOnce(&mut Bytes<'a>) -> Result<T, E>,
    ) -> Result<T, DecodeError> {
        let mut bytes = Bytes::new(self.rest);
        let value = read(&mut bytes).map_err(|_| DecodeError::short())?;
        self.rest = bytes.remaining_slice();
        Ok(value)
    }

    fn bytes(&mut self, len: u32) -> Result<&'a [u8], DecodeError> {
        let (bytes, rest) =
            self.rest.split_at_checked(len as usize).ok_or_else(DecodeError::short)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Whether a null comes; it is taken.
    pub fn null(&mut self) -> Result<bool, DecodeError> {
        let null = self.marker()? == Marker::Null;
        if null {
            self.rest = &self.rest[1..];
        }
        Ok(null)
    }

    pub fn uint(&mut self, place: &str) -> Result<u64, DecodeError> {
        let marker = self.marker()?;
        if kind(marker) != "int" {
            return Err(DecodeError::expected("int", marker, place));
        }
        let number = self.take(decode::read_int::<i128, _>)?;
        u64::try_from(number).map_err(|_| {
            DecodeError::new(format_args!("Expected `int` >= 0, got {number} - at `{place}`"))
        })
    }

    pub fn float(&mut self, place: &str) -> Result<f64, DecodeError> {
        match self.marker()? {
            Marker::F64 => self.take(decode::read_f64),
            Marker::F32 => self.take(decode::read_f32).map(f64::from),
            other => Err(DecodeError::expected("float", other, place)),
        }
    }

    pub fn text(&mut self, place: &str) -> Result<&'a str, DecodeError> {
        let marker = self.marker()?;
        if kind(marker) != "str" {
            return Err(DecodeError::expected("str", marker, place));
        }
        let len = self.take(decode::read_str_len)?;
        std::str::from_utf8(self.bytes(len)?)
            .map_err(|_| DecodeError::new(format_args!("Invalid UTF-8 - at `{place}`")))
    }

    pub fn binary(&mut self, place: &str) -> Result<&'a [u8], DecodeError> {
        let marker = self.marker()?;
        if kind(marker) != "bytes" {
            return Err(DecodeError::expected("bytes", marker, place));
        }
        let len = self.take(decode::read_bin_len)?;
        self.bytes(len)
    }

    /// Opens an array; its items follow.
    pub fn array(&mut self, place: &str) -> Result<usize, DecodeError> {
        let marker = self.marker()?;
        if kind(marker) != "array" {
            return Err(DecodeError::expected("array", marker, place));
        }
        self.take(decode::read_array_len).map(|len| len as usize)
    }

    /// Opens a map; its keys and values follow.
    pub fn map(&mut self, place: &str) -> Result<usize, DecodeError> {
        let marker = self.marker()?;
        if kind(marker) != "object" {
            return Err(DecodeError::expected("object", marker, place));
        }
        self.take(decode::read_map_len).map(|len| len as usize)
    }

    /// An array of what `item` reads; at most `most` of them.
    pub fn list<T>(
        &mut self,
        place: &str,
        most: usize,
        item: impl Fn(&mut Self, &str) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let len = self.array(place)?;
        if len > most {
            return Err(DecodeError::new(format_args!(
                "Expected `array` of length <= {most}, got {len} - at `{place}`"
            )));
        }
        let place = format!("{place}[...]");
        // An item takes a byte or more.
        let mut items = Vec::with_capacity(len.min(self.rest.len()));
        for _ in 0..len {
            items.push(item(self, &place)?);
        }
        Ok(items)
    }

    /// Passes over one value, however deep it is; returns its bytes.
    pub fn skip(&mut self) -> Result<&'a [u8], DecodeError> {
        let start = self.rest;
        let mut values = 1u64;
        while values > 0 {
            values -= 1;
            let marker = self.marker()?;
            match kind(marker) {
                "array" => values += self.array("")? as u64,
                "object" => values += 2 * self.map("")? as u64,
                "str" => {
                    let len = self.take(decode::read_str_len)?;
                    self.bytes(len)?;
                }
                "bytes" => {
                    let len = self.take(decode::read_bin_len)?;
                    self.bytes(len)?;
                }
                "ext" => {
                    let meta = self.take(decode::read_ext_meta)?;
                    self.bytes(meta.size)?;
                }
                "float" => {
                    self.float("")?;
                }
                "int" => {
                    self.take(decode::read_int::<i128, _>)?;
                }
                _ => self.rest = &self.rest[1..],
            }
        }
        Ok(&start[..start.len() - self.rest.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rmpv::Value;

    fn message(error: Result<impl std::fmt::Debug, DecodeError>) -> String {
        error.expect_err("an error").to_string()
    }

    #[test]
    fn other_types_are_named_with_their_place() {
        for (bytes, got) in [
            (&b"\xc0"[..], "null"),
            (b"\xc3", "bool"),
            (b"\xa1x", "str"),
            (b"\xc4\x01x", "bytes"),
            (b"\x91\x01", "array"),
            (b"\x80", "object"),
            (b"\xcb\0\0\0\0\0\0\0\0", "float"),
            (b"\xd4\x01x", "ext"),
        ] {
            let wanted = format!("Expected `int`, got `{got}` - at `$.x`");
            assert_eq!(message(Reader::new(bytes).uint("$.x")), wanted);
            let mut reader = Reader::new(bytes);
            assert_eq!(reader.skip(), Ok(bytes));
            assert_eq!(reader.end(), Ok(()));
        }
        assert_eq!(message(Reader::new(b"\x07").text("$")), "Expected `str`, got `int` - at `$`");
        let negative = message(Reader::new(b"\xff").uint("$.x"));
        assert_eq!(negative, "Expected `int` >= 0, got -1 - at `$.x`");
        assert_eq!(Reader::new(b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff").uint("$"), Ok(u64::MAX));
    }

    #[test]
    fn a_length_that_lies_allocates_nothing() {
        let huge = b"\xdd\xff\xff\xff\xff\x01";
        let error = message(Reader::new(huge).list("$", usize::MAX, Reader::uint));
        assert_eq!(error, "Input data was truncated");
        let error = message(Reader::new(huge).list("$", 10, Reader::uint));
        assert_eq!(error, "Expected `array` of length <= 10, got 4294967295 - at `$`");
        assert_eq!(message(Reader::new(b"\xc6\xff\xff\xff\xff").binary("$")), error_short());
        assert_eq!(message(Reader::new(b"\xdf\xff\xff\xff\xff").skip()), error_short());
    }

    fn error_short() -> String {
        DecodeError::short().to_string()
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<f32>().prop_map(Value::from),
            "\\PC{0,40}".prop_map(Value::from),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::Binary),
            (any::<i8>(), prop::collection::vec(any::<u8>(), 0..20))
                .prop_map(|(kind, bytes)| Value::Ext(kind, bytes)),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::vec((inner.clone(), inner), 0..6).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_value_is_passed_over_whole(value in any_value()) {
            let mut bytes = Vec::new();
            rmpv::encode::write_value(&mut bytes, &value).unwrap();
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.skip(), Ok(&bytes[..]));
            prop_assert_eq!(reader.end(), Ok(()));
            let cut = Reader::new(&bytes[..bytes.len() - 1]).skip();
            prop_assert!(cut.is_err());
        }

        #[test]
        fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Reader::new(&bytes).skip();
            let _ = Reader::new(&bytes).list("$", 1 << 20, Reader::text);
        }
    }
}
