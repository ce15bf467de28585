//! Reading back what a load wrote.

use bytes::Bytes;

use super::ledger::{Ledger, Loss};
use super::target::{Connection, Done, Failure, Op, Target};

/// Reads under way at a time, and bytes that their answers may have: a node closes a connection that leaves too much unread.
const WINDOW: usize = 256;
const WINDOW_BYTES: usize = 8 << 20;
/// Reads under way before it is known how large values are.
const FIRST: usize = 4;

/// What reading back has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Keys with an acknowledged write that were read.
    pub keys: u64,
    /// Acknowledged writes that these keys stand for.
    pub writes: u64,
    /// Keys that do not hold what they must.
    pub losses: Vec<Loss>,
    /// The first key that could not be read, and why.
    pub unread: Option<(usize, Failure)>,
}

impl Verified {
    /// In one sentence.
    pub fn sentence(&self) -> String {
        let Self { keys, writes, losses, unread } = self;
        match (losses.first(), unread) {
            (Some(loss), _) => format!("{} of {keys} acknowledged keys are not as written: {loss}", losses.len()),
            (None, Some((key, why))) => format!("key {key} cannot be read back: {why}"),
            (None, None) => format!("all {keys} keys of {writes} acknowledged writes read back"),
        }
    }
}

/// Reads every key that was written, linearizably, and checks what it holds.
pub async fn verify<T: Target>(target: &T, ledger: &Ledger) -> Verified {
    read_back(target, ledger, true).await
}

/// The same with local reads: what the connection's own node has. Only meaningful when nothing is under way and the
/// node is level.
pub async fn verify_local<T: Target>(target: &T, ledger: &Ledger) -> Verified {
    read_back(target, ledger, false).await
}

async fn read_back<T: Target>(target: &T, ledger: &Ledger, linearizable: bool) -> Verified {
    let mut verified = Verified { writes: ledger.acknowledged_writes(), ..Verified::default() };
    let mut keys = ledger.touched();
    let mut under_way: Vec<Option<usize>> = vec![None; WINDOW];
    let mut free: Vec<u32> = (0..WINDOW as u32).collect();
    let mut conn = target.open(0);
    let (mut done, mut window, mut largest) = (Vec::new(), FIRST, 1);
    loop {
        while WINDOW - free.len() < window
            && let Some(tag) = free.pop()
        {
            let Some(key) = keys.next().filter(|_| verified.unread.is_none()) else {
                free.push(tag);
                break;
            };
            under_way[tag as usize] = Some(key);
            conn.submit(tag, Op::Read { key: ledger.name(key), linearizable });
        }
        if free.len() == WINDOW {
            return verified;
        }
        conn.wait(&mut done).await;
        for Done { tag, end } in done.drain(..) {
            let Some(key) = under_way[tag as usize].take() else { continue };
            free.push(tag);
            match end {
                Ok(content) => {
                    let bytes = content.as_ref().map_or(0, Bytes::len);
                    largest = largest.max(bytes);
                    verified.keys += u64::from(ledger.is_acknowledged(key));
                    verified.losses.extend(ledger.check(key, content.as_deref()).err());
                }
                Err(why) => verified.unread = verified.unread.or(Some((key, why))),
            }
        }
        window = (WINDOW_BYTES / largest).clamp(1, WINDOW);
    }
}
