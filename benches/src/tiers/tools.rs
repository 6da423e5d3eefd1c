//! The programs that are compared: how each is told of its tiers, and how it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::Outcome;
use super::servers::{S3_BUCKET, S3_KEY, S3_SECRET, knows_propfind};

/// Where the tiers are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setup {
    /// None: the local store alone.
    Local,
    /// One server of Redis.
    Redis(u16),
    /// One server of HTTP.
    Http(u16),
    /// One server of memcached.
    Memcached(u16),
    /// One server of S3, with a bucket.
    S3(u16),
    /// A tier that nobody listens at, and Redis behind it.
    Dead(u16),
}

impl Setup {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Setup::Local => "local",
            Setup::Redis(_) => "Redis",
            Setup::Http(_) => "HTTP",
            Setup::Memcached(_) => "memcached",
            Setup::S3(_) => "S3",
            Setup::Dead(_) => "dead tier, then Redis",
        }
    }
}

/// Which program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// larder.
    Larder,
    /// ccache.
    Ccache,
    /// sccache.
    Sccache,
}

/// A program with a local store of its own.
pub struct Tool {
    /// Which.
    pub kind: Kind,
    program: PathBuf,
    folder: PathBuf,
}

impl Tool {
    /// A program whose store and socket stand in a folder.
    pub fn new(kind: Kind, program: PathBuf, folder: PathBuf) -> Tool {
        Tool { kind, program, folder }
    }

    /// Whether it knows such tiers. sccache asks a server of HTTP by PROPFIND, which nginx knows by
    /// a module only, and waits ten seconds for each call to a tier that is dead.
    pub fn knows(&self, setup: Setup) -> bool {
        match self.kind {
            Kind::Larder => true,
            Kind::Ccache => !matches!(setup, Setup::Memcached(_) | Setup::S3(_)),
            Kind::Sccache => match setup {
                Setup::Local | Setup::Redis(_) | Setup::Memcached(_) | Setup::S3(_) => true,
                Setup::Http(_) => knows_propfind(),
                Setup::Dead(_) => false,
            },
        }
    }

