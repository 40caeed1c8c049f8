//! What `ssh_config` means, by example and by OpenSSH.

use std::collections::BTreeMap;

use super::*;

fn around(home: &Path) -> Surroundings {
    Surroundings {
        home: home.to_owned(),
        user: "alice".to_owned(),
        agent: None,
        shell: PathBuf::from("/bin/sh"),
        system: home.join("etc"),
    }
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
    let known = ["/a", "/b", "/home/alice/etc/ssh_known_hosts", "/home/alice/etc/ssh_known_hosts2"];
    assert_eq!(route.known_hosts, known.map(PathBuf::from));
}

#[test]
fn refuses_what_would_lead_elsewhere_only_where_it_applies() {
    let config = "Host rack2\n PKCS11Provider a.so\nHost rack3\n PKCS11Provider none\n";
    let error = routed("rack2", config).unwrap_err().to_string();
    assert!(error.contains(":2: `pkcs11provider a.so` is not supported yet"), "{error}");
    assert!(routed("rack1", config).is_ok());
    assert!(routed("rack3", config).is_ok());
    for (config, words) in [
        ("Match localnetwork 10.0.0.0/8\n User x\n", ":1: `match localnetwork 10.0.0.0/8` is not"),
        ("Match host\n", ":1: Match host needs a pattern"),
        ("Port 70000\n", ":1: `70000` is no port"),
        ("HostName %x\n", ":1: `%x` means nothing in HostName"),
        ("IdentityFile ~/%x\n", ":1: `%x` means nothing here"),
        ("IdentityFile ${NO_SUCH}/a\n", ":1: ${NO_SUCH} is not set"),
        ("ConnectTimeout soon\n", ":1: `soon` is no time"),
        ("ProxyJump a/b\n", ":1: `a/b` is no SSH target"),
        ("ProxyCommand nc %x\n", ":1: `%x` means nothing in ProxyCommand"),
        ("Host *\n ProxyJump b\n", "ProxyJump leads through too many hosts"),
        ("Host rack1\n ProxyJump rack1\n", "ProxyJump leads through too many hosts"),
        ("Include d*/x\n", ":1: `include d*/x` is not supported yet"),
        ("User \"x\n", ":1: a quotation mark is missing"),
        ("Match host=\n", ":1: Match host needs a pattern"),
        ("PreferredAuthentications password\n", "password leaves out publickey"),
        ("PubkeyAuthentication no\n", ":1: PubkeyAuthentication no leaves out publickey"),
        ("HostKeyAlgorithms ssh-dss\n", ":1: `hostkeyalgorithms` leaves no algorithm"),
    ] {
        let error = routed("rack1", config).unwrap_err().to_string();
        assert!(error.contains(words), "{config}: {error}");
    }
}

/// What `ssh -G` says of a target, by option.
fn by_openssh(target: &str, file: &Path) -> BTreeMap<String, Vec<String>> {
    let output = std::process::Command::new("ssh").arg("-GF").arg(file).arg(target).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut said = BTreeMap::<String, Vec<String>>::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let (option, value) = line.split_once(' ').unwrap_or((line, ""));
        said.entry(option.to_owned()).or_default().push(value.to_owned());
    }
    said
}

