//! A cluster of Redis: which node has a key.
//!
//! 1. The first call asks any node for the list of slots; the others find their node in it.
//! 2. A node that does not have the slot says who has (MOVED): the list is asked for again, there,
//!    and the command goes to that node. One that is giving the slot away says whom to ask this
//!    once (ASK).
//! 3. A node that cannot be reached may have been replaced: the list is asked for again, from
//!    another one, and the command goes to the new owner if there is one.
//! 4. A node that does not answer makes us forget the list.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::cluster_routing::Slot;
use redis::{ServerError, ServerErrorKind, Value};

use super::{Command, Deadline, Node, RedisTier, Server, TierError, TierErrorKind, Usage, decimal};

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
    /// By index.
    owners: HashMap<Slot, usize>,
}

impl Slots {
    fn server(&self, slot: Slot) -> Option<Server> {
        let index = self.owners.get(&slot)?;
        Some(Server::Node(self.nodes.get(*index)?.clone()))
    }

    /// Reads the reply to CLUSTER SLOTS: for each range its first and last slot, the owner, copies.
    fn parse(reply: &Value, asked: &Node) -> Option<Slots> {
        let Value::Array(ranges) = reply else { return None };
        let mut slots = Slots { nodes: Vec::new(), owners: HashMap::new() };
        let mut count = 0;
        for range in ranges {
            let Value::Array(parts) = range else { return None };
            let [Value::Int(first), Value::Int(last), Value::Array(owner), ..] = parts.as_slice()
            else {
                return None;
            };
            let node = node(owner, asked)?;
            let known = slots.nodes.iter().position(|known| *known == node);
            let index = known.unwrap_or(slots.nodes.len());
            if known.is_none() {
                slots.nodes.push(node);
            }
            let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
            for number in first..=last {
                count += 1;
                // Ranges that overlap would make a short list long to read.
                if count > SLOT_COUNT {
                    return None;
                }
                slots.owners.insert(Slot::new(number)?, index);
            }
        }
        (!slots.owners.is_empty()).then_some(slots)
    }
}

/// A node as CLUSTER SLOTS has it; no host means that of the node that was asked.
fn node(parts: &[Value], asked: &Node) -> Option<Node> {
    let [host, Value::Int(port), ..] = parts else { return None };
    let host = match host {
        Value::BulkString(host) => String::from_utf8(host.clone()).ok()?,
        Value::SimpleString(host) => host.clone(),
        _ => String::new(),
    };
    let host = if host.is_empty() { asked.host.clone() } else { host };
    Some(Node { host, port: u16::try_from(*port).ok().filter(|port| *port > 0)? })
}

/// Where MOVED or ASK sends us: `3999 HOST:PORT`.
fn redirected(error: &ServerError, asked: &Server) -> Option<Node> {
    let target = error.details()?.split_ascii_whitespace().nth(1)?;
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
    ) -> Result<Value, TierError> {
        let slot = Slot::for_key(key);
        let asking: [&[u8]; 1] = [b"ASKING"];
        let asking = Command::new(&asking);
        let mut server = self.owner(tier, slot, deadline)?;
        let (mut is_asking, mut may_ask_again) = (false, true);
        for _ in 0..HOPS_MAX {
            let both = [&asking, command];
            let commands = if is_asking { &both[..] } else { &both[1..] };
            let reply = tier.exchange(&server, commands, deadline);
            match reply {
                Ok(Value::ServerError(error)) if is_redirect(&error) => {
                    let node = redirected(&error, &server).ok_or_else(|| tier.odd())?;
                    is_asking = error.kind() == Some(ServerErrorKind::Ask);
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

    /// What all nodes that have slots use together.
    pub(super) fn usage(&self, tier: &RedisTier, deadline: Deadline) -> Result<Usage, TierError> {
        let known = self.slots().clone();
        let slots = match known {
            Some(slots) => slots,
            None => self.learn(tier, None, deadline)?,
        };
        let each =
            slots.nodes.iter().map(|node| tier.usage_of(&Server::Node(node.clone()), deadline));
        let each: Vec<Usage> = each.collect::<Result<_, _>>()?;
        Ok(Usage {
            used_bytes: each.iter().map(|usage| usage.used_bytes).sum(),
            bytes_max: each.iter().map(|usage| usage.bytes_max).sum(),
        })
    }

    fn slots(&self) -> MutexGuard<'_, Option<Arc<Slots>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owner(&self, tier: &RedisTier, slot: Slot, deadline: Deadline) -> Result<Server, TierError> {
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

fn is_redirect(error: &ServerError) -> bool {
    matches!(error.kind(), Some(ServerErrorKind::Moved | ServerErrorKind::Ask))
}
