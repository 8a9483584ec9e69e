//! Keys behind references, with the real keepers: a script around openssl, OpenSSH's agent, SoftHSM.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use support::{Folder, Ran};

/// Runs a tool in the folder and returns what it printed; none where this machine does not have it.
fn tool(folder: &Folder, program: &str, args: &[&str], variables: &[(&str, &str)]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(args).current_dir(folder.path("")).envs(variables.iter().copied()).stdin(Stdio::null());
    match command.output() {
        Ok(output) if output.status.success() => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => panic!("{program} {args:?}: {output:?}"),
        Err(_) => {
            eprintln!("skipped: no {program} here");
            None
        }
    }
}

fn run_with(folder: &Folder, args: &[&str], variables: &[(&str, &str)]) -> Ran {
    let Output { status, stdout, stderr } =
        folder.command(args).envs(variables.iter().copied()).output().unwrap();
    Ran {
        code: status.code().unwrap(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// Makes a repository whose targets role lists the key, and signs that role with it.
fn lists_and_signs(folder: &Folder, key: &str, scheme: &str, variables: &[(&str, &str)], more: &[&str]) {
    let repo = format!("repo-{scheme}");
    let repo = repo.as_str();
    run_with(folder, &["init", repo], variables).exits(0);
    let add = ["-r", repo, "add-key", "targets", key];
    let rsa: &[&str] = if scheme.starts_with("rsa") { &["--scheme", scheme] } else { &[] };
    run_with(folder, &[&add[..], rsa].concat(), variables).exits(0);
    let sign = ["-r", repo, "--json", "sign", "targets", "--key", key];
    let json = run_with(folder, &[&sign[..], more].concat(), variables).exits(0).json();
    let id = json["signed"]["targets"]["keyids"][0].as_str().expect("a signature").to_owned();
    let shown = run_with(folder, &["key", "id", key], variables).exits(0);
    if !rsa.contains(&"rsa-pkcs1v15-sha256") {
        assert_eq!(shown.stdout.trim(), id, "{scheme}");
    }
}

#[test]
fn a_command_around_openssl_signs_by_every_scheme() {
    let folder = Folder::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/signers/openssl.sh");
    for (scheme, args) in [
        ("ed25519", &["-algorithm", "ED25519"][..]),
        ("rsassa-pss-sha256", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
        ("rsa-pkcs1v15-sha256", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
        ("ecdsa-sha2-nistp256", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        ("ecdsa-sha2-nistp384", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
    ] {
        let file = format!("the {scheme} key");
        if tool(&folder, "openssl", &[&["genpkey", "-out", &file], args].concat(), &[]).is_none() {
            return;
        }
        lists_and_signs(&folder, &format!("exec:'{}' {scheme} '{file}'", script.display()), scheme, &[], &[]);
    }
}

#[test]
fn a_command_that_fails_or_lies_is_told_and_changes_nothing() {
    let folder = Folder::new();
    folder.run(&["keygen", "mine", "--no-password"]).exits(0);
    folder.run(&["init"]).exits(0);
    folder.run(&["add-key", "targets", "mine.pub"]).exits(0);
    let show = folder.run(&["--json", "key", "show", "mine.pub"]).exits(0).json();
    folder.write(
        "public",
        &serde_json::json!({
            "keytype": "ed25519", "scheme": "ed25519", "keyval": show["keyval"],
        })
        .to_string(),
    );
    folder.write("liar", "read line; case $line in *public*) cat public;; *) echo '{\"sig\":\"00\"}';; esac");
    folder.write("failing", "read line; echo 'the token is locked' >&2; exit 7");
    let before = folder.files();
    for (key, code, cause) in [
        ("exec:sh failing", 4, "failed: exit status: 7"),
        ("exec:no-such-program-anywhere", 4, "cannot be run"),
        ("exec:sh liar", 4, "the signature is invalid"),
    ] {
        let ran = folder.run(&["sign", "targets", "--key", key]);
        assert!(ran.code == code && ran.stderr.contains(cause), "{ran:?}");
        assert_eq!(folder.files(), before);
        assert_eq!(key == "exec:sh failing", ran.stderr.contains("the token is locked"), "{ran:?}");
    }
    let ran = folder.run(&["key", "convert", "exec:sh liar", "--out", "x", "--no-password"]).exits(2);
    assert!(ran.stderr.contains("does not leave where it is kept"), "{ran:?}");
    let json = folder.run(&["--json", "key", "id", "exec:sh liar"]).exits(0).json();
    assert_eq!((&json["private"], &json["encrypted"]), (&"exec:sh liar".into(), &serde_json::Value::Null));
}

/// An agent of OpenSSH, ended with the test.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn keys_in_openssh_s_agent_sign() {
    let folder = Folder::new();
    let socket = folder.path("agent");
    let mut command = Command::new("ssh-agent");
    command.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(child) = command.spawn() else {
        eprintln!("skipped: no ssh-agent here");
        return;
    };
    let _agent = Agent(child);
    let start = Instant::now();
    while !socket.exists() {
        assert!(start.elapsed() < Duration::from_secs(20), "the agent does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    let variables = [("SSH_AUTH_SOCK", socket.to_str().unwrap())];
    for (scheme, args) in [
        ("ed25519", &["-t", "ed25519"][..]),
        ("ecdsa-sha2-nistp256", &["-t", "ecdsa", "-b", "256"]),
        ("ecdsa-sha2-nistp384", &["-t", "ecdsa", "-b", "384"]),
    ] {
        tool(&folder, "ssh-keygen", &[&["-q", "-N", "", "-f", scheme], args].concat(), &[]).unwrap();
        tool(&folder, "ssh-add", &["-q", scheme], &variables).unwrap();
        let line = tool(&folder, "ssh-keygen", &["-l", "-f", scheme], &[]).unwrap();
        let fingerprint = line.split(' ').nth(1).unwrap();
        let key = format!("ssh-agent:{fingerprint}");
        lists_and_signs(&folder, &key, scheme, &variables, &[]);
        let id = run_with(&folder, &["key", "id", &key], &variables).exits(0).stdout;
        let by_id = format!("ssh-agent:{}", id.trim());
        assert_eq!(run_with(&folder, &["key", "id", &by_id], &variables).exits(0).stdout, id);
    }
    let ran = run_with(&folder, &["key", "id", "ssh-agent:SHA256:none"], &variables).exits(4);
    assert!(ran.stderr.contains("has 3 keys that can sign here"), "{ran:?}");
    let mut without = folder.command(&["key", "id", "ssh-agent:SHA256:none"]);
    let output = without.env_remove("SSH_AUTH_SOCK").output().unwrap();
    assert_eq!(output.status.code(), Some(4));
}

const MODULES: [&str; 3] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

#[test]
fn keys_on_a_token_sign() {
    let folder = Folder::new();
    let Some(module) = MODULES.into_iter().find(|path| Path::new(path).exists()) else {
        eprintln!("skipped: no SoftHSM module here");
        return;
    };
    fs::create_dir(folder.path("tokens")).unwrap();
    folder.write("softhsm2.conf", &format!("directories.tokendir = {}\n", folder.path("tokens").display()));
    folder.write("pin", "648219\n");
    folder.write("wrong", "111111\n");
    let conf = folder.path("softhsm2.conf");
    let variables = [("SOFTHSM2_CONF", conf.to_str().unwrap())];
    let init =
        ["--init-token", "--free", "--label", "release token", "--pin", "648219", "--so-pin", "99999999"];
    if tool(&folder, "softhsm2-util", &init, &variables).is_none() {
        return;
    }
    let pin = ["--password-file", "pin"];
    for (id, kind, schemes) in [
        ("01", "EC:prime256v1", &["ecdsa-sha2-nistp256"][..]),
        ("02", "EC:secp384r1", &["ecdsa-sha2-nistp384"]),
        ("03", "EC:edwards25519", &["ed25519"]),
        ("04", "RSA:2048", &["rsassa-pss-sha256", "rsa-pkcs1v15-sha256"]),
    ] {
        let made =
            ["--module", module, "--login", "--pin", "648219", "--keypairgen", "--usage-sign", "--key-type"];
        let named = [kind, "--id", id, "--label", kind];
        if tool(&folder, "pkcs11-tool", &[&made[..], &named].concat(), &variables).is_none() {
            return;
        }
        let key = format!("pkcs11:token=release%20token;id=%{id}?module-path={module}");
        for scheme in schemes {
            lists_and_signs(&folder, &key, scheme, &variables, &pin);
        }
    }
    let any = format!("pkcs11:token=release%20token?module-path={module}");
    let one = format!("pkcs11:token=release%20token;object=RSA:2048?module-path={module}");
    let none = format!("pkcs11:token=other?module-path={module}");
    for (args, code, cause) in [
        (
            &["sign", "targets", "--key", &one, "--password-file", "wrong"][..],
            4,
            "does not open the private key",
        ),
        (&["sign", "targets", "--key", &one], 4, "no password was given"),
        (&["sign", "targets", "--key", &any, "--password-file", "pin"], 4, "the URI names 4 private keys"),
        (&["key", "id", &none], 4, "no token is what the URI names"),
        (&["key", "id", "pkcs11:token=x"], 4, "no PKCS#11 module is named"),
    ] {
        let args = [&["-r", "repo-ed25519"], args].concat();
        let ran = run_with(&folder, &args, &variables).exits(code);
        assert!(ran.stderr.contains(cause) && !ran.words().contains("648219"), "{ran:?}");
    }
    let short = "pkcs11:object=RSA:2048";
    let both = [variables[0], ("PKCS11_MODULE_PATH", module)];
    run_with(&folder, &["key", "show", short], &both).exits(0);
    // two keys of one token in one command
    let key = |id: &str| format!("pkcs11:id=%{id}?module-path={module}");
    let sign = ["-r", "repo-ed25519", "add-key", "snapshot", &key("01"), &key("02")];
    run_with(&folder, &sign, &variables).exits(0);
    let sign = ["-r", "repo-ed25519", "sign", "--key", &key("01"), "--key", &key("02"), pin[0], pin[1]];
    run_with(&folder, &sign, &variables).exits(0);
}
