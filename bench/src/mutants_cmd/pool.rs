//! Pieces of work on all cores, their results in the order of the pieces.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::mpsc;

use crate::cli::Interrupts;

/// Does `work` on each item; `done` is told of each result as it comes. Results of what Ctrl-C left undone are missing.
pub(super) async fn each<T, R>(
    items: Vec<T>,
    jobs: usize,
    interrupts: &mut Interrupts,
    work: impl Fn(&T, &dyn Fn() -> bool) -> R + Send + Sync + 'static,
    mut done: impl FnMut(&R),
) -> (Vec<R>, bool)
where
    T: Send + Sync + 'static,
    R: Send + 'static,
{
    let (next, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (items, work) = (Arc::new(items), Arc::new(work));
    let (sender, mut results) = mpsc::channel(64);
    for _ in 0..jobs.min(items.len()) {
        let (next, stop, items, work, sender) =
            (next.clone(), stop.clone(), items.clone(), work.clone(), sender.clone());
        std::thread::spawn(move || {
            let stopped = || stop.load(Ordering::Relaxed);
            while !stopped() {
                let i = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(i) else { return };
                let result = work(item, &stopped);
                if stopped() || sender.blocking_send((i, result)).is_err() {
                    return;
                }
            }
        });
    }
    drop(sender);
    let mut all = Vec::new();
    let interrupted = loop {
        tokio::select! {
            result = results.recv() => match result {
                Some((i, result)) => {
                    done(&result);
                    all.push((i, result));
                }
                None => break false,
            },
            _ = interrupts.next() => {
                stop.store(true, Ordering::Relaxed);
                break true;
            }
        }
    };
    all.sort_by_key(|(i, _)| *i);
    (all.into_iter().map(|(_, result)| result).collect(), interrupted)
}
