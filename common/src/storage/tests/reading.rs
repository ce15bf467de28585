//! Fetching and showing, compared with a plain list, over segments long enough to have several points in their index.

use proptest::prelude::*;

use super::*;

/// The runs a log is made of: epochs, how many entries, how long, and whether they are commands.
type Shape = Vec<(u64, u64, usize, bool)>;

fn build(worker: &mut LogWorker, shape: &Shape) -> Vec<(LogId, EntryKind, Vec<u8>)> {
    let mut list: Vec<(LogId, EntryKind, Vec<u8>)> = Vec::new();
    for (epochs, n, size, command) in shape {
        let last = list.last().map_or(LogId::ZERO, |e| e.0);
        let first = if *epochs == 0 && last.epoch > 0 { last.plus(1) } else { id(last.epoch + epochs.max(&1), 1) };
        let kind = if *command { EntryKind::Command } else { EntryKind::Membership };
        let payloads: Vec<Vec<u8>> = (0..*n).map(|i| vec![(i + list.len() as u64) as u8; *size]).collect();
        let run = Entries::new(first, kind, Batch::from_payloads(&payloads)).unwrap();
        ask(worker, [LogOp::Append(run)]);
        list.extend(payloads.into_iter().enumerate().map(|(i, p)| (first.plus(i as u64), kind, p)));
    }
    list
}

/// One run after position `from` of the list, as `Fetch` promises it.
fn expected(list: &[(LogId, EntryKind, Vec<u8>)], from: usize, max_bytes: usize) -> Vec<LogId> {
    let head = &list[from];
    let mut bytes = 0;
    let fits = |(i, e): &(usize, &(LogId, EntryKind, Vec<u8>))| {
        bytes += e.2.len();
        *i == 0 || e.0.epoch == head.0.epoch && e.1 == head.1 && bytes <= max_bytes
    };
    let run = list[from..].iter().enumerate().take_while(fits).map(|(_, e)| e.0);
    let one = head.2.len() >= max_bytes;
    run.take(if one { 1 } else { usize::MAX }).collect()
}

fn fetch(worker: &mut LogWorker, after: LogId, max_bytes: usize) -> Option<Entries> {
    let events = ask(worker, [LogOp::Fetch { peer: NodeId(1), after, max_bytes }]);
    let [LogEvent::Fetched { entries, .. }] = &events[..] else { panic!("{events:?}") };
    entries.clone()
}

fn show(worker: &mut LogWorker, after: LogId, max_entries: usize) -> Vec<LogLine> {
    let events = ask(worker, [LogOp::Show { token: 1, after, max_entries }]);
    let [LogEvent::Shown { lines, .. }] = &events[..] else { panic!("{events:?}") };
    lines.clone()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn fetch_and_show_find_what_a_list_would(
        shape in prop::collection::vec((0u64..3, 1u64..40, 0usize..3000, any::<bool>()), 1..12),
        long in any::<bool>(),
        cut in prop::option::of(any::<prop::sample::Index>()),
        queries in prop::collection::vec((any::<prop::sample::Index>(), 0usize..100_000, 0usize..50), 20),
    ) {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let segment_bytes = if long { 16 << 20 } else { 200 << 10 };
        let config = StorageConfig { segment_bytes, ..StorageConfig::default() };
        let start = || Storage::open(&fs, Path::new("/node"), &identity(), &config, &Arc::default()).unwrap();
        let mut o = start();
        let mut list = build(&mut o.log_worker, &shape);
        if let Some(cut) = cut {
            let after = cut.get(&list).0;
            list.retain(|e| e.0 <= after);
            ask(&mut o.log_worker, [LogOp::Truncate { after }]);
            let last = list.last().unwrap().0;
            ask(&mut o.log_worker, [LogOp::Append(Entries::noop(last.plus(1)))]);
            list.push((last.plus(1), EntryKind::Noop, Vec::new()));
        }
        for again in [false, true] {
            if again {
                drop((o.log_worker, o.snapshot_worker));
                o = start();
            }
            for (at, max_bytes, max_entries) in &queries {
                let from = at.index(list.len());
                let after = if from == 0 { LogId::ZERO } else { list[from - 1].0 };
                let found = fetch(&mut o.log_worker, after, *max_bytes).unwrap();
                let ids: Vec<LogId> = found.iter().map(|e| e.0).collect();
                let expected = expected(&list, from, *max_bytes);
                // A fetch need not go on over the end of a segment.
                prop_assert!(expected.starts_with(&ids) && (!long || ids == expected), "{ids:?} of {expected:?}");
                for (i, (entry, payload)) in found.iter().enumerate() {
                    prop_assert_eq!((entry, found.kind(), payload), (list[from + i].0, list[from + i].1, &list[from + i].2[..]));
                }
                let lines = show(&mut o.log_worker, after, *max_entries);
                prop_assert_eq!(lines.len(), (list.len() - from).min(*max_entries));
                for (line, (id, kind, payload)) in lines.iter().zip(&list[from..]) {
                    prop_assert_eq!((line.id, line.kind, &line.payload[..]), (*id, *kind, &payload[..]));
                }
            }
            let last = list.last().unwrap().0;
            prop_assert_eq!(fetch(&mut o.log_worker, last, 100), None);
            prop_assert_eq!(fetch(&mut o.log_worker, last.plus(1), 100), None);
            prop_assert_eq!(show(&mut o.log_worker, last.plus(7), 100), vec![]);
        }
    }
}

#[test]
fn reading_meets_damage_and_the_worker_stops() {
    let fs = MemFs::new();
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let mut o = open(&shared, Path::new("/node")).unwrap();
    ask(&mut o.log_worker, (0..30).map(|i| LogOp::Append(run(id(1, 1 + i * 10), 10))));
    let path = Path::new("/node/log/0000000000000001.wal");
    let mut bytes = fs.contents(path).unwrap();
    bytes[100] ^= 1;
    fs.overwrite(path, &bytes);
    let events = ask(&mut o.log_worker, [LogOp::Fetch { peer: NodeId(1), after: LogId::ZERO, max_bytes: 1000 }]);
    let [LogEvent::Failed(text)] = &events[..] else { panic!("{events:?}") };
    assert!(text.contains("0000000000000001.wal is damaged at byte "), "{text}");
}
