//! Servers that are damaged, hostile, or gone in the middle.

use std::collections::BTreeMap as Map;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::remote::bytes_of;
use super::*;
use crate::tiers::script::{Heard, Script, reply};
use crate::tiers::servers::{Memcached, Redis};

/// A result of ccache 3 under a name that ends so: what needs no tool and no checksum.
fn write_old(house: &House, number: usize, bytes: &[u8]) {
    let name = format!("{}-{number}.o", "1".repeat(30));
    write(&house.at("cache/1/1").join(name), bytes);
}

/// An archive of one stored member, as sccache's results are: here a zstd stream of nothing.
fn archive() -> Vec<u8> {
    // A frame with an empty raw block, and its CRC-32.
    let data = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x01, 0x00, 0x00];
    let crc = !data.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0xedb8_8320 }
        })
    });
    let size = (data.len() as u32).to_le_bytes();
    let common = [&[0, 0, 0, 0, 0, 0, 0x21, 0][..], &crc.to_le_bytes(), &size, &size, &[3, 0]];
    let common = common.concat();
    let head = [&b"PK\x03\x04\x14\0"[..], &common, &[0, 0], b"obj"].concat();
    let mode = (0o100_644_u32 << 16).to_le_bytes();
    let central =
        [&b"PK\x01\x02\x2e\x03\x14\0"[..], &common, &[0; 8], &mode, &[0; 4], b"obj"].concat();
    let at = ((head.len() + data.len()) as u32).to_le_bytes();
    let length = (central.len() as u32).to_le_bytes();
    let end = [&b"PK\x05\x06\0\0\0\0\x01\0\x01\0"[..], &length, &at, &[0, 0]].concat();
    [&head[..], &data, &central, &end].concat()
}

/// Results of sccache, by their digits.
fn write_archives(house: &House, count: usize) {
    for number in 0..count {
        let leaf = format!("{number:064x}");
        write(&house.at("cache/0/0").join(leaf), &archive());
    }
}

#[test]
fn damaged_values_and_strange_names_stay_behind() {
    let Some(redis) = Redis::start(&[]) else { return };
    let house = House::new();
    write_archives(&house, 3);
    let url = format!("redis://127.0.0.1:{}", redis.port);
    house.convert_all(&["cache", &url]);
    redis.ask(&["SET", &format!("0/0/0/{:064x}", 1), "no archive"]);
    redis.ask(&["SETRANGE", &format!("0/0/0/{:064x}", 2), "45", "X"]);
    let hex = format!("{:064x}", 7);
    let names =
        ["../x".to_owned(), "a\nb".to_owned(), "ccache:../../x".to_owned(), format!("../{hex}")];
    for name in &names {
        redis.ask(&["SET", name, "x"]);
    }
    // Whatever stands before it, only the digits become a path.
    redis.ask(&["SET", &format!("../../0/0/0/{hex}"), "no archive"]);
    let (status, page) = house.convert(&[&url, "back/deep", "--to", "sccache"]);
    assert_eq!(status, Some(4), "{page:#}");
    assert_eq!((&page["entries"], &page["damaged_count"]), (&1.into(), &3.into()), "{page:#}");
    assert_eq!(page["strangers_count"], names.len(), "{page:#}");
    let there: Vec<String> = tree(&house.at("back")).into_keys().collect();
    assert_eq!(there, [format!("deep/0/0/{:064x}", 0)]);
    let shown = house.run(&["convert", &url, "other", "--to", "sccache"]);
    assert!(text_of(&shown).contains("a\\nb"), "{}", text_of(&shown));
}

