//! On-disk structs. One macro gives a struct in host byte order, its field table (name, offset, size, doc), a reader
//! that takes missing bytes as zero (Dovecot does the same with short headers of old versions), and the exact inverse.

use super::endian::Endian;

/// One field of an on-disk struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Dovecot's name of the field.
    pub name: &'static str,
    /// Offset in the struct, in bytes.
    pub offset: usize,
    /// Size in bytes.
    pub size: usize,
    /// What kind of value it holds.
    pub meaning: Meaning,
    /// What the field means, in one line.
    pub doc: &'static str,
}

/// What a field holds, for whoever shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// A number, or an array of them.
    Number,
    /// UNIX time in seconds: declared with `as time`.
    Time,
    /// Bytes, whatever their size: padding, GUIDs, coded offsets.
    Bytes,
}

impl Field {
    /// The number in the field, where `data`, whose first byte has offset `offset` in the struct, holds all of a field
    /// of four bytes.
    pub fn u32_in(&self, data: &[u8], offset: usize, endian: Endian) -> Option<u32> {
        endian.u32_at(data, self.offset.checked_sub(offset)?)
    }

    /// Where the field begins in a file whose first bytes are the struct; byte offset.
    pub const fn at(&self) -> u64 {
        self.offset as u64
    }

    /// Is a byte of the struct part of the field? `at` is the byte's offset.
    pub fn contains(&self, at: usize) -> bool {
        at.checked_sub(self.offset).is_some_and(|at| at < self.size)
    }

    /// The bytes of the field, where `data`, whose first byte has offset `offset` in the struct, holds all of them.
    pub fn bytes_in<'a>(&self, data: &'a [u8], offset: usize) -> Option<&'a [u8]> {
        data.get(self.offset.checked_sub(offset)?..)?.get(..self.size)
    }
}

/// The value of a field, for printing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// An unsigned number.
    U64(u64),
    /// A signed number.
    I64(i64),
    /// Raw bytes: padding, GUIDs.
    Bytes(&'a [u8]),
    /// An array of numbers.
    List(&'a [u32]),
}

/// A type that can stand in an on-disk struct.
pub trait Scalar: Sized {
    /// Size on disk in bytes.
    const SIZE: usize;
    /// Is it a number or an array of them, or else bytes?
    const IS_NUMBER: bool;
    /// Reads the value from the start of `bytes`; missing bytes count as zero.
    fn load(bytes: &[u8], endian: Endian) -> Self;
    /// Writes the value to the start of `out`, as far as it is long enough.
    fn store(&self, out: &mut [u8], endian: Endian);
    /// The value for printing.
    fn value(&self) -> Value<'_>;
}

/// The first `N` bytes, padded with zeros.
#[inline]
fn head<const N: usize>(bytes: &[u8]) -> [u8; N] {
    if let Some(whole) = bytes.first_chunk::<N>() {
        return *whole;
    }
    let mut raw = [0; N];
    for (to, from) in raw.iter_mut().zip(bytes) {
        *to = *from;
    }
    raw
}

fn put(out: &mut [u8], raw: &[u8]) {
    for (to, from) in out.iter_mut().zip(raw) {
        *to = *from;
    }
}

macro_rules! number {
    ($($ty:ty, $wide:ident as $as:ty);* $(;)?) => {$(
        impl Scalar for $ty {
            const SIZE: usize = size_of::<$ty>();
            const IS_NUMBER: bool = true;
            #[inline]
            fn load(bytes: &[u8], endian: Endian) -> Self {
                let raw = head(bytes);
                match endian {
                    Endian::Little => <$ty>::from_le_bytes(raw),
                    Endian::Big => <$ty>::from_be_bytes(raw),
                }
            }
            #[inline]
            fn store(&self, out: &mut [u8], endian: Endian) {
                put(out, &match endian {
                    Endian::Little => self.to_le_bytes(),
                    Endian::Big => self.to_be_bytes(),
                });
            }
            #[inline]
            fn value(&self) -> Value<'_> {
                Value::$wide(<$as>::from(*self))
            }
        }
    )*};
}
number! { u8, U64 as u64; u16, U64 as u64; u32, U64 as u64; u64, U64 as u64; i32, I64 as i64 }

