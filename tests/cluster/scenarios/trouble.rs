//! Hosts that allow little, and programs that crash.

use std::time::Duration;

use crate::lab::{Lab, containers, on, until};

/// sshd with two sessions per connection and few logins at once: the run succeeds, more slowly.
pub fn small_limits(lab: &Lab) {
    let [first, ..] = lab.masters;
    let reload = |text: &str| {
        for machine in lab.machines {
            on(
                machine,
                &format!(
                    "printf '%b' '{text}' > /etc/ssh/sshd_config.d/limits.conf && systemctl reload ssh"
                ),
            );
        }
    };
    reload("MaxSessions 2\\nMaxStartups 3:100:3\\n");
    on(first, "sshd -T | grep -x 'maxsessions 2'");
    // A killed leader would keep its office until its session expires.
    on(
        first,
        "docker stop toots-chronos && docker rm toots-chronos",
    );
    let run = lab.toots(&["cluster", "up", "--yes", "--output", "json"]);
    reload("");
    assert!(
        run.expect(0).result()["changed"]
            .as_u64()
            .is_some_and(|n| n > 0),
        "the container is back"
    );
}

/// A program that restarted once is healthy; one in a crash loop is not, even while it runs.
pub fn restarts(lab: &Lab) {
    let started = || {
        containers("s1")
            .get("toots-registrator")
            .map(|(_, started)| started.clone())
    };
    let kill = || {
        let before = started();
        on(
            "s1",
            "kill -9 $(docker inspect -f '{{.State.Pid}}' toots-registrator)",
        );
        until("it was started again", Duration::from_secs(60), || {
            started().is_some_and(|now| Some(now) != before)
        });
    };
    kill();
    until("healthy after one restart", Duration::from_secs(30), || {
        lab.toots(&["cluster", "status"]).code == 0
    });
    (0..5).for_each(|_| kill());
    let unhealthy = lab.toots(&["cluster", "status"]).expect(6);
    assert!(
        unhealthy.stdout.contains("crash loop (") && unhealthy.stdout.contains(" restarts"),
        "{}",
        unhealthy.stdout
    );
    on("s1", "docker rm -f toots-registrator");
    lab.toots(&["cluster", "up", "--yes", "--output", "json"])
        .expect(0);
}
