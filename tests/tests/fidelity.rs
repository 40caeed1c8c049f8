//! The fidelity table: each row's files lie before a real sshd, and both `ssh` and freehold are sent there.
//! They fare the same, but where freehold is stricter on purpose.

#![allow(clippy::unwrap_used, reason = "a test fails where its world is not as it must be")]

mod common;

use common::{
    lab,
    table::{
        Table,
        Verdict::{In, Out, Stricter},
        row,
    },
};

// How askpass answers, certificates are signed, authorities known.
const ASK: [(&str, &str); 2] = [("SSH_ASKPASS", "W/right"), ("SSH_ASKPASS_REQUIRE", "force")];
const GOOD: &[&str] = &["-h", "-n", "127.0.0.1", "-V", "-1d:+1d"];
const LATE: &[&str] = &["-h", "-n", "127.0.0.1", "-V", "20200101:20200102"];
const OTHER: &[&str] = &["-h", "-n", "t", "-V", "-1d:+1d"];
const ANY: &[&str] = &["-h", "-V", "-1d:+1d"];
const SHA1: &[&str] = &["-h", "-n", "127.0.0.1", "-t", "ssh-rsa"];
const TRUST: &str = "@cert-authority [127.0.0.*]:* <host_ca>";
const RSA: &str = "@cert-authority * <rsa_ca>";
const KEY: &str = "IdentityFile W/key";

#[test]
fn key_files() {
    let lab = lab();
    let table = Table::new(&lab, "sshfkeys");
    let shop = &table.workshop;
    shop.key("ecdsa", "ecdsa", "").unwrap();
    shop.key("rsa", "rsa", "").unwrap();
    shop.key("open", "ed25519", "").unwrap();
    shop.write("open", &std::fs::read_to_string(shop.at("open")).unwrap(), 0o644).unwrap();
    table.is(&row("a key file", "IdentityFile W/key"), In);
    table.is(&row("another's", "IdentityFile W/other"), Out("(refused)"));
    table.is(&row("none", "IdentityFile none"), Out("there was no key to try"));
    let several = "IdentityFile W/other\n IdentityFile W/gone\n IdentityFile W/key";
    table.is(&row("several, in order", several), In);
    table.is(&row("ecdsa", "IdentityFile W/ecdsa").opens(&["ecdsa"]), In);
    table.is(&row("rsa", "IdentityFile W/rsa").opens(&["rsa"]), In);
    shop.write("t@root", &std::fs::read_to_string(shop.at("key")).unwrap(), 0o600).unwrap();
    table.is(&row("tokens", "IdentityFile W/%n@%r"), In);
    table.is(&row("readable by all", "IdentityFile W/open").opens(&["open"]), Out("mode is 0644"));
    let sha256 = "PubkeyAcceptedAlgorithms rsa-sha2-256";
    table.is(
        &row("an sshd that does not say so", "IdentityFile W/rsa").opens(&["rsa"]).sshd(sha256),
        Out("refused"),
    );
    let only = "IdentityFile W/rsa\n PubkeyAcceptedAlgorithms rsa-sha2-256";
    table.is(&row("SHA-256 there", only).opens(&["rsa"]), In);
    let other = "IdentityFile W/key\n PubkeyAcceptedAlgorithms rsa*";
    table.is(&row("not accepted", other), Out("not among PubkeyAcceptedAlgorithms"));
    let old = "PubkeyAcceptedAlgorithms ssh-rsa";
    let row_of = |ssh| row("an sshd that takes SHA-1 only", ssh).opens(&["rsa"]).sshd(old);
    table.is(&row_of("IdentityFile W/rsa"), Out("(refused)"));
    let lax = "IdentityFile W/rsa\n PubkeyAcceptedAlgorithms ssh-rsa";
    table.is(&row_of(lax), Stricter("leaves no algorithm that freehold knows"));
}

