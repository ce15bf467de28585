//! Numbers as people read them.

use super::results::Unit;

/// A figure with its unit: `12,345/s`, `431 µs`, `4.2 ms`, `1.5 KiB`.
pub fn value(unit: Unit, v: f64) -> String {
    match unit {
        Unit::PerSecond => format!("{}/s", count(v)),
        Unit::Micros => micros(v),
        Unit::Count => count(v),
        Unit::PerEntry => significant(v),
        Unit::BytesPerEntry => format!("{} B", significant(v)),
        Unit::MicrosPerEntry => format!("{} µs", significant(v)),
        Unit::Bytes => bytes(v),
        Unit::Ratio => format!("{v:.2}×"),
    }
}

/// A time given in microseconds.
pub fn micros(us: f64) -> String {
    match us {
        us if us < 999.5 => format!("{us:.0} µs"),
        us if us < 10_000.0 => format!("{:.2} ms", us / 1e3),
        us if us < 100_000.0 => format!("{:.1} ms", us / 1e3),
        us if us < 1e6 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

/// A number of bytes.
pub fn bytes(b: f64) -> String {
    match b {
        b if b < 1024.0 => format!("{b:.0} B"),
        b if b < 1024.0 * 1024.0 => format!("{:.1} KiB", b / 1024.0),
        b if b < 1024.0 * 1024.0 * 1024.0 => format!("{:.1} MiB", b / (1024.0 * 1024.0)),
        b => format!("{:.1} GiB", b / (1024.0 * 1024.0 * 1024.0)),
    }
}

/// A whole number, its thousands parted by commas.
pub fn count(n: f64) -> String {
    let digits = format!("{:.0}", n.abs());
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if n < 0.0 && digits != "0" { format!("-{out}") } else { out }
}

/// Three significant digits.
pub fn significant(v: f64) -> String {
    match v.abs() {
        0.0 => "0".to_owned(),
        a if a < 0.1 => format!("{v:.4}"),
        a if a < 1.0 => format!("{v:.3}"),
        a if a < 10.0 => format!("{v:.2}"),
        a if a < 100.0 => format!("{v:.1}"),
        _ => count(v),
    }
}

/// A protocol's name as the literature writes it.
pub fn protocol(name: &str) -> String {
    match name {
        "raft" => "Raft".to_owned(),
        "zab" => "ZAB".to_owned(),
        "zookeeper" => "ZooKeeper".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(count(0.4), "0");
        assert_eq!(count(999.6), "1,000");
        assert_eq!(count(1_234_567.0), "1,234,567");
        assert_eq!(count(-1234.0), "-1,234");
        assert_eq!(micros(431.4), "431 µs");
        assert_eq!(micros(999.6), "1.00 ms");
        assert_eq!(micros(4_230.0), "4.23 ms");
        assert_eq!(micros(158_400.0), "158 ms");
        assert_eq!(micros(1_270_000.0), "1.27 s");
        assert_eq!(bytes(1536.0), "1.5 KiB");
        assert_eq!(significant(0.0312), "0.0312");
        assert_eq!(significant(4.0), "4.00");
        assert_eq!(significant(1234.5), "1,234");
        assert_eq!(value(Unit::PerSecond, 21_768.0), "21,768/s");
    }
}
