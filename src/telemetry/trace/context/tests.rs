use super::*;
use proptest::prelude::*;

const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn parent(header: &str) -> Option<String> {
    let parent = traceparent(header.as_bytes())?;
    Some(format!("{}-{}-{:02x}", parent.trace_id, parent.span_id, parent.flags.to_u8()))
}

/// The cases of the W3C's conformance suite, and what vLLM's propagator makes of them.
#[test]
fn traceparent_conforms() {
    let ids = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
    for good in [
        "00-{}-01",
        "00-{}-00",
        "00-{}-ff",
        "00-{}-09",
        " 00-{}-01",
        "\t00-{}-01 \t",
        // What a later version says is read as far as it is known.
        "cc-{}-01",
        "cc-{}-01-what-the-future-will-be-like",
        "cc-{}-01-",
        "01-{}-01-.",
    ] {
        let flags = &good.trim()[6..8];
        let header = good.replace("{}", ids);
        assert_eq!(parent(&header), Some(format!("{ids}-{flags}")), "{header:?}");
    }
    for bad in [
        "",
        " ",
        "00",
        "ff-{}-01",
        "00-{}-01-extra",
        "00-{}-01.",
        "00-{}-01-",
        "cc-{}-01.what",
        "cc-{}-0",
        "cc-{}-011",
        "0-{}-01",
        "000-{}-01",
        "0x-{}-01",
        "AA-{}-01",
        "..-{}-01",
        "00-{}-1",
        "00-{}-001",
        "00-{}-.0",
        "00-{}-0.",
        "00-{}-FF",
        "00-{}",
        "00-{}-",
        "00_{}-01",
        "00-{}_01",
        "00 -{}-01",
        "00-{}-01, 00-{}-01",
        "00-{}-01;",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-B7AD6B7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c1-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b71692033311-01",
        "00-.af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203 31-01",
    ] {
        let header = bad.replace("{}", ids);
        assert_eq!(parent(&header), None, "{header:?}");
    }
    assert_eq!(traceparent(b"00-0af7651916cd43dd8448eb211c80319\xff-b7ad6b7169203331-01"), None);
    let long = format!("cc-{ids}-01-{}", "x".repeat(MAX_LEN - 56));
    assert_eq!(long.len(), MAX_LEN);
    assert!(parent(&long).is_some() && parent(&(long + "x")).is_none());
}

fn state(header: &str) -> String {
    tracestate(header.as_bytes()).header()
}

#[test]
fn tracestate_conforms() {
    let key = |len: usize| "k".repeat(len);
    let many = |count: usize| (0..count).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
    for (header, wanted) in [
        ("foo=1", "foo=1"),
        ("foo=1,bar=2", "foo=1,bar=2"),
        (" foo=1 ,\tbar=2\t", "foo=1,bar=2"),
        ("foo=1,,bar=2,", "foo=1,bar=2"),
        ("", ""),
        (" , ", ""),
        ("foo= 1", "foo= 1"),
        ("fw529a3039@dt=FfkDRkJf~!", "fw529a3039@dt=FfkDRkJf~!"),
        ("0a@b=1", "0a@b=1"),
        ("a-_*/0=1", "a-_*/0=1"),
        (&format!("{}=1", key(256)), &format!("{}=1", key(256))),
        (&format!("{}@{}=1", key(241), key(13)), &format!("{}@{}=1", key(241), key(13))),
        (&format!("k={}", "v".repeat(256)), &format!("k={}", "v".repeat(256))),
        (&many(32), &many(32)),
    ] {
        assert_eq!(state(header), wanted, "{header:?}");
    }
    for bad in [
        "foo",
        "foo=",
        "=1",
        "foo=1=2",
        "foo=1,bar",
        "foo=1,foo=1",
        "Foo=1",
        "0foo=1",
        "foo =1",
        "foo@=1",
        "@foo=1",
        "foo@bar@baz=1",
        "foo@0bar=1",
        "foo=\u{1}",
        "foo=é",
        "foo=1;bar=2=",
        &format!("{}=1", key(257)),
        &format!("{}@v=1", key(242)),
        &format!("t@{}=1", key(14)),
        &format!("k={}", "v".repeat(257)),
        &many(33),
    ] {
        assert_eq!(state(bad), "", "{bad:?}");
    }
    let long = format!("k=v,{}", " ".repeat(MAX_STATE_LEN - 4));
    assert_eq!(state(&long), "k=v");
    assert_eq!(state(&(long + " ")), "");
}

proptest! {
    #[test]
    fn any_context_comes_back(
        trace_id in 1u128..,
        span_id in 1u64..,
        flags: u8,
        version in 0u8..255,
    ) {
        let header = format!("{version:02x}-{trace_id:032x}-{span_id:016x}-{flags:02x}");
        let found = traceparent(header.as_bytes()).expect("valid");
        prop_assert_eq!(found.trace_id, TraceId::from(trace_id));
        prop_assert_eq!(found.span_id, SpanId::from(span_id));
        prop_assert_eq!(found.flags.to_u8(), flags);
    }

    #[test]
    fn one_wrong_byte_is_seen(at in 0..LEN, byte: u8) {
        let mut header = GOOD.as_bytes().to_vec();
        header[at] = byte;
        let hex = byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let dash = [2, 35, 52].contains(&at);
        let space = at == 0 && [b' ', b'\t'].contains(&byte);
        let good = if dash { byte == b'-' } else { hex } && !space;
        prop_assert_eq!(traceparent(&header).is_some(), good);
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        traceparent(&bytes);
        tracestate(&bytes);
    }

    #[test]
    fn any_valid_state_comes_back(
        members in prop::collection::btree_map(
            "[a-z][_0-9a-z*/-]{0,20}|[a-z0-9][_0-9a-z*/-]{0,20}@[a-z][_0-9a-z*/-]{0,12}",
            "[ -+\\--<>-~]{0,20}[!-+\\--<>-~]",
            0..32,
        ),
    ) {
        let header: Vec<String> = members.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let header = header.join(",");
        prop_assert_eq!(state(&header), header);
    }
}