#[test]
fn keys_under_a_passphrase() {
    let lab = lab();
    let table = Table::new(&lab, "sshfpass");
    let shop = &table.workshop;
    shop.key("locked", "ed25519", "hunter2").unwrap();
    shop.key("alone", "ed25519", "hunter2").unwrap();
    shop.key("pem", "rsa", "hunter2").unwrap();
    for name in ["alone", "pem"] {
        std::fs::rename(shop.at(&format!("{name}.pub")), shop.at("moved.pub")).unwrap();
        std::fs::copy(shop.at("moved.pub"), shop.at(&format!("{name}_.pub"))).unwrap();
    }
    let pem = ["-q", "-p", "-m", "PKCS8", "-P", "hunter2", "-N", "hunter2", "-f"];
    acceptance::lab::command::Run::new("ssh-keygen").args(pem).arg(shop.at("pem")).ok().unwrap();
    shop.write("right", "#!/bin/sh\necho hunter2\n", 0o755).unwrap();
    shop.write("wrong", "#!/bin/sh\necho \"$1\" >>\"$0.asked\"\necho hunter3\n", 0o755).unwrap();
    shop.write("cancel", "#!/bin/sh\nexit 1\n", 0o755).unwrap();
    let locked = |ssh| row("locked", ssh).opens(&["locked", "alone_", "pem_"]);
    table.is(&locked("IdentityFile W/locked"), Out("nobody is there to ask"));
    table.is(&locked("IdentityFile W/locked").with(&ASK), In);
    table.is(&locked("IdentityFile W/alone").with(&ASK), In);
    table.is(&locked("IdentityFile W/pem").with(&ASK), In);
    table.is(&locked("IdentityFile W/other\n IdentityFile W/locked").with(&ASK), In);
    let display: &[_] = &[("SSH_ASKPASS", "W/right"), ("DISPLAY", ":9")];
    table.is(&locked("IdentityFile W/locked").with(display), In);
    let never: &[_] =
        &[("SSH_ASKPASS", "W/right"), ("DISPLAY", ":9"), ("SSH_ASKPASS_REQUIRE", "never")];
    table.is(&locked("IdentityFile W/locked").with(never), Out("nobody is there to ask"));
    let wrong: &[_] = &[("SSH_ASKPASS", "W/wrong"), ("SSH_ASKPASS_REQUIRE", "force")];
    table.is(&locked("IdentityFile W/locked").with(wrong), Out("wrong 3 times"));
    let asked = std::fs::read_to_string(shop.at("wrong.asked")).unwrap();
    assert_eq!(asked.lines().count(), 6, "three times each: {asked}");
    let cancel: &[_] = &[("SSH_ASKPASS", "W/cancel"), ("SSH_ASKPASS_REQUIRE", "force")];
    table.is(&locked("IdentityFile W/locked").with(cancel), Out("no passphrase was given"));
    let batch = "BatchMode yes\n IdentityFile W/locked";
    table.is(&locked(batch).with(&ASK), Out("nobody is there to ask"));
    let not_asked: &[_] = &[("SSH_ASKPASS", "W/wrong"), ("SSH_ASKPASS_REQUIRE", "force")];
    let useless = row("a locked key that the host does not know", "IdentityFile W/locked");
    table.is(&useless.with(not_asked), Out("(refused)"));
    let after = std::fs::read_to_string(shop.at("wrong.asked")).unwrap();
    assert_eq!(asked, after, "a key that opens nothing is not unlocked");
    // Whoever is slow to answer outlasts sshd; the answer is not lost.
    shop.write("slow", "#!/bin/sh\nsleep 6\necho hunter2\n", 0o755).unwrap();
    let slow: &[_] = &[("SSH_ASKPASS", "W/slow"), ("SSH_ASKPASS_REQUIRE", "force")];
    let (ours, _) =
        table.logs(&locked("IdentityFile W/locked").with(slow).sshd("LoginGraceTime 3"));
    assert!(ours.contains("Accepted publickey"), "{ours}");
    shop.write("counts", "#!/bin/sh\necho >>\"$0.asked\"\necho hunter2\n", 0o755).unwrap();
    let host = "host \"j\" {\n  ssh = \"j\"\n  accel = \"tcg\"\n}\n";
    table.bed.edit("host \"t\"", &format!("{host}host \"t\"")).unwrap();
    let counts: &[_] = &[("SSH_ASKPASS", "W/counts"), ("SSH_ASKPASS_REQUIRE", "force")];
    let two = locked("IdentityFile W/locked").with(counts).sshd("LogLevel VERBOSE");
    let (ours, _) = table.logs(&two);
    assert_eq!(ours.matches("Accepted publickey").count(), 2, "{ours}");
    let asked = std::fs::read_to_string(shop.at("counts.asked")).unwrap();
    assert_eq!(asked.lines().count(), 2, "once for two hosts, and once by ssh");
}

