//! Servers that misbehave: they say nothing, or a byte now and then, or end in the middle, or talk
//! of what they do not have. Every call ends in time, and with an error that says so.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use larder::tier::{Tier, TierErrorKind};

use super::{failure, key, open};

/// What the server does once it has heard something.
#[derive(Clone)]
enum Manner {
    /// Says nothing.
    Silent,
    /// Says this, then nothing.
    Stop(Vec<u8>),
    /// Says this, a byte at a time, and then the last byte for ever.
    Drip(Vec<u8>),
    /// Says this and closes.
    Cut(Vec<u8>),
    /// Says this, then the same again and again.
    Flood(Vec<u8>),
}

impl Manner {
    /// How a failed assertion calls it.
    fn shown(&self) -> String {
        match self {
            Manner::Silent => "nothing".to_owned(),
            Manner::Stop(text) | Manner::Drip(text) | Manner::Cut(text) | Manner::Flood(text) => {
                String::from_utf8_lossy(&text[..text.len().min(80)]).into_owned()
            }
        }
    }
}

/// Such a server; its threads end with it.
struct Hostile {
    port: u16,
    connections: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Hostile {
    fn start(manner: Manner) -> Hostile {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, is_over) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, over) = (Arc::clone(&connections), Arc::clone(&is_over));
        let accepting = thread::spawn(move || {
            let mut serving = Vec::new();
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                count.fetch_add(1, Ordering::SeqCst);
                let (manner, over) = (manner.clone(), Arc::clone(&over));
                serving.push(thread::spawn(move || {
                    // The client may go at any time.
                    let _ = serve(stream, &manner, &over);
                }));
            }
            serving.into_iter().for_each(|thread| thread.join().unwrap());
        });
        Hostile { port, connections, is_over, accepting: Some(accepting) }
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.accepting.take().unwrap().join();
    }
}

fn serve(mut stream: TcpStream, manner: &Manner, is_over: &AtomicBool) -> std::io::Result<()> {
    let pause = Duration::from_millis(10);
    let rest = || {
        while !is_over.load(Ordering::SeqCst) {
            thread::sleep(pause);
        }
    };
    if let Manner::Silent = manner {
        rest();
        return Ok(());
    }
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut heard = [0; 65_536];
    if stream.read(&mut heard)? == 0 {
        return Ok(());
    }
    match manner {
        Manner::Silent => {}
        Manner::Stop(text) => {
            stream.write_all(text)?;
            rest();
        }
        Manner::Drip(text) => {
            let mut rest = text.iter().copied().chain(std::iter::repeat(text[text.len() - 1]));
            while !is_over.load(Ordering::SeqCst) {
                stream.write_all(&[rest.next().unwrap()])?;
                thread::sleep(pause);
            }
        }
        Manner::Cut(text) => {
            stream.write_all(text)?;
            stream.shutdown(Shutdown::Both)?;
        }
        Manner::Flood(text) => {
            while !is_over.load(Ordering::SeqCst) {
                stream.write_all(text)?;
            }
        }
    }
    Ok(())
}

fn kinds(tier: &dyn Tier) -> [TierErrorKind; 4] {
    [
        failure(|| tier.get(&key(1))),
        failure(|| tier.exists(&key(1))),
        failure(|| tier.put(&key(1), b"body")),
        failure(|| tier.remove(&key(1))),
    ]
}

