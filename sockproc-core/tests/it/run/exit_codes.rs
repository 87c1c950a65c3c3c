//! What `sockproc run` exits with, and what it says beside that.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{OWN_FAILURE, complained, run_with, sockproc};
use crate::support::{Transport, finish, on_both_transports};

on_both_transports!(
    a_program_that_is_not_there_is_127_and_one_that_cannot_be_executed_is_126,
    a_directory_that_cannot_be_entered_is_our_failure,
);

const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;

fn a_program_that_is_not_there_is_127_and_one_that_cannot_be_executed_is_126(on: Transport) {
    let server = on.server();
    let file = server.path("file");
    fs::write(&file, "").unwrap();
    let script = server.path("script");
    fs::write(&script, "#!/nonexistent/interpreter\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    for (program, code) in [
        ("/nonexistent/program", NOT_FOUND),
        ("no-such-program-anywhere", NOT_FOUND),
        (script.to_str().unwrap(), NOT_FOUND),
        (file.to_str().unwrap(), NOT_EXECUTABLE),
        (server.dir.path().to_str().unwrap(), NOT_EXECUTABLE),
    ] {
        let output = run_with(&server, &[], &[program, "argument"]);
        assert_eq!(output.status.code(), Some(code), "{program}: {output:?}");
        let told = complained(&output);
        assert!(
            told.starts_with("sockproc: ") && told.contains(program),
            "{told}"
        );
    }
}

fn a_directory_that_cannot_be_entered_is_our_failure(on: Transport) {
    let server = on.server();
    let output = run_with(&server, &["-C", "/nonexistent/dir"], &["true"]);
    assert_eq!(output.status.code(), Some(OWN_FAILURE), "{output:?}");
    assert!(
        complained(&output).contains("/nonexistent/dir"),
        "{output:?}"
    );
}

#[test]
fn its_own_failures_are_exit_code_125_and_a_message() {
    let cases: &[(&[&str], &str)] = &[
        (
            &["run", "--server", "unix:/nonexistent/s.sock", "--", "true"],
            "/nonexistent/s.sock",
        ),
        (
            &["run", "--stdin", "/nonexistent/input", "--", "true"],
            "/nonexistent/input",
        ),
        (
            &["run", "--protocol", "classic", "--", "echo one\r\necho two"],
            "",
        ),
    ];
    for (words, name) in cases {
        let output = finish(sockproc(words));
        assert_eq!(
            output.status.code(),
            Some(OWN_FAILURE),
            "{words:?}: {output:?}"
        );
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.starts_with("sockproc: ") && said.contains(name),
            "{words:?}: {said}"
        );
        assert!(output.stdout.is_empty());
    }
    // 2 would be taken for the command's own.
    for words in [
        &["run"][..],
        &["run", "--"],
        &["run", "--nosuch", "--", "true"],
        &["run", "-e", "NAME", "--", "true"],
        &["run", "--timeout", "0", "--", "true"],
        &["run", "-t", "--merge", "--", "true"],
    ] {
        let code = finish(sockproc(words)).status.code();
        assert_eq!(code, Some(OWN_FAILURE), "{words:?}");
    }
    let code = finish(sockproc(&["ping", "extra"])).status.code();
    assert_eq!(code, Some(2));
}