#[test]
fn a_passphrase_is_typed_at_the_terminal() {
    let lab = lab();
    let table = Table::new(&lab, "sshftty");
    table.workshop.key("locked", "ed25519", "hunter2").unwrap();
    let locked = row("locked", "IdentityFile W/locked").opens(&["locked"]);
    let (screen, after) = table.typed(&locked, "hunter1\nhunterx\x7f2\n");
    assert!(screen.contains("cannot connect to its libvirt"), "{screen}");
    assert_eq!(screen.matches("That was not it.").count(), 1, "{screen}");
    assert!(!screen.contains("hunter"), "{screen}");
    let is_itself = |after: &str| {
        let modes: Vec<&str> = after.split_whitespace().collect();
        ["echo", "icanon", "isig"].iter().all(|mode| modes.contains(mode))
    };
    assert!(is_itself(&after), "{after}");
    let (screen, after) = table.typed(&locked, "hun\x03");
    assert!(!screen.contains("hun") && !screen.contains("cannot"), "{screen}");
    assert!(after.starts_with("130") && is_itself(&after), "{after}");
    let nobody = locked.with(&[("SSH_ASKPASS", "W/gone"), ("SSH_ASKPASS_REQUIRE", "never")]);
    let (screen, _) = table.typed(&nobody, "\n");
    assert!(screen.contains("no passphrase was given"), "{screen}");
}

#[test]
fn agents() {
    let lab = lab();
    let table = Table::new(&lab, "sshfagent");
    table.workshop.key("rsa", "rsa", "").unwrap();
    table.is(&row("a key of the agent's", "IdentityFile none").held(&["other", "key"]), In);
    table.is(&row("rsa of the agent's", "IdentityFile none").held(&["rsa"]).opens(&["rsa"]), In);
    let only = "IdentitiesOnly yes\n IdentityFile W/other";
    table.is(&row("IdentitiesOnly", only).held(&["key"]), Out("(refused)"));
    let public = "IdentitiesOnly yes\n IdentityFile W/key.pub";
    table.is(&row("a public half, its other in the agent", public).held(&["other", "key"]), In);
    let elsewhere = "IdentityAgent AGENT\n IdentityFile none";
    let gone: &[_] = &[("SSH_AUTH_SOCK", "W/gone")];
    table.is(&row("IdentityAgent", elsewhere).held(&["key"]).with(gone), In);
    let none = "IdentityAgent none\n IdentityFile none";
    table.is(&row("IdentityAgent none", none).held(&["key"]), Out("no key to try"));
    table.is(&row("an agent that is gone", "IdentityFile W/key").with(gone), In);
    let many: &[_] = &["other", "third", "fourth", "key"];
    let tries = "MaxAuthTries 2";
    let too_many = row("too many keys", "IdentityFile none").held(many).sshd(tries);
    table.is(&too_many, Out("hung up"));
    let first = row("the named key goes first", "IdentityFile W/key").held(many).sshd(tries);
    table.is(&first, In);
    let methods = "AuthenticationMethods publickey,publickey";
    let two = "IdentityFile W/key\n IdentityFile W/other";
    table.is(&row("two keys are wanted", two).opens(&["key", "other"]).sshd(methods), In);
    let more = "AuthenticationMethods publickey,password\nPasswordAuthentication yes";
    let both = row("a password is wanted, too", "IdentityFile W/key").sshd(more);
    table.is(&both, Out("good, but the host wants more"));
}

