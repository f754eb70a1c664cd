//! Implements `piimg cache`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::build_request::{environment, store_limit};
use crate::error::Result;
use crate::home::Home;
use crate::recipe::host::HostPath;
use crate::recipe::store_limit::Limit;
use crate::store_maintenance::{self, Action};
use crate::supervisor::disk_space::limit_of;
use crate::ui::Ui;

/// Show, tidy or check the store: layers, partitions and packages that builds keep.
#[derive(Debug, Args)]
#[command(after_help = "Example: piimg cache gc --store-limit 20G")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what is in the store: sizes, when a build last used it, and which builds stand on it.
    #[command(after_help = "Example: piimg cache list --json")]
    List(Place),
    /// Show how much is in the store.
    #[command(after_help = "Example: piimg cache size")]
    Size(Place),
    /// Remove what was not used for longest, until the store is within its limit.
    #[command(after_help = "Example: piimg cache gc --all --store-limit 0")]
    Gc {
        #[command(flatten)]
        place: Place,
        /// Also what the last builds stand on: with `--store-limit 0`, everything that no build uses now.
        #[arg(long)]
        all: bool,
    },
    /// Compare everything in the store with its digest.
    #[command(after_help = "Example: piimg cache verify --remove")]
    Verify {
        #[command(flatten)]
        place: Place,
        /// Remove what is damaged: the next build makes or fetches it anew.
        #[arg(long)]
        remove: bool,
    },
}

#[derive(Debug, Args)]
struct Place {
    /// Directory of layers and packages, kept between builds.
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// How much may be in the store, such as 20G, 25% of its disk, or none.
    #[arg(long, value_name = "SIZE", value_parser = Limit::parse)]
    store_limit: Option<Limit>,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<i32> {
    let (place, action) = match &arguments.command {
        Command::List(place) => (place, Action::List),
        Command::Size(place) => (place, Action::Size),
        Command::Gc { place, all } => (place, Action::Collect { all: *all }),
        Command::Verify { place, remove } => (place, Action::Verify { remove: *remove }),
    };
    let environment = environment(place.store.is_some())?;
    let store = HostPath::named(place.store.clone().unwrap_or(environment.default_store));
    let limit = store_limit(place.store_limit, Home::of_user().as_ref())?;
    store_maintenance::outside(&store, action, limit_of(&store, limit)?, place.json, ui)
}