/// Configurations, each with a target: OpenSSH must say the same of it.
const ROWS: [(&str, &str); 49] = [
    ("", "rack1"),
    ("", "root@rack1:2222"),
    ("Host rack?\n User a\n User b\n Port 23\nHost *\n User c\n", "rack1"),
    ("Host !rack1 *\n User a\n", "rack1"),
    ("Host RACK1\n User a\n", "rack1"),
    ("Host *.lan\n User a\nHost rack1\n HostName %h.lan\n", "rack1"),
    ("HostName 10%%1.%h\n", "rack1"),
    ("port=24\nuser = \"a b\" # no more\n", "rack1"),
    ("User 'a'\n", "rack1"),
    ("Match host rack1.lan\n User a\n", "rack1"),
    ("HostName %h.lan\nMatch host rack1.lan\n User a\n", "rack1"),
    ("Match host rack1.lan\n User a\nMatch all\n HostName %h.lan\n", "rack1"),
    ("Match host rack1.lan final\n User a\nMatch all\n HostName %h.lan\n", "rack1"),
    ("Match final host rack1.lan\n User a\nHost *\n HostName %h.lan\n User b\n", "rack1"),
    ("Match canonical\n User a\n", "rack1"),
    ("Match originalhost rack1,rack2 user root\n Port 25\n", "root@rack1"),
    ("Match originalhost rack1 !user root\n Port 25\n", "root@rack1"),
    ("User x\nMatch user x\n Port 26\n", "rack1"),
    ("Match exec \"test %h = rack1\"\n Port 27\n", "rack1"),
    ("Match exec \"test %n = rack2\"\n Port 27\n", "rack1"),
    ("Match !exec false host rack*\n Port 28\n", "rack1"),
    ("Host b?\n ProxyJump none\nHost *\n ProxyJump b1,root@b2:23\n", "rack1"),
    ("Host rack*\n ProxyJump b1,root@b2:23\n", "rack1"),
    ("Host rack*\n ProxyJump ssh://root@b2:23\n", "rack1"),
    ("ProxyCommand nc %h %p\nProxyJump b\n", "rack1"),
    ("Host rack*\n ProxyJump b\n ProxyCommand nc %h %p\n", "rack1"),
    ("ProxyCommand none\nProxyJump b\n", "rack1"),
    ("ProxyJump none\nProxyCommand nc %h %p\n", "rack1"),
    ("ProxyJump none\nProxyJump b\n", "rack1"),
    ("Host rack1\n ProxyJump no\n", "rack1"),
    ("Host b1\n ProxyJump none\nHost *\n ProxyJump b1,b2\n", "rack1"),
    ("HostKeyAlias FARM\n", "RACK1"),
    ("HostName %h.EXAMPLE\n", "Rack1"),
    ("ConnectTimeout 1h30m\nServerAliveCountMax 9\n", "rack1"),
    ("Match originalhost RACK1 exec \"test %h = rack1\"\n Port 29\n", "rack1"),
    (
        "HostKeyAlias farm\nConnectTimeout 2m\nServerAliveInterval 9\nServerAliveCountMax 2\n",
        "rack1",
    ),
    ("UserKnownHostsFile /a \"/b c\"\nGlobalKnownHostsFile /g\n", "rack1"),
    ("IdentitiesOnly yes\nIdentityFile /a\nIdentityFile /b\nIdentityFile /a\n", "rack1"),
    ("CertificateFile /a\nCertificateFile \"/b c\"\n", "rack1"),
    ("Match host=rack1 user = root\n Port 30\n", "root@rack1"),
    ("Match exec=\"test %h = rack1\" originalhost= rack1\n Port 31\n", "rack1"),
    ("BindAddress 10.0.0.9\nBindInterface lo\n", "rack1"),
    ("BindInterface lo\nRevokedHostKeys /gone\nBatchMode yes\nServerAliveInterval 7\n", "rack1"),
    ("HostKeyAlgorithms rsa-sha2-256,ssh-ed25519\nPubkeyAcceptedKeyTypes ecdsa*\n", "rack1"),
    ("HostKeyAlgorithms ^ecdsa*\nPubkeyAcceptedAlgorithms -rsa*,*cert*\n", "rack1"),
    ("HostKeyAlgorithms +ssh-rsa\nCASignatureAlgorithms -*ecdsa*\n", "rack1"),
    ("HostKeyAlgorithms ssh-rsa,rsa-sha2-512\n", "rack1"),
    ("PreferredAuthentications password,publickey\n", "rack1"),
    ("IdentityFile none\n", "rack1"),
];

#[test]
fn says_what_openssh_says() {
    let mut process = Surroundings::of_process();
    // Its login is that of the user ID, whatever the environment says.
    let whoami = std::process::Command::new("id").arg("-un").output().unwrap();
    process.user = String::from_utf8(whoami.stdout).unwrap().trim().to_owned();
    process.shell = PathBuf::from("/bin/sh");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    for (config, target) in ROWS {
        std::fs::write(&file, config).unwrap();
        let said = by_openssh(&ssh_form(target), &file);
        let one = |option: &str| said.get(option).map(|values| values[0].as_str());
        let route = route(&target.parse().unwrap(), Some(&file), &process).unwrap();
        let row = format!("{config:?} {target}: {route:?}");
        assert_eq!(one("hostname"), Some(&*route.host), "{row}");
        assert_eq!(one("port"), Some(&*route.port.to_string()), "{row}");
        assert_eq!(one("user"), Some(&*route.user), "{row}");
        let alias =
            one("hostkeyalias").map_or_else(|| written(&route.host, route.port), str::to_owned);
        assert_eq!(route.known_as, alias, "{row}");
        assert_eq!(one("proxyjump").map(hops_of), hops(&route), "{row}");
        let tokens = [("%h", route.host.as_str()), ("%p", &route.port.to_string())];
        let filled = |command: &str| {
            tokens
                .iter()
                .fold(format!("exec {command}"), |text, (token, is)| text.replace(token, is))
        };
        assert_eq!(one("proxycommand").map(filled), command(&route), "{row}");
        let timeout = route
            .connect_timeout
            .map_or_else(|| "none".to_owned(), |time| time.as_secs().to_string());
        assert_eq!(one("connecttimeout"), Some(&*timeout), "{row}");
        // Where OpenSSH would wait for ever, we do not.
        let alive = one("serveraliveinterval").filter(|interval| *interval != "0");
        assert_eq!(alive.unwrap_or("5"), route.alive.interval.as_secs().to_string(), "{row}");
        assert_eq!(one("serveralivecountmax"), Some(&*route.alive.most.to_string()), "{row}");
        let known: Vec<_> =
            route.known_hosts.iter().map(|file| file.display().to_string()).collect();
        let files =
            ["userknownhostsfile", "globalknownhostsfile"].map(|option| one(option).unwrap());
        assert_eq!(known.join(" "), files.join(" "), "{row}");
        assert_eq!(one("identitiesonly") == Some("yes"), route.identities_only, "{row}");
        if config.contains("IdentityFile /") {
            assert_eq!(said["identityfile"], words(&route.identities), "{row}");
        }
        let certificates = said.get("certificatefile").cloned().unwrap_or_default();
        assert_eq!(certificates, words(&route.certificates), "{row}");
        let from = one("bindaddress").map(|address| Bound::Address(address.to_owned()));
        let from =
            from.or_else(|| one("bindinterface").map(|name| Bound::Interface(name.to_owned())));
        assert_eq!(route.from, from, "{row}");
        let revoked = route.revoked_keys.as_ref().map(|file| file.display().to_string());
        assert_eq!(one("revokedhostkeys"), revoked.as_deref(), "{row}");
        assert_eq!(one("batchmode") == Some("yes"), route.asks_nobody, "{row}");
        let Algorithms { host_keys, user_keys, authorities } = &route.algorithms;
        same_algorithms(one("hostkeyalgorithms"), host_keys, &HOST_KEYS, &row);
        same_algorithms(one("pubkeyacceptedalgorithms"), user_keys, &USER_KEYS, &row);
        same_algorithms(one("casignaturealgorithms"), authorities, &AUTHORITIES, &row);
    }
}

