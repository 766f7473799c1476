use super::*;
use proptest::prelude::*;

fn root(text: &str) -> Json {
    parse(text.as_bytes()).unwrap().root
}

fn syntax(text: &str) -> (&'static str, usize) {
    match parse(text.as_bytes()) {
        Err(ParseError::Syntax { message, position }) => (message, position),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn reads_what_python_reads() {
    assert_eq!(
        root(" [1, -0, 1.50, 1e2, \"a\\u00e9\\ud83d\\ude00\"] \n").to_value().to_string(),
        r#"[1,0,1.5,100.0,"aé😀"]"#
    );
    assert_eq!(
        repr(&root("[NaN, Infinity, -Infinity, 1e999, null, true]")),
        "[nan, inf, -inf, inf, None, True]"
    );
    assert_eq!(
        repr(&root("[123456789012345678901234567890, -9223372036854775808]")),
        "[123456789012345678901234567890, -9223372036854775808]"
    );
    assert_eq!(repr(&root(r#"{"a":1,"b":2,"a":3}"#)), "{'a': 3, 'b': 2}");
    assert_eq!(root("\u{feff}{}"), Json::Dict(Dict::new()));
}

#[test]
fn dumps_what_python_dumps() {
    let text = r#" {"b":[1,2.50,1e2,1e400,NaN,-0,12345678901234567890123],"a":"é\u007f\u0001\n\"",
        "c":{},"b":[ ],"d":[true,null]} "#;
    let shown = "{\"b\": [], \"a\": \"é\u{7f}\\u0001\\n\\\"\", \"c\": {}, \"d\": [true, null]}";
    assert_eq!(dumps(&parse_text(text).unwrap().root), shown);
    let numbers = "[1,2.50,1e2,1e400,-1e400,NaN,-0,12345678901234567890123,1e-7]";
    let shown = "[1, 2.5, 100.0, Infinity, -Infinity, NaN, 0, 12345678901234567890123, 1e-07]";
    assert_eq!(dumps(&parse_text(numbers).unwrap().root), shown);
    assert!(parse_text("\u{feff}{}").is_err());
}

#[test]
fn complains_where_python_complains() {
    assert_eq!(syntax(""), ("Expecting value", 0));
    assert_eq!(syntax("[1, ]"), ("Expecting value", 4));
    assert_eq!(syntax("{\"é\": x}"), ("Expecting value", 6));
    assert_eq!(syntax("-"), ("Expecting value", 0));
    assert_eq!(syntax("01"), ("Extra data", 1));
    assert_eq!(syntax("\"\\ud800\\u12\""), ("Invalid \\uXXXX escape", 8));
    assert_eq!(syntax("\"\\u12é\""), ("Invalid \\uXXXX escape", 2));
    assert_eq!(syntax("\"\\u1234"), ("Invalid \\uXXXX escape", 2));
}

#[test]
fn refuses_what_is_no_text() {
    for body in [&b"\xff"[..], b"\"\xc3", b"\xfe\xff\0", b"\0\0\0\0"] {
        assert!(parse(body).is_err(), "{body:?}");
    }
    let deep = |n| "[".repeat(n) + &"]".repeat(n);
    assert!(parse(deep(900).as_bytes()).is_ok());
    assert_eq!(parse(deep(901).as_bytes()).unwrap_err(), ParseError::Unreadable);
    assert!(parse("9".repeat(4300).as_bytes()).is_ok());
    assert_eq!(parse("9".repeat(4301).as_bytes()).unwrap_err(), ParseError::Unreadable);
}

#[test]
fn marks_lone_surrogates() {
    for body in [&b"\"\\ud800\""[..], b"\"\\udc00\\ud800\"", b"\"\xed\xa0\x80\""] {
        assert!(parse(body).unwrap().lone_surrogate, "{body:?}");
    }
    assert!(!parse(b"\"\\ud83d\\ude00\"").unwrap().lone_surrogate);
}

#[test]
fn reads_utf_16_and_utf_32() {
    let text = "{\"é😀\":1}";
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf32: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
    assert_eq!(parse(&utf16).unwrap().root, root(text));
    assert_eq!(parse(&utf32).unwrap().root, root(text));
    let marked: Vec<u8> =
        [0xfe, 0xff].into_iter().chain(text.encode_utf16().flat_map(u16::to_be_bytes)).collect();
    assert_eq!(parse(&marked).unwrap().root, root(text));
}

#[test]
fn prints_as_python_prints() {
    let floats = [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (3.0, "3.0"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e+16"),
        (1.5e22, "1.5e+22"),
        (1e-4, "0.0001"),
        (1e-5, "1e-05"),
        (-2.5e-7, "-2.5e-07"),
        (0.1, "0.1"),
        (f64::MAX, "1.7976931348623157e+308"),
    ];
    for (value, text) in floats {
        assert_eq!(float_repr(value), text);
    }
    assert_eq!(str_repr("it's"), "\"it's\"");
    assert_eq!(str_repr("a'b\"c"), "'a\\'b\"c'");
    assert_eq!(str_repr("a\n\u{1}é\u{a0}\u{200b}😀\u{301}"), "'a\\n\\x01é\\xa0\\u200b😀\u{301}'");
    let mut out = String::new();
    dumps_str(&mut out, "é😀\n\u{7f}");
    assert_eq!(out, "\"\\u00e9\\ud83d\\ude00\\n\\u007f\"");
}

proptest! {
    #[test]
    fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse(&body);
    }

    #[test]
    fn never_panics_on_near_json(body in "[\\[\\]{}\",:\\\\u0-9eE+.\\- a-fé\u{1}]{0,40}") {
        let _ = parse(body.as_bytes());
    }

    #[test]
    fn agrees_with_serde_json(value in arbitrary_json()) {
        let text = value.to_string();
        prop_assert_eq!(root(&text).to_value(), value);
    }
}

fn arbitrary_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            proptest::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| map.into_iter().collect()),
        ]
    })
}
