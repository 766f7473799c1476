//! Every kind of address: whoever connects there is served.

use crate::peer::Peer;
use crate::script::stored;
use crate::{BLOCK_SIZE, batch, push, replay, settings, start, subscriber};
use glassbox::config::{Env, KvEventsSettings, parse_serve};
use glassbox::events::Publisher;
use std::net::TcpListener;

/// The settings that a command line with these endpoints comes to.
fn configured(endpoint: &str, replay_endpoint: &str) -> KvEventsSettings {
    let config = format!(
        r#"{{"enable_kv_cache_events": true, "endpoint": "{endpoint}",
            "replay_endpoint": "{replay_endpoint}"}}"#
    );
    let args = ["vllm", "serve", "m", "--kv-events-config", &config].map(str::to_owned);
    let env = Env::read(|name| (name == "VLLM_HOST_IP").then(|| "127.0.0.1".to_owned()));
    let parsed = parse_serve(&args, env).unwrap_or_else(|exit| panic!("{}", exit.stderr));
    let parsed = parsed.kv_events.expect("events are on");
    KvEventsSettings {
        endpoint: parsed.endpoint,
        replay_endpoint: parsed.replay_endpoint,
        node_ip: parsed.node_ip,
        ..settings()
    }
}

/// A batch goes out live, and again by replay.
fn assert_serves(publisher: &Publisher) {
    let mut peer = subscriber(publisher);
    assert_eq!(batch(&mut peer).0, 0);
    push(&publisher.sink(), vec![stored(None, 0, 2, BLOCK_SIZE)]);
    let live = batch(&mut peer);
    assert_eq!(live.0, 1);
    let mut asked = Peer::connect(publisher.replay_endpoint().expect("bound"), "DEALER");
    assert_eq!(replay(&mut asked, 1), [live]);
}

#[test]
fn a_port_of_the_node_is_told() {
    let publisher = start(configured("tcp://*:0", "tcp://*:0"));
    let told = publisher.endpoint();
    assert!(told.starts_with("tcp://127.0.0.1:") && !told.ends_with(":0"), "{told}");
    assert_serves(&publisher);
}

#[test]
fn an_ipv6_address_is_bound() {
    let publisher = start(configured("tcp://[::1]:0", "tcp://[::1]:0"));
    let told = publisher.endpoint();
    assert!(told.starts_with("tcp://[::1]:") && !told.ends_with(":0"), "{told}");
    assert_serves(&publisher);
}

/// Also a single IPv4 address can be bound, as the IPv6 address that stands for it.
#[test]
fn a_mapped_ipv4_address_is_bound_for_ipv4() {
    let any = "tcp://[::ffff:127.0.0.1]:0";
    let publisher = start(configured(any, "tcp://127.0.0.1:0"));
    let address = publisher.endpoint().replace("[::ffff:127.0.0.1]", "127.0.0.1");
    let mut peer = Peer::connect(&address, "SUB");
    peer.subscribe("kv@");
    assert_eq!(batch(&mut peer).0, 0);
}

/// An address without `::` is connected to.
#[test]
fn an_ipv6_address_in_full_is_connected_to() {
    let listener = TcpListener::bind("[::1]:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let publisher = start(configured(&format!("tcp://[0:0:0:0:0:0:0:1]:{port}"), ""));
    let mut peer = Peer::accept(&listener, "SUB");
    peer.subscribe("");
    assert_eq!(batch(&mut peer).0, 0);
    assert_eq!(publisher.replay_endpoint(), None);
}

#[test]
fn a_path_is_bound_taken_over_and_left_clean() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    // What a killed process left behind.
    drop(std::os::unix::net::UnixListener::bind(path("pub")).expect("a path"));
    let (events, replay) = (format!("ipc://{}", path("pub")), format!("ipc://{}", path("replay")));
    let publisher = start(configured(&events, &replay));
    assert_eq!(publisher.endpoint(), events);
    assert_serves(&publisher);
    drop(publisher);
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0);
}

#[test]
fn an_abstract_name_is_bound() {
    let name = |role: &str| format!("ipc://@glassbox-{role}-{}", std::process::id());
    let publisher = start(configured(&name("pub"), &name("replay")));
    assert_eq!(publisher.endpoint(), name("pub"));
    assert_serves(&publisher);
}
