//! A location: eight bytes that say where a record stands, and how much to read there.
//!
//! Packed as segment (28 bits), offset in 64-byte units (22), size class (8), kind (6). It is a
//! hint: what it points to is believed only after the frame and the body have been checked.

use crate::limits::{RECORD_ALIGN, SEGMENT_ID_MAX};

const SEGMENT_BITS: u32 = 28;
const UNIT_BITS: u32 = 22;
const CLASS_BITS: u32 = 8;
const KIND_BITS: u32 = 6;

const _: () = assert!(SEGMENT_BITS + UNIT_BITS + CLASS_BITS + KIND_BITS == 64);
const _: () = assert!(SEGMENT_ID_MAX == (1 << SEGMENT_BITS) - 1);

/// Mask of the bits of a location that say where in its segment a record stands and how long it is.
pub const IN_SEGMENT_BITS: u32 = UNIT_BITS + CLASS_BITS + KIND_BITS;

/// Where a record stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Location {
    /// Id of the segment.
    pub segment: u32,
    /// Offset of the frame in 64-byte units.
    pub unit: u32,
    /// Upper bound of the record's length, see [`class_bytes`].
    pub class: u8,
    /// Kind of the record, as a number that the body knows.
    pub kind: u8,
}

impl Location {
    /// The location of a record of `record_bytes` at byte `offset`.
    ///
    /// # Panics
    /// If the offset is not aligned or does not fit: the writer chose both.
    pub fn new(segment: u32, offset: u64, record_bytes: u64, kind: u8) -> Self {
        assert!(segment <= SEGMENT_ID_MAX && offset.is_multiple_of(RECORD_ALIGN));
        let unit = offset / RECORD_ALIGN;
        assert!(unit < 1 << UNIT_BITS && kind < 1 << KIND_BITS);
        Location { segment, unit: unit as u32, class: class_of(record_bytes), kind }
    }

    /// Offset of the frame in bytes.
    pub fn offset(self) -> u64 {
        u64::from(self.unit) * RECORD_ALIGN
    }

    /// The packed form.
    pub fn pack(self) -> u64 {
        u64::from(self.segment) << IN_SEGMENT_BITS | self.pack_in_segment()
    }

    /// The packed form without the segment: the lower 36 bits.
    pub fn pack_in_segment(self) -> u64 {
        u64::from(self.unit) << (CLASS_BITS + KIND_BITS)
            | u64::from(self.class) << KIND_BITS
            | u64::from(self.kind)
    }

    /// The inverse of [`Location::pack`]; every number is some location.
    pub fn unpack(packed: u64) -> Self {
        Location {
            segment: (packed >> IN_SEGMENT_BITS) as u32,
            unit: (packed >> (CLASS_BITS + KIND_BITS)) as u32 & ((1 << UNIT_BITS) - 1),
            class: (packed >> KIND_BITS) as u8,
            kind: packed as u8 & ((1 << KIND_BITS) - 1),
        }
    }
}

/// The smallest class whose bound is at least `record_bytes`.
///
/// Three bits of mantissa: a bound is at most 12.5 % above the length.
pub fn class_of(record_bytes: u64) -> u8 {
    let units = record_bytes.div_ceil(RECORD_ALIGN);
    if units < 16 {
        return units as u8;
    }
    let shift = 60 - units.leading_zeros();
    let mantissa = units.div_ceil(1 << shift);
    // A mantissa of 16 is the first of the next octave.
    let class = u64::from(shift) * 8 + mantissa;
    u8::try_from(class).unwrap_or(u8::MAX)
}

/// Upper bound in bytes of the records of a class.
pub fn class_bytes(class: u8) -> u64 {
    let class = u64::from(class);
    let units = if class < 16 { class } else { (8 + class % 8) << (class / 8 - 1) };
    units.saturating_mul(RECORD_ALIGN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_is_lossless() {
        for (segment, offset, bytes, kind) in
            [(0, 0, 1, 0), (SEGMENT_ID_MAX, (1 << 28) - 64, 1 << 32, 63), (77, 4096, 70_000, 2)]
        {
            let location = Location::new(segment, offset, bytes, kind);
            assert_eq!(Location::unpack(location.pack()), location);
            assert_eq!(location.offset(), offset);
        }
    }

    #[test]
    fn classes_bound_lengths_from_above_and_closely() {
        // Miri takes minutes for what is a moment without it.
        let dense = if cfg!(miri) { 1_000 } else { 200_000u64 };
        for bytes in (1..dense).chain((0..20).map(|power| (1 << (12 + power)) + 1)) {
            let bound = class_bytes(class_of(bytes));
            assert!(bound >= bytes, "{bytes} has bound {bound}");
            assert!(bound <= bytes + bytes / 8 + 2 * RECORD_ALIGN, "{bytes} has bound {bound}");
        }
    }

    #[test]
    fn classes_are_monotone() {
        assert!((1..=255).all(|class| class_bytes(class) > class_bytes(class - 1)));
    }
}
