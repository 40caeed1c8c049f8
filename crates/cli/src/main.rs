//! The command `freehold`: words, screens and exit codes around `freehold-core`.

mod apply;
mod args;
mod ask;
mod carry;
mod check;
mod context;
mod decided;
mod drift;
mod failure;
mod init;
mod lock;
mod onlook;
mod plan;
mod screen;
mod ssh;
mod status;
mod trash;

use std::{panic::AssertUnwindSafe, process::ExitCode, time::Duration};

use clap::Parser;

use args::{Args, Command, Lock};
use failure::{Exit, Failure};
use onlook::Onlooker;

/// How long a frozen libvirt may hold up the end.
const CLOSING: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let args = Args::parse();
    screen::start_log(args.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::new(Exit::Bug, "cannot start").because(&error).report(),
    };
    // ring is the one crypto provider; a second installation is refused and harmless.
    drop(rustls::crypto::ring::default_provider().install_default());
    let run = AssertUnwindSafe(|| runtime.block_on(run(&args)));
    let ended = std::panic::catch_unwind(run);
    // A libvirt call that hangs must not keep the process: its socket is cut with the process.
    runtime.shutdown_background();
    freehold_core::host::settle(CLOSING);
    match ended {
        Ok(Ok(exit)) => match screen::lost() {
            None => exit.code(),
            Some(why) => Failure::input("not all output was written")
                .because_of(vec![why.to_owned()])
                .hint("what the command did is done; only its words are lost")
                .report(),
        },
        Ok(Err(failure)) => failure.report(),
        Err(_) => Failure::new(Exit::Bug, "this is a bug in freehold")
            .hint("please report it with the lines above; the journal keeps what was done")
            .report(),
    }
}

async fn run(args: &Args) -> Result<Exit, Failure> {
    match &args.command {
        Command::Init(init) => init::run(args, init),
        Command::Check => check::run(args),
        Command::Plan(plan) if plan.lock => lock::decide(args),
        Command::Plan(plan) => plan::run(args, plan).await,
        Command::Replace(replace) => apply::replace(args, replace).await,
        Command::Adopt(adopt) => apply::adopt(args, adopt).await,
        Command::Forget(forget) => apply::forget(args, forget),
        Command::Apply(apply) => apply::run(args, apply).await,
        Command::Lock(Lock::Prune(prune)) => lock::prune(args, prune),
        Command::Destroy(destroy) => apply::destroy(args, destroy).await,
        Command::Trash(trash) => trash::run(args, trash).await,
        Command::Status(status) => Ok(status::run(&Onlooker::open(args)?, status).await),
        Command::Drift(drift) => Ok(drift::run(&Onlooker::open(args)?, drift).await),
        Command::Ssh(ssh) => ssh::run(args, ssh),
    }
}
