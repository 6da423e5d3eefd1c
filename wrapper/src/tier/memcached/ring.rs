//! Which server has a key, so that all clients with the same list of servers agree.
//!
//! 1. A server called `HOST:PORT` has [`POINTS`] points on a ring of 64 bits: for each n from 0 to
//!    39, the four little-endian numbers that BLAKE3 of `HOST:PORT/n` consists of.
//! 2. A key's place is the first of the four numbers of BLAKE3 of its 64 digits, without prefix.
//! 3. The key belongs to the server with the next point at or behind its place, round the end. If
//!    two servers have one point, it is that of the name that sorts first.
//! 4. So the order of the list does not count, and a server that comes or goes takes or leaves its
//!    own share of the keys only.

/// Points of one server: as many as in ketama, the ring of older clients. The more there are, the
/// more equal are the shares; with another number every client would look elsewhere.
const POINTS: usize = 160;
/// Points that one hash gives.
const POINTS_OF_HASH: usize = 4;

const _: () = assert!(POINTS.is_multiple_of(POINTS_OF_HASH));

/// The points of all servers, in their order.
pub(super) struct Ring {
    points: Vec<(u64, usize)>,
}

impl Ring {
    /// The ring of servers with these names, at least one.
    pub(super) fn new(names: &[String]) -> Ring {
        let mut points = Vec::with_capacity(names.len() * POINTS);
        for (index, name) in names.iter().enumerate() {
            for n in 0..POINTS / POINTS_OF_HASH {
                let hash = blake3::hash(format!("{name}/{n}").as_bytes());
                points.extend(numbers(&hash).map(|point| (point, index)));
            }
        }
        points.sort_unstable_by_key(|(point, index)| (*point, &names[*index]));
        Ring { points }
    }

    /// The index of the server that has a key.
    pub(super) fn owner(&self, digits: &str) -> usize {
        let place = numbers(&blake3::hash(digits.as_bytes())).next().unwrap_or_default();
        let next = self.points.partition_point(|(point, _)| *point < place);
        self.points[next % self.points.len()].1
    }
}

fn numbers(hash: &blake3::Hash) -> impl Iterator<Item = u64> {
    let (numbers, _) = hash.as_bytes().as_chunks::<8>();
    numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use larder_engine::Key;

    use super::*;

    const KEYS: u32 = 20_000;

    fn owners(names: &[&str]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let ring = Ring::new(&names);
        let key = |n: u32| Key::of(&n.to_le_bytes()).to_string();
        (0..KEYS).map(|n| names[ring.owner(&key(n))].clone()).collect()
    }

    #[test]
    fn every_server_has_its_share() {
        let owners = owners(&["a:11211", "b:11211", "c:11211", "[::1]:11211"]);
        for name in ["a:11211", "b:11211", "c:11211", "[::1]:11211"] {
            let count = owners.iter().filter(|owner| *owner == name).count() as u32;
            assert!((KEYS / 5..KEYS / 3).contains(&count), "{name} has {count}");
        }
    }

    #[test]
    fn a_server_that_goes_moves_its_keys_only() {
        let all = owners(&["a:1", "b:1", "c:1", "d:1", "e:1"]);
        let rest = owners(&["e:1", "b:1", "d:1", "a:1"]);
        let mut moved = 0;
        for (before, after) in all.iter().zip(&rest) {
            assert!(after == before || before == "c:1", "a key of {before} is {after}'s now");
            moved += u32::from(before != after);
        }
        assert!((KEYS / 7..KEYS / 4).contains(&moved), "{moved} have moved");
    }

    #[test]
    fn the_ring_is_that_of_every_version() {
        let names = ["a:11211", "b:11211"].map(str::to_owned);
        let ring = Ring::new(&names);
        assert_eq!(ring.points.len(), 2 * POINTS);
        let key = |n: u32| Key::of(&n.to_le_bytes()).to_string();
        let owners: Vec<usize> = (0..16).map(|n| ring.owner(&key(n))).collect();
        assert_eq!(
            owners,
            [0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 1, 1, 0],
            "another ring would be a cold cache for everybody"
        );
    }
}
