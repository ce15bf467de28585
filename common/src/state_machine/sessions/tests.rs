use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const LIMITS: SessionLimits = SessionLimits { sessions: 3, window: 8, answer_bytes: 40, total_bytes: 1 << 20 };

fn id(counter: u64) -> LogId {
    LogId::new(1, counter)
}

/// A table and the log position it is at.
struct World {
    table: Sessions,
    at: u64,
}

impl World {
    fn new(limits: SessionLimits) -> Self {
        Self { table: Sessions::new(limits), at: 0 }
    }

    fn open(&mut self) -> SessionId {
        self.at += 1;
        self.table.open(id(self.at))
    }

    /// A write whose answer is its place, padded; and whether it was carried out.
    fn write(&mut self, session: SessionId, seq: u64, floor: u64, pad: usize) -> (Answer, Bytes, bool) {
        self.at += 1;
        let mut ran = false;
        let body = format!("{}{}", self.at, "-".repeat(pad));
        let (answer, body) = self.table.write(id(self.at), session, seq, floor, || {
            ran = true;
            body.into()
        });
        self.check();
        (answer, body, ran)
    }

    fn reload(&mut self) {
        let mut bytes = Vec::new();
        self.table.freeze().write(&mut bytes).unwrap();
        let fresh = Sessions::read(self.table.limits, &mut bytes.as_slice()).unwrap();
        assert_eq!((fresh.hash, fresh.bytes), (self.table.hash, self.table.bytes));
        assert_eq!(fresh.map, self.table.map);
        self.table = fresh;
    }

    /// What is kept up step by step is what a look at everything gives, and the limits hold.
    fn check(&self) {
        let t = &self.table;
        assert_eq!(t.hash, t.map.iter().fold(0u64, |sum, (id, s)| sum.wrapping_add(s.hash(*id))));
        assert_eq!(t.bytes, t.map.values().map(|s| s.weight()).sum::<usize>());
        assert_eq!(t.by_use.len(), t.map.len());
        assert!(t.len() <= t.limits.sessions);
        for s in t.map.values() {
            assert_eq!(s.bytes, s.slots.iter().map(Slot::body_len).sum::<usize>());
            assert!(s.bytes <= t.limits.answer_bytes && s.slots.len() as u64 <= t.limits.window);
            assert_ne!(s.slots.back(), Some(&Slot::Empty));
        }
    }
}

#[test]
fn numbers_outside_the_window_are_refused_and_not_carried_out() {
    let mut w = World::new(LIMITS);
    let s = w.open();
    let bad = |floor, seq| (Answer::BadSequence { floor, seq }, Bytes::new(), false);
    assert_eq!(w.write(s, 0, 0, 0), bad(1, 0));
    assert_eq!(w.write(s, 9, 1, 0), bad(1, 9));
    assert!(w.write(s, 8, 1, 0).2, "the window's last number");
    assert!(w.write(s, 1, 1, 0).2, "an earlier number that comes later");
    assert_eq!(w.write(s, 3, 4, 0), bad(1, 3), "a floor above the number is nonsense");
    assert!(w.write(s, 9, 2, 0).2, "a raised floor moves the window");
    assert_eq!(w.write(s, 1, 1, 0), bad(2, 1));
    assert!(w.write(s, u64::MAX, u64::MAX, 0).2, "the last number there is");
    assert!(!w.write(s, u64::MAX, u64::MAX - 9, 0).2);
    w.reload();
}

#[test]
fn an_answer_that_does_not_fit_is_given_once_and_then_forgotten() {
    let mut w = World::new(LIMITS);
    let s = w.open();
    let (answer, body, ran) = w.write(s, 1, 1, 99);
    assert_eq!((answer, body.len(), ran), (Answer::Written { at: id(2) }, 100, true));
    assert_eq!(w.write(s, 1, 1, 99), (Answer::Forgotten { at: id(2) }, Bytes::new(), false));
    w.reload();
    assert_eq!(w.write(s, 1, 1, 0).0, Answer::Forgotten { at: id(2) });
    assert!(w.write(s, 2, 1, 30).2, "a small one still fits");
    assert_eq!(w.write(s, 2, 1, 0).0, Answer::Written { at: id(5) });
}

#[test]
fn the_session_unused_for_longest_goes_first() {
    for reload in [false, true] {
        let mut w = World::new(LIMITS);
        let old = [w.open(), w.open(), w.open()];
        w.write(old[0], 1, 1, 0);
        w.write(old[1], 1, 1, 0);
        if reload {
            w.reload();
        }
        let fourth = w.open();
        assert_eq!(w.write(old[2], 1, 1, 0).0, Answer::NoSession);
        w.write(old[0], 1, 1, 0);
        let fifth = w.open();
        assert_eq!(w.write(old[1], 1, 1, 0).0, Answer::NoSession, "a repetition is a use too");
        let known: Vec<SessionId> = w.table.map.keys().copied().collect();
        assert_eq!(known, [old[0], fourth, fifth]);
    }
}

