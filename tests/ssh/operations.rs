//! Operations on hosts over a real SSH server: their arguments arrive unchanged, whatever the login
//! shell.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use toots::host::{HostSession, MoveAside, Observe, OperationError, ReadState, SshHost, TaskLog};

use crate::lab::ready;
use crate::shells::server;

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn operations_mean_the_same_behind_every_login_shell() {
    if !ready() {
        return;
    }
    for (shell, program) in [
        ("bash", "/bin/bash"),
        ("dash", "/bin/dash"),
        ("fish", "/usr/bin/fish"),
        ("tcsh", "/usr/bin/tcsh"),
        ("busybox sh", "/bin/busybox"),
    ] {
        if !Path::new(program).exists() {
            println!("skipped: {program} is not installed");
            continue;
        }
        let sshd = server(shell, "echo Welcome", "");
        let session = sshd.connect().await.unwrap();
        let host: Arc<dyn HostSession> = Arc::new(SshHost::over(session));
        let path = sshd.at("it's $HOME\\n!x");
        fs::write(&path, "now taken 1\n").unwrap();
        let read = ReadState {
            path: path.display().to_string(),
            deadline: LIMIT,
        };
        let state = host.perform(read).await.unwrap();
        assert_eq!(state.record, b"now taken 1", "{shell}");
        let missing = ReadState {
            path: "/no such file".into(),
            deadline: LIMIT,
        };
        let missing = host.perform(missing).await;
        assert!(matches!(
            missing,
            Err(OperationError::Failed { status: 1, .. })
        ));
        let observe = Observe {
            paths: vec![sshd.at("starts").display().to_string()],
            ..Observe::default()
        };
        let observation = host.perform(observe.clone()).await.unwrap();
        assert_eq!(observation.files[&observe.paths[0]].kind, 'f', "{shell}");
        assert!(!observation.facts.kernel.is_empty(), "{shell}");
        let folder = sshd.at("it's data");
        fs::create_dir(&folder).unwrap();
        let move_folder = MoveAside {
            dirs: vec![folder.display().to_string(), "/no such folder".into()],
            suffix: ".former".into(),
            deadline: LIMIT,
        };
        let moved = host.perform(move_folder).await.unwrap();
        assert_eq!(moved.len(), 1, "{shell}");
        assert!(Path::new(&moved[0].path).is_dir() && !folder.exists());
        let log = TaskLog {
            work_dir: folder.display().to_string(),
            task: "it's none".into(),
        };
        assert_eq!(host.perform(log).await.unwrap(), "", "{shell}");
    }
}
