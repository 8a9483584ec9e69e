//! Both programs for commands that a shell runs as a page or `status` spells them: their clock stands at a time.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Puts both programs into a folder, each behind a script that adds `--time` where the command names no time. Returns a
/// PATH on which they come first.
pub fn path_at(folder: &Path, time: &str) -> String {
    std::fs::create_dir_all(folder).unwrap();
    for (name, program) in
        [("tuf-repo", env!("CARGO_BIN_EXE_tuf-repo")), ("tuf-fetch", env!("CARGO_BIN_EXE_tuf-fetch"))]
    {
        let script = format!(
            "#!/bin/sh\ncase \" $* \" in *' --time '*) exec '{program}' \"$@\";; esac\nexec '{program}' --time '{time}' \"$@\"\n"
        );
        write_by_a_shell(&folder.join(name), &script);
    }
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
}

/// Writes an executable file by another process: a file that this process has open for writing is for a moment open in
/// the children of other threads too, and cannot be run then.
fn write_by_a_shell(path: &Path, text: &str) {
    let mut shell = Command::new("sh");
    shell.args(["-c", "cat >\"$1\" && chmod +x \"$1\"", "sh"]).arg(path).stdin(Stdio::piped());
    let mut child = shell.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}
