//! A cluster of Redis: which node has a key.
//!
//! 1. The first call asks any node for the list of slots; the others find their node in it.
//! 2. A node that does not have the slot says who has (MOVED): the list is asked for again, there,
//!    and the command goes to that node. One that is giving the slot away says whom to ask this
//!    once (ASK).
//! 3. A node that cannot be reached may have been replaced: the list is asked for again, from
//!    another one, and the command goes to the new owner if there is one.
//! 4. A node that does not answer makes us forget the list.

use std::sync::{Arc, Mutex, MutexGuard};

use super::wire::Reply;
use super::{Command, Deadline, Node, RedisTier, Server, TierError, TierErrorKind, Usage, decimal};
use crate::lock::lock;

/// Nodes that one command is sent to, one after the other.
const HOPS_MAX: usize = 5;
/// Slots of a cluster; the protocol fixes it.
const SLOT_COUNT: usize = 16_384;

/// What is known of a cluster.
pub(super) struct Cluster {
    seeds: Vec<Node>,
    slots: Mutex<Option<Arc<Slots>>>,
}

/// Which node has which slot.
struct Slots {
    nodes: Vec<Node>,
    /// For each slot the index of its node.
    owners: Vec<Option<usize>>,
}

/// The slot of a key: CRC-16 (that of XMODEM) of what stands in its first braces, if anything does,
/// else of the whole.
fn slot_of(key: &str) -> usize {
    let in_braces = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    let counted = in_braces.map(|(tag, _)| tag).filter(|tag| !tag.is_empty()).unwrap_or(key);
    let crc = counted.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    });
    usize::from(crc) % SLOT_COUNT
}

impl Slots {
    fn server(&self, slot: usize) -> Option<Server> {
        let index = (*self.owners.get(slot)?)?;
        Some(Server::Node(self.nodes.get(index)?.clone()))
    }

    /// Reads the reply to CLUSTER SLOTS: for each range its first and last slot, the owner, copies.
    fn parse(reply: &Reply, asked: &Node) -> Option<Slots> {
        let Reply::List(ranges) = reply else { return None };
        let mut slots = Slots { nodes: Vec::new(), owners: vec![None; SLOT_COUNT] };
        let mut count = 0;
        for range in ranges {
            let Reply::List(parts) = range else { return None };
            let [Reply::Number(first), Reply::Number(last), Reply::List(owner), ..] =
                parts.as_slice()
            else {
                return None;
            };
            let node = node(owner, asked)?;
            let known = slots.nodes.iter().position(|known| *known == node);
            let index = known.unwrap_or(slots.nodes.len());
            if known.is_none() {
                slots.nodes.push(node);
            }
            let (first, last) = (usize::try_from(*first).ok()?, usize::try_from(*last).ok()?);
            let owners = slots.owners.get_mut(first..last.checked_add(1)?)?;
            count += owners.len();
            owners.fill(Some(index));
            // Ranges that overlap would make a short list long to read.
            if count > SLOT_COUNT {
                return None;
            }
        }
        (count > 0).then_some(slots)
    }
}

/// A node as CLUSTER SLOTS has it; no host means that of the node that was asked.
fn node(parts: &[Reply], asked: &Node) -> Option<Node> {
    let [host, Reply::Number(port), ..] = parts else { return None };
    let host = match host {
        Reply::Text(host) => String::from_utf8(host.clone()).ok()?,
        Reply::Status(host) => host.clone(),
        _ => String::new(),
    };
    let host = if host.is_empty() { asked.host.clone() } else { host };
    Some(Node { host, port: u16::try_from(*port).ok().filter(|port| *port > 0)? })
}

/// Where MOVED or ASK sends us: `MOVED 3999 HOST:PORT`.
fn redirected(error: &str, asked: &Server) -> Option<Node> {
    let target = error.split(' ').nth(2)?;
    let (host, port) = target.rsplit_once(':')?;
    let port = decimal(port).filter(|port| *port > 0)?;
    let host = match (host, asked) {
        ("", Server::Node(asked)) => asked.host.clone(),
        _ => host.trim_matches(['[', ']']).to_owned(),
    };
    Some(Node { host, port })
}