#[test]
fn those_that_are_idle_go_and_no_others() {
    for reload in [false, true] {
        let mut w = World::new(LIMITS);
        assert_eq!(w.table.oldest(), None);
        let old = [w.open(), w.open(), w.open()];
        w.write(old[0], 1, 1, 0);
        let upto = id(w.at);
        w.write(old[1], 1, 1, 0);
        if reload {
            w.reload();
        }
        assert_eq!(w.table.oldest(), Some(old[2].0));
        w.table.expire(id(2));
        assert_eq!(w.table.len(), 3, "the last use counts, not the opening");
        w.table.expire(upto);
        w.check();
        assert_eq!(w.table.map.keys().copied().collect::<Vec<_>>(), [old[1]]);
        assert_eq!(w.table.oldest(), Some(id(w.at)));
        w.table.expire(id(w.at));
        w.check();
        assert_eq!((w.table.len(), w.table.oldest(), w.table.bytes), (0, None, 0));
    }
}

#[test]
fn memory_is_bounded_by_evicting_but_never_the_session_in_hand() {
    let mut w = World::new(SessionLimits { total_bytes: 2 * SESSION_BYTES + 2 * SLOT_BYTES + 20, ..LIMITS });
    let (a, b) = (w.open(), w.open());
    assert!(w.write(a, 1, 1, 0).2 && w.write(b, 1, 1, 0).2);
    assert_eq!(w.table.len(), 2);
    assert!(w.write(b, 2, 1, 0).2);
    assert_eq!(w.table.map.keys().copied().collect::<Vec<_>>(), [b]);
    for seq in 3..9 {
        assert!(w.write(b, seq, 1, 0).2, "alone it may use up to its own limits");
    }
    assert_eq!(w.table.len(), 1);
}

#[derive(Clone, Debug)]
enum Step {
    Open,
    /// Which session, which number, and how far the floor is below it.
    Write(prop::sample::Index, u64, u64, usize),
    Reload,
    /// Up to the opening of which.
    Expire(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let write = (any::<prop::sample::Index>(), 0u64..30, 0u64..10, 0usize..30);
    let step = prop_oneof![
        1 => Just(Step::Open),
        20 => write.prop_map(|(s, seq, back, pad)| Step::Write(s, seq, back, pad)),
        1 => Just(Step::Reload),
        1 => any::<prop::sample::Index>().prop_map(Step::Expire),
    ];
    vec(step, 0..120)
}

proptest! {
    /// Whatever is repeated, reordered, dropped or evicted, and across snapshots: each `(session, seq)` is carried out at
    /// most once, and a repetition gets the first answer or is told that it is gone.
    #[test]
    fn each_number_is_carried_out_once(steps in steps()) {
        let mut w = World::new(LIMITS);
        let mut sessions = vec![w.open()];
        let mut first = BTreeMap::new();
        let mut floors = BTreeMap::new();
        let mut lost = BTreeSet::new();
        for step in steps {
            match step {
                Step::Open => {
                    sessions.push(w.open());
                    w.check();
                }
                Step::Reload => w.reload(),
                Step::Expire(s) => {
                    let upto = sessions[s.index(sessions.len())].0;
                    w.table.expire(upto);
                    w.check();
                    prop_assert!(w.table.oldest().is_none_or(|used| used > upto));
                }
                Step::Write(s, seq, back, pad) => {
                    let s = sessions[s.index(sessions.len())];
                    let floor = seq.saturating_sub(back);
                    let (answer, body, ran) = w.write(s, seq, floor, pad);
                    let known = first.get(&(s, seq)).cloned();
                    if answer == Answer::NoSession {
                        prop_assert!(!ran);
                        lost.insert(s);
                        continue;
                    }
                    prop_assert!(!lost.contains(&s), "a session that was lost stays lost");
                    let low = floors.entry(s).or_insert(1u64);
                    *low = (*low).max(floor);
                    match answer {
                        Answer::Written { .. } if ran => {
                            prop_assert!(known.is_none(), "carried out twice");
                            first.insert((s, seq), (answer, body));
                        }
                        Answer::Written { .. } => prop_assert_eq!(known, Some((answer, body))),
                        Answer::Forgotten { at } => prop_assert_eq!(known.map(|k| k.0), Some(Answer::Written { at })),
                        Answer::BadSequence { floor, .. } => {
                            prop_assert_eq!(floor, *low);
                            prop_assert!(!ran && (seq < floor || seq >= floor + LIMITS.window));
                        }
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
            }
        }
    }
}