#[test]
fn certificates_of_users() {
    let lab = lab();
    let table = Table::new(&lab, "sshfcert");
    let shop = &table.workshop;
    shop.key("user_ca", "ed25519", "").unwrap();
    shop.key("rsa_ca", "rsa", "").unwrap();
    for (name, kind, authority, how) in [
        ("good", "ed25519", "user_ca", ["-n", "root", "-V", "-1d:+1d"]),
        ("rsa", "rsa", "rsa_ca", ["-n", "root", "-V", "-1d:+1d"]),
        ("ecdsa", "ecdsa", "user_ca", ["-n", "root", "-V", "-1d:+1d"]),
        ("late", "ed25519", "user_ca", ["-n", "root", "-V", "20200101:20200102"]),
        ("nobody", "ed25519", "user_ca", ["-n", "nobody", "-V", "-1d:+1d"]),
        ("strange", "ed25519", "other", ["-n", "root", "-V", "-1d:+1d"]),
        ("apart", "ed25519", "user_ca", ["-n", "root", "-V", "-1d:+1d"]),
    ] {
        shop.key(name, kind, "").unwrap();
        shop.sign(authority, &shop.at(&format!("{name}.pub")), &how).unwrap();
    }
    std::fs::rename(shop.at("apart-cert.pub"), shop.at("certificate")).unwrap();
    let authorities = ["user_ca", "rsa_ca"].map(|name| shop.public(name).unwrap());
    shop.write("authorities", &authorities.join("\n"), 0o644).unwrap();
    let trusting = |name, ssh| row(name, ssh).sshd("TrustedUserCAKeys W/authorities").opens(&[]);
    table.is(&trusting("beside the key", "IdentityFile W/good"), In);
    table.is(&trusting("of an RSA key, by an RSA authority", "IdentityFile W/rsa"), In);
    table.is(&trusting("of an ECDSA key", "IdentityFile W/ecdsa"), In);
    table.is(&trusting("expired", "IdentityFile W/late"), Out("late-cert.pub"));
    table.is(&trusting("for another", "IdentityFile W/nobody"), Out("(refused)"));
    table.is(&trusting("by another", "IdentityFile W/strange"), Out("(refused)"));
    table.is(&trusting("not beside the key", "IdentityFile W/apart"), Out("(refused)"));
    let named = "CertificateFile W/certificate\n IdentityFile W/apart";
    table.is(&trusting("CertificateFile", named), In);
    let instead = "CertificateFile W/certificate\n IdentityFile W/good";
    table.is(&trusting("none beside keys then", instead), Out("its key is nowhere"));
    let gone = "CertificateFile W/gone\n IdentityFile W/key";
    table.is(&trusting("that is gone", gone).opens(&["key"]), In);
    table.is(&trusting("the agent's", "IdentityFile none").held(&["good"]), In);
    table.is(&trusting("the agent's, RSA", "IdentityFile none").held(&["rsa"]), In);
    let public = "CertificateFile W/certificate\n IdentityFile W/apart.pub\n IdentitiesOnly yes";
    table.is(&trusting("in a file, its key in the agent", public).held(&["apart"]), In);
    // Beside a file, the key in the agent alone; and where nobody is asked for what the agent can do.
    std::fs::copy(shop.at("apart.pub"), shop.at("far.pub")).unwrap();
    std::fs::copy(shop.at("certificate"), shop.at("far-cert.pub")).unwrap();
    let beside = "IdentityFile W/far\n IdentitiesOnly yes";
    table.is(&trusting("beside a public half", beside).held(&["apart"]), In);
    table.is(&trusting("beside a public half alone", beside), Out("there was no key to try"));
    shop.key("shut", "ed25519", "").unwrap();
    std::fs::copy(shop.at("shut"), shop.at("ajar")).unwrap();
    shop.sign("user_ca", &shop.at("shut.pub"), &["-n", "root"]).unwrap();
    let lock = ["-q", "-p", "-P", "", "-N", "hunter2", "-f"];
    acceptance::lab::command::Run::new("ssh-keygen").args(lock).arg(shop.at("shut")).ok().unwrap();
    table.is(&trusting("beside a locked key", "IdentityFile W/shut").held(&["ajar"]), In);
    table.is(&trusting("beside a locked key alone", "IdentityFile W/shut"), Out("nobody is there"));
    let plain = "IdentityFile W/good\n PubkeyAcceptedAlgorithms -*cert*";
    table.is(&trusting("not accepted", plain), Out("not among PubkeyAcceptedAlgorithms"));
}

