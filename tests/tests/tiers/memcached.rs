//! A tier of memcached: one server, several, and bodies that are larger than an item.

use std::thread;

use larder::tier::{Tier, TierErrorKind};
use larder_engine::Key;

use super::machine::{Machine, Sources};
use super::servers::Memcached;
use super::{PATIENCE, body, check_all_calls, failure, key, open};

/// The time-outs are long where none is meant to be met.
const PATIENT: &str = "|timeout=20000|connect-timeout=10000";
/// What an item holds if nobody says otherwise, with the marker.
const VALUE_BYTES: usize = (1 << 20) - 512;

fn url(servers: &[&Memcached]) -> String {
    let hosts: Vec<String> =
        servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
    format!("memcached://{}", hosts.join(","))
}

fn patient(servers: &[&Memcached]) -> Box<dyn Tier> {
    open(&format!("{}{PATIENT}", url(servers)))
}

fn name(key: &Key) -> String {
    format!("larder:{key}")
}

/// The names of the pieces of a body.
fn pieces(server: &Memcached, key: &Key) -> Vec<String> {
    let head = format!("{}:", name(key));
    let mut pieces: Vec<_> =
        server.keys().into_iter().filter(|name| name.starts_with(&head)).collect();
    pieces.sort_by_key(|piece| piece.rsplit(':').next().unwrap().parse::<u32>().unwrap());
    pieces
}

#[test]
fn every_call_does_what_it_says() {
    let (Some(one), Some(two)) = (Memcached::start(&[]), Memcached::start(&[])) else { return };
    check_all_calls(&*patient(&[&one]));
    check_all_calls(&*patient(&[&two, &one]));
    let local = url(&[&one]).replace("127.0.0.1", "localhost");
    check_all_calls(&*open(&format!("{local}{PATIENT}|prefix=a%7Cb/")));
    check_all_calls(&*open(&format!("{local}{PATIENT}|prefix=")));
    // All but the smallest are split, and nothing of them stays.
    check_all_calls(&*open(&format!("{}{PATIENT}|item-bytes=4Ki", url(&[&one]))));
    let longest = format!("{}{PATIENT}|item-bytes=16Ki|prefix={}", url(&[&one]), "x".repeat(128));
    check_all_calls(&*open(&longest));
    assert_eq!(two.keys(), Vec::<String>::new());
    let left = one.keys();
    // A body that replaced a split one knows nothing of its pieces; these were replaced by others.
    assert!(left.iter().all(|key| key.matches(':').count() >= 2), "{left:?}");
}

#[test]
fn calls_share_one_connection() {
    let Some(server) = Memcached::start(&[]) else { return };
    let tier = open(&format!("{}{PATIENT}|item-bytes=64Ki", url(&[&server])));
    let before = server.stat("total_connections");
    for round in 0..5 {
        tier.put(&key(1), &body(300_000 + round)).unwrap();
        assert!(tier.get(&key(1)).unwrap().unwrap() == body(300_000 + round));
        assert_eq!(tier.get(&key(2)), Ok(None));
        assert_eq!(tier.exists(&key(1)), Ok(true));
        assert_eq!(tier.remove(&key(1)), Ok(true));
        tier.usage().unwrap();
    }
    // The other one is that of the question.
    assert_eq!(server.stat("total_connections"), before + 2);
    thread::scope(|scope| {
        for thread in 0..8 {
            let tier = &tier;
            scope.spawn(move || {
                for round in 0..20 {
                    let key = key(thread * 100 + round);
                    tier.put(&key, format!("{thread} {round}").as_bytes()).unwrap();
                    let body = tier.get(&key).unwrap().unwrap();
                    assert_eq!(body, format!("{thread} {round}").into_bytes());
                }
            });
        }
    });
    assert!(server.stat("total_connections") <= before + 3 + 7);
}

#[test]
fn a_kept_connection_that_was_closed_is_replaced() {
    let Some(mut server) = Memcached::start(&[]) else { return };
    let tier = patient(&[&server]);
    tier.put(&key(1), &body(3_000_000)).unwrap();
    server.restart();
    assert_eq!(tier.get(&key(1)), Ok(None), "a new server has nothing");
    server.restart();
    tier.put(&key(1), &body(3_000_000)).unwrap();
    assert!(tier.get(&key(1)).unwrap().unwrap() == body(3_000_000));
    server.process = None;
    assert_eq!(failure(|| tier.get(&key(1))), TierErrorKind::Unreachable);
    server.restart();
    tier.put(&key(1), b"again").unwrap();
}

