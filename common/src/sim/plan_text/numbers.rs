//! Numbers as people write them: `1.25s`, `800ms`, `64KiB`, `20/1000`. Exact in both directions, so that a plan read back
//! is the plan that was written.

use super::MAX_SPAN;
use crate::types::Micros;

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// As it is.
    Count,
    /// Microseconds in memory; `us`, `ms` or `s` in a file.
    Span,
    /// Bytes; `B`, `KiB`, `MiB` or `GiB` in a file.
    Bytes,
    /// Of each hundred: `7%`.
    Percent,
    /// Of each thousand: `20/1000`.
    PerMille,
}

impl Unit {
    /// The number as text.
    pub fn text(self, value: u64) -> String {
        match self {
            Self::Count => value.to_string(),
            Self::Span => span_text(Micros(value)),
            Self::Bytes => bytes_text(value),
            Self::Percent => format!("{value}%"),
            Self::PerMille => format!("{value}/1000"),
        }
    }

    /// The number of a text; none if it is no such number.
    pub fn read(self, text: &str) -> Option<u64> {
        match self {
            Self::Count => decimal(text),
            Self::Span => read_span(text).map(|s| s.0),
            Self::Bytes => read_bytes(text),
            Self::Percent => decimal(text.strip_suffix('%')?),
            Self::PerMille => decimal(text.strip_suffix("/1000")?),
        }
    }

    /// What the text must be.
    pub(super) const fn says(self) -> &'static str {
        match self {
            Self::Count => "a whole number",
            Self::Span => "a span such as 1.25s, 800ms or 50us, no finer than 1us",
            Self::Bytes => "a size such as 4096B, 4KiB or 1MiB",
            Self::Percent => "a percentage such as 7%",
            Self::PerMille => "parts of a thousand such as 20/1000",
        }
    }
}

/// So many seconds in microseconds.
pub(super) const fn span_us(seconds: u64) -> u64 {
    seconds * 1_000_000
}

/// A span in the largest unit of which it holds at least one: `1.25s`, `800ms`, `50us`, `0s`.
pub fn span_text(span: Micros) -> String {
    let (unit, name, digits) = match span.0 {
        0 => return "0s".into(),
        1..1000 => (1, "us", 0),
        1000..1_000_000 => (1000, "ms", 3),
        _ => (1_000_000, "s", 6),
    };
    let (whole, rest) = (span.0 / unit, span.0 % unit);
    if rest == 0 {
        return format!("{whole}{name}");
    }
    let rest = format!("{rest:0digits$}");
    format!("{whole}.{}{name}", rest.trim_end_matches('0'))
}

/// A span of at most [`MAX_SPAN`], no finer than a microsecond.
pub(super) fn read_span(text: &str) -> Option<Micros> {
    let (number, digits) = [("us", 0), ("ms", 3), ("s", 6)]
        .into_iter()
        .find_map(|(unit, digits)| text.strip_suffix(unit).map(|number| (number, digits)))?;
    let (whole, rest) = match number.split_once('.') {
        Some((_, "")) => return None,
        Some(both) => both,
        None => (number, ""),
    };
    if rest.len() > digits {
        return None;
    }
    let padded = format!("{rest:0<digits$}");
    let rest = if padded.is_empty() { 0 } else { decimal(&padded)? };
    let span = decimal(whole)?.checked_mul(10_u64.pow(digits as u32))?.checked_add(rest)?;
    (span <= MAX_SPAN.0).then_some(Micros(span))
}

fn bytes_text(bytes: u64) -> String {
    match bytes {
        0 => "0B".into(),
        n if n % (1 << 30) == 0 => format!("{}GiB", n >> 30),
        n if n % (1 << 20) == 0 => format!("{}MiB", n >> 20),
        n if n % (1 << 10) == 0 => format!("{}KiB", n >> 10),
        n => format!("{n}B"),
    }
}

fn read_bytes(text: &str) -> Option<u64> {
    let (number, unit) = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)]
        .into_iter()
        .find_map(|(name, unit)| text.strip_suffix(name).map(|number| (number, unit)))?;
    decimal(number)?.checked_mul(unit)
}

/// Digits and nothing else: `str::parse` would take a plus sign.
pub(super) fn decimal(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_short_and_read_exactly() {
        for (us, text) in [
            (0, "0s"),
            (50, "50us"),
            (1500, "1.5ms"),
            (800_000, "800ms"),
            (1_250_000, "1.25s"),
            (60_000_001, "60.000001s"),
            (MAX_SPAN.0, "86400s"),
        ] {
            assert_eq!(span_text(Micros(us)), text);
            assert_eq!(read_span(text), Some(Micros(us)));
        }
        assert_eq!(read_span("0.8s"), Some(Micros(800_000)));
        for bad in ["", "s", "1", ".5s", "1.s", "1.5us", "1.0000001s", "+1s", "-1s", "86401s", "9e3s", "1.-5s"] {
            assert_eq!(read_span(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_written_short_and_read_exactly() {
        for (n, text) in [(0, "0B"), (1, "1B"), (4096, "4KiB"), (1 << 20, "1MiB"), (1025, "1025B"), (3 << 30, "3GiB")] {
            assert_eq!(bytes_text(n), text);
            assert_eq!(read_bytes(text), Some(n));
        }
        for bad in ["", "B", "1", "1.5KiB", "1kb", "18446744073709551615KiB", "+1B"] {
            assert_eq!(read_bytes(bad), None, "{bad}");
        }
    }
}