    /// Its name in tables.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Larder => "larder",
            Kind::Ccache => "ccache",
            Kind::Sccache => "sccache",
        }
    }

    fn store(&self) -> PathBuf {
        self.folder.join("store")
    }

    /// A call of the program itself, in an environment that names its store and tiers.
    pub fn command(&self, setup: Setup) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", &self.folder).stdin(Stdio::null());
        command.env("AWS_ACCESS_KEY_ID", S3_KEY).env("AWS_SECRET_ACCESS_KEY", S3_SECRET);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let url = |port: u16, path: &str| format!("http://127.0.0.1:{port}/{path}");
        let redis = |port: u16| format!("redis://127.0.0.1:{port}");
        match self.kind {
            Kind::Larder => {
                command.env("LARDER_DIR", self.store()).env("XDG_RUNTIME_DIR", &self.folder);
                let tiers = match setup {
                    Setup::Local => return command,
                    Setup::Redis(port) => redis(port),
                    Setup::Http(port) => url(port, "larder"),
                    Setup::Memcached(port) => format!("memcached://127.0.0.1:{port}"),
                    Setup::S3(port) => format!("s3://{S3_BUCKET}?endpoint={}", url(port, "")),
                    Setup::Dead(port) => format!("{} {}", redis(1), redis(port)),
                };
                command.env("LARDER_TIERS", tiers);
            }
            Kind::Ccache => {
                command.env("CCACHE_DIR", self.store());
                let tiers = match setup {
                    Setup::Local | Setup::Memcached(_) | Setup::S3(_) => return command,
                    Setup::Redis(port) => redis(port),
                    Setup::Http(port) => url(port, "ccache"),
                    Setup::Dead(port) => format!("{} {}", redis(1), redis(port)),
                };
                command.env("CCACHE_REMOTE_STORAGE", tiers);
            }
            Kind::Sccache => {
                command.env("SCCACHE_DIR", self.store()).env("SCCACHE_DIRECT", "true");
                command.env("SCCACHE_SERVER_UDS", self.folder.join("socket"));
                let mut chain = "disk".to_owned();
                if let Setup::Redis(port) | Setup::Dead(port) = setup {
                    command.env("SCCACHE_REDIS_ENDPOINT", redis(port));
                    chain.push_str(",redis");
                }
                if let Setup::Memcached(port) = setup {
                    let endpoint = format!("tcp://127.0.0.1:{port}");
                    command.env("SCCACHE_MEMCACHED_ENDPOINT", endpoint);
                    chain.push_str(",memcached");
                }
                if let Setup::S3(port) = setup {
                    command.env("SCCACHE_BUCKET", S3_BUCKET).env("SCCACHE_REGION", "us-east-1");
                    command.env("SCCACHE_ENDPOINT", url(port, ""));
                    chain.push_str(",s3");
                }
                if let Setup::Http(port) = setup {
                    command.env("SCCACHE_WEBDAV_ENDPOINT", url(port, "sccache"));
                    chain.push_str(",webdav");
                }
                if let Setup::Dead(_) = setup {
                    // It can have one of each kind only.
                    command.env("SCCACHE_WEBDAV_ENDPOINT", url(1, "sccache"));
                    chain = "disk,webdav,redis".to_owned();
                }
                if setup != Setup::Local {
                    command.env("SCCACHE_MULTILEVEL_CHAIN", chain);
                }
            }
        }
        command
    }

    /// Waits until what was made is in the tiers.
    pub fn flush(&self, setup: Setup) -> Outcome<()> {
        match self.kind {
            Kind::Larder if setup != Setup::Local => {
                // It fails where a tier is dead; the others have everything by then.
                let flushed = self.command(setup).args(["agent", "flush"]).status()?;
                if !flushed.success() {
                    thread::sleep(Duration::from_secs(2));
                }
            }
            Kind::Sccache => thread::sleep(Duration::from_secs(2)),
            _ => {}
        }
        Ok(())
    }

    /// Ends what runs in the background.
    pub fn stop(&self, setup: Setup) -> Outcome<()> {
        match self.kind {
            Kind::Larder if setup != Setup::Local => {
                self.command(setup).args(["agent", "stop"]).status()?;
                thread::sleep(Duration::from_millis(500));
            }
            Kind::Sccache => {
                self.command(setup).arg("--stop-server").status()?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends what runs in the background, and empties the local store.
    pub fn forget(&self, setup: Setup) -> Outcome<()> {
        self.stop(setup)?;
        let _ = fs::remove_dir_all(self.store());
        fs::create_dir_all(&self.folder)?;
        if self.kind == Kind::Sccache {
            // Its start is not measured.
            self.command(setup).arg("--start-server").status()?;
        }
        Ok(())
    }

    /// How many hits it has counted since the local store was emptied.
    pub fn hits(&self, setup: Setup) -> Outcome<u64> {
        let words: &[&str] = match self.kind {
            Kind::Larder => &["stats", "--json"],
            Kind::Ccache => &["--print-stats"],
            Kind::Sccache => &["--show-stats", "--stats-format", "json"],
        };
        let output = self.command(setup).args(words).stdout(Stdio::piped()).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(hits_in(self.kind, &text))
    }

    /// The program's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Hits in the statistics of a program.
fn hits_in(kind: Kind, text: &str) -> u64 {
    let after = |name: &str| {
        let found = text.split_once(name).map_or("", |(_, rest)| rest);
        let digits = found.trim_start_matches([' ', '\t', '"', ':', '{', '\n', 'C', '/', '+']);
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().unwrap_or(0)
    };
    match kind {
        Kind::Larder => after("\"direct_cache_hit\"") + after("\"preprocessed_cache_hit\""),
        Kind::Ccache => after("direct_cache_hit") + after("preprocessed_cache_hit"),
        Kind::Sccache => after("\"cache_hits\":{\"counts\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_are_read_from_each_programs_statistics() {
        let larder = "{\n  \"direct_cache_hit\": 12,\n  \"preprocessed_cache_hit\": 1\n}";
        assert_eq!(hits_in(Kind::Larder, larder), 13);
        let ccache = "cleanups_performed\t0\ndirect_cache_hit\t7\npreprocessed_cache_hit\t2\n";
        assert_eq!(hits_in(Kind::Ccache, ccache), 9);
        let sccache = "{\"stats\":{\"cache_hits\":{\"counts\":{\"C/C++\":31},\"adv_counts\":{}";
        assert_eq!(hits_in(Kind::Sccache, sccache), 31);
        assert_eq!(hits_in(Kind::Sccache, "{}"), 0);
    }
}
