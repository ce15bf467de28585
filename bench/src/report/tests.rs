//! What the reports must be, checked on small results.

use super::results::{Results, SCHEMA, Verdict};
use super::{page, picture, sample, table};

/// Fails unless every element that is opened is closed, in order.
fn assert_well_formed(text: &str) {
    const VOID: [&str; 3] = ["meta", "br", "!DOCTYPE"];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>').expect("a tag ends");
        let tag = &rest[start + 1..end];
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "closes in order, before {:.60}", &rest[start..]);
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

#[test]
fn results_survive_their_json_form() {
    let results = sample::results();
    let text = results.to_json();
    assert_eq!(Results::parse(&text).unwrap(), results);
    // Later fields do not trouble this reader; another schema does.
    let more = text.replacen('{', "{\"later\":1,", 1);
    assert_eq!(Results::parse(&more).unwrap(), results);
    let other = text.replacen(&format!("\"schema\":{SCHEMA}"), "\"schema\":99", 1);
    let error = Results::parse(&other).unwrap_err().to_string();
    assert!(error.contains("99"), "{error}");
    assert!(Results::parse("{}").is_err());
}

#[test]
fn the_worst_verdict_counts() {
    let verdict = sample::results().verdict();
    assert!(matches!(&verdict, Verdict::Fail { reason } if reason.contains("key 7")), "{verdict:?}");
    let unclear = Verdict::Inconclusive { reason: String::new() };
    assert_eq!(Verdict::Pass.and(unclear.clone()), unclear);
    assert_eq!(unclear.clone().and(Verdict::Pass), unclear);
}

#[test]
fn the_page_holds_the_numbers_and_nothing_from_elsewhere() {
    let html = page::render(&sample::results());
    assert_well_formed(&html);
    for wanted in [
        "20,000/s",
        "18,000/s",
        "0.90×",
        "180 ms",
        "SNAP, 585.9 KiB",
        "duet compare --only kills",
        "What this does not show",
        "key 7",
        "not level within 10 s",
        "prefers-color-scheme:dark",
        "width=device-width",
        "(log scale)",
        "#0072B2",
        "#D55E00",
        "ext4",
        "36 µs",
    ] {
        assert!(html.contains(wanted), "the page lacks {wanted}");
    }
    assert!(html.contains("&lt;with&gt; &amp; without"), "text is escaped");
    let without_namespace = html.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for forbidden in ["http:", "https:", "<script", "<img", "<link", "@import", "url("] {
        assert!(!without_namespace.contains(forbidden), "the page has {forbidden}");
    }
    let figures = html.matches("<figure>").count();
    assert!(figures >= 5, "{figures} figures");
    assert_eq!(html.matches("<desc").count(), figures, "each figure is described");
    assert_eq!(html.matches("<details>").count(), figures, "each figure shows its data");
}

#[test]
fn a_page_of_one_protocol_or_of_nothing_is_a_page_too() {
    let mut results = sample::results();
    results.protocols.truncate(1);
    results.scenarios.iter_mut().for_each(|s| s.outcomes.truncate(1));
    assert_well_formed(&page::render(&results));
    results.scenarios.clear();
    assert_well_formed(&page::render(&results));
    assert_well_formed(&picture::render(&results));
}

#[test]
fn the_picture_stands_alone() {
    let svg = picture::render(&sample::results());
    assert_well_formed(&svg);
    assert!(svg.contains("<style>") && svg.contains("20,000/s") && svg.contains("median"), "{svg}");
    assert_eq!(svg.matches("http").count(), 1, "only the name space");
}

#[test]
fn the_table_as_it_is_printed() {
    let wanted = "\
voters           3
heartbeat        50 ms
machine          2 cores, 24.0 GiB, Some CPU
system           Linux 6.1, logs on ext4
fdatasync        36 µs after a 4 KiB write (99 %: 80 µs)
loopback         24 µs there and back
";
    let text = table::render(&sample::results());
    assert!(text.starts_with(wanted), "{text}");
    let squeezed: Vec<String> = text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "scenario and measure Raft ZAB ZAB/Raft",
        "Steady writes, 64 clients pass pass",
        "throughput ↑ 20,000/s 18,000/s 0.90× (0.90–0.90)",
        "p99 ↓ 599 µs 704 µs 1.18× (1.17–1.18)",
        "messages ↓ 4.00 4.00 1.00× (1.00–1.00)",
        "The leader is killed pass FAIL",
        "gap, median ↓ 200 ms 230 ms 1.15×",
        "A follower comes back pass unclear",
        "far behind: the leader chose snapshot SNAP",
        "kills, ZAB FAIL: 1 of 500 acknowledged keys lost: key 7",
        "catch-up, ZAB unclear: not level within 10 s",
    ] {
        assert!(squeezed.iter().any(|l| l == line), "the table lacks `{line}`:\n{text}");
    }
}
