//! The command `freehold`: words, screens and exit codes around `freehold-core`.

mod apply;
mod args;
mod ask;
mod carry;
mod check;
mod console;
mod context;
mod decided;
mod doctor;
mod drift;
mod failure;
mod host;
mod image;
mod init;
mod interrupt;
mod lock;
mod logs;
mod onlook;
mod pace;
mod passphrase;
mod plan;
mod power;
mod rebuild;
mod recover;
mod screen;
mod ssh;
mod state;
mod status;
mod terminal;
mod trash;
mod verify;
mod vms;

use std::{mem::ManuallyDrop, panic::AssertUnwindSafe};

use clap::Parser;

use args::{Args, Command, HostCommand, Lock};
use failure::{Exit, Failure};
use onlook::Onlooker;
use power::Verb;

fn main() -> ! {
    let args = Args::parse();
    screen::start_log(args.verbose);
    let code = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        // Never dropped: that waits for libvirt calls that hang, and ends threads.
        Ok(runtime) => end(&args, &ManuallyDrop::new(runtime)),
        Err(error) => Failure::new(Exit::Bug, "cannot start").because(&error).report(),
    };
    freehold_core::host::leave(code)
}

/// Runs the command, says how it ended, and returns its exit code.
fn end(args: &Args, runtime: &tokio::runtime::Runtime) -> u8 {
    // ring is the one crypto provider; a second installation is refused and harmless.
    drop(rustls::crypto::ring::default_provider().install_default());
    let run = AssertUnwindSafe(|| runtime.block_on(run(args)));
    match std::panic::catch_unwind(run) {
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
        Command::Plan(plan) if plan.lock => lock::decide(args).await,
        Command::Plan(plan) => plan::run(args, plan).await,
        Command::Replace(replace) => apply::replace(args, replace).await,
        Command::Adopt(adopt) => apply::adopt(args, adopt).await,
        Command::Forget(forget) => apply::forget(args, forget).await,
        Command::Apply(apply) => apply::run(args, apply).await,
        Command::Lock(Lock::Prune(prune)) => lock::prune(args, prune).await,
        Command::State(command) => state::run(args, command).await,
        Command::Unlock(unlock) => state::unlock(args, unlock).await,
        Command::Destroy(destroy) => apply::destroy(args, destroy).await,
        Command::Image(image) => image::run(args, image).await,
        Command::Trash(trash) => trash::run(args, trash).await,
        Command::Status(status) => Ok(status::run(&Onlooker::open(args).await?, status).await),
        Command::Verify(verify) => verify::run(args, verify).await,
        Command::Drift(drift) => Ok(drift::run(&Onlooker::open(args).await?, drift).await),
        Command::Host(HostCommand::Add(new)) => host::add(args, new).await,
        Command::Recover(recover) => recover::run(args, recover).await,
        Command::Rebuild(rebuild) => rebuild::run(args, rebuild).await,
        Command::Doctor(doctor) => doctor::run(args, doctor).await,
        Command::Ssh(ssh) => ssh::run(args, ssh).await,
        Command::Start(start) => power::run(args, Verb::Start, &start.power()).await,
        Command::Stop(power) => power::run(args, Verb::Stop, power).await,
        Command::Restart(power) => power::run(args, Verb::Restart, power).await,
        Command::Logs(logs) => logs::run(args, logs).await,
        Command::Console(console) => console::run(args, console).await,
    }
}