fn words(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| path.display().to_string()).collect()
}

/// Of those we know OpenSSH must list the same, in the same order; certificates are another list to us.
fn same_algorithms(said: Option<&str>, ours: &[String], known: &[&str], row: &str) {
    for certificates in [false, true] {
        let is = |name: &&str| name.ends_with(CERTIFICATE) == certificates;
        let theirs = said.unwrap_or_default().split(',').filter(|name| known.contains(name));
        let theirs: Vec<_> = theirs.filter(is).collect();
        let ours: Vec<_> = ours.iter().map(String::as_str).filter(is).collect();
        assert_eq!(theirs, ours, "{row}");
    }
}

/// Writes a target with a port as `ssh` takes it.
fn ssh_form(target: &str) -> String {
    if target.contains(':') { format!("ssh://{target}") } else { target.to_owned() }
}

/// Returns the hosts that lead there, with what is said of them, first hop first.
fn hops(route: &Route) -> Option<Vec<String>> {
    let Some(Via::Jump(hop)) = &route.via else { return None };
    let mut before = hops(hop).unwrap_or_default();
    before.push(format!("{}@{}:{}", hop.user, hop.host, hop.port));
    Some(before)
}

fn hops_of(jump: &str) -> Vec<String> {
    let whole = |hop: &str| {
        let target: SshTarget = hop.parse().unwrap();
        let user = target.user.unwrap_or_else(|| Surroundings::of_process().user);
        format!("{user}@{}:{}", target.host, target.port.unwrap_or(22))
    };
    jump.split(',').map(whole).collect()
}

fn command(route: &Route) -> Option<String> {
    match &route.via {
        Some(Via::Command { command, .. }) => Some(command.clone()),
        _ => None,
    }
}

#[test]
fn hosts_on_the_way_have_their_own_lines() {
    let config = "Host rack1\n ProxyJump b1,b2\n User admin\nHost b1\n ProxyJump b0\n Port 23\nHost b2\n \
                  HostName 10.0.0.2\n ProxyJump elsewhere\nHost b?\n User jump\n";
    let route = routed("rack1", config).unwrap();
    assert_eq!(hops(&route).unwrap(), ["jump@b0:22", "jump@b1:23", "jump@10.0.0.2:22"]);
    assert_eq!(route.place(), "rack1:22 through 10.0.0.2:22 through b1:23 through b0:22");
}

#[test]
fn follows_includes() {
    let home = tempfile::tempdir().unwrap();
    let ssh = home.path().join(".ssh");
    std::fs::create_dir_all(ssh.join("config.d")).unwrap();
    std::fs::write(ssh.join("config"), "Include config.d/*.conf\n").unwrap();
    std::fs::write(ssh.join("config.d/a.conf"), "Host rack1\n User admin\n").unwrap();
    std::fs::write(ssh.join("config.d/b.txt"), "ProxyJump x\n").unwrap();
    let system = home.path().join("etc");
    std::fs::create_dir_all(system.join("ssh_config.d")).unwrap();
    std::fs::write(system.join("ssh_config"), "Include ssh_config.d/*.conf\nUser nobody\n")
        .unwrap();
    std::fs::write(system.join("ssh_config.d/a.conf"), "Port 23\n").unwrap();
    let route = route(&"rack1".parse().unwrap(), None, &around(home.path())).unwrap();
    assert_eq!((route.user.as_str(), route.port), ("admin", 23));
}

#[test]
fn lax_checking_is_noted_never_followed() {
    assert!(routed("a", "StrictHostKeyChecking accept-new\n").unwrap().lax_checking);
    assert!(!routed("a", "StrictHostKeyChecking ask\n").unwrap().lax_checking);
}