#[test]
fn what_is_too_large_is_told_by_whose_limit_it_is() {
    let Some(server) = Memcached::start(&["-I", "512k"]) else { return };
    let Some(redis) = Redis::start(&[]) else { return };
    let house = House::new();
    write_old(&house, 1, &[7; 100]);
    write_old(&house, 2, &vec![7; 600_000]);
    let url = format!("memcached://127.0.0.1:{}", server.port);
    let (status, page) = house.convert(&["cache", &url]);
    assert_eq!((status, &page["too_large_count"]), (Some(4), &1.into()), "{page:#}");
    assert!(page["too_large"][0]["why"].as_str().unwrap().contains("item"), "{page:#}");
    assert_eq!((&page["entries"], server.keys().len()), (&1.into(), 1));
    fs::remove_dir_all(house.at("cache")).unwrap();
    write_archives(&house, 1);
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let (status, page) = house.convert(&["cache", &format!("{url}|max-bytes=50")]);
    assert_eq!((status, &page["too_large_count"]), (Some(4), &1.into()), "{page:#}");
    house.convert_all(&["cache", &url]);
    let (status, page) = house.convert(&[&format!("{url}|max-bytes=50"), "b", "--to", "sccache"]);
    assert_eq!((status, &page["too_large_count"]), (Some(4), &1.into()), "{page:#}");
}

#[test]
fn a_server_that_may_not_be_written_ends_the_work() {
    let Some(redis) = Redis::start(&[]) else { return };
    let house = House::new();
    write_archives(&house, 2);
    let url = format!("redis://127.0.0.1:{}|read-only", redis.port);
    let output = house.run(&["convert", "cache", &url]);
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    assert!(text_of(&output).contains("read-only by its settings"), "{}", text_of(&output));
    for (place, layout) in [(url.as_str(), "s3"), ("s3://b", "redis"), ("http://h", "ccache")] {
        let output = house.run(&["convert", "cache", place, "--to", layout]);
        assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    }
    assert!(!house.at("http:").exists());
}

/// A server of HTTP with objects, which takes some, and then only closes connections.
struct Mortal {
    script: Script,
    objects: Arc<Mutex<Map<String, Vec<u8>>>>,
    is_well: Arc<AtomicBool>,
}

impl Mortal {
    fn start(calls: usize) -> Mortal {
        let objects = Arc::new(Mutex::new(Map::new()));
        let is_well = Arc::new(AtomicBool::new(false));
        let (kept, well) = (objects.clone(), is_well.clone());
        let script = Script::start(move |heard: &[Heard]| {
            if heard.len() > calls && !well.load(Ordering::Acquire) {
                return Vec::new();
            }
            let call = heard.last().unwrap();
            let name = call.line.split(' ').nth(1).unwrap().to_owned();
            let mut kept = kept.lock().unwrap();
            match (call.method(), kept.get(&name)) {
                ("PUT", _) => {
                    kept.insert(name, call.body.clone());
                    reply("201 Created", "", "")
                }
                (_, None) => reply("404 Not Found", "", ""),
                ("HEAD", Some(value)) => {
                    let length = value.len();
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes()
                }
                (_, Some(value)) => {
                    let length = value.len();
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                    [head.as_bytes(), value].concat()
                }
            }
        });
        Mortal { script, objects, is_well }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.script.port)
    }
}

#[test]
fn a_target_that_dies_ends_the_work_and_the_same_call_goes_on() {
    let house = House::new();
    write_archives(&house, 40);
    let server = Mortal::start(60);
    let url = server.url();
    let output = house.run(&["convert", "cache", &url, "--threads", "1"]);
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    assert!(text_of(&output).contains(&format!("{url}: ")), "{}", text_of(&output));
    let written = server.objects.lock().unwrap().len();
    assert!((1..40).contains(&written), "{written}");
    server.is_well.store(true, Ordering::Release);
    let page = house.convert_all(&["cache", &url]);
    assert_eq!((&page["present"], &page["entries"]), (&written.into(), &(40 - written).into()));
    let objects = server.objects.lock().unwrap();
    assert!(objects.len() == 40 && objects.values().all(|value| *value == archive()));
}

