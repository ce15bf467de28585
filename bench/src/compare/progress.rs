//! How far the comparison is, on stderr: a bar at a terminal, one line per scenario elsewhere.

use std::cell::RefCell;
use std::rc::Rc;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::system::System;
use crate::cli::Ui;

/// Shared by everything that runs.
#[derive(Clone, Debug)]
pub struct Progress {
    bar: ProgressBar,
    ui: Ui,
    scenario: Rc<RefCell<String>>,
}

impl Progress {
    /// For so many steps.
    pub fn new(steps: u64, ui: Ui) -> Self {
        let target = if ui.can_animate() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(steps), target);
        let style = ProgressStyle::with_template("{elapsed:>4} {bar:24} {pos}/{len} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, ui, scenario: Rc::default() }
    }

    /// A scenario begins.
    pub fn scenario(&self, title: &str) {
        title.clone_into(&mut self.scenario.borrow_mut());
        self.bar.set_message(title.to_owned());
        self.bar.tick();
    }

    /// What is going on in it.
    pub fn now(&self, system: System, what: &str) {
        self.bar.set_message(format!("{} · {system} · {what}", self.scenario.borrow()));
        self.bar.tick();
    }

    /// A step is done.
    pub fn step(&self) {
        self.bar.inc(1);
    }

    /// A line that stays.
    pub fn line(&self, text: &str) {
        self.bar.suspend(|| self.ui.say(text));
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
