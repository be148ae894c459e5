//! Copies of this process: each goes on from where it was made, with memory of its own.
//!
//! A copy has only the thread that made it. Whoever makes copies therefore runs in a process of its own
//! ([`super::explore`]), in which no other thread holds a lock.

use fork::{Fork, fork, wait_any};

/// How many run at once: as many as there are cores.
const AT_ONCE: usize = 2;

/// The copies that this process made.
#[derive(Debug, Default)]
pub struct Copies {
    running: usize,
}

impl Copies {
    /// Makes a copy, once there is room for it. Whether this is the copy.
    pub fn start(&mut self) -> bool {
        while self.running >= AT_ONCE {
            self.wait_for_next();
        }
        match fork().expect("a copy of this process") {
            Fork::Child => {
                // They are none of its own.
                self.running = 0;
                true
            }
            Fork::Parent(_) => {
                self.running += 1;
                false
            }
        }
    }

    /// Waits until each has ended. How it ended shows in the results that it kept.
    pub fn wait(&mut self) {
        while self.running > 0 {
            self.wait_for_next();
        }
    }

    fn wait_for_next(&mut self) {
        wait_any().expect("a copy that ends");
        self.running -= 1;
    }
}
