use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

const SMALL: KvLimits = KvLimits { key_bytes: 3, value_bytes: 5 };

fn snapshot(store: &KvStore) -> Vec<u8> {
    let mut out = Vec::new();
    Box::new(store.freeze()).write(&mut out).unwrap();
    out
}

fn put(store: &mut KvStore, key: &[u8], value: &[u8]) {
    assert_eq!(store.apply(&Command::Put { key, value }.to_bytes()), Answer::Done.to_bytes());
}

#[test]
fn limits_and_rubbish_are_answered_and_change_nothing() {
    let mut s = KvStore::with_limits(SMALL);
    put(&mut s, b"key", b"value");
    let before = s.hash();
    let cases: &[(Command<'_>, Answer<'_>)] = &[
        (Command::Put { key: b"keys", value: b"" }, Answer::TooLong { part: Part::Key, bytes: 4, allowed: 3 }),
        (Command::Put { key: b"k", value: b"values" }, Answer::TooLong { part: Part::Value, bytes: 6, allowed: 5 }),
        (
            Command::CompareAndSet { key: b"k", expected: None, value: b"values" },
            Answer::TooLong { part: Part::Value, bytes: 6, allowed: 5 },
        ),
        (
            Command::CompareAndSet { key: b"key", expected: None, value: b"x" },
            Answer::Differs { found: Some(b"value") },
        ),
        (Command::CompareAndSet { key: b"no", expected: Some(b""), value: b"x" }, Answer::Differs { found: None }),
        (Command::Delete { key: b"no" }, Answer::Deleted { existed: false }),
        (Command::Delete { key: b"longer than any key" }, Answer::Deleted { existed: false }),
    ];
    for (command, answer) in cases {
        assert_eq!(Answer::decode(&s.apply(&command.to_bytes())).as_ref(), Ok(answer), "{command:?}");
    }
    let trailing = [Command::Delete { key: b"key" }.to_bytes().as_ref(), b"x"].concat();
    for rubbish in [b"".as_slice(), b"\xff", &trailing, b"\x00\xff\xff\xff\xff\x0f"] {
        assert_eq!(s.apply(rubbish), Answer::Malformed.to_bytes());
    }
    assert_eq!(s.query(b"\x09"), Answer::Malformed.to_bytes());
    assert_eq!((s.hash(), s.len()), (before, 1));
    assert_eq!(Answer::Done.to_bytes(), DONE);
}

#[test]
fn lists_come_in_pages() {
    let mut s = KvStore::default();
    for key in ["a", "b/1", "b/2", "b/3", "c"] {
        put(&mut s, key.as_bytes(), b"v");
    }
    let page = |prefix: &str, after: Option<&str>, limit| {
        let query = Query::List { prefix: prefix.as_bytes(), after: after.map(str::as_bytes), limit };
        let Answer::List { pairs, more } = s.ask(query) else { panic!("a list is answered by a list") };
        (pairs.iter().map(|p| String::from_utf8_lossy(p.key).into_owned()).collect::<Vec<_>>().join(" "), more)
    };
    assert_eq!(page("b/", None, 2), ("b/1 b/2".into(), true));
    assert_eq!(page("b/", Some("b/2"), 2), ("b/3".into(), false));
    assert_eq!(page("b/", Some("a"), 9), ("b/1 b/2 b/3".into(), false));
    assert_eq!(page("b/", Some("c"), 9), (String::new(), false));
    assert_eq!(page("", None, 5), ("a b/1 b/2 b/3 c".into(), false));
    assert_eq!(page("", None, 0), (String::new(), true));
    assert_eq!(s.ask(Query::Count), Answer::Count(5));
}

#[test]
fn a_list_has_bounded_size_but_at_least_one_pair() {
    let mut s = KvStore::default();
    let large = vec![7; 1 << 20];
    put(&mut s, b"1", &large);
    put(&mut s, b"2", &large);
    let Answer::List { pairs, more } = s.ask(Query::List { prefix: b"", after: None, limit: 9 }) else { panic!() };
    assert_eq!((pairs.len(), more), (1, true));
}

