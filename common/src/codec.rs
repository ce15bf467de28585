//! Messages as bytes: a postcard header, and payload bytes beside it which serde never touches.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::entries::{Entries, EntryKind};
use crate::types::LogId;

/// A protocol's message. Its serde form is the frame's header; entries and snapshot pieces are represented in it by
/// their shape only, and their bytes follow as the frame's body.
pub trait Message: Serialize + DeserializeOwned + Clone + std::fmt::Debug + PartialEq + Send + 'static {
    /// The field's standard name for it, such as `AppendEntries` or `NEWLEADER`.
    fn kind(&self) -> &'static str;

    /// The payload bytes that travel beside the header. Empty for most messages.
    fn body(&self) -> Bytes;

    /// Puts the body back after the header was decoded. Must check that the body is what the header speaks of.
    fn attach(&mut self, body: Bytes) -> Result<(), BodyError>;
}

/// The body of a frame does not fit its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the frame's body has {found} bytes, its header speaks of {expected}")]
pub struct BodyError {
    /// The length the header implies.
    pub expected: u64,
    /// The length that came.
    pub found: u64,
}

impl BodyError {
    /// For messages without a body: Ok if it is empty.
    pub fn expect_empty(body: &Bytes) -> Result<(), Self> {
        Self::expect(0, body)
    }

    /// Ok if the body has this length.
    pub fn expect(expected: u64, body: &Bytes) -> Result<(), Self> {
        let found = body.len() as u64;
        if found == expected { Ok(()) } else { Err(Self { expected, found }) }
    }
}

/// Entries within a message: serialized as their shape, completed by [`Payload::attach`]. Between decoding the header
/// and attaching the body it is a shape; protocol code only ever sees it whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// As protocols make and see it.
    Entries(Entries),
    /// As it comes out of the header.
    // Aside, so that what protocols pass about is not larger for it.
    Shape(Box<Shape>),
}

/// What a header says of entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape<L = Vec<u32>> {
    /// The first id.
    pub first: LogId,
    /// What the entries are for.
    pub kind: EntryKind,
    /// The payloads' lengths.
    pub lengths: L,
}

impl Payload {
    /// The entries; None only for a shape that was never attached.
    pub fn entries(&self) -> Option<&Entries> {
        match self {
            Self::Entries(e) => Some(e),
            Self::Shape(_) => None,
        }
    }

    /// The entries' bytes.
    pub fn body(&self) -> Bytes {
        self.entries().map(Entries::data).unwrap_or_default()
    }

    /// Turns the shape into entries over `body`.
    pub fn attach(&mut self, body: Bytes) -> Result<(), BodyError> {
        let Self::Shape(shape) = self else {
            return BodyError::expect(self.body().len() as u64, &body);
        };
        let Shape { first, kind, lengths } = &**shape;
        let found = body.len() as u64;
        let expected = lengths.iter().map(|l| u64::from(*l)).sum();
        let entries = Entries::from_parts(*first, *kind, lengths, body).ok_or(BodyError { expected, found })?;
        *self = Self::Entries(entries);
        Ok(())
    }
}

impl From<Entries> for Payload {
    fn from(entries: Entries) -> Self {
        Self::Entries(entries)
    }
}

/// Serializes an iterator of known length as a sequence without collecting it.
struct Lengths<'a>(&'a Entries);

impl Serialize for Lengths<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.0.lengths())
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Entries(e) => Shape { first: e.first(), kind: e.kind(), lengths: Lengths(e) }.serialize(s),
            Self::Shape(shape) => shape.serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self::Shape(Box::deserialize(d)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entries::Batch;

    #[test]
    fn entries_travel_as_shape_and_body() {
        let e = Entries::new(LogId::new(2, 7), EntryKind::Command, Batch::from_payloads(&["ab", "", "c"])).unwrap();
        let sent = Payload::from(e);
        let header = postcard::to_stdvec(&sent).unwrap();
        assert!(header.len() < 10, "only the shape is in the header: {header:?}");
        let mut got: Payload = postcard::from_bytes(&header).unwrap();
        assert_eq!(got.entries(), None);
        assert_eq!(got.clone().attach(Bytes::from_static(b"ab")), Err(BodyError { expected: 3, found: 2 }));
        got.attach(sent.body()).unwrap();
        assert_eq!(got, sent);
    }
}
