//! Every store of the state holds the same promises; each is asked for them in its own world: the
//! folder, a real sshd, a real `PostgreSQL`.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on panics")]

mod database;
mod hosts;
mod machines;
mod promises;
mod world;

use machines::{Postgres, Sshd};
use promises::PROMISES;
use world::{DatabaseWorld, FolderWorld, HostWorld, World};

/// Goes through all promises in one world.
async fn keeps_them(world: &dyn World) {
    for (number, (name, promise)) in PROMISES.iter().enumerate() {
        // A fleet of its own each time: what one leaves is nothing to the next.
        let begun = std::time::Instant::now();
        let case = world::Case::new(world, u8::try_from(number + 1).unwrap());
        promise(&case).await;
        eprintln!("{name}: {:.2} s", begun.elapsed().as_secs_f64());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_keeps_all_promises() {
    keeps_them(&FolderWorld::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_keeps_all_promises() {
    if let Some(sshd) = Sshd::start() {
        keeps_them(&HostWorld::of(sshd)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_keeps_all_promises() {
    if let Some(postgres) = Postgres::start() {
        keeps_them(&DatabaseWorld::of(postgres).await).await;
    }
}