impl Cluster {
    pub(super) fn new(seeds: &[Node]) -> Cluster {
        Cluster { seeds: seeds.to_vec(), slots: Mutex::default() }
    }

    /// Sends a command to the node that has the key, wherever that leads.
    pub(super) fn exchange(
        &self,
        tier: &RedisTier,
        key: &str,
        command: &Command<'_>,
        deadline: Deadline,
    ) -> Result<Reply, TierError> {
        let slot = slot_of(key);
        let asking: [&[u8]; 1] = [b"ASKING"];
        let asking = Command::new(&asking);
        let mut server = self.owner(tier, slot, deadline)?;
        let (mut is_asking, mut may_ask_again) = (false, true);
        for _ in 0..HOPS_MAX {
            let both = [&asking, command];
            let commands = if is_asking { &both[..] } else { &both[1..] };
            let reply = tier.exchange(&server, commands, deadline);
            match reply {
                Ok(Reply::Error(error)) if is_redirect(&error) => {
                    let node = redirected(&error, &server).ok_or_else(|| tier.odd())?;
                    is_asking = error.starts_with("ASK ");
                    if !is_asking {
                        // Even without the new list the command can go where it was sent.
                        let _ = self.learn_from(tier, &node, deadline);
                    }
                    server = Server::Node(node);
                }
                Err(error) if error.kind() == TierErrorKind::Unreachable && may_ask_again => {
                    (may_ask_again, is_asking) = (false, false);
                    let slots = self.learn(tier, Some(&server), deadline);
                    match slots.ok().and_then(|slots| slots.server(slot)) {
                        Some(other) if other != server => server = other,
                        _ => return Err(error),
                    }
                }
                Err(error) if error.kind() == TierErrorKind::TimedOut => {
                    *self.slots() = None;
                    return Err(error);
                }
                reply => return reply,
            }
        }
        Err(tier.error(TierErrorKind::Protocol, "the nodes send a command round and round"))
    }

    /// All nodes that have slots.
    pub(super) fn servers(
        &self,
        tier: &RedisTier,
        deadline: Deadline,
    ) -> Result<Vec<Server>, TierError> {
        let known = self.slots().clone();
        let slots = match known {
            Some(slots) => slots,
            None => self.learn(tier, None, deadline)?,
        };
        Ok(slots.nodes.iter().cloned().map(Server::Node).collect())
    }

    /// What all nodes that have slots use together.
    pub(super) fn usage(&self, tier: &RedisTier, deadline: Deadline) -> Result<Usage, TierError> {
        let servers = self.servers(tier, deadline)?;
        let each = servers.iter().map(|server| tier.usage_of(server, deadline));
        let each: Vec<Usage> = each.collect::<Result<_, _>>()?;
        Ok(Usage {
            used_bytes: each.iter().map(|usage| usage.used_bytes).sum(),
            bytes_max: each.iter().map(|usage| usage.bytes_max).sum(),
        })
    }

