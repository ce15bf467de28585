//! The machine, and how fast it is at the two things a replicated log cannot do without: a sync to disk and a round trip.
//!
//! Both are measured where the comparison runs, right before it, because every latency in the report stands on them. What a
//! durable write cannot do without, both of them in a row, is measured again beside each load that is held against it.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::load::stats::Hist;
use crate::report::results::Machine;

/// How long each floor is measured at most.
const AT_MOST: Duration = Duration::from_millis(200);
const ROUNDS: usize = 500;

/// Describes the machine; `dir` is where the logs will be. What cannot be found out is left out.
pub fn describe(dir: &Path) -> Machine {
    let sync = fdatasync(dir).ok();
    Machine {
        cpu: cpu(),
        cores: std::thread::available_parallelism().map_or(0, |n| n.get() as u32),
        memory_bytes: memory(),
        kernel: kernel(),
        filesystem: filesystem(dir),
        fdatasync_us: sync.as_ref().map(|h| h.quantile(0.5) as f64),
        fdatasync_p99_us: sync.as_ref().map(|h| h.quantile(0.99) as f64),
        loopback_rtt_us: loopback().ok().map(|h| h.quantile(0.5) as f64),
    }
}

/// What a durable write of so many bytes by one client cannot be faster than on this machine at this moment, in microseconds.
///
/// It is sent to a thread that passes it on to another one, which writes it over what a file has there already and syncs; then
/// the answer goes back the same way. That is a client, a leader, a follower and nothing else: no protocol, no format, no batch.
/// The median of many.
pub fn floor_us(dir: &Path, bytes: usize) -> Option<f64> {
    relayed(dir, bytes.max(1)).ok().filter(|hist| hist.count() > 0).map(|hist| hist.quantile(0.5) as f64)
}

fn relayed(dir: &Path, bytes: usize) -> anyhow::Result<Hist> {
    let path = dir.join(".write-floor");
    let mut file = File::create(&path).context("cannot write where the logs will be")?;
    file.write_all(&vec![0; bytes * ROUNDS])?;
    file.sync_all()?;
    let (leader, follower) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    let (to_leader, to_follower) = (leader.local_addr()?, follower.local_addr()?);
    let mut at = 0;
    let follower = std::thread::spawn(move || {
        answer(&follower, bytes, |message| {
            file.write_all_at(message, at)?;
            at = (at + bytes as u64) % (bytes * ROUNDS) as u64;
            file.sync_data()
        })
    });
    let leader = std::thread::spawn(move || {
        let mut follower = connect(to_follower)?;
        answer(&leader, bytes, |message| ask(&mut follower, message))
    });
    let mut client = connect(to_leader)?;
    let message = vec![7; bytes];
    let hist = timed(|| ask(&mut client, &message))?;
    drop(client);
    for thread in [leader, follower] {
        thread.join().map_err(|_| anyhow::anyhow!("a thread of the floor panicked"))??;
    }
    fs::remove_file(&path)?;
    Ok(hist)
}

/// Does it over and over, not for long, and takes its time.
fn timed(mut work: impl FnMut() -> std::io::Result<()>) -> std::io::Result<Hist> {
    let mut hist = Hist::default();
    let start = Instant::now();
    while hist.count() < ROUNDS as u64 && start.elapsed() < AT_MOST {
        let round = Instant::now();
        work()?;
        hist.record(round.elapsed().as_micros() as u64);
    }
    Ok(hist)
}

fn connect(addr: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends a message and waits for one byte.
fn ask(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    stream.write_all(message)?;
    stream.read_exact(&mut [0])
}

/// Takes one connection, does its work on each message of so many bytes, and answers with one byte, until it ends.
fn answer(
    listener: &TcpListener,
    bytes: usize,
    mut work: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut message = vec![0; bytes];
    while stream.peek(&mut [0])? > 0 {
        stream.read_exact(&mut message)?;
        work(&message)?;
        stream.write_all(&[1])?;
    }
    Ok(())
}

/// Writes 4 KiB over what is there already and syncs, over and over: no block is allocated and no length changes, so this is
/// the disk and not the file system's journal.
fn fdatasync(dir: &Path) -> anyhow::Result<Hist> {
    const PAGE: usize = 4096;
    const PAGES: u64 = 256;
    let path = dir.join(".fdatasync-floor");
    let mut file = File::create(&path).context("cannot write where the logs will be")?;
    file.write_all(&vec![0; PAGE * PAGES as usize])?;
    file.sync_all()?;
    let mut round = 0;
    let hist = timed(|| {
        file.write_all_at(&[7; PAGE], round % PAGES * PAGE as u64)?;
        round += 1;
        file.sync_data()
    })?;
    drop(file);
    fs::remove_file(&path)?;
    Ok(hist)
}

/// One byte there and back, between two threads.
fn loopback() -> anyhow::Result<Hist> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let echo = std::thread::spawn(move || answer(&listener, 1, |_| Ok(())));
    let mut stream = connect(addr)?;
    let hist = timed(|| ask(&mut stream, &[1]))?;
    drop(stream);
    echo.join().map_err(|_| anyhow::anyhow!("the echo thread panicked"))??;
    Ok(hist)
}

fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|l| l.starts_with("model name"));
    let name = line.and_then(|l| l.split_once(':')).map_or(std::env::consts::ARCH, |(_, name)| name.trim());
    name.to_owned()
}

fn memory() -> u64 {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|l| l.strip_prefix("MemTotal:"));
    let kib = line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn kernel() -> String {
    let uname = rustix::system::uname();
    format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy())
}

/// The type of the file system that `dir` is on: that of the longest mount point above it.
fn filesystem(dir: &Path) -> String {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let above = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (_, point, kind) = (words.next()?, words.next()?, words.next()?);
        dir.starts_with(point).then(|| (point.len(), kind.to_owned()))
    });
    above.max_by_key(|(len, _)| *len).map_or("unknown".to_owned(), |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_described() {
        let dir = tempfile::tempdir().unwrap();
        let m = describe(dir.path());
        assert!(m.cores > 0 && !m.cpu.is_empty() && !m.kernel.is_empty());
        assert!(m.fdatasync_us.is_some() && m.loopback_rtt_us.is_some(), "{m:?}");
        let floor = floor_us(dir.path(), 100).unwrap();
        assert!(floor >= 1.0, "{floor}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "leaves nothing behind");
    }
}
