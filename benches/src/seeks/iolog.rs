//! A recording as an input of `fio --read_iolog`, so that it can be played on a real disk.
//!
//! Version 3 of fio's format: time in microseconds, file, action, offset, bytes. Who plays it
//! names the disk: `fio --name=replay --read_iolog=FILE --ioengine=libaio --direct=1
//! --replay_redirect=/dev/DISK --replay_no_stall=1`. Writes destroy what is on that disk; with
//! `--readonly` fio refuses them.

use std::fmt::Write as _;

use super::trace::{Kind, Request};

/// The name that stands for the disk.
const DISK: &str = "/dev/disk";

/// The log of these requests.
pub fn text(requests: &[Request]) -> String {
    let start = requests.first().map_or(0, |request| request.at_us);
    let mut text = format!("fio version 3 iolog\n0 {DISK} add\n0 {DISK} open\n");
    let mut last = 0;
    for request in requests {
        last = request.at_us - start;
        let action = match request.kind {
            Kind::Read => "read",
            Kind::Write => "write",
            Kind::Flush => "sync",
            Kind::Discard => continue,
        };
        let (offset, bytes) = (request.sector * 512, request.bytes);
        let _ = writeln!(text, "{last} {DISK} {action} {offset} {bytes}");
    }
    let _ = writeln!(text, "{last} {DISK} close");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_becomes_a_log_with_times_from_zero() {
        let request = |at_us, kind, sector, bytes| Request {
            at_us,
            kind,
            in_background: false,
            is_metadata: false,
            sector,
            bytes,
        };
        let list = [
            request(500, Kind::Read, 8, 4096),
            request(700, Kind::Flush, 0, 0),
            request(900, Kind::Write, 16, 512),
        ];
        let lines = text(&list);
        assert_eq!(
            lines.lines().collect::<Vec<_>>(),
            [
                "fio version 3 iolog",
                "0 /dev/disk add",
                "0 /dev/disk open",
                "0 /dev/disk read 4096 4096",
                "200 /dev/disk sync 0 0",
                "400 /dev/disk write 8192 512",
                "400 /dev/disk close",
            ]
        );
    }
}
