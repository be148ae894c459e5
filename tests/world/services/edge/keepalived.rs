//! keepalived: who of the edges holds the virtual address. Advertisements pass by a table that all
//! share, as far as the network lets them.

use std::net::Ipv4Addr;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use crate::process::{Process, Program, Signal};
use crate::services::Surroundings;
use crate::services::view::{Advert, Seat, Service, View};

/// `advert_int` and the interval of the check.
const INTERVAL: Duration = Duration::from_secs(1);
/// `fall` and `rise` of the check.
const CHECKS: u32 = 2;

pub struct Keepalived(pub Surroundings);

struct Settings {
    priority: u8,
    password: String,
    peers: Vec<Ipv4Addr>,
    vip: Ipv4Addr,
}

/// Reads toots' configuration; `None` for one that is not whole.
fn parse(text: &str) -> Option<Settings> {
    let value = |key: &str| {
        let lines = text.lines().map(str::trim);
        lines
            .filter_map(|line| line.strip_prefix(key))
            .find_map(|rest| rest.strip_prefix(' '))
    };
    let block = |name: &str| {
        let (_, rest) = text.split_once(&format!("{name} {{"))?;
        Some(rest.split_once('}')?.0)
    };
    let peers = block("unicast_peer").unwrap_or_default();
    let vip = block("virtual_ipaddress")?.trim();
    Some(Settings {
        priority: value("priority")?.parse().ok()?,
        password: value("auth_pass")?.to_owned(),
        peers: peers
            .split_whitespace()
            .filter_map(|peer| peer.parse().ok())
            .collect(),
        vip: vip.split('/').next()?.parse().ok()?,
    })
}

struct Router {
    world: View,
    process: Process,
    settings: Settings,
    seat: Seat,
    /// Results of the check in a row; it counts after [`CHECKS`] of them.
    row: u32,
    is_up: bool,
    /// When a master last advertised itself.
    last_advert: Instant,
}

impl Router {
    fn is_master(&self) -> bool {
        self.seat.row().leads
    }

    fn set_master(&self, is_master: bool) {
        if is_master != self.is_master() {
            let machine = self.process.address;
            self.world.hold(machine, self.settings.vip, is_master);
            let network = &self.process.network;
            network.hold(machine, self.settings.vip, is_master);
            self.seat.set(|row| row.leads = is_master);
            let what = if is_master { "leader" } else { "backup" };
            self.process.notes().note(what);
        }
    }

    fn advertise(&self, priority: u8) {
        let advert = Advert {
            priority,
            password: self.settings.password.clone(),
            at: Instant::now(),
        };
        self.world
            .advertise(self.process.address, self.settings.vip, advert);
    }

    /// Whether something listens at port 80.
    fn check(&mut self) {
        let answers = self.process.network.listens(self.process.address, 80);
        self.row = if answers == self.is_up {
            0
        } else {
            self.row + 1
        };
        if self.row >= CHECKS {
            self.is_up = answers;
            self.row = 0;
            self.last_advert = Instant::now();
        }
    }

    /// Listens to the others and decides.
    fn decide(&mut self) {
        let own = (self.settings.priority, self.process.address);
        let skew = INTERVAL.mul_f64(f64::from(255 - self.settings.priority) / 256.0);
        let mut stronger = false;
        for peer in &self.settings.peers {
            let advert = self.world.advert(*peer, self.settings.vip);
            let reaches = self.process.network.reaches(self.process.address, *peer);
            let Some(advert) = advert.filter(|a| reaches && a.password == self.settings.password)
            else {
                continue;
            };
            if advert.priority == 0 && advert.at > self.last_advert {
                // Its master leaves: there is no need to wait for its silence.
                self.last_advert = advert.at.checked_sub(INTERVAL * 3).unwrap_or(advert.at);
            } else if advert.priority > 0 && advert.at.elapsed() <= INTERVAL * 2 {
                stronger |= (advert.priority, *peer) > own;
                if !self.is_master() {
                    self.last_advert = self.last_advert.max(advert.at);
                }
            }
        }
        if !self.is_up {
            if self.is_master() {
                self.advertise(0);
            }
            self.set_master(false);
        } else if self.is_master() && stronger {
            self.set_master(false);
            self.last_advert = Instant::now();
        } else if !self.is_master() && self.last_advert.elapsed() >= INTERVAL * 3 + skew {
            self.set_master(true);
        }
        if self.is_master() {
            self.advertise(self.settings.priority);
        }
    }
}

#[async_trait]
impl Program for Keepalived {
    async fn run(&self, process: Process) -> i64 {
        let path = process
            .command
            .iter()
            .find_map(|word| word.strip_prefix("--use-file="));
        let settings = path
            .and_then(|path| process.text(path))
            .and_then(|text| parse(&text));
        let Some(settings) = settings else {
            process
                .log
                .line("Configuration file problem(s) - keepalived cannot run");
            return 1;
        };
        let seat = self
            .0
            .view
            .sit(Service::Keepalived, process.address, &process.name);
        seat.set(|row| row.serves = true);
        process.notes().note("start");
        // Killed, it left the address where it was; it begins without it.
        self.0.view.hold(process.address, settings.vip, false);
        process.network.hold(process.address, settings.vip, false);
        let mut router = Router {
            world: self.0.view.clone(),
            process,
            settings,
            seat,
            row: 0,
            is_up: false,
            last_advert: Instant::now(),
        };
        loop {
            tokio::select! {
                biased;
                Some(signal) = router.process.signals.recv() => if signal == Signal::Term {
                    if router.is_master() {
                        router.advertise(0);
                    }
                    router.set_master(false);
                    return 0;
                },
                () = sleep(INTERVAL) => {
                    router.check();
                    router.decide();
                }
            }
        }
    }
}