#[test]
fn no_manner_of_a_redis_server_holds_a_call_up() {
    use TierErrorKind::{Protocol, TimedOut};
    let text = |text: &str| text.as_bytes().to_vec();
    let value = |claimed: &str, bytes: usize| [text(claimed), vec![b'x'; bytes]].concat();
    let nested = "*1\r\n".repeat(200_000);
    // What GET meets; the other calls fail as well, in one way or another.
    let cases = [
        (Manner::Silent, TimedOut),
        (Manner::Stop(text("$")), TimedOut),
        (Manner::Stop(value("$100000\r\n", 50_000)), TimedOut),
        (Manner::Stop(text("*3\r\n$1\r\n")), TimedOut),
        (Manner::Drip(text("$100000\r\nx")), TimedOut),
        (Manner::Drip(text("+x")), TimedOut),
        (Manner::Cut(value("$100000\r\n", 50_000)), Protocol),
        (Manner::Cut(text("$5\r\nabcde")), Protocol),
        (Manner::Cut(text("$5\r\nabcdeXY")), Protocol),
        (Manner::Cut(text("$4\r\nabcde\r\n")), Protocol),
        (Manner::Cut(text("$-2\r\n")), Protocol),
        (Manner::Cut(text("$+5\r\nabcde\r\n")), Protocol),
        (Manner::Cut(text("$99999999999999999999999\r\n")), Protocol),
        (Manner::Cut(text("$00000000000000000000000000000000000000001\r\n")), Protocol),
        (Manner::Cut(text("HTTP/1.1 400 Bad Request\r\n\r\n")), Protocol),
        (Manner::Cut(text("*999999999999\r\n")), Protocol),
        (Manner::Cut(text("*9223372036854775807\r\n+a\r\n")), Protocol),
        (Manner::Cut(text("%9223372036854775807\r\n+a\r\n")), Protocol),
        (Manner::Cut(text("%4611686018427387903\r\n")), Protocol),
        (Manner::Cut(text(&nested)), Protocol),
        (Manner::Cut(text(":12\r\n")), Protocol),
        (Manner::Cut(text("*0\r\n")), Protocol),
        (Manner::Flood(value("+", 60_000)), Protocol),
        (Manner::Flood(text("*1000000\r\n+a\r\n+a\r\n")), Protocol),
    ];
    for (manner, expected) in cases {
        let server = Hostile::start(manner.clone());
        let tier = open(&format!("redis://127.0.0.1:{}|timeout=150", server.port));
        let shown = manner.shown();
        let kind = failure(|| tier.get(&key(1)));
        // On a busy machine the time may be over before the nonsense is read.
        assert!(kind == expected || kind == TimedOut, "{shown}: {kind:?}");
        assert!(failure(|| tier.put(&key(1), b"body")).is_of_the_tier(), "{shown}");
    }
}

#[test]
fn no_manner_of_a_memcached_server_holds_a_call_up() {
    use TierErrorKind::{Protocol, TimedOut, TooLarge, Unreachable};
    let text = |text: &str| text.as_bytes().to_vec();
    let value = |claimed: &str, bytes: usize| [text(claimed), vec![b'x'; bytes]].concat();
    let head = |length: u64, piece: u64| {
        let numbers = [length.to_le_bytes(), piece.to_le_bytes()].concat();
        [&b"VA 52\r\nLDH1"[..], &numbers, &[7; 32], b"\r\n"].concat()
    };
    // What GET meets; the other calls fail as well, in one way or another.
    let cases = [
        (Manner::Silent, TimedOut),
        (Manner::Stop(text("V")), TimedOut),
        (Manner::Stop(value("VA 100000\r\nLDW1", 50_000)), TimedOut),
        (Manner::Stop(value("VA 100000\r\n", 50_000)), TimedOut),
        (Manner::Stop(head(100, 10)), TimedOut),
        (Manner::Stop(head(100 << 20, 10_000)), TimedOut),
        (Manner::Drip(text("VA 100000\r\nLDW1x")), TimedOut),
        (Manner::Drip(text("HD x")), TimedOut),
        (Manner::Cut(Vec::new()), Unreachable),
        (Manner::Cut(text("VA 100000")), Protocol),
        (Manner::Cut(value("VA 100000\r\nLDW1", 50_000)), Protocol),
        (Manner::Cut(value("VA 100000\r\n", 50_000)), Protocol),
        (Manner::Cut(text("VA 9\r\nLDW1abcde")), Protocol),
        (Manner::Cut(text("VA 9\r\nLDW1abcdeXY")), Protocol),
        (Manner::Cut(text("VA 8\r\nLDW1abcde\r\n")), Protocol),
        (Manner::Cut(text("VA 9\r\nLDW1abcde\r\nEN\r\n")), Protocol),
        (Manner::Cut(text("VA -9\r\nLDW1abcde\r\n")), Protocol),
        (Manner::Cut(text("VA +9\r\nLDW1abcde\r\n")), Protocol),
        (Manner::Cut(text("VA\r\n")), Protocol),
        (Manner::Cut(text("VA 99999999999999999999999\r\n")), Protocol),
        (Manner::Cut(text("HD\r\n")), Protocol),
        (Manner::Cut(text("EN\r\nEN\r\n")), Protocol),
        (Manner::Cut(text("ERROR\r\n")), Protocol),
        (Manner::Cut(text("$5\r\nabcde\r\n")), Protocol),
        (Manner::Cut(text("HTTP/1.1 400 Bad Request\r\n\r\n")), Protocol),
        (Manner::Cut(text("VA 18446744073709551615\r\nLDW1")), TooLarge),
        (Manner::Cut(text("VA 18446744073709551615\r\nxxxx")), TooLarge),
        (Manner::Cut(head(u64::MAX, u64::MAX - 1)), TooLarge),
        (Manner::Cut(head(100, 10)), Unreachable),
        (Manner::Flood(head(100, 10)), Protocol),
        (Manner::Flood(value("HD ", 60_000)), Protocol),
        (Manner::Flood(value("VA 400000000\r\n", 60_000)), Protocol),
    ];
    for (manner, expected) in cases {
        let server = Hostile::start(manner.clone());
        let tier = open(&format!("memcached://127.0.0.1:{}|timeout=150", server.port));
        let shown = manner.shown();
        let kind = failure(|| tier.get(&key(1)));
        assert!(kind == expected || kind == TimedOut, "{shown}: {kind:?}");
        // Some of these are an answer to the others.
        let rest = [tier.put(&key(1), b"body").err(), tier.usage().err()];
        assert!(rest.iter().flatten().all(|error| error.is_of_the_tier()), "{shown}: {rest:?}");
    }
    let server = Hostile::start(Manner::Cut(text("CLIENT_ERROR unauthenticated\r\n")));
    let tier = open(&format!("memcached://127.0.0.1:{}|timeout=5000", server.port));
    assert_eq!(failure(|| tier.get(&key(1))), TierErrorKind::Denied, "it wants a password");
    for said in ["SERVER_ERROR hunter2\r\n", "CLIENT_ERROR hunter2\r\n", "hunter2 hunter2\r\n"] {
        let server = Hostile::start(Manner::Cut(text(said)));
        let tier = open(&format!("memcached://127.0.0.1:{}|timeout=5000", server.port));
        assert!(failure(|| tier.get(&key(1))).is_of_the_tier(), "{said}");
    }
}

