use super::*;
use proptest::prelude::*;

fn addresses() -> impl Strategy<Value = Vec<SocketAddr>> {
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
    ];
    let address = (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port));
    prop::collection::vec(address, 1..=MOST_ADDRESSES)
}

proptest! {
    #[test]
    fn metadata_survives(
        token: AgentToken,
        addresses in addresses(),
        (regions, blocks, block_len) in any::<(u32, u32, u64)>(),
    ) {
        let geometry = Geometry { regions, blocks, block_len };
        let metadata = Metadata { token, geometry, addresses };
        let bytes = metadata.encode();
        for cut in 0..bytes.len() {
            prop_assert_eq!(Metadata::parse(&bytes[..cut]), Err(Malformed::Short));
        }
        prop_assert_eq!(Metadata::parse(&[&bytes[..], &[0]].concat()), Err(Malformed::Long));
        prop_assert_eq!(Metadata::parse(&bytes), Ok(metadata));
    }

    #[test]
    fn greetings_survive(reads: bool, token: AgentToken, at in 0..HELLO, bit in 0..8u32) {
        let role = if reads { Role::Reads } else { Role::Notifications };
        let hello = Hello { role, token };
        let mut bytes = hello.encode();
        prop_assert_eq!(bytes.len(), HELLO);
        prop_assert_eq!(Hello::parse(&bytes), Ok(hello));
        bytes[at] ^= 1 << bit;
        prop_assert_ne!(Hello::parse(&bytes), Ok(hello));
        for verdict in [Verdict::Welcome, Verdict::Version, Verdict::Stranger] {
            prop_assert_eq!(verdict.encode().len(), WELCOME);
            prop_assert_eq!(Verdict::parse(&verdict.encode()), Ok(verdict));
        }
    }

    #[test]
    fn reads_survive(
        id in "\\PC{0,40}",
        num_blocks in 1..2000u32,
        list in prop::collection::vec(any::<prop::sample::Index>(), 0..100),
    ) {
        let list: Vec<BlockId> = list.iter().map(|i| i.index(num_blocks as usize) as u32).collect();
        let frame = read_frame(&id, &list);
        let (head, body) = frame.split_first_chunk().expect("a head");
        let most = longest_read(num_blocks);
        prop_assert_eq!(Kind::Read.parse(head, most), Ok(body.len()));
        prop_assert_eq!(Kind::Notification.parse(head, most), Err(Malformed::Code(1)));
        prop_assert!(body.len() as u64 <= most || list.len() > num_blocks as usize);
        let mut blocks = vec![9];
        let parsed = parse_read(body, num_blocks, &mut blocks);
        if list.len() > num_blocks as usize {
            prop_assert_eq!(parsed, Err(Malformed::Count(list.len() as u32, num_blocks)));
        } else {
            prop_assert_eq!(parsed, Ok(id.as_str()));
            prop_assert_eq!(blocks, list);
        }
        for cut in 0..body.len() {
            prop_assert!(parse_read(&body[..cut], num_blocks, &mut Vec::new()).is_err());
        }
    }

    #[test]
    fn answers_survive(len: u64) {
        for status in [Status::Granted, Status::NotGranted, Status::Malformed] {
            prop_assert_eq!(parse_answer(&answer_head(status, len)), Ok((status, len)));
        }
    }

    #[test]
    fn anything_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        super::super::fuzz::received(&bytes);
    }
}