#[test]
fn a_source_that_dies_ends_the_work_and_the_same_call_goes_on() {
    let house = House::new();
    write_archives(&house, 200);
    let server = Mortal::start(150);
    let names: String = (0..200).map(|number| format!("0/0/0/{number:064x}\n")).collect();
    write(&house.at("names"), names.as_bytes());
    let kept = names.lines().map(|name| (format!("/{name}"), archive()));
    server.objects.lock().unwrap().extend(kept);
    let url = server.url();
    let words = [&*url, "back", "--to", "sccache", "--keys", "names", "--threads", "1"];
    let output = house.run(&[&["convert"], &words[..]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    let written = bytes_of(&house.at("back")).len();
    assert!((1..200).contains(&written), "{written}");
    server.is_well.store(true, Ordering::Release);
    let page = house.convert_all(&words);
    assert_eq!((&page["present"], &page["entries"]), (&written.into(), &(200 - written).into()));
    assert!(bytes_of(&house.at("back")) == bytes_of(&house.at("cache")));
}

#[test]
fn a_list_of_many_pages_is_whole() {
    let Some(redis) = Redis::start(&[]) else { return };
    let Some(memcached) = Memcached::start(&[]) else { return };
    let house = House::new();
    write_archives(&house, 2500);
    let places = [
        format!("redis://127.0.0.1:{}", redis.port),
        format!("memcached://127.0.0.1:{}", memcached.port),
    ];
    for (place, back) in places.iter().zip(["one", "two"]) {
        house.convert_all(&["cache", place]);
        let page = house.convert_all(&[place, back, "--to", "sccache"]);
        // Redis may show a name twice.
        let seen = page["entries"].as_u64().unwrap() + page["present"].as_u64().unwrap();
        assert!(seen >= 2500, "{place}: {page:#}");
        assert_eq!(bytes_of(&house.at(back)).len(), 2500, "{place}");
    }
}

/// A page of a bucket with one entry, and where the next one is.
fn page_of_bucket(number: usize, next: &str) -> String {
    let more = match next {
        "" => "<IsTruncated>false</IsTruncated>".to_owned(),
        next => format!(
            "<IsTruncated>true</IsTruncated><NextContinuationToken>{next}</NextContinuationToken>"
        ),
    };
    format!(
        "<?xml version=\"1.0\"?><ListBucketResult><EncodingType>url</EncodingType>{more}\
         <Contents><Key>te%2Bam/0/0/0/{number:064x}</Key><Size>1</Size></Contents>\
         <Contents><Key>te%2Bam/../../x</Key></Contents></ListBucketResult>"
    )
}

#[test]
fn pages_of_a_bucket_are_followed_to_their_end() {
    let script = Script::start(|heard: &[Heard]| {
        let call = heard.last().unwrap();
        if call.query("list-type").is_none() {
            return reply("200 OK", "", "no archive");
        }
        reply(
            "200 OK",
            "",
            &match call.query("continuation-token") {
                None => page_of_bucket(1, "a+b="),
                Some("a%2Bb%3D") => page_of_bucket(2, "c"),
                Some(_) => page_of_bucket(3, ""),
            },
        )
    });
    let house = House::new();
    let place = |port: u16| {
        format!("s3://bucket/te?region=r&endpoint=http://127.0.0.1:{port}|anonymous|prefix=")
    };
    let (status, page) = house.convert(&[&place(script.port), "back", "--to", "sccache"]);
    // `te+am` is not below `te/`.
    assert_eq!((status, &page["damaged_count"]), (Some(0), &0.into()), "{page:#}");
    let url = place(script.port).replace("bucket/te", "bucket");
    let (status, page) = house.convert(&[&url, "back", "--to", "sccache"]);
    assert_eq!((status, &page["damaged_count"]), (Some(4), &3.into()), "{page:#}");
    let asked: Vec<_> = script.heard().into_iter().filter(|call| call.method() == "GET").collect();
    assert!(asked.iter().any(|call| call.line.contains("/te%2Bam/0/0/0/")), "{asked:?}");
    assert!(asked.iter().all(|call| !call.line.contains("/x")), "{asked:?}");
}

#[test]
fn a_list_that_goes_round_or_is_none_ends_the_work() {
    let round = page_of_bucket(1, "again");
    let bomb = "<!DOCTYPE x [<!ENTITY a 'aaaa'>]><ListBucketResult>&a;</ListBucketResult>";
    let dav = "<multistatus xmlns='DAV:'><response><href>/other/</href></response></multistatus>";
    let house = House::new();
    for (said, place) in [
        (reply("200 OK", "", &round), "s3://bucket?region=r&endpoint=URL|anonymous"),
        (reply("200 OK", "", bomb), "s3://bucket?region=r&endpoint=URL|anonymous"),
        (reply("200 OK", "", "<html>"), "s3://bucket?region=r&endpoint=URL|anonymous"),
        (reply("207 Multi-Status", "", dav), "URL/here"),
        (reply("207 Multi-Status", "", "<html>"), "URL/here"),
        (reply("405 Method Not Allowed", "", ""), "URL/here"),
        (b"HTTP/1.1 207 Multi-Status\r\nContent-Length: 99999999999\r\n\r\n".to_vec(), "URL/here"),
    ] {
        let script = Script::start(move |_| said.clone());
        let place = place.replace("URL", &format!("http://127.0.0.1:{}", script.port));
        let output = house.run(&["convert", &place, "back", "--to", "ccache"]);
        assert_eq!(output.status.code(), Some(1), "{place}: {}", text_of(&output));
    }
}

/// The words of a command of Redis; `None` at the end.
fn words(reader: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut number = |sign: char| {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        line.trim_end().strip_prefix(sign)?.parse::<usize>().ok()
    };
    let count = number('*')?;
    let mut words = Vec::new();
    for _ in 0..count {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut word = vec![0; line.trim_end().strip_prefix('$')?.parse::<usize>().ok()? + 2];
        reader.read_exact(&mut word).ok()?;
        words.push(String::from_utf8_lossy(&word[..word.len() - 2]).into_owned());
    }
    Some(words)
}

#[test]
fn a_redis_that_cannot_tell_types_apart_is_listed_all_the_same() {
    let name = |number: usize| format!("0/0/0/{number:064x}");
    let bulk = |text: &[u8]| [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat();
    let page = move |next: &str, names: &[usize]| {
        let names: Vec<Vec<u8>> =
            names.iter().map(|number| bulk(name(*number).as_bytes())).collect();
        let head = format!("*2\r\n${}\r\n{next}\r\n*{}\r\n", next.len(), names.len());
        [head.as_bytes(), &names.concat()].concat()
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                while let Some(words) = words(&mut reader) {
                    let words: Vec<&str> = words.iter().map(String::as_str).collect();
                    let said = match &words[..] {
                        ["SCAN", .., "TYPE", "string"] => b"-ERR syntax error\r\n".to_vec(),
                        ["SCAN", "0", ..] => page("5", &[1, 2]),
                        ["SCAN", "5", ..] => page("0", &[3, 1]),
                        ["GET", key] if *key == name(2) => b"-WRONGTYPE it is a list\r\n".to_vec(),
                        ["GET", _] => bulk(&archive()),
                        _ => b"-ERR unknown command\r\n".to_vec(),
                    };
                    if reader.get_mut().write_all(&said).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let house = House::new();
    let url = format!("redis://127.0.0.1:{port}");
    house.convert_all(&[&url, "back", "--to", "sccache"]);
    let there: Vec<String> = bytes_of(&house.at("back")).into_keys().collect();
    assert_eq!(there, [1, 3].map(|number| format!("0/0/{number:064x}")));
}

#[test]
fn several_servers_of_memcached_are_read_wherever_a_name_is() {
    let (Some(mut one), Some(two)) = (Memcached::start(&[]), Memcached::start(&[])) else { return };
    let house = House::new();
    write_archives(&house, 40);
    let alone = format!("memcached://127.0.0.1:{}", one.port);
    let both = format!("{alone},127.0.0.1:{}", two.port);
    // Another tool has put all of it on one of them.
    house.convert_all(&["cache", &alone]);
    let page = house.convert_all(&["cache", &both]);
    assert_eq!((&page["entries"], &page["present"]), (&0.into(), &40.into()), "{page:#}");
    house.convert_all(&[&both, "back", "--to", "sccache"]);
    assert!(bytes_of(&house.at("back")) == bytes_of(&house.at("cache")));
    // What we write is shared among them.
    one.restart();
    house.convert_all(&["cache", &both]);
    let counts = (one.keys().len(), two.keys().len());
    assert!(counts.0 > 0 && counts.1 > 0 && counts.0 + counts.1 == 40, "{counts:?}");
    // One that is gone is no server without entries.
    drop(two);
    let output = house.run(&["convert", &both, "other", "--to", "sccache"]);
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
}
