//! What `ssh_config` means, by example.

use super::*;

fn around(home: &Path) -> Surroundings {
    Surroundings { home: home.to_owned(), user: "alice".to_owned(), agent: None }
}

fn routed(target: &str, config: &str) -> Result<Route, SshConfigError> {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config");
    std::fs::write(&file, config).unwrap();
    route(&target.parse().unwrap(), Some(&file), &around(Path::new("/home/alice")))
}

#[test]
fn the_first_value_wins_and_the_target_wins_over_it() {
    let config =
        "Host rack*\n Port 2222\n User admin\nHost *\n Port 22\n User nobody\n HostName %h.lan\n";
    let route = routed("rack1", config).unwrap();
    assert_eq!(
        (route.host.as_str(), route.port, route.user.as_str()),
        ("rack1.lan", 2222, "admin")
    );
    let route = routed("root@rack1:23", config).unwrap();
    assert_eq!((route.port, route.user.as_str()), (23, "root"));
    assert_eq!(routed("web", config).unwrap().user, "nobody");
}

#[test]
fn a_negated_pattern_takes_a_host_out() {
    let config = "Host *.lan !rack2.lan\nUser admin\n";
    assert_eq!(routed("rack1.lan", config).unwrap().user, "admin");
    assert_eq!(routed("rack2.lan", config).unwrap().user, "alice");
}

#[test]
fn key_files_add_up_and_tokens_are_filled() {
    let config =
        "IdentityFile ~/.ssh/%r@%h\nIdentityFile=\"/my keys/b\"\nUserKnownHostsFile /a /b\n";
    let route = routed("root@rack1", config).unwrap();
    let want = ["/home/alice/.ssh/root@rack1", "/my keys/b"].map(PathBuf::from);
    assert_eq!(route.identities, want);
    assert_eq!(route.known_hosts, ["/a", "/b"].map(PathBuf::from));
}

#[test]
fn refuses_what_would_lead_elsewhere_only_where_it_applies() {
    let config = "Host rack2\n ProxyJump bastion\nHost rack3\n ProxyJump none\n";
    let error = routed("rack2", config).unwrap_err().to_string();
    assert!(error.contains(":2: `proxyjump bastion` is not supported yet"), "{error}");
    assert!(routed("rack1", config).is_ok());
    assert!(routed("rack3", config).is_ok());
    let error = routed("rack1", "Match exec true\n User x\n").unwrap_err().to_string();
    assert!(error.contains("Match exec true"), "{error}");
    assert_eq!(routed("rack1", "Host x\nMatch all\n User y\n").unwrap().user, "y");
}

#[test]
fn follows_includes() {
    let home = tempfile::tempdir().unwrap();
    let ssh = home.path().join(".ssh");
    std::fs::create_dir_all(ssh.join("config.d")).unwrap();
    std::fs::write(ssh.join("config"), "Include config.d/*.conf\n").unwrap();
    std::fs::write(ssh.join("config.d/a.conf"), "Host rack1\n User admin\n").unwrap();
    std::fs::write(ssh.join("config.d/b.txt"), "ProxyJump x\n").unwrap();
    let route = route(&"rack1".parse().unwrap(), None, &around(home.path())).unwrap();
    assert_eq!(route.user, "admin");
}

#[test]
fn lax_checking_is_noted_never_followed() {
    assert!(routed("a", "StrictHostKeyChecking accept-new\n").unwrap().lax_checking);
    assert!(!routed("a", "StrictHostKeyChecking ask\n").unwrap().lax_checking);
}
