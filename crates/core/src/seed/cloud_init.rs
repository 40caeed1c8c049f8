//! The texts of a `NoCloud` medium: YAML in block style, every scalar of others quoted.

use std::fmt::Write;

use super::{SeedAddress, SeedNic, SeedSpec};
use crate::model::CloudInit;

/// Returns `meta-data`: who the guest is, and whose keys open it.
pub(super) fn meta_data(spec: &SeedSpec) -> String {
    let instance = format!("{}-{}", spec.uuid, spec.incarnation);
    let mut text = format!(
        "instance-id: {}\nlocal-hostname: {}\n",
        quoted(&instance),
        quoted(spec.name.as_str())
    );
    if !spec.cloud_init.ssh_keys.is_empty() {
        text.push_str("public-keys:\n");
        for key in &spec.cloud_init.ssh_keys {
            line(&mut text, 2, &format!("- {}", quoted(key.trim())));
        }
    }
    text
}

/// Returns `network-config`, version 2.
///
/// Interfaces are found by MAC address and named `eth0`, …: not every renderer of cloud-init (those
/// for ifupdown and for Red Hat's files) looks the name up where none is set. The default route is
/// `0.0.0.0/0`: `default` stops cloud-init up to mid 2022 (canonical/cloud-init#3988) and netplan
/// 0.99.
pub(super) fn network_config(nics: &[SeedNic]) -> String {
    let mut text = "version: 2\n".to_owned();
    if nics.is_empty() {
        return text;
    }
    text.push_str("ethernets:\n");
    let mut routed = false;
    for (index, nic) in nics.iter().enumerate() {
        line(&mut text, 2, &format!("nic{index}:"));
        line(&mut text, 4, "match:");
        line(&mut text, 6, &format!("macaddress: {}", quoted(&nic.mac.to_string())));
        line(&mut text, 4, &format!("set-name: {}", quoted(&format!("eth{index}"))));
        match &nic.address {
            SeedAddress::Dhcp => line(&mut text, 4, "dhcp4: true"),
            SeedAddress::Static { address, prefix, gateway, dns } => {
                line(&mut text, 4, "addresses:");
                line(&mut text, 6, &format!("- {}", quoted(&format!("{address}/{prefix}"))));
                if let Some(gateway) = gateway.filter(|_| !routed) {
                    routed = true;
                    line(&mut text, 4, "routes:");
                    line(&mut text, 6, "- to: \"0.0.0.0/0\"");
                    line(&mut text, 8, &format!("via: {}", quoted(&gateway.to_string())));
                }
                if !dns.is_empty() {
                    line(&mut text, 4, "nameservers:");
                    line(&mut text, 6, "addresses:");
                    for server in dns {
                        line(&mut text, 8, &format!("- {}", quoted(&server.to_string())));
                    }
                }
            }
        }
    }
    text
}

/// Returns `vendor-data`: our own part, which the user's `user-data` may overrule. It holds the
/// guest's private host key.
pub(super) fn vendor_data(spec: &SeedSpec) -> String {
    let mut text = "#cloud-config\n".to_owned();
    match spec.cloud_init.user.as_deref() {
        // The keys then open root's account too, beside that of the image's own user.
        Some("root") => line(&mut text, 0, "disable_root: false"),
        // The image's own user under another name, with its groups, shell and sudo.
        Some(user) => {
            line(&mut text, 0, "user:");
            line(&mut text, 2, &format!("name: {}", quoted(user)));
        }
        None => {}
    }
    // Interfaces and addresses may change in a VM's life; without this cloud-init reads of them at
    // the first boot only.
    line(&mut text, 0, "updates:");
    line(&mut text, 2, "network:");
    line(&mut text, 4, "when: [\"boot-new-instance\", \"boot\"]");
    line(&mut text, 0, "ssh_deletekeys: true");
    line(&mut text, 0, "ssh_keys:");
    line(&mut text, 2, "ed25519_private: |");
    for part in spec.host_key.private_openssh().expose().lines() {
        line(&mut text, 4, part);
    }
    line(&mut text, 2, &format!("ed25519_public: {}", quoted(&spec.host_key.public())));
    text
}