#[test]
fn a_put_sets_when_it_expires() {
    let Some(server) = Memcached::start(&[]) else { return };
    let days = 86_400;
    for (seconds, expected) in [
        (1000, 900..=1000),
        (30 * days, 30 * days - 100..=30 * days),
        // Above thirty days a server takes it for a moment.
        (30 * days + 1, 30 * days - 100..=30 * days + 2),
        (400 * days, 400 * days - 100..=400 * days + 2),
    ] {
        let options = format!("{PATIENT}|item-bytes=4Ki|expire={seconds}");
        let tier = open(&format!("{}{options}", url(&[&server])));
        tier.put(&key(1), &body(6000)).unwrap();
        let names = [vec![name(&key(1))], pieces(&server, &key(1))].concat();
        assert_eq!(names.len(), 3);
        for name in names {
            let said = server.ask(&format!("mg {name} t"));
            let left: i64 = said.trim().strip_prefix("HD t").unwrap().parse().unwrap();
            assert!(expected.contains(&left), "{seconds}: {said}");
        }
        assert!(tier.get(&key(1)).unwrap().unwrap() == body(6000));
        assert_eq!(tier.remove(&key(1)), Ok(true));
    }
    for never in ["", "|expire=3000000000"] {
        open(&format!("{}{PATIENT}{never}", url(&[&server]))).put(&key(1), b"body").unwrap();
        assert_eq!(server.ask(&format!("mg {} t", name(&key(1)))).trim(), "HD t-1", "{never}");
    }
}

#[test]
fn keys_have_their_prefix() {
    let Some(server) = Memcached::start(&[]) else { return };
    let tier = patient(&[&server]);
    let team = open(&format!("{}{PATIENT}|prefix=team:", url(&[&server])));
    tier.put(&key(1), b"body").unwrap();
    assert_eq!((team.get(&key(1)), team.exists(&key(1))), (Ok(None), Ok(false)));
    team.put(&key(1), b"other").unwrap();
    assert_eq!(server.keys(), [name(&key(1)), format!("team:{}", key(1))]);
    assert_eq!(tier.get(&key(1)), Ok(Some(b"body".to_vec())));
}

#[test]
fn bodies_over_the_item_limit_are_split() {
    let large_items = ["-I", "16m", "-m", "256"];
    let servers = (Memcached::start(&[]), Memcached::start(&large_items));
    let (Some(usual), Some(large)) = servers else { return };
    for (server, limit) in [(&usual, 1 << 20), (&large, 1 << 20), (&large, 16 << 20)] {
        let tier = open(&format!("{}{PATIENT}|item-bytes={limit}", url(&[server])));
        let value_bytes = limit - 512;
        for (bytes, expected) in [
            (value_bytes - 4, 0),
            (value_bytes - 3, 1),
            (value_bytes + 1, 2),
            (3 * value_bytes, 3),
            // Several batches.
            (40 << 20, (40_usize << 20).div_ceil(value_bytes)),
        ] {
            let body = body(bytes);
            tier.put(&key(1), &body).unwrap();
            assert!(tier.get(&key(1)).unwrap().unwrap() == body, "{bytes} bytes by {limit}");
            assert_eq!(tier.exists(&key(1)), Ok(true));
            assert_eq!(pieces(server, &key(1)).len(), expected, "{bytes} bytes by {limit}");
            assert_eq!(tier.remove(&key(1)), Ok(true));
            assert_eq!(server.keys(), Vec::<String>::new());
        }
    }
    let wide = open(&format!("{}{PATIENT}|item-bytes=16Mi", url(&[&usual])));
    wide.put(&key(1), b"before").unwrap();
    let before = usual.stat("total_connections");
    for bytes in [2 << 20, 20 << 20] {
        assert_eq!(failure(|| wide.put(&key(1), &body(bytes))), TierErrorKind::TooLarge);
    }
    let error = wide.put(&key(1), &body(2 << 20)).unwrap_err();
    assert!(error.to_string().contains("item-bytes= is above its limit (-I)"), "{error}");
    assert_eq!(wide.get(&key(2)), Ok(None));
    assert_eq!(usual.stat("total_connections"), before + 1, "the connection is still of use");
    // Whoever reads needs no such setting.
    wide.put(&key(3), &body(500_000)).unwrap();
    patient(&[&large]).put(&key(3), &body(5 << 20)).unwrap();
    let narrow = |server: &Memcached| open(&format!("{}{PATIENT}|item-bytes=4Ki", url(&[server])));
    assert!(narrow(&usual).get(&key(3)).unwrap().unwrap() == body(500_000));
    assert!(narrow(&large).get(&key(3)).unwrap().unwrap() == body(5 << 20));
}

