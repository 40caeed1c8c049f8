//! What is secret is in no problem.

use super::{BASE, Bed, KEY, vm};

const POISON: &str = "poison #1";

#[track_caller]
fn hides(bed: &Bed) {
    let problems = bed.problems();
    let (shown, debug) = (problems.render(), format!("{problems:?}"));
    assert!(!shown.contains("poison"), "{shown}");
    assert!(shown.contains("error: "), "{debug}");
}

#[test]
fn shows_no_key_of_a_name_server() {
    let dns = |lines: &str| format!("dns \"x\" {{\n  kind = \"powerdns\"\n{lines}\n}}\n");
    for lines in [
        format!("api_key = \"{POISON}\"\nurll = \"http://a\""),
        format!("api_key = \"{POISON}\\n\"\nurl = \"http://a\""),
        format!("api_key = [\"{POISON}\"]\nurl = \"http://a\""),
        format!("api_key = \"{POISON}\nurl = \"http://a\""),
        format!("api_key = \"{POISON}\" \"\"\nurl = \"http://a\""),
        format!("url = \"http://a\"\napi_key = <<E\n{POISON} ${{var.x}}\nE"),
        format!("url = \"http://a\"\napi_key = <<E\n{POISON} ${{\nE"),
        format!("api_key = \"a\"\napi_key = \"{POISON}\"\nurl = \"http://a\""),
        format!("api_kye = \"a\"\nurl = \"http://u:{POISON}@a\"\napi_key = env(\"P\")"),
    ] {
        let text = dns(&lines).replace(&format!("http://u:{POISON}@a"), "${env(\"P\")}");
        hides(&Bed::with(&text).env("P", POISON));
    }
}

#[test]
fn shows_nothing_from_outside() {
    let bed = |lines: &str| {
        let variable = "variable \"v\" {\n}\n";
        let bed = Bed::with(&format!("{variable}{}", vm(lines)));
        bed.env("P", POISON).env("FREEHOLD_VAR_v", POISON).file("secret", POISON)
    };
    for value in ["env(\"P\")", "\"a${env(\"P\")}\"", "var.v", "file(\"secret\")", "upper(var.v)"] {
        for key in ["cpus", "count", "wait", "firmware", "autostart", "wait_timeout", "labels"] {
            hides(&bed(&format!("{key} = {value}")));
        }
        for block in [
            "disk \"a\" { size = VALUE }",
            "nic \"lan\" { address = VALUE }",
            "cloud_init { ssh_keys = [VALUE] }",
            "cloud_init { user = VALUE }",
            "dns {\n  zone = VALUE\n}",
            "ansible { groups = [VALUE, \"a-b\"] }",
        ] {
            hides(&bed(&block.replace("VALUE", value)));
        }
        for bad in ["file(VALUE)", "env(VALUE)", "VALUE + 1", "{ a = 1 }[VALUE]", "VALUE.x"] {
            hides(&bed(&format!("labels = {{ a = {} }}", bad.replace("VALUE", value))));
        }
        let source = format!("image \"i\" {{\n  source = {value}\n}}\n");
        hides(
            &Bed::with(&format!("variable \"v\" {{\n}}\n{source}"))
                .env("P", POISON)
                .var("v", POISON)
                .file("secret", POISON),
        );
    }
}

#[test]
fn shows_no_private_key() {
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\\npoison\\n-----END OPENSSH PRIVATE KEY-----";
    let text = vm(&format!("cloud_init {{\n  ssh_keys = [\"{key}\"]\n}}"));
    hides(&Bed::with(&text));
    let shown = Bed::with(&text).problems().render();
    assert!(shown.contains("`ssh_keys` holds a private key"), "{shown}");
    let from_file = vm("cloud_init {\n  ssh_keys = [file(\"id\")]\n}");
    hides(&Bed::with(&from_file).file("id", &key.replace("\\n", "\n")));
    assert!(Bed::with(&vm(&format!("cloud_init {{\n  ssh_keys = [\"{KEY}\"]\n}}"))).load().is_ok());
}

#[test]
fn keeps_the_key_in_its_type() {
    let fleet = Bed::new().file("fleet.hcl", BASE).fleet();
    assert!(!format!("{fleet:?}").contains("poison"));
}
