//! Spans of ids beside a plain list of them.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Push(u64, u64),
    Cut(prop::sample::Index),
    Compact(prop::sample::Index),
    Reset(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (prop_oneof![3 => Just(0u64), 1 => 1u64..3], 1u64..6).prop_map(|(e, n)| Step::Push(e, n)),
        1 => any::<prop::sample::Index>().prop_map(Step::Cut),
        1 => any::<prop::sample::Index>().prop_map(Step::Compact),
        1 => (1u64..9).prop_map(Step::Reset),
    ]
}

proptest! {
    #[test]
    fn ids_are_as_a_list_of_them(steps in prop::collection::vec(step(), 1..60), counts_on in any::<bool>()) {
        let mut ids = Ids::default();
        // The base, then the entries.
        let mut list = vec![LogId::ZERO];
        for step in steps {
            let last = *list.last().unwrap();
            match step {
                Step::Push(epochs, n) => {
                    let epoch = (last.epoch + epochs).max(1);
                    let from = if epoch == last.epoch || counts_on { last.counter + 1 } else { 1 };
                    ids.push(LogId::new(epoch, from), from + n - 1);
                    list.extend((from..from + n).map(|c| LogId::new(epoch, c)));
                }
                Step::Cut(i) => {
                    let at = i.index(list.len());
                    ids.cut(list[at]);
                    list.truncate(at + 1);
                }
                Step::Compact(i) => {
                    let at = i.index(list.len());
                    ids.compact(list[at]);
                    list.drain(..at);
                }
                Step::Reset(n) => {
                    let base = LogId::new(last.epoch + 1, n);
                    ids.reset(base);
                    list = vec![base];
                }
            }
            prop_assert_eq!((ids.base(), ids.last()), (list[0], *list.last().unwrap()));
            for (epoch, counter) in (0..=ids.last().epoch + 1).flat_map(|e| (0..40).map(move |c| (e, c))) {
                let id = LogId::new(epoch, counter);
                prop_assert_eq!(ids.contains(id), list.contains(&id), "{}", id);
            }
        }
    }
}