#[test]
fn a_lost_piece_is_a_miss() {
    let Some(server) = Memcached::start(&[]) else { return };
    let tier = patient(&[&server]);
    let whole = body(3 * VALUE_BYTES + 7);
    tier.put(&key(1), &whole).unwrap();
    let pieces = pieces(&server, &key(1));
    assert_eq!(pieces.len(), 4);
    let before = server.stat("total_connections");
    let mut questions = 1;
    let mut ask = |text: &str| {
        questions += 1;
        server.ask(text).trim().to_owned()
    };
    for piece in &pieces {
        assert_eq!(ask(&format!("md {piece}")), "HD");
        assert_eq!((tier.get(&key(1)), tier.exists(&key(1))), (Ok(None), Ok(false)), "{piece}");
        tier.put(&key(1), &whole).unwrap();
        assert!(tier.get(&key(1)).unwrap().unwrap() == whole);
    }
    // One of another length, and one of the same with other bytes.
    for other in ["", "1234567890", "1234567"] {
        let set = format!("ms {} {}\r\n{other}", pieces[3], other.len());
        assert_eq!(ask(&set), "HD");
        assert_eq!(tier.get(&key(1)), Ok(None), "{other}");
    }
    tier.put(&key(1), &whole).unwrap();
    // What larder has not stored, or what is a head of nonsense.
    let number = |n: u64| String::from_utf8_lossy(&n.to_le_bytes()).into_owned();
    let head = |length, piece| format!("LDH1{}{}{}", number(length), number(piece), "i".repeat(32));
    for other in [
        String::new(),
        "LDW".to_owned(),
        "LDH1".to_owned(),
        "LDX1body".to_owned(),
        "x".repeat(100_000),
        head(100, 0),
        head(0, 7),
        head(100, 1),
        head(70_000, 1),
        format!("{}x", head(100, 7)),
    ] {
        assert_eq!(ask(&format!("ms {} {}\r\n{other}", name(&key(1)), other.len())), "HD");
        assert_eq!(tier.get(&key(1)), Ok(None), "{other:.30}");
    }
    tier.put(&key(1), &whole).unwrap();
    assert!(tier.get(&key(1)).unwrap().unwrap() == whole);
    assert_eq!(server.stat("total_connections"), before + questions, "no connection was lost");
}

#[test]
fn pieces_of_two_bodies_never_mix() {
    let Some(server) = Memcached::start(&[]) else { return };
    let tier = patient(&[&server]);
    let narrow = open(&format!("{}{PATIENT}|item-bytes=512Ki", url(&[&server])));
    let (first, mut second) = (body(2_500_000), body(2_500_000));
    second[2_000_000] ^= 1;
    for (writer, body) in [(&tier, &first), (&tier, &second), (&narrow, &first), (&tier, &first)] {
        writer.put(&key(1), body).unwrap();
        assert!(&tier.get(&key(1)).unwrap().unwrap() == body);
    }
    assert_eq!(pieces(&server, &key(1)).len(), 3 + 3 + 5, "each has its own");
    assert_eq!(tier.remove(&key(1)), Ok(true));
    assert_eq!(pieces(&server, &key(1)).len(), 3 + 5);
}

#[test]
fn limits_hold_both_ways() {
    let Some(server) = Memcached::start(&[]) else { return };
    let (large, small) =
        (patient(&[&server]), open(&format!("{}{PATIENT}|max-bytes=1000", url(&[&server]))));
    for bytes in [1001, 500_000, 3_000_000] {
        large.put(&key(1), &body(bytes)).unwrap();
        assert_eq!(failure(|| small.get(&key(1))), TierErrorKind::TooLarge, "{bytes}");
    }
    small.put(&key(2), &body(1000)).unwrap();
    assert_eq!(failure(|| small.put(&key(2), &body(1001))), TierErrorKind::TooLarge);
    assert!(small.get(&key(2)).unwrap().unwrap() == body(1000), "the next call is not harmed");
}

