//! A tier of a cluster of Redis.

use larder::tier::TierErrorKind;

use super::servers::{Cluster, command_of};
use super::{check_all_calls, failure, key, open};

/// Enough for all three nodes to have some.
const KEYS: u32 = 30;
const OPTIONS: &str = "|timeout=20000|connect-timeout=5000";

/// The slot of a key, by the server's own word.
fn slot(cluster: &Cluster, number: u32) -> u32 {
    let name = format!("larder:{}", key(number));
    cluster.nodes[0].ask(&["CLUSTER", "KEYSLOT", &name]).trim().parse().unwrap()
}

#[test]
fn a_cluster_is_asked_where_its_keys_are() {
    let Some(mut cluster) = Cluster::start() else { return };
    let tier = open(&format!("{}{OPTIONS}", cluster.url()));
    check_all_calls(&*tier);
    let usage = tier.usage().unwrap();
    assert!(usage.used_bytes.unwrap() > 1_000_000, "three servers together: {usage:?}");

    // Each call is one command, at the node that has the key.
    (0..KEYS).for_each(|number| tier.put(&key(number), &number.to_le_bytes()).unwrap());
    let monitors: Vec<_> = cluster.nodes.iter().map(|node| node.monitor()).collect();
    for number in 0..KEYS {
        assert_eq!(tier.get(&key(number)), Ok(Some(number.to_le_bytes().to_vec())));
    }
    let mut total = 0;
    for (node, monitor) in cluster.nodes.iter().zip(&monitors) {
        let heard = node.heard(monitor);
        assert!(heard.iter().all(|line| command_of(line) == "GET"), "{heard:?}");
        assert!(!heard.is_empty(), "the keys are on all three nodes");
        total += heard.len();
    }
    assert_eq!(total, KEYS as usize);
    drop(monitors);

    check_a_slot_that_moves(&cluster);

    // One node goes: its keys cannot be reached, the others can.
    let slots: Vec<u32> = (0..KEYS).map(|number| slot(&cluster, number)).collect();
    cluster.nodes[2].process = None;
    for number in 0..KEYS {
        if Cluster::owner(slots[number as usize]) == 2 {
            assert_eq!(failure(|| tier.get(&key(number))), TierErrorKind::Unreachable);
        } else {
            assert_eq!(tier.get(&key(number)), Ok(Some(number.to_le_bytes().to_vec())));
        }
    }
    cluster.nodes[2].restart();
    check_a_node_that_stands_still(&cluster);
}

/// The first node that is asked for the list says nothing: another one is asked.
fn check_a_node_that_stands_still(cluster: &Cluster) {
    let tier = open(&format!("{}|timeout=30000|connect-timeout=1500", cluster.url()));
    let number = (0..KEYS).find(|number| Cluster::owner(slot(cluster, *number)) == 1).unwrap();
    cluster.nodes[0].process().pause();
    assert_eq!(tier.get(&key(number)), Ok(Some(number.to_le_bytes().to_vec())));
    cluster.nodes[0].process().go_on();
}

/// A slot without keys that goes from its owner to another node: first ASK, then MOVED.
fn check_a_slot_that_moves(cluster: &Cluster) {
    let tier = open(&format!("{}{OPTIONS}", cluster.url()));
    let number = (100..).find(|number| Cluster::owner(slot(cluster, *number)) == 0).unwrap();
    let slot = slot(cluster, number).to_string();
    assert_eq!(tier.get(&key(number)), Ok(None), "the list is known");
    let (old, new) = (&cluster.nodes[0], &cluster.nodes[1]);
    let set = |node: &super::servers::Redis, what: &str, id: usize| {
        let said = node.ask(&["CLUSTER", "SETSLOT", &slot, what, &Cluster::id(id)]);
        assert_eq!(said.trim(), "OK");
    };
    set(new, "IMPORTING", 0);
    set(old, "MIGRATING", 1);
    let monitor = new.monitor();
    tier.put(&key(number), b"body").unwrap();
    let heard = new.heard(&monitor);
    let names: Vec<_> = heard.iter().map(|line| command_of(line)).collect();
    assert_eq!(names, ["ASKING", "SET"]);
    assert_eq!(tier.get(&key(number)), Ok(Some(b"body".to_vec())));
    set(new, "NODE", 1);
    set(old, "NODE", 1);
    new.heard(&monitor);
    assert_eq!(tier.get(&key(number)), Ok(Some(b"body".to_vec())), "it has moved");
    assert_eq!(tier.get(&key(number)), Ok(Some(b"body".to_vec())), "that is known now");
    let heard = new.heard(&monitor);
    let names: Vec<_> = heard.iter().map(|line| command_of(line)).collect();
    assert_eq!(names, ["CLUSTER", "GET", "GET"]);
}
