//! What README.md shows: a command on the server that `$SOCKPROC_SOCKET` names, else on a private helper.

use sockproc_core::Error;
use sockproc_core::client::Command;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let output = Command::shell("tr a-z A-Z").stdin("hello").output().await?;
    assert!(output.status.success());
    assert_eq!(output.stdout, b"HELLO");
    Ok(())
}