#[test]
fn a_full_server_says_so_and_tells_how_full() {
    let servers = (Memcached::start(&["-M", "-m", "16"]), Memcached::start(&["-m", "32"]));
    let (Some(full), Some(other)) = servers else { return };
    let tier = patient(&[&full]);
    let usage = tier.usage().unwrap();
    assert_eq!(usage.bytes_max, Some(16 << 20));
    tier.put(&key(1), b"first").unwrap();
    let error = (2..100).find_map(|number| tier.put(&key(number), &body(500_000)).err()).unwrap();
    assert_eq!(error.kind(), TierErrorKind::Full, "{error}");
    assert!(!error.is_of_the_tier());
    assert_eq!(tier.get(&key(1)), Ok(Some(b"first".to_vec())), "reading goes on");
    let used = tier.usage().unwrap().used_bytes.unwrap();
    assert!(used > 2_000_000, "{used}");
    let both = patient(&[&full, &other]).usage().unwrap();
    assert_eq!((both.bytes_max, both.used_bytes), (Some(48 << 20), Some(used)));
}

#[test]
fn under_memory_pressure_nothing_wrong_is_read() {
    let Some(server) = Memcached::start(&["-m", "16"]) else { return };
    let options = [("1Mi", 900_000), ("64Ki", 400_000)];
    let mut hits = 0;
    for (round, (item_bytes, most)) in options.into_iter().enumerate() {
        let key = |n: usize| key((round * 1000 + n) as u32);
        let tier = open(&format!("{}{PATIENT}|item-bytes={item_bytes}", url(&[&server])));
        let body_of = |n: usize| {
            let mut body = body(1 + n * 77_777 % most);
            body[0] = n as u8;
            body
        };
        for n in 0..120 {
            // Other sizes of items may have all the room for a while.
            if let Err(error) = tier.put(&key(n), &body_of(n)) {
                assert_eq!(error.kind(), TierErrorKind::Full, "{error}");
            }
            for n in n.saturating_sub(10)..=n {
                if let Some(body) = tier.get(&key(n)).unwrap() {
                    assert!(body == body_of(n), "{n} is another");
                    hits += 1;
                }
            }
        }
    }
    assert!(hits > 200, "{hits}");
    assert!(server.stat("evictions") > 20);
}

/// Keys of each of two servers.
fn keys_of(servers: [&Memcached; 2], tier: &dyn Tier) -> [Vec<Key>; 2] {
    (0..40).for_each(|n| tier.put(&key(n), &n.to_le_bytes()).unwrap());
    let keys = servers.map(|server| {
        let names = server.keys();
        (0..40).map(key).filter(|key| names.contains(&name(key))).collect::<Vec<_>>()
    });
    assert!(keys.iter().all(|keys| keys.len() > 4), "{keys:?}");
    assert_eq!(keys[0].len() + keys[1].len(), 40);
    keys
}

#[test]
fn a_server_that_is_gone_does_not_take_the_other_with_it() {
    let (Some(mut one), Some(mut two)) = (Memcached::start(&[]), Memcached::start(&[])) else {
        return;
    };
    let tier = patient(&[&one, &two]);
    let [first, second] = keys_of([&one, &two], &*tier);
    one.process = None;
    let error = tier.get(&first[0]).unwrap_err();
    assert_eq!(error.kind(), TierErrorKind::PartUnreachable);
    assert!(!error.is_of_the_tier(), "the other one is well");
    assert!(error.to_string().contains(&format!("127.0.0.1:{}: ", one.port)), "{error}");
    assert!(first.iter().all(|key| tier.get(key) == Ok(None)));
    assert!(first.iter().all(|key| tier.exists(key) == Ok(false)));
    assert_eq!(failure(|| tier.put(&first[0], b"x")), TierErrorKind::PartUnreachable);
    assert_eq!(failure(|| tier.remove(&first[0])), TierErrorKind::PartUnreachable);
    assert!(second.iter().all(|key| tier.get(key).unwrap().is_some()));
    assert_eq!(tier.usage().unwrap().bytes_max, Some(64 << 20));
    // It comes back, but is left alone for a while.
    one.restart();
    assert_eq!(tier.get(&first[0]), Ok(None));
    assert_eq!(one.stat("cmd_get"), 0);
    assert_eq!(patient(&[&two, &one]).get(&second[0]).unwrap().unwrap().len(), 4, "any order");

    two.process = None;
    assert_eq!(failure(|| tier.get(&second[0])), TierErrorKind::Unreachable, "no other is well");
    // Nobody is left alone then.
    tier.put(&first[0], b"again").unwrap();
    assert_eq!(tier.get(&second[0]), Ok(None));
    assert_eq!(tier.get(&first[0]), Ok(Some(b"again".to_vec())));
    one.process = None;
    assert_eq!(failure(|| tier.get(&first[0])), TierErrorKind::Unreachable);
    assert_eq!(failure(|| tier.put(&second[0], b"x")), TierErrorKind::Unreachable);
    assert_eq!(failure(|| tier.usage()), TierErrorKind::Unreachable);
}