#[test]
fn host_keys() {
    let lab = lab();
    let table = Table::new(&lab, "sshfhost");
    let shop = &table.workshop;
    shop.key("ecdsa", "ecdsa", "").unwrap();
    shop.key("rsa", "rsa", "").unwrap();
    let krl = acceptance::lab::command::Run::new("ssh-keygen").args(["-q", "-k", "-f"]);
    krl.arg(shop.at("krl")).arg(shop.at("other.pub")).ok().unwrap();
    let of = |name, known| row(name, "IdentityFile W/key").known(known);
    let with = |name, ssh| row(name, ssh);
    table.is(&of("hashed", "[127.0.0.1]:PORT HOSTKEY").hashed(), In);
    table.is(&of("without a port", "127.0.0.1 HOSTKEY"), In);
    table.is(&of("wildcards", "[127.0.0.?]:* HOSTKEY"), In);
    table.is(&of("negated", "[127.0.0.*]:*,![127.0.0.1]:* HOSTKEY"), Out("host key is not known"));
    table.is(&of("another's port", "[127.0.0.1]:1 HOSTKEY"), Out("host key is not known"));
    table.is(&of("a list, blanks", "a,[127.0.0.1]:PORT  \tHOSTKEY  x y"), In);
    table.is(&of("unknown", ""), Out("host key is not known"));
    table.is(&of("changed", "[127.0.0.1]:PORT <other>"), Out("known:1"));
    let two = "[127.0.0.1]:PORT <other>\n[127.0.0.1]:PORT HOSTKEY";
    table.is(&of("two known", two), In);
    let revoked = "[127.0.0.1]:PORT HOSTKEY\n@revoked * HOSTKEY";
    table.is(&of("revoked", revoked), Out("marked as revoked"));
    let three = "HostKey W/rsa\nHostKey W/ecdsa";
    for known in ["[127.0.0.1]:PORT <rsa>", "[127.0.0.1]:PORT <ecdsa>"] {
        table.is(&of("of several kinds one is known", known).sshd(three), In);
    }
    let only = "IdentityFile W/key\n HostKeyAlgorithms rsa-sha2-256";
    table.is(&with("another kind is wanted", only).sshd(three), Out("host key is not the one"));
    table.is(&with("a kind it has not", only), Out("no key exchange"));
    let certified = "IdentityFile W/key\n HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com";
    table.is(&with("certificates only", certified), Out("asks for certificates only"));
    let sha1 = "HostKey W/rsa\nHostKeyAlgorithms ssh-rsa";
    let old = "IdentityFile W/key\n HostKeyAlgorithms +ssh-rsa";
    let old = with("SHA-1", old).sshd(sha1).known("[127.0.0.1]:PORT <rsa>");
    table.is(&old, Stricter("no key exchange"));
    let alias = "IdentityFile W/key\n HostKeyAlias farm";
    table.is(&with("HostKeyAlias", alias).known("farm HOSTKEY"), In);
    table.is(&with("HostKeyAlias of another", alias), Out("host key is not known"));
    for (lax, changed) in [
        ("IdentityFile W/key\n StrictHostKeyChecking no", Stricter("known:1")),
        ("IdentityFile W/key\n StrictHostKeyChecking accept-new", Out("known:1")),
    ] {
        table.is(&with("lax", lax).known(""), Stricter("host key is not known"));
        table.is(&with("lax, and changed", lax).known("[127.0.0.1]:PORT <other>"), changed);
    }
    for (lines, verdict) in [
        ("IdentityFile W/key\n RevokedHostKeys S/host.pub", Out("host.pub:1")),
        ("IdentityFile W/key\n RevokedHostKeys W/other.pub", In),
        ("IdentityFile W/key\n RevokedHostKeys W/gone", Out("cannot read")),
        ("IdentityFile W/key\n RevokedHostKeys W/krl", Stricter("ssh-keygen -k")),
        ("IdentityFile W/key\n KnownHostsCommand /bin/true", Stricter("not supported yet")),
    ] {
        table.is(&with("RevokedHostKeys", lines), verdict);
    }
}

