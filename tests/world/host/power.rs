//! Whether a machine works.

use std::pin::pin;
use std::sync::{Mutex, PoisonError};

use crate::changes::Bell;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    On,
    /// It does nothing, and forgets nothing.
    Hangs,
    Off,
}

pub struct PowerSwitch {
    power: Mutex<Power>,
    bell: Bell,
}

impl Default for PowerSwitch {
    fn default() -> Self {
        Self {
            power: Mutex::new(Power::On),
            bell: Bell::default(),
        }
    }
}

impl PowerSwitch {
    pub fn get(&self) -> Power {
        *self.power.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set(&self, power: Power) {
        *self.power.lock().unwrap_or_else(PoisonError::into_inner) = power;
        self.bell.ring();
    }

    async fn until(&self, is_on: bool) {
        let is_so = || ((self.get() == Power::On) == is_on).then_some(());
        self.bell.wait_for(is_so).await;
    }

    /// Returns when the machine is at work.
    pub async fn awake(&self) {
        self.until(true).await;
    }

    /// Polls a process only while the machine is at work.
    pub async fn run(&self, process: impl Future<Output = ()>) {
        let mut process = pin!(process);
        loop {
            self.until(true).await;
            tokio::select! {
                biased;
                () = self.until(false) => {}
                () = &mut process => return,
            }
        }
    }
}