#[test]
fn a_server_that_stands_still_holds_one_call_up() {
    let (Some(one), Some(two)) = (Memcached::start(&[]), Memcached::start(&[])) else { return };
    let [first, second] = keys_of([&one, &two], &*patient(&[&one, &two]));
    let tier = open(&format!("{}|timeout=1000", url(&[&one, &two])));
    one.process().pause();
    assert_eq!(failure(|| tier.get(&first[0])), TierErrorKind::PartUnreachable);
    let begun = std::time::Instant::now();
    for _ in 0..10 {
        assert!(first.iter().all(|key| tier.get(key) == Ok(None)));
        assert_eq!(failure(|| tier.put(&first[0], b"x")), TierErrorKind::PartUnreachable);
    }
    // Any one of them would have taken its second.
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    let patient = patient(&[&two]);
    assert!(second.iter().all(|key| patient.get(key).unwrap().is_some()));
    two.process().pause();
    assert_eq!(failure(|| tier.get(&second[0])), TierErrorKind::TimedOut, "no other is well");
    assert_eq!(failure(|| tier.put(&first[0], &body(30_000_000))), TierErrorKind::TimedOut);
    one.process().go_on();
    two.process().go_on();
    assert!(patient.get(&second[0]).unwrap().is_some());
}

#[test]
fn machines_share_results_while_one_of_two_servers_is_there() {
    let servers = (Memcached::start(&["-I", "16m"]), Memcached::start(&["-I", "16m"]));
    let (Some(mut one), Some(two)) = servers else { return };
    // Every result is several items.
    let tier = format!("{}{PATIENT}|item-bytes=4Ki", url(&[&one, &two]));
    let sources = Sources::new();
    let units = ["a", "b", "c"];
    let digits: String = (0..400).map(|n| key(n).to_string()).collect();
    sources.write("c.c", &format!("const char text[] = \"{digits}\";\n"));
    let machine = Machine::new(&tier);
    let made: Vec<_> = units.iter().map(|unit| machine.compile(&sources, unit)).collect();
    assert!(made.iter().all(|left| left.status == Some(0) && left.object.is_some()), "{made:?}");
    machine.flush();
    assert_eq!((machine.of_tier(0, "writes"), machine.of_tier(0, "write_failures")), (6, 0));
    let names = [one.keys(), two.keys()].concat();
    assert!(names.iter().any(|name| name.ends_with(":1")), "{names:?}");

    let other = Machine::new(&tier);
    for (unit, expected) in units.iter().zip(&made) {
        assert_eq!(&other.compile(&sources, unit), expected, "{}", other.log());
    }
    assert_eq!(other.counts(), (3, 0), "{}", other.log());
    assert_eq!((other.of_tier(0, "hits"), other.of_tier(0, "damaged")), (6, 0));
    assert!(other.of_tier(0, "bytes_max") == 128 << 20 && other.of_tier(0, "used_bytes") > 0);

    // Whatever was on the server that is gone is compiled, and the tier is never in trouble.
    one.process = None;
    let last = Machine::new(&tier);
    for (unit, expected) in units.iter().zip(&made) {
        assert_eq!(&last.compile(&sources, unit), expected, "{}", last.log());
    }
    let (hits, misses) = last.counts();
    assert_eq!(hits + misses, 3);
    assert_eq!(last.of_tier(0, "skipped"), 0, "{}", last.log());
    let flushed = last.larder(&["agent", "flush"]);
    assert!(flushed.status.success(), "what cannot be stored is not waited for: {flushed:?}");
}