#[test]
fn certificates_of_hosts() {
    let lab = lab();
    let table = Table::new(&lab, "sshfhcert");
    let shop = &table.workshop;
    shop.key("host_ca", "ed25519", "").unwrap();
    shop.key("rsa_ca", "rsa", "").unwrap();
    let of =
        |name, how, known| row(name, "IdentityFile W/key").certified("host_ca", how).known(known);
    table.is(&of("good", GOOD, TRUST), In);
    table.is(&of("for every port", GOOD, "@cert-authority 127.0.0.1 <host_ca>"), In);
    table.is(&of("hashed", GOOD, "@cert-authority [127.0.0.1]:PORT <host_ca>").hashed(), In);
    table.is(&of("expired", LATE, TRUST), Out("it has expired: it ended 2020-01-0"));
    table.is(&of("for another", OTHER, TRUST), Out("it is for t, not for 127.0.0.1"));
    table.is(&of("for nobody in particular", ANY, TRUST), In);
    let other = "@cert-authority rack* <host_ca>";
    table.is(&of("an authority for others", GOOD, other), Out("host key is not known"));
    let unknown = "@cert-authority * <other>";
    table.is(&of("another authority", GOOD, unknown), Out("no @cert-authority line"));
    table.is(&of("no authority, but the key", GOOD, "[127.0.0.1]:PORT HOSTKEY"), In);
    let both = "@cert-authority * <host_ca>\n[127.0.0.1]:PORT HOSTKEY";
    table.is(&of("expired, but the key", LATE, both), In);
    let gone = "@cert-authority * <host_ca>\n@revoked * <host_ca>";
    table.is(&of("a revoked authority", GOOD, gone), Out("is marked as revoked"));
    let gone = "@cert-authority * <host_ca>\n@revoked * HOSTKEY";
    table.is(&of("a revoked key", GOOD, gone), Out("is marked as revoked"));
    let listed = "IdentityFile W/key\n RevokedHostKeys W/host_ca.pub";
    let listed = row("a listed authority", listed).certified("host_ca", GOOD).known(TRUST);
    table.is(&listed, Out("host_ca.pub:1"));
    let alias = "IdentityFile W/key\n HostKeyAlias t";
    let alias = row("HostKeyAlias", alias).certified("host_ca", OTHER);
    table.is(&alias.known("@cert-authority t <host_ca>"), In);
    table.is(&of("RSA", GOOD, RSA).certified("rsa_ca", GOOD), In);
    table.is(&of("SHA-1", GOOD, RSA).certified("rsa_ca", SHA1), Out("signed it with ssh-rsa"));
    let plain = "IdentityFile W/key\n HostKeyAlgorithms ssh-ed25519";
    let plain = row("no certificate wanted", plain).certified("host_ca", GOOD).known(TRUST);
    table.is(&plain, Out("host key is not known"));
    let strict = "IdentityFile W/key\n CASignatureAlgorithms rsa-sha2-512";
    let strict = row("CASignatureAlgorithms", strict).certified("host_ca", GOOD).known(TRUST);
    table.is(&strict, Out("signed it with ssh-ed25519"));
}