#[test]
fn no_manner_of_a_server_of_http_holds_a_call_up() {
    use TierErrorKind::{Protocol, TimedOut, TooLarge, Unreachable};
    let text = |text: &str| text.as_bytes().to_vec();
    let value = |head: &str, bytes: usize| {
        [text(&format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n")), vec![b'x'; bytes]].concat()
    };
    let headers = "X-A: b\r\n".repeat(100_000);
    let cases = [
        (Manner::Silent, TimedOut),
        (Manner::Stop(text("HTTP/1.1 200 OK\r\n")), TimedOut),
        (Manner::Stop(value("Content-Length: 100000", 50_000)), TimedOut),
        (Manner::Stop(value("Transfer-Encoding: chunked", 0)), TimedOut),
        (Manner::Drip(text("HTTP/1.1 200 OK\r\nX: y")), TimedOut),
        (Manner::Drip(value("Content-Length: 100000", 1)), TimedOut),
        (Manner::Cut(value("Content-Length: 100000", 50_000)), Protocol),
        (Manner::Cut(value("Transfer-Encoding: chunked", 5)), Protocol),
        (Manner::Cut(value("Transfer-Encoding: chunked\r\n\r\nffffffffffffffff", 50)), Protocol),
        (Manner::Cut(value("Content-Length: 5\r\nContent-Encoding: gzip", 5)), Protocol),
        (Manner::Cut(text("$5\r\nabcde\r\n")), Protocol),
        (Manner::Cut(text("HTTP/1.1 twohundred OK\r\n\r\n")), Protocol),
        (Manner::Cut(text("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n")), Protocol),
        (Manner::Cut(Vec::new()), Unreachable),
        (Manner::Cut(text("HTTP/1.1 2")), Unreachable),
        (Manner::Cut(text(&format!("HTTP/1.1 200 OK\r\n{headers}"))), Protocol),
        (Manner::Cut(value("Content-Length: 99999999999999", 100)), TooLarge),
        (Manner::Flood(value("Transfer-Encoding: chunked\r\n\r\n7fffffff", 60_000)), TooLarge),
        (Manner::Flood(value("Connection: close", 60_000)), TooLarge),
    ];
    for (manner, expected) in cases {
        let server = Hostile::start(manner.clone());
        let url = format!("http://127.0.0.1:{}|timeout=300|max-bytes=1M", server.port);
        let shown = manner.shown();
        let kind = failure(|| open(&url).get(&key(1)));
        assert!(kind == expected || kind == TimedOut, "{shown}: {kind:?}, not {expected:?}");
        // S3 is spoken over the same.
        let bucket = format!("s3://bucket?endpoint=http://127.0.0.1:{}|anonymous", server.port);
        let tier = open(&format!("{bucket}|timeout=300|max-bytes=1M"));
        let kind = failure(|| tier.get(&key(1)));
        assert!(kind == expected || kind == TimedOut, "{shown}: {kind:?}, not {expected:?}");
    }
    let limitless = "|timeout=5000|max-bytes=999999999G";
    let server = Hostile::start(Manner::Cut(value("Content-Length: 99999999999999999", 100)));
    let url = format!("http://127.0.0.1:{}{limitless}", server.port);
    assert_eq!(failure(|| open(&url).get(&key(1))), Protocol, "nothing is reserved");
}

#[test]
fn a_length_that_is_only_claimed_reserves_nothing() {
    // The whole address space could not hold it.
    let server = Hostile::start(Manner::Cut(b"$100000000000000000\r\nabc".to_vec()));
    let url = format!("redis://127.0.0.1:{}|max-bytes=999999999G|timeout=5000", server.port);
    assert_eq!(failure(|| open(&url).get(&key(1))), TierErrorKind::Protocol);
    assert_eq!(failure(|| open(&url.replace("999999999G", "1G")).get(&key(1))), {
        TierErrorKind::TooLarge
    });
    for said in ["VA 100000000000000000\r\nLDW1abc", "VA 100000000000000000\r\nLDX1abc"] {
        let server = Hostile::start(Manner::Cut(said.as_bytes().to_vec()));
        let url =
            format!("memcached://127.0.0.1:{}|max-bytes=999999999G|timeout=5000", server.port);
        assert_eq!(failure(|| open(&url).get(&key(1))), TierErrorKind::Protocol);
    }
}

#[test]
fn a_server_that_closes_at_once_is_tried_once() {
    let server = Hostile::start(Manner::Cut(Vec::new()));
    for (calls, scheme) in [(4, "redis"), (8, "memcached"), (12, "http")] {
        let tier = open(&format!("{scheme}://127.0.0.1:{}|timeout=5000", server.port));
        assert_eq!(kinds(&*tier), [TierErrorKind::Unreachable; 4]);
        assert_eq!(server.connections.load(Ordering::SeqCst), calls, "one for each call");
    }
}

#[test]
fn errors_of_a_server_are_not_repeated() {
    // Servers repeat words of a command that they do not know.
    let said =
        b"-ERR unknown command 'AUTH', with args beginning with: 'hunter2' 'open sesame'\r\n";
    let server = Hostile::start(Manner::Cut(said.to_vec()));
    let tier = open(&format!("redis://u:hunter2@127.0.0.1:{}|timeout=5000", server.port));
    assert_eq!(failure(|| tier.get(&key(1))), TierErrorKind::Denied);
    for said in ["-hunter2 hunter2\r\n", "-HUNTER hunter2 open sesame\r\n", "-MOVED 1 hunter2\r\n"]
    {
        let server = Hostile::start(Manner::Cut(said.as_bytes().to_vec()));
        for scheme in ["redis", "redis+cluster"] {
            let tier = open(&format!("{scheme}://127.0.0.1:{}|timeout=5000", server.port));
            assert_eq!(failure(|| tier.get(&key(1))), TierErrorKind::Protocol, "{said}");
        }
    }
}

#[test]
fn nobody_there_is_unreachable() {
    let port = super::servers::free_port();
    for scheme in ["redis", "redis+cluster", "memcached", "http"] {
        let tier = open(&format!("{scheme}://127.0.0.1:{port}|timeout=5000|connect-timeout=5000"));
        assert_eq!(kinds(&*tier), [TierErrorKind::Unreachable; 4]);
    }
    let place = format!("s3://bucket?endpoint=http://127.0.0.1:{port}|anonymous");
    assert_eq!(kinds(&*open(&place)), [TierErrorKind::Unreachable; 4]);
    let tier = open("redis+unix:///no/such/socket");
    assert_eq!(kinds(&*tier), [TierErrorKind::Unreachable; 4]);
    for scheme in ["redis", "memcached", "http"] {
        let tier = open(&format!("{scheme}://no-such-host.invalid|timeout=10000"));
        assert!(failure(|| tier.get(&key(1))).is_of_the_tier());
    }
}