#[test]
fn a_frozen_state_does_not_move() {
    let mut s = KvStore::default();
    put(&mut s, b"a", b"1");
    let frozen = s.freeze();
    put(&mut s, b"a", b"2");
    put(&mut s, b"b", b"3");
    let mut bytes = Vec::new();
    Box::new(frozen).write(&mut bytes).unwrap();
    s.restore(&mut bytes.as_slice()).unwrap();
    assert_eq!(s.iter().collect::<Vec<_>>(), [(b"a".as_slice(), b"1".as_slice())]);
}

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    Cas(Vec<u8>, Option<Vec<u8>>, Vec<u8>),
    Reload,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || vec(0u8..3, 0..3);
    let value = || vec(0u8..2, 0..3);
    let step = prop_oneof![
        4 => (key(), value()).prop_map(|(k, v)| Step::Put(k, v)),
        2 => key().prop_map(Step::Delete),
        3 => (key(), proptest::option::of(value()), value()).prop_map(|(k, e, v)| Step::Cas(k, e, v)),
        1 => Just(Step::Reload),
    ];
    vec(step, 0..60)
}

fn sum(model: &BTreeMap<Vec<u8>, Vec<u8>>) -> u64 {
    model.iter().fold(0, |sum, (k, v)| sum.wrapping_add(pair_hash(k, v)))
}

proptest! {
    /// The store is a sorted map; its hash is that of its contents however they came about; snapshots keep both.
    #[test]
    fn behaves_like_a_map(steps in steps()) {
        let mut s = KvStore::default();
        let mut model = BTreeMap::<Vec<u8>, Vec<u8>>::new();
        for step in steps {
            match step {
                Step::Put(key, value) => {
                    put(&mut s, &key, &value);
                    model.insert(key, value);
                }
                Step::Delete(key) => {
                    let got = s.apply(&Command::Delete { key: &key }.to_bytes());
                    let existed = model.remove(&key).is_some();
                    prop_assert_eq!(Answer::decode(&got), Ok(Answer::Deleted { existed }));
                }
                Step::Cas(key, expected, value) => {
                    let cas = Command::CompareAndSet { key: &key, expected: expected.as_deref(), value: &value };
                    let got = s.apply(&cas.to_bytes());
                    let found = model.get(&key).cloned();
                    if found == expected {
                        model.insert(key, value);
                        prop_assert_eq!(Answer::decode(&got), Ok(Answer::Done));
                    } else {
                        prop_assert_eq!(Answer::decode(&got), Ok(Answer::Differs { found: found.as_deref() }));
                    }
                }
                Step::Reload => {
                    let bytes = snapshot(&s);
                    s = KvStore::default();
                    put(&mut s, b"to be", b"replaced");
                    s.restore(&mut bytes.as_slice()).unwrap();
                }
            }
            prop_assert!(s.iter().eq(model.iter().map(|(k, v)| (k.as_slice(), v.as_slice()))));
            prop_assert_eq!(s.hash(), sum(&model));
        }
    }

    /// A snapshot that was cut or has a flipped bit is refused, and the state stays as it was.
    #[test]
    fn damaged_snapshots_are_refused(
        pairs in vec((vec(any::<u8>(), 0..9), vec(any::<u8>(), 0..9)), 1..9), at in any::<prop::sample::Index>(),
        bit in 0u8..8, cut in any::<bool>(),
    ) {
        let mut s = KvStore::default();
        for (k, v) in &pairs {
            put(&mut s, k, v);
        }
        let mut bytes = snapshot(&s);
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        put(&mut s, b"later than the snapshot", b"");
        let before = snapshot(&s);
        prop_assert!(s.restore(&mut bytes.as_slice()).is_err());
        prop_assert_eq!(snapshot(&s), before);
    }

    /// No bytes make it panic, as a command or as a query.
    #[test]
    fn any_bytes_are_answered(bytes in vec(any::<u8>(), 0..40)) {
        let mut s = KvStore::default();
        prop_assert!(Answer::decode(&s.apply(&bytes)).is_ok());
        prop_assert!(Answer::decode(&s.query(&bytes)).is_ok());
    }
}