/// Returns `user-data`: the user's own, untouched, or nothing in cloud-init's words.
pub(super) fn user_data(cloud_init: &CloudInit) -> String {
    cloud_init.user_data.clone().unwrap_or_else(|| "#cloud-config\n{}\n".to_owned())
}

fn line(text: &mut String, indent: usize, content: &str) {
    writeln!(text, "{:indent$}{content}", "").expect("a String takes all text");
}

/// Returns a YAML scalar in double quotes: JSON's, with all escaped that YAML does not print.
fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json.chars().fold(String::with_capacity(json.len()), |mut quoted, c| {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                write!(quoted, "\\u{:04x}", u32::from(c)).expect("a String takes all text");
            }
            _ => quoted.push(c),
        }
        quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::tests::spec;

    #[test]
    fn says_who_the_guest_is() {
        assert_eq!(
            meta_data(&spec()),
            "instance-id: \"00000000-0000-0000-0000-000000000000-3\"\n\
             local-hostname: \"web-0\"\n\
             public-keys:\n\
             \x20 - \"ssh-ed25519 AAAA alice\"\n\
             \x20 - \"ssh-ed25519 BBBB \\\"bob\\\" # x\"\n"
        );
    }

    #[test]
    fn gives_the_default_route_to_the_first_that_has_a_gateway() {
        assert_eq!(
            network_config(&spec().nics),
            "version: 2\n\
             ethernets:\n\
             \x20 nic0:\n\
             \x20   match:\n\
             \x20     macaddress: \"02:00:00:00:00:01\"\n\
             \x20   set-name: \"eth0\"\n\
             \x20   dhcp4: true\n\
             \x20 nic1:\n\
             \x20   match:\n\
             \x20     macaddress: \"02:00:00:00:00:02\"\n\
             \x20   set-name: \"eth1\"\n\
             \x20   addresses:\n\
             \x20     - \"10.77.0.100/24\"\n\
             \x20   routes:\n\
             \x20     - to: \"0.0.0.0/0\"\n\
             \x20       via: \"10.77.0.1\"\n\
             \x20   nameservers:\n\
             \x20     addresses:\n\
             \x20       - \"10.77.0.1\"\n\
             \x20       - \"fd00::1\"\n\
             \x20 nic2:\n\
             \x20   match:\n\
             \x20     macaddress: \"02:00:00:00:00:03\"\n\
             \x20   set-name: \"eth2\"\n\
             \x20   addresses:\n\
             \x20     - \"10.78.0.100/24\"\n"
        );
        assert_eq!(network_config(&[]), "version: 2\n");
    }

    #[test]
    fn hands_over_the_host_key_in_a_block() {
        let text = vendor_data(&spec());
        assert!(
            text.starts_with("#cloud-config\nuser:\n  name: \"admin\"\nupdates:\n  network:\n")
        );
        assert!(text.contains("  ed25519_private: |\n    -----BEGIN OPENSSH PRIVATE KEY-----\n"));
        assert!(text.contains("    -----END OPENSSH PRIVATE KEY-----\n  ed25519_public: \"ssh-"));

        let mut root = spec();
        root.cloud_init.user = Some("root".to_owned());
        assert!(vendor_data(&root).starts_with("#cloud-config\ndisable_root: false\nupdates"));
        root.cloud_init.user = None;
        assert!(vendor_data(&root).starts_with("#cloud-config\nupdates"));
    }

    #[test]
    fn leaves_user_data_untouched() {
        let text = "#!/bin/sh\r\n\techo 'ä'\n\n";
        let cloud_init = CloudInit { user_data: Some(text.to_owned()), ..CloudInit::default() };
        assert_eq!(user_data(&cloud_init), text);
        assert_eq!(user_data(&CloudInit::default()), "#cloud-config\n{}\n");
    }

    #[test]
    fn quotes_what_yaml_would_misread() {
        assert_eq!(quoted("a: b # \"c\" \\"), r#""a: b # \"c\" \\""#);
        assert_eq!(quoted("x\n\u{7f}\u{85}\u{2028}ä"), "\"x\\n\\u007f\\u0085\\u2028ä\"");
    }
}
