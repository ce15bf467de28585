//! Mutants: bugs seeded on purpose, so that a checker is trusted only after it has caught one.
//!
//! A place in the shipped code asks [`mutant!`](crate::mutant!) whether its bug is switched on. Without the feature
//! `mutants` the answer is the constant `false` and the bug is not compiled; with it, one mutant at a time is active on a
//! thread, and the simulator runs all of a world on one thread. Real nodes run their workers on threads of their own,
//! where none is ever active.
//!
//! A core stays a value: a mutant is switched on before a world starts and never within it.

mod list;

pub use list::LIST;

/// A seeded bug, as it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// Its short name: `R09`, `Z03`, `D01`, `N02`.
    pub name: &'static str,
    /// What the code does wrong while it is on.
    pub what: &'static str,
    /// The public bug it is, with its number (`ZOOKEEPER-4643`, `etcd#14370`), or the rule of the paper it breaks.
    pub source: &'static str,
    /// Whether `source` is a bug that somebody really had.
    pub real: bool,
    /// The oracle that must catch it, by its name.
    pub oracle: &'static str,
}

#[cfg(feature = "mutants")]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) };
}

/// Whether mutants were compiled in.
pub const COMPILED: bool = cfg!(feature = "mutants");

/// Switches one mutant on for this thread, or all off. Does nothing without the feature `mutants`.
pub fn activate(name: Option<&'static str>) {
    #[cfg(feature = "mutants")]
    ACTIVE.set(name);
    let _ = name;
}

/// The mutant that is on, if any is on this thread. The constant `None` without the feature `mutants`.
#[inline]
pub fn active() -> Option<&'static str> {
    #[cfg(feature = "mutants")]
    return ACTIVE.get();
    #[cfg(not(feature = "mutants"))]
    None
}

/// Does something with every mutant off: what judges must not be bitten itself.
pub fn suspended<T>(act: impl FnOnce() -> T) -> T {
    #[cfg(feature = "mutants")]
    let before = ACTIVE.take();
    let done = act();
    #[cfg(feature = "mutants")]
    ACTIVE.set(before);
    done
}

/// Whether this mutant is on; ask through [`mutant!`](crate::mutant!).
#[inline(always)]
#[allow(clippy::inline_always, reason = "without the feature it must be a constant wherever it is asked")]
pub fn is_active(name: &'static str) -> bool {
    #[cfg(feature = "mutants")]
    return ACTIVE.get().is_some_and(|on| std::ptr::eq(on, name) || on == name);
    #[cfg(not(feature = "mutants"))]
    {
        let _ = name;
        false
    }
}

/// Whether the mutant of this name is switched on: `if mutant!("R09") { … }`. The constant `false` in a build without
/// the feature `mutants`.
#[macro_export]
macro_rules! mutant {
    ($name:literal) => {
        $crate::mutant::is_active($name)
    };
}
