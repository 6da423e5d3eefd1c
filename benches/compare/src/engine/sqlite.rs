//! SQLite: a table without row ids, write-ahead log, `synchronous = OFF`, one put per transaction.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use super::{CHECK_BYTES, Engine, KEY_BYTES, check};

pub struct Sqlite(Connection);

pub fn open(directory: &Path) -> Sqlite {
    let connection = Connection::open(directory.join("sqlite")).expect("SQLite opens");
    connection.busy_timeout(Duration::from_secs(30)).expect("SQLite takes the timeout");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = OFF;
             CREATE TABLE IF NOT EXISTS entries (
                 key BLOB PRIMARY KEY, digest BLOB NOT NULL, value BLOB NOT NULL
             );",
        )
        .expect("SQLite takes its options");
    Sqlite(connection)
}

impl Engine for Sqlite {
    fn put(&mut self, key: &[u8; KEY_BYTES], value: &[u8]) -> bool {
        let sql = "INSERT OR REPLACE INTO entries VALUES (?1, ?2, ?3)";
        let mut statement = self.0.prepare_cached(sql).expect("SQLite prepares");
        statement.execute((key, check(value), value)).expect("SQLite puts");
        true
    }

    fn get(&self, key: &[u8; KEY_BYTES]) -> Option<Vec<u8>> {
        let sql = "SELECT digest, value FROM entries WHERE key = ?1";
        let mut statement = self.0.prepare_cached(sql).expect("SQLite prepares");
        let row = |row: &rusqlite::Row<'_>| {
            let value = row.get_ref(1)?.as_blob()?;
            let expected: [u8; CHECK_BYTES] = row.get(0)?;
            assert_eq!(check(value), expected, "a value is damaged");
            Ok(value.to_vec())
        };
        statement.query_row([key], row).optional().expect("SQLite gets")
    }

    fn fill(&mut self, entries: &mut dyn Iterator<Item = ([u8; KEY_BYTES], Vec<u8>)>) {
        self.0.execute_batch("BEGIN").expect("SQLite begins");
        for (key, value) in entries {
            self.put(&key, &value);
        }
        self.0.execute_batch("COMMIT").expect("SQLite commits");
    }

    fn settle(&mut self) {
        self.0
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))
            .expect("SQLite makes a checkpoint");
    }
}