impl<const N: usize> Scalar for [u8; N] {
    const SIZE: usize = N;
    const IS_NUMBER: bool = false;
    #[inline]
    fn load(bytes: &[u8], _: Endian) -> Self {
        head(bytes)
    }
    fn store(&self, out: &mut [u8], _: Endian) {
        put(out, self);
    }
    fn value(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

impl<const N: usize> Scalar for [u32; N] {
    const SIZE: usize = N * 4;
    const IS_NUMBER: bool = true;
    fn load(bytes: &[u8], endian: Endian) -> Self {
        let mut list = [0; N];
        for (to, from) in list.iter_mut().zip(bytes.chunks(4)) {
            *to = u32::load(from, endian);
        }
        list
    }
    fn store(&self, out: &mut [u8], endian: Endian) {
        for (to, from) in out.chunks_mut(4).zip(self) {
            from.store(to, endian);
        }
    }
    fn value(&self) -> Value<'_> {
        Value::List(self)
    }
}

/// A struct with a fixed layout on disk, made by `disk_struct!`.
pub trait Disk: Sized {
    /// Size on disk in bytes.
    const SIZE: usize;
    /// The fields in file order, without gaps.
    const FIELDS: &'static [Field];
    /// Reads the struct; bytes past the end of `bytes` count as zero.
    fn read(bytes: &[u8], endian: Endian) -> Self;
    /// Writes the struct over the start of `out`.
    fn write(&self, out: &mut [u8], endian: Endian);
    /// The values, in the order of [`Disk::FIELDS`].
    fn values(&self) -> Vec<Value<'_>>;

    /// The bytes of the struct.
    fn to_bytes(&self, endian: Endian) -> Vec<u8> {
        let mut out = vec![0; Self::SIZE];
        self.write(&mut out, endian);
        out
    }
}

/// Declares an on-disk struct. Offsets are written out for the reader and checked by the compiler. A number that is a
/// UNIX time is declared `as time`.
macro_rules! disk_struct {
    (@meaning $ty:ty) => {
        if <$ty as $crate::format::disk::Scalar>::IS_NUMBER {
            $crate::format::disk::Meaning::Number
        } else {
            $crate::format::disk::Meaning::Bytes
        }
    };
    (@meaning $ty:ty, time) => { $crate::format::disk::Meaning::Time };
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident, $size:literal {
            $( $at:literal => $field:ident : $ty:ty $(as $meaning:ident)?, $doc:literal; )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        $vis struct $name {
            $( #[doc = $doc] pub $field: $ty, )*
        }

        // Evaluated by the compiler, where overflow is an error.
        #[allow(clippy::arithmetic_side_effects)]
        const _: () = {
            let mut at = 0;
            $( assert!(at == $at, "field offset"); at += <$ty as $crate::format::disk::Scalar>::SIZE; )*
            assert!(at == $size, "struct size");
        };

        // Named as the fields are, so that a place and its value are found under one name.
        #[allow(non_upper_case_globals, dead_code)]
        impl $name {
            $(
                #[doc = $doc]
                pub const $field: $crate::format::disk::Field = $crate::format::disk::Field {
                    name: stringify!($field),
                    offset: $at,
                    size: <$ty as $crate::format::disk::Scalar>::SIZE,
                    meaning: $crate::format::disk::disk_struct!(@meaning $ty $(, $meaning)?),
                    doc: $doc,
                };
            )*
        }

        impl $crate::format::disk::Disk for $name {
            const SIZE: usize = $size;
            const FIELDS: &'static [$crate::format::disk::Field] = &[ $( $name::$field, )* ];
            #[inline]
            fn read(bytes: &[u8], endian: $crate::format::endian::Endian) -> Self {
                $name { $(
                    $field: $crate::format::disk::Scalar::load(bytes.get($at..).unwrap_or_default(), endian),
                )* }
            }
            fn write(&self, out: &mut [u8], endian: $crate::format::endian::Endian) {
                $( if let Some(out) = out.get_mut($at..) {
                    $crate::format::disk::Scalar::store(&self.$field, out, endian);
                } )*
            }
            fn values(&self) -> Vec<$crate::format::disk::Value<'_>> {
                vec![ $( $crate::format::disk::Scalar::value(&self.$field), )* ]
            }
        }
    };
}
pub(crate) use disk_struct;