#[test]
fn ways() {
    let lab = lab();
    let table = Table::new(&lab, "sshfways");
    let shop = &table.workshop;
    shop.write("more.conf", &format!("IdentityFile {}\n", shop.at("key").display()), 0o644)
        .unwrap();
    table.is(&row("ProxyJump", KEY).top("Host t\n ProxyJump j"), In);
    let closed = "Host t\n ProxyJump j\nHost j\n Port 1";
    table.is(&row("ProxyJump to nowhere", KEY).top(closed), Out("on the way, at 127.0.0.1:1"));
    let forbids = "AllowTcpForwarding no";
    let jump = row("ProxyJump through a host that forwards nothing", KEY).sshd(forbids);
    table.is(&jump.top("Host t\n ProxyJump j"), Out("forbids forwarding"));
    let command = "Host t\n ProxyCommand ssh -F CONFIG -W %h:%p j";
    table.is(&row("ProxyCommand", KEY).top(command), In);
    table.is(&row("ProxyCommand that ends", KEY).top("Host t\n ProxyCommand false"), Out(""));
    let exec =
        "Match originalhost=t exec=\"test %h = t\"\n IdentityFile W/key\nMatch exec false\n Port 1";
    table.is(&row("Match exec", "").top(exec), In);
    table.is(&row("Include", "").top("Host t\n Include W/*.conf"), In);
    table.is(&row("a bad line", KEY).top("Port x"), Out("`x` is no port"));
    let from = "AllowUsers root@127.0.0.2";
    let bound = "IdentityFile W/key\n BindAddress 127.0.0.2";
    table.is(&row("BindAddress", bound).sshd(from), In);
    table.is(&row("no BindAddress", KEY).sshd(from), Out("(refused)"));
    let strange = "IdentityFile W/key\n BindAddress 192.0.2.1";
    table.is(&row("BindAddress of another", strange), Out("from 192.0.2.1"));
    table.is(&row("BindInterface", "IdentityFile W/key\n BindInterface lo"), In);
    let none = "IdentityFile W/key\n BindInterface none0";
    table.is(&row("BindInterface that is not there", none), Out("none0 has no address"));
    table.is(&row("AllowUsers", KEY).sshd("AllowUsers nobody"), Out("(refused)"));
    table.is(&row("ForceCommand", KEY).sshd("ForceCommand true"), In);
    let password = "PubkeyAuthentication no\nPasswordAuthentication yes";
    table.is(&row("passwords only", KEY).sshd(password), Out("the host asks for password"));
    let methods = "IdentityFile W/key\n PreferredAuthentications password";
    table.is(&row("no keys wanted", methods), Out("leaves out publickey"));
    let methods = "IdentityFile W/key\n PreferredAuthentications password,publickey";
    table.is(&row("keys wanted, too", methods), In);
    table.is(&row("slow", "IdentityFile W/key\n ConnectTimeout 5\n Ciphers aes128-ctr"), In);
    for cipher in ["Ciphers aes128-gcm@openssh.com", "Ciphers chacha20-poly1305@openssh.com"] {
        table.is(&row("one cipher", KEY).sshd(cipher), In);
    }
}

#[test]
fn the_agent_stays_here() {
    let lab = lab();
    let table = Table::new(&lab, "sshfforward");
    let forward = row("ForwardAgent", "IdentityFile none\n ForwardAgent yes").held(&["key"]);
    let (ours, theirs) = table.logs(&forward.sshd("LogLevel DEBUG"));
    assert!(theirs.contains("auth-agent-req@openssh.com"), "{theirs}");
    assert!(ours.contains("Accepted publickey"), "{ours}");
    assert!(!ours.contains("auth-agent"), "{ours}");
}