    fn slots(&self) -> MutexGuard<'_, Option<Arc<Slots>>> {
        lock(&self.slots)
    }

    fn owner(
        &self,
        tier: &RedisTier,
        slot: usize,
        deadline: Deadline,
    ) -> Result<Server, TierError> {
        let known = self.slots().clone();
        let slots = match known {
            Some(slots) => slots,
            None => self.learn(tier, None, deadline)?,
        };
        slots.server(slot).ok_or_else(|| {
            *self.slots() = None;
            tier.error(TierErrorKind::Unreachable, "no node of the cluster has this slot")
        })
    }

    /// Asks one node after the other for the list, but for the one that has just failed.
    fn learn(
        &self,
        tier: &RedisTier,
        failed: Option<&Server>,
        deadline: Deadline,
    ) -> Result<Arc<Slots>, TierError> {
        let known = self.slots().take();
        let known = known.iter().flat_map(|slots| &slots.nodes);
        let mut nodes: Vec<&Node> = Vec::new();
        for node in known.chain(&self.seeds) {
            let has_failed = matches!(failed, Some(Server::Node(failed)) if failed == node);
            if !has_failed && !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        let mut last = tier.error(TierErrorKind::Unreachable, "no node of the cluster answers");
        for node in nodes {
            // One that is silent must leave time for the others.
            match self.learn_from(tier, node, deadline.or_after(tier.connect_timeout)) {
                Ok(slots) => return Ok(slots),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn learn_from(
        &self,
        tier: &RedisTier,
        node: &Node,
        deadline: Deadline,
    ) -> Result<Arc<Slots>, TierError> {
        let server = Server::Node(node.clone());
        let command = Command::new(&[b"CLUSTER", b"SLOTS"]);
        let reply = tier.refuse_errors(tier.exchange(&server, &[&command], deadline)?)?;
        let slots = Slots::parse(&reply, node).ok_or_else(|| {
            tier.error(TierErrorKind::Protocol, "the list of slots makes no sense")
        })?;
        let slots = Arc::new(slots);
        *self.slots() = Some(Arc::clone(&slots));
        Ok(slots)
    }
}

fn is_redirect(error: &str) -> bool {
    error.starts_with("MOVED ") || error.starts_with("ASK ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Node {
        Node { host: "asked".to_owned(), port: 1 }
    }

    fn range(first: i64, last: i64, host: &str, port: i64) -> Reply {
        let node = vec![Reply::Text(host.into()), Reply::Number(port), Reply::Nil];
        Reply::List(vec![Reply::Number(first), Reply::Number(last), Reply::List(node)])
    }

    #[test]
    fn slots_are_those_of_the_servers() {
        // The first is the check value of this CRC, the others are told by CLUSTER KEYSLOT.
        assert_eq!(slot_of("123456789"), 0x31c3);
        assert_eq!(slot_of("foo"), 12_182);
        assert_eq!(slot_of(""), 0);
        assert_eq!(slot_of("{user1000}.following"), slot_of("user1000"));
        assert_eq!(slot_of("a{user1000}{b}"), slot_of("user1000"));
        assert_ne!(slot_of("{}a"), slot_of("{}b"), "empty braces count as any characters");
    }

    #[test]
    fn a_list_of_slots_has_owners_for_ranges() {
        let list = [range(0, 5, "a", 7), range(6, 16_383, "", 8), range(6, 6, "a", 7)];
        let slots = Slots::parse(&Reply::List(list[..2].to_vec()), &asked()).unwrap();
        let server = |slot| match slots.server(slot) {
            Some(Server::Node(node)) => Some(node.display()),
            _ => None,
        };
        assert_eq!(server(5).as_deref(), Some("a:7"));
        assert_eq!(server(6).as_deref(), Some("asked:8"), "no host is the one that was asked");
        assert_eq!(server(16_384), None);
        let wrong = [
            Reply::Nil,
            Reply::List(Vec::new()),
            Reply::List(list.to_vec()),
            Reply::List(vec![range(6, 5, "a", 7)]),
            Reply::List(vec![range(0, 16_384, "a", 7)]),
            Reply::List(vec![range(-1, 5, "a", 7)]),
            Reply::List(vec![range(0, i64::MAX, "a", 7)]),
            Reply::List(vec![range(0, 5, "a", 0)]),
            Reply::List(vec![range(0, 5, "a", 65_536)]),
            Reply::List(vec![Reply::List(vec![Reply::Number(1)])]),
        ];
        for list in wrong {
            assert!(Slots::parse(&list, &asked()).is_none(), "{list:?}");
        }
    }

    #[test]
    fn a_redirect_names_a_node() {
        let node = |error: &str| Some(redirected(error, &Server::Node(asked()))?.display());
        assert_eq!(node("MOVED 3999 h:7").as_deref(), Some("h:7"));
        assert_eq!(node("ASK 3999 [::1]:7").as_deref(), Some("[::1]:7"));
        assert_eq!(node("ASK 3999 ::1:7").as_deref(), Some("[::1]:7"));
        assert_eq!(node("MOVED 3999 :7").as_deref(), Some("asked:7"));
        for error in ["MOVED", "MOVED 1", "MOVED 1 h", "MOVED 1 h:0", "MOVED 1 h:x"] {
            assert_eq!(node(error), None, "{error}");
        }
    }
}
